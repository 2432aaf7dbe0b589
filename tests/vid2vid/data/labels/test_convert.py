"""Label maps of a data set converted once: files, instances, report, and what is refused."""

from __future__ import annotations

import runpy
import sys
from dataclasses import replace

import numpy as np
import pytest
from PIL import Image

from tests.helpers.made_labels import CITYSCAPES, IDS, NUMBERS, all_bits, channels, encoded, painted
from tests.helpers.paths import ROOT
from trainer.data.pictures.files import read_bytes
from trainer.errors import ConfigError, DataError
from vid2vid.data.labels.convert import Job, convert_labels, format_converted
from vid2vid.data.labels.decode import decode_instances

SCRIPT = ROOT / "scripts/convert_labels.py"


@pytest.fixture
def job(tmp_path):
    def make(files: dict[str, bytes], **options) -> Job:
        for name, content in files.items():
            path = tmp_path / "src" / name
            path.parent.mkdir(parents=True, exist_ok=True)
            path.write_bytes(content)
        return Job(tmp_path / "src", tmp_path / "dst", **options)

    return make


def read(path) -> np.ndarray:
    with Image.open(path) as image:
        assert image.mode in ("L", "I;16")
        return np.asarray(image)


def test_colours_become_ids_in_the_same_folders(job, tmp_path):
    counts = []

    def progress(done, total):
        for item in done:
            counts.append(total)
            yield item

    files = {f"s{s}/{i:03d}.png": encoded(painted(CITYSCAPES, np.roll(IDS, i, 1))) for s in (1, 2) for i in range(3)}
    plan = job(files)
    result = convert_labels(plan, 2, progress)
    assert result.whole and result.files == 6 and counts == [6] * 6 and result.bits == 8
    assert sorted(p.relative_to(tmp_path / "dst").as_posix() for p in (tmp_path / "dst").rglob("*.*")) == sorted(files)
    assert np.array_equal(read(tmp_path / "dst/s2/002.png"), np.roll(IDS, 2, 1))
    assert result.pixels == {int(v): int(n) * 6 for v, n in zip(*np.unique(IDS, return_counts=True), strict=True)}
    text = "\n".join(format_converted(result, plan))
    assert "6 label maps read as colours" in text and "road" in text and "8 bits" in text


