"""What the tab does with a visitor's values: sources, uploads, two visitors at once, everything in words."""

from __future__ import annotations

import io
import zipfile
from pathlib import Path
from types import SimpleNamespace
from typing import Any

import numpy as np
import pytest
from PIL import Image

pytest.importorskip("gradio")

from tests.helpers.made_run import make_run, street_config
from trainer.data.labels.palette import colorize
from trainer.errors import ConfigError, DataError, UserError
from trainer.page.canvas import Moved, decode, encode
from trainer.page.contract import Limits, Page
from trainer.records.video_writer import write_video
from vid2vid.config import DataKind, FlowMethod, SourceKind
from vid2vid.page.handlers import CLIP, PAINT, UPLOAD, Answer, Handlers

IDS = [7, 8, 11, 21, 23, 24, 26]


@pytest.fixture
def page(tmp_path: Path) -> Page:
    config = street_config()
    config.model.label_ids = IDS
    make_run(tmp_path / "runs" / "street", config)
    return Page(tmp_path / "runs", folder=tmp_path / "page", limits=Limits(upload_mb=1.0))


@pytest.fixture
def does(page: Page) -> Handlers:
    return Handlers(page)


def visitor(name: str) -> Any:
    return SimpleNamespace(session_hash=name)


def form(**changes: Any) -> dict[str, Any]:
    """What the page sends."""
    plain = {"run": "street", "kind": CLIP, "clip": 0, "canvas": None, "uploaded": None, "edits": "", "frames": 3}
    return plain | {"style": "sample", "seed": 0, "picture": None} | changes


def made(does: Handlers, who: str = "a", **changes: Any) -> list[Answer]:
    answers = list(does.generate(form(**changes), visitor(who)))
    assert answers[-1].done and not any(answer.done for answer in answers[:-1])
    return answers


def put(page: Page, name: str, content: bytes) -> str:
    """An uploaded file, where gradio puts it."""
    place = page.root / "uploads" / name
    place.parent.mkdir(parents=True, exist_ok=True)
    place.write_bytes(content)
    return str(place)


def png(pixels: np.ndarray) -> bytes:
    buffer = io.BytesIO()
    Image.fromarray(pixels.astype(np.uint8)).save(buffer, "PNG")
    return buffer.getvalue()


def scene() -> np.ndarray:
    labels = np.full((32, 64), 23, np.int32)
    labels[16:], labels[18:24, 6:18] = 7, 26
    return labels


def test_a_painting_becomes_a_video(does: Handlers):
    car = Moved(26, (20, 10), ((0.0, 20.0, 10.0), (1.0, 22.0, 40.0)))
    value = encode(scene(), does.model("street").classes, paths=True, objects=[car])
    answers = made(does, kind=PAINT, canvas=value, edits="edits: [{replace: 8, class: 7}]")
    assert "Frame 1 of 3" in answers[1].progress and 'max="3" value="1"' in answers[1].progress
    assert [f'data-name="{name}"' in str(answers[1].live) for name in ("source", "result", "flow", "mask")] == [
        True
    ] * 4
    last = answers[-1]
    assert last.result is not None and last.result.is_file() and last.panels is not None and last.panels.is_file()
    assert last.edits is not None and last.edits.read_text() == "edits:\n  - {replace: 8, class: 7}\n"
    assert last.labels is not None
    with zipfile.ZipFile(last.labels) as archive:
        assert archive.namelist() == [f"clip/labels/{number:06d}.png" for number in range(3)]
        with archive.open("clip/labels/000000.png") as file:
            assert np.array_equal(np.asarray(Image.open(file)), scene())
    assert last.command == (
        "python scripts/generate.py run=runs/street source=clip frames=3 edit=edits.yaml out=video.mp4 png=true"
    )


def test_two_visitors_do_not_mix(does: Handlers):
    """Turn by turn, each with a painting, a list of edits and files of their own."""
    classes = does.model("street").classes
    ours = {}
    for who, label in (("a", 7), ("b", 11)):
        value = encode(np.full((32, 64), label), classes)
        ours[who] = does.generate(
            form(kind=PAINT, canvas=value, edits=f"edits: [{{replace: 21, class: {label}}}]"), visitor(who)
        )
    answers: dict[str, list[Answer]] = {"a": [], "b": []}
    while ours:
        for who in list(ours):
            answer = next(ours[who], None)
            if answer is None:
                del ours[who]
            else:
                answers[who].append(answer)
    places = {}
    for who, label in (("a", 7), ("b", 11)):
        last = answers[who][-1]
        assert last.done and last.edits is not None and last.labels is not None
        assert f"class: {label}" in last.edits.read_text()
        with zipfile.ZipFile(last.labels) as archive, archive.open("clip/labels/000000.png") as file:
            assert set(np.asarray(Image.open(file)).flat) == {label}
        places[who] = last.edits.parents[1]
    assert places["a"] != places["b"]


def test_only_the_last_videos_of_a_visitor_stay(does: Handlers, page: Page):
    last = [made(does)[-1].result for _ in range(4)]
    assert [path is not None and path.is_file() for path in last] == [False, True, True, True]
    page.leave(visitor("a"))
    assert not any(path is not None and path.exists() for path in last)


def test_one_label_map_comes_to_the_canvas_and_many_are_a_clip(does: Handlers, page: Page):
    file = put(page, "one.png", png(scene()))
    clip, value, words = does.upload("street", [file], 9, visitor("a"))
    assert clip is None and value == does.canvas(does.model("street"), scene()) and "canvas" in words
    files = [put(page, f"{number}.png", png(np.roll(scene(), number, 1))) for number in (2, 10, 1)]
    clip, value, words = does.upload("street", files, 9, visitor("a"))
    assert clip is not None and value is None and "3 label maps" in words
    last = made(does, kind=UPLOAD, uploaded=clip)[-1]
    assert last.labels is not None
    with zipfile.ZipFile(last.labels) as archive, archive.open("clip/labels/000002.png") as third:
        assert np.array_equal(np.asarray(Image.open(third)), np.roll(scene(), 10, 1)), "in the order of their numbers"


