"""Looks for a video from a command line: of a picture, between two seeds, by place where ids do not last."""

import logging
from pathlib import Path

import numpy as np
import pytest
import torch
from PIL import Image

from tests.helpers.made_run import make_styled_run
from trainer.data.street.world import StreetWorld
from trainer.errors import ConfigError, DataError
from vid2vid.config import StyleTracks
from vid2vid.generate.styling import build_styles, picture_vectors
from vid2vid.styles.pooling import own_styles
from vid2vid.styles.regions import region_of
from vid2vid.styles.request import StyleRequest
from vid2vid.styles.vector_files import write_vectors
from vid2vid.trained import LoadedRun

IDS = [7, 8, 11, 21, 23, 24, 26]


@pytest.fixture(scope="module")
def made(tmp_path_factory: pytest.TempPathFactory) -> tuple[Path, LoadedRun]:
    folder = tmp_path_factory.mktemp("runs") / "styles"
    return folder, make_styled_run(folder, variance=0.1)


class Frames:
    """Two cars that stand still; their ids change places in every frame where they do not last."""

    name, fps = "cars", 16.0

    def __init__(self, lasting: bool) -> None:
        self.lasting = lasting

    def __len__(self) -> int:
        return 4

    def __iter__(self):
        for t in range(4):
            labels, instances = np.full((32, 64), 7, np.int16), np.full((32, 64), 7, np.int32)
            for number in range(2):
                place = slice(10, 20), slice(5 + 30 * number, 20 + 30 * number)
                labels[place] = 26
                instances[place] = 26001 + (number if self.lasting else (number + t) % 2)
            yield {"labels": labels, "instances": instances}


@pytest.mark.parametrize(("lasting", "told_by"), [(True, StyleTracks.ids), (False, StyleTracks.overlap)])
def test_who_is_who_is_seen_and_said(
    made: tuple[Path, LoadedRun], lasting: bool, told_by: StyleTracks, caplog: pytest.LogCaptureFixture
) -> None:
    folder, loaded = made
    with caplog.at_level(logging.INFO):
        styles = build_styles(StyleRequest(), loaded, folder, Frames(lasting), 4)
    assert styles is not None and styles.told_by is told_by
    assert caplog.records[-1].getMessage().endswith(f"style_tracks={told_by.value}")
    seen = []
    for frame in Frames(lasting):
        maps = styles.maps({name: torch.from_numpy(value)[None, None] for name, value in frame.items()})
        seen.append(maps[0, 0, :, 15, [10, 40]].tolist())
    assert seen[1:] == seen[:1] * 3  # each car keeps its own
    assert styles.used.keys() == {(7, 0), *(((26, 26001), (26, 26002)) if lasting else ((26, 1), (26, 2)))}


def test_a_video_moves_between_two_seeds(made: tuple[Path, LoadedRun]) -> None:
    folder, loaded = made
    ends = [build_styles(StyleRequest(seed=s), loaded, folder, Frames(True), 4) for s in (3, 5)]
    moving = build_styles(StyleRequest(interpolate="3,5"), loaded, folder, Frames(True), 4)
    maps = []
    for styles in (*ends, moving):
        assert styles is not None
        batches = [{k: torch.from_numpy(v)[None, None] for k, v in frame.items()} for frame in Frames(True)]
        maps.append([styles.maps(batch) for batch in batches])
    for t in range(4):
        assert torch.allclose(maps[2][t], maps[0][t] * (1 - t / 3) + maps[1][t] * (t / 3), atol=1e-6)
    with pytest.raises(ConfigError, match="no known length; give frames=N"):
        build_styles(StyleRequest(interpolate="3,5"), loaded, folder, Frames(True), None)