def test_instances_beside_the_class_become_maps_of_their_own(job, tmp_path):
    many = NUMBERS * 100
    files = {
        "a.png": encoded(channels(IDS, 0, NUMBERS)),
        "b.png": encoded(channels(IDS, many // 256, many % 256)),
        "c.png": encoded(channels(IDS, NUMBERS, NUMBERS)),
    }
    result = convert_labels(job(files, instances=tmp_path / "inst", label_map="26:13"))
    assert result.whole and np.array_equal(read(tmp_path / "dst/a.png"), np.where(IDS == 26, 13, IDS))
    ids = decode_instances(read_bytes(tmp_path / "inst/a.png"), tmp_path).numpy()
    assert np.array_equal(ids, np.where(IDS == 26, 13005, IDS.astype(np.int32)))
    ids = decode_instances(read_bytes(tmp_path / "inst/b.png"), tmp_path).numpy()
    assert np.array_equal(ids, np.where(IDS == 26, 13500, IDS.astype(np.int32)))
    ids = decode_instances(read_bytes(tmp_path / "inst/c.png"), tmp_path).numpy()
    assert len(np.unique(ids)) == 4 and len(np.unique(ids[IDS == 26])) == 1, "numbers beyond 1000 stay different"


def test_large_ids_make_all_files_16_bits(job, tmp_path):
    result = convert_labels(job({"a.png": encoded(IDS), "b.png": encoded(IDS.astype(np.uint16) + 300)}))
    assert result.bits == 16 and read(tmp_path / "dst/a.png").dtype == np.uint16
    assert np.array_equal(read(tmp_path / "dst/a.png"), IDS)
    assert np.array_equal(read(tmp_path / "dst/b.png"), IDS.astype(np.uint16) + 300)


def test_names_lose_their_ending(job, tmp_path):
    convert_labels(job({"0001_mask.png": encoded(IDS), "0001.png": encoded(IDS)}, suffix="_mask"))
    assert [p.name for p in (tmp_path / "dst").iterdir()] == ["0001.png"]


def test_strange_colours_are_reported_or_replaced(job, tmp_path):
    near = painted({**CITYSCAPES, 26: (2, 1, 140)})
    files = {"a.png": encoded(painted(CITYSCAPES)), "b.png": encoded(near)}
    plan = job(files, label_format="colors:cityscapes")
    result = convert_labels(plan)
    text = "\n".join(format_converted(result, plan))
    assert not result.whole and result.files == 1 and not (tmp_path / "dst/b.png").exists()
    assert "b.png: the colour (2,1,140) in no table" in text and "nearest=true" in text
    for options, expected in (({"nearest": True}, 26), ({"unknown": 255}, 255)):
        plan = Job(tmp_path / "src", tmp_path / str(expected), label_format="colors:cityscapes", **options)
        result = convert_labels(plan)
        assert result.whole and set(result.replaced) == {(2, 1, 140)}
        assert read(tmp_path / str(expected) / "b.png")[IDS == 26].tolist() == [expected] * int((IDS == 26).sum())
        assert "(2,1,140)" in "\n".join(format_converted(result, plan))


def test_a_bad_file_does_not_stop_the_others(job, tmp_path):
    plan = job({"a.png": encoded(IDS), "b.png": b"junk", "c.png": encoded(channels(IDS, IDS, IDS), "jpeg")})
    result = convert_labels(plan)
    assert result.files == 1 and len(result.bad) == 2 and not result.whole
    assert any("b.png: cannot be decoded" in line for line in format_converted(result, plan))


def test_what_cannot_be_meant(job, tmp_path):
    plan = job({"a.png": encoded(IDS)})
    with pytest.raises(ConfigError, match=r"src=.*nowhere: no such folder"):
        convert_labels(Job(tmp_path / "nowhere", tmp_path / "dst"))
    with pytest.raises(ConfigError, match=r"dst=.*lies in src"):
        convert_labels(Job(plan.src, plan.src / "out"))
    with pytest.raises(ConfigError, match="nearest=true and unknown=0"):
        convert_labels(Job(plan.src, plan.dst, nearest=True, unknown=0))
    with pytest.raises(ConfigError, match=r"have no instances beside the class"):
        convert_labels(Job(plan.src, plan.dst, instances=tmp_path / "i"))
    convert_labels(plan)
    with pytest.raises(ConfigError, match=r"dst=.*is there already"):
        convert_labels(plan)
    (tmp_path / "empty").mkdir()
    with pytest.raises(DataError, match="no labels here"):
        convert_labels(Job(tmp_path / "empty", tmp_path / "dst2"))


def test_the_script(job, tmp_path, monkeypatch, capsys):
    plan = job({"a.png": all_bits(channels(IDS, NUMBERS, 0, dtype=np.uint16)), "b.png": all_bits(channels(IDS, 0, 0))})

    def run(*words: str) -> int:
        monkeypatch.setattr(sys, "argv", ["convert_labels.py", f"src={plan.src}", *words])
        with pytest.raises(SystemExit) as end:
            runpy.run_path(str(SCRIPT), run_name="__main__")
        return int(end.value.code or 0)

    assert run(f"dst={tmp_path}/dst", "label_map=26:13,23:10", f"instances={tmp_path}/inst") == 0
    assert "2 label maps read as red_channel" in capsys.readouterr().out
    assert np.array_equal(read(tmp_path / "dst/a.png"), np.where(IDS == 26, 13, np.where(IDS == 23, 10, IDS)))
    assert run(f"dst={tmp_path}/dst") == 2 and "is there already" in capsys.readouterr().err


def test_the_form_that_is_named_tells_which_files_are_meant(job, tmp_path):
    """gtFine has ids and colours side by side: colours where a table of them is given."""
    painted_swap = painted(CITYSCAPES, np.where(IDS == 26, 11, IDS))
    name = "ulm/ulm_000000_000019_gtFine"
    files = {f"{name}_labelIds.png": encoded(IDS), f"{name}_color.png": encoded(painted_swap)}
    assert convert_labels(job(files, label_format="colors:cityscapes")).whole
    assert 26 not in read(tmp_path / "dst/ulm/ulm_000000_000019.png")


def test_the_advice_for_blends_works(job, tmp_path):
    """A table beside the maps, blends in them: auto says what to run, and that runs."""
    small = Image.fromarray(painted(CITYSCAPES, IDS))
    plan = job({"a.png": encoded(small.resize((small.width * 2, small.height * 2), Image.Resampling.BICUBIC))})
    table = tmp_path / "labelmap.txt"
    table.write_text("".join(f"class{label}:{r},{g},{b}::\n" for label, (r, g, b) in CITYSCAPES.items()))
    with pytest.raises(DataError, match="So many are blends") as caught:
        convert_labels(plan)
    words = dict(word.split("=", 1) for word in str(caught.value).split() if "=" in word)
    assert words["label_format"] == f"colors:{table}" and words["nearest"] == "true"
    result = convert_labels(replace(plan, label_format=words["label_format"], nearest=True))
    assert result.whole and set(result.pixels) == {0, 1, 2, 3}
