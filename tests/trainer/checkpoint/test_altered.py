"""A checkpoint whose files are not as they were written is found, named, and not used."""

import hashlib
import json
import threading
from pathlib import Path

import pytest
import torch

from tests.helpers.altering import flip
from trainer.checkpoint import contents
from trainer.checkpoint.contents import altered, damage
from trainer.checkpoint.directory import Checkpoints
from trainer.checkpoint.resuming import choose
from trainer.checkpoint.trained import load_weights
from trainer.errors import CheckpointError

STATE = {"x": torch.randn(300), "empty": torch.zeros(0), "half": torch.ones(3, 2).bfloat16(), "n": [1, 0.1, None]}
WEIGHTS = {"g.w": torch.randn(5, 4), "g.none": torch.zeros(0, 2), "g.scalar": torch.tensor(3), "d.b": torch.ones(2) > 0}
FILES = ["meta.json", "state/.metadata", "state/__0_0.distcp", "state/tree.json"]
FILES += ["weights.safetensors", "ema.safetensors"]


def write(run: Path, step: int) -> Path:
    ema = {name: value.double() for name, value in WEIGHTS.items()}
    return Checkpoints(run, 9).save(step, {**STATE, "step": step}, WEIGHTS, ema, {"config": {"lr": 0.1, "n": {1: "ü"}}})


def test_the_digests_are_those_of_the_files(tmp_path: Path) -> None:
    path = write(tmp_path, 3)
    digests = json.loads((path / "meta.json").read_text())["digests"]
    assert sorted(["meta.json", *digests]) == sorted(FILES)
    for name, digest in digests.items():
        assert hashlib.sha256((path / name).read_bytes()).hexdigest() == digest, name


@pytest.mark.parametrize("name", FILES)
def test_a_flipped_bit_anywhere_is_found_and_the_one_before_is_used(tmp_path: Path, name: str) -> None:
    good, bad = write(tmp_path, 1), write(tmp_path, 2)
    flip(bad / name, number=5)
    path, passed = choose(Checkpoints(tmp_path), "auto")
    assert path == good and len(passed) == 1 and passed[0].startswith(f"step-00000002: {name} is")
    path, passed = choose(Checkpoints(tmp_path), str(tmp_path))  # the same run, named
    assert path == good and len(passed) == 1
    with pytest.raises(CheckpointError, match=rf"resume from .*2: {name} is.*trainer\.resume=.*step-00000001"):
        choose(Checkpoints(tmp_path), str(bad))
    with pytest.raises(CheckpointError, match=rf"cannot resume from .*step-00000002: {name} is"):
        Checkpoints(tmp_path).load(bad)


def test_every_byte_of_the_meta_data_counts(tmp_path: Path) -> None:
    """All but blanks between its words, which tell nothing."""
    path = write(tmp_path, 1)
    before = (path / "meta.json").read_bytes()
    meaning = json.loads(before)
    for place in range(len(before)):
        content = bytearray(before)
        content[place] ^= 1 << place % 8
        (path / "meta.json").write_bytes(content)
        if damage(path) is None:
            assert json.loads(content) == meaning, place


@pytest.mark.parametrize(("name", "ema"), [("weights.safetensors", False), ("ema.safetensors", True)])
def test_weights_are_read_only_as_they_were_written(tmp_path: Path, name: str, ema: bool) -> None:
    path = write(tmp_path, 1)
    flip(path / name, number=1, last=8)  # in a tensor, not in the header
    with pytest.raises(CheckpointError, match=rf"step-00000001: {name} is not as it was written"):
        load_weights(tmp_path, ema)
    assert load_weights(tmp_path, not ema)[1]["step"] == 1  # the other file is read alone


def test_only_damaged_ones_are_refused_with_every_reason(tmp_path: Path) -> None:
    for step, name in ((1, "state/tree.json"), (2, "weights.safetensors")):
        flip(write(tmp_path, step) / name, number=step)
    match = r"no whole checkpoint left \(step-00000002: weights.safetensors is .*step-00000001: state/tree.json is"
    with pytest.raises(CheckpointError, match=match):
        choose(Checkpoints(tmp_path), "auto")
    (tmp_path / "checkpoints/latest").unlink()  # nor does it begin anew where the pointer is lost as well
    with pytest.raises(CheckpointError, match=match):
        choose(Checkpoints(tmp_path), "auto")
    Checkpoints(tmp_path).set_aside(None)  # trainer.resume=never
    assert choose(Checkpoints(tmp_path), "auto") == (None, [])


def test_checkpoints_without_digests_go_on(tmp_path: Path) -> None:
    """As they were written before there were any."""
    path = write(tmp_path, 1)
    meta = json.loads((path / "meta.json").read_text())
    del meta["digests"], meta["digest"]
    (path / "meta.json").write_text(json.dumps(meta, indent=1))
    assert choose(Checkpoints(tmp_path), "auto") == (path, [])
    assert torch.equal(Checkpoints(tmp_path).load(path)[0]["x"], STATE["x"])
    assert load_weights(path)[1] == {"config": {"lr": 0.1, "n": {"1": "ü"}}, "step": 1}


def test_large_files_are_read_once_and_only_where_they_are_used(
    tmp_path: Path, monkeypatch: pytest.MonkeyPatch
) -> None:
    write(tmp_path, 1)
    path = write(tmp_path, 2)
    read = []
    original = contents.hashlib.file_digest
    monkeypatch.setattr(contents.hashlib, "file_digest", lambda f, kind: read.append(Path(f.name)) or original(f, kind))
    checkpoints = Checkpoints(tmp_path)
    checkpoints.tidy()
    assert checkpoints.latest() == path and checkpoints.has(1) and read == []
    load_weights(path)
    assert read == [path / "ema.safetensors"]
    assert choose(checkpoints, "auto") == (path, [])
    checkpoints.load(path)
    load_weights(path, ema=False)
    assert sorted(read) == sorted(path / name for name in FILES if name != "meta.json")
    flip(path / "ema.safetensors", number=0)
    assert (altered(path) or "").startswith("ema.safetensors is not as it was written")


@pytest.mark.parametrize("text", ["", "../step-00000001", "step-00000009/..", "garbage", "a\0b", "/etc/passwd\n"])
def test_a_pointer_that_names_nothing_is_not_followed(tmp_path: Path, text: str) -> None:
    path = write(tmp_path, 1)
    (tmp_path / "checkpoints/latest").write_text(text)
    assert choose(Checkpoints(tmp_path), "auto") == (path, [])
    assert load_weights(tmp_path)[1]["step"] == 1
    with pytest.raises(CheckpointError, match="checkpoints/latest"):
        choose(Checkpoints(tmp_path), str(tmp_path / "checkpoints/latest"))


def test_one_whose_name_comes_late_is_awaited(tmp_path: Path) -> None:
    """`latest` is there before it on another machine: the one before it was gone on from."""
    write(tmp_path, 1)
    late = write(tmp_path, 2)
    away = late.rename(tmp_path / "away")
    timer = threading.Timer(0.4, away.rename, (late,))
    timer.start()
    try:
        assert choose(Checkpoints(tmp_path), "auto") == (late, [])
    finally:
        timer.join()