def test_a_video_moves_between_two_files_whose_instances_were_told_apart_by_place(
    made: tuple[Path, LoadedRun], tmp_path: Path
) -> None:
    """Their vectors are those of the tracks, though the ids of this video last; the last frame has the second's."""
    folder, loaded = made
    ends = [np.full(3, value, np.float32) for value in (-0.5, 0.75)]
    for name, vector in zip("ab", ends, strict=True):
        used = {(26, 1): vector, (26, 2): -vector}
        write_vectors(tmp_path / f"{name}.json", used, [26], StyleTracks.overlap)
    asked = StyleRequest(interpolate=f"{tmp_path / 'a.json'},{tmp_path / 'b.json'}")
    styles = build_styles(asked, loaded, folder, Frames(True), 4)
    assert styles is not None and styles.told_by is StyleTracks.overlap
    maps = [styles.maps({k: torch.from_numpy(v)[None, None] for k, v in frame.items()}) for frame in Frames(True)]
    for place, sign in ((10, 1), (40, -1)):
        assert [maps[t][0, 0, :, 15, place].tolist() for t in (0, 3)] == [(sign * end).tolist() for end in ends]
    (tmp_path / "bare").mkdir()  # files need no styles.json
    bare = build_styles(asked, loaded, tmp_path / "bare", Frames(True), 4)
    first = {k: torch.from_numpy(v)[None, None] for k, v in next(iter(Frames(True))).items()}
    assert bare is not None and bare.maps(first)[0, 0, :, 15, 10].tolist() == ends[0].tolist()
    with pytest.raises(DataError, match="does not exist"):
        mixed = StyleRequest(interpolate=f"{tmp_path / 'a.json'},3")
        build_styles(mixed, loaded, tmp_path / "bare", Frames(True), 4)
    write_vectors(tmp_path / "b.json", {(26, 26001): ends[1]}, [26], StyleTracks.ids)
    with pytest.raises(ConfigError, match=r"one file were told apart by ids, those of the other by overlap"):
        build_styles(asked, loaded, folder, Frames(True), 4)


def test_a_picture_gives_each_of_its_classes_its_look(made: tuple[Path, LoadedRun], tmp_path: Path) -> None:
    """As E sees it by hand; classes that it does not show have their mean."""
    folder, loaded = made
    shown = StreetWorld(0, 0, "val").render(0, (32, 64))
    Image.fromarray(shown["image"].transpose(1, 2, 0)).save(tmp_path / "a.png")
    Image.fromarray(shown["labels"].astype(np.uint8)).save(tmp_path / "a_labels.png")
    found = picture_vectors(loaded, tmp_path / "a.png", None)
    assert loaded.style is not None and set(found) == set(np.unique(shown["labels"]).tolist())
    batch = {"labels": torch.from_numpy(shown["labels"])[None, None],
             "images": torch.from_numpy(shown["image"])[None, None]}  # fmt: skip
    own = own_styles(loaded.style, loaded.encoder, batch)
    for key, vector in zip(own.keys.tolist(), own.vectors.numpy(), strict=True):
        assert np.allclose(found[IDS[region_of(key).channel]], vector, atol=1e-6)
    styles = build_styles(StyleRequest(style=f"image:{tmp_path / 'a.png'}"), loaded, folder, Frames(True), 4)
    assert styles is not None and len(found) < len(IDS) + 1
    frame = {"labels": torch.full((1, 1, 32, 64), 7, dtype=torch.int16)}
    assert np.allclose(styles.maps(frame)[0, 0, :, 0, 0], found[7])


def test_a_picture_needs_its_label_map(made: tuple[Path, LoadedRun], tmp_path: Path) -> None:
    _, loaded = made
    Image.new("RGB", (64, 32)).save(tmp_path / "a.png")
    with pytest.raises(DataError, match=r"a_labels\.png; give style_labels=PATH"):
        picture_vectors(loaded, tmp_path / "a.png", None)
    Image.new("L", (32, 32), 7).save(tmp_path / "b.png")
    with pytest.raises(DataError, match=r"is 32x64 \(HxW\), its label map .*b\.png 32x32"):
        picture_vectors(loaded, tmp_path / "a.png", tmp_path / "b.png")


@pytest.mark.parametrize(
    ("request_", "told"),
    [
        (StyleRequest(style="random"), "style=random: must be sample"),
        (StyleRequest(style="image"), "style=image: must be"),
        (StyleRequest(style_labels="a.png"), "is the label map of style=image:PATH"),
        (StyleRequest(interpolate="1"), "needs two, A,B"),
        (StyleRequest(interpolate="1,2", style="mean"), "leave style=mean out"),
        (StyleRequest(interpolate="1,2", save_style="a.json"), "vectors that move are not kept"),
        (StyleRequest(seed=-1), "seed=-1: must be at least 0"),
    ],
)
def test_what_cannot_be_asked_is_told(made: tuple[Path, LoadedRun], request_: StyleRequest, told: str) -> None:
    with pytest.raises(ConfigError, match=told):
        request_.check(made[1].config.model)