def uploaded(does: Handlers, page: Page, name: str, picture: Image.Image, **saving: Any) -> Any:
    """The label map that an uploaded picture is on the canvas."""
    file = io.BytesIO()
    picture.save(file, {".png": "PNG", ".jpg": "JPEG"}[Path(name).suffix], **saving)
    model = does.model("street")
    _, value, _ = does.upload("street", [put(page, name, file.getvalue())], 9, visitor("a"))
    return decode(value, model.classes, model.size).labels[0]


def test_colours_under_a_palette_of_a_painting_program_and_in_a_jpeg(does: Handlers, page: Page):
    large = Image.fromarray(np.moveaxis(colorize(np.kron(scene(), np.ones((8, 8), np.int32))), 0, -1))
    indexed = large.quantize(16)
    assert set(np.asarray(indexed).flat) == {0, 1, 2}, "its numbers are no ids"
    assert np.array_equal(uploaded(does, page, "indexed.png", indexed), scene())
    assert np.array_equal(uploaded(does, page, "painted.jpg", large, quality=75), scene())


def test_photographs_are_no_label_maps_and_ids_of_others_are_named(does: Handlers, page: Page, tmp_path: Path):
    photo = np.random.default_rng(0).integers(0, 256, (32, 64, 3), np.uint8)
    with pytest.raises(DataError, match=r"photo\.jpg: \d+% of the colours are of no class"):
        uploaded(does, page, "photo.jpg", Image.fromarray(photo))
    write_video(tmp_path / "x.mp4", np.stack([photo] * 3), 8)
    with pytest.raises(DataError, match=r"drive\.mp4: \d+% of the colours are of no class"):
        does.upload("street", [put(page, "drive.mp4", (tmp_path / "x.mp4").read_bytes())], 9, visitor("a"))
    trained = np.where(scene() == 23, 10, 13)
    with pytest.raises(DataError, match=r"ids 10, 13, of no class of this run.*train ids.*\(7 road, 8 sidewalk"):
        uploaded(does, page, "trained.png", Image.fromarray(trained.astype(np.uint8)))
    with pytest.raises(DataError, match="JPEG changes the ids"):
        uploaded(does, page, "grey.jpg", Image.fromarray(scene().astype(np.uint8)))


def test_a_film_for_a_run_that_draws_edges(does: Handlers, page: Page, tmp_path: Path):
    config = street_config()
    config.model.source, config.model.source_channels = SourceKind.image, 1
    config.data.kind, config.data.flow, config.data.root = DataKind.video, FlowMethod.dis, str(tmp_path / "gone")
    config.data.video_cache = None
    make_run(tmp_path / "runs" / "edges", config)
    model = does.model("edges")
    assert not model.paints and does.blank(model) is None
    clips, why = does.clip_names(model)
    assert clips == [] and "are not on this machine" in why and str(tmp_path) not in why
    write_video(tmp_path / "x.mp4", np.moveaxis(colorize(np.stack([scene()] * 3)), 1, -1), 8)
    file = put(page, "walk.mp4", (tmp_path / "x.mp4").read_bytes())
    clip, value, _ = does.upload("edges", [file], 9, visitor("a"))
    assert clip is not None and value is None
    last = made(does, run="edges", kind=UPLOAD, uploaded=clip, frames=2)[-1]
    assert last.command is not None and "source=walk.mp4 frames=2" in last.command
    with pytest.raises(ConfigError, match="upload a clip for run street first"):
        made(does, kind=UPLOAD, uploaded=clip)
    with pytest.raises(DataError, match=r"bad\.mp4"):
        does.upload("edges", [put(page, "bad.mp4", b"no film")], 9, visitor("a"))


@pytest.mark.parametrize(
    ("changes", "words"),
    [
        ({"run": None}, "choose a run first"),
        ({"run": "../street"}, "there is no run '../street'"),
        ({"frames": 0}, "between 1 and 480"),
        ({"frames": 10**9}, "between 1 and 480"),
        ({"clip": None}, "upload one"),
        ({"kind": PAINT}, "no painting yet"),
        ({"kind": UPLOAD}, "upload a clip"),
        ({"edits": "edits: [{replace: 99, class: 7}]"}, "the model has no class 99"),
        ({"edits": "edits: [{remove: true, class: 7, mask: /etc}]"}, "mask"),
    ],
)
def test_wishes_that_cannot_be(does: Handlers, changes: dict[str, Any], words: str):
    with pytest.raises(UserError, match=words):
        made(does, **changes)


def test_files_from_elsewhere_and_large_ones(does: Handlers, page: Page, tmp_path: Path):
    with pytest.raises(UserError, match="was not uploaded here"):
        does.upload("street", ["/etc/passwd"], 9, visitor("a"))
    with pytest.raises(UserError, match="takes 1 MB"):
        does.upload("street", [put(page, "x.png", bytes(2 * 2**20))], 9, visitor("a"))


def test_frames_of_a_clip_for_the_canvas(does: Handlers):
    first, third = does.frame_of_clip("street", 1, 0), does.frame_of_clip("street", 1, 2)
    assert first["size"] == [32, 64] and first["paths"] and first["frames"] != third["frames"]
    with pytest.raises(ConfigError, match="choose a clip"):
        does.frame_of_clip("street", None, 0)
