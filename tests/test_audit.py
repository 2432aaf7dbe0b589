"""The pins, the hashes of their files, and what `make audit` says where they do not agree."""

from __future__ import annotations

from pathlib import Path

from tests.helpers.audit import HASHES, PINS, files_of, hashes_of, pins, problems, written
from tests.helpers.paths import ROOT

A, B, C = "a" * 64, "b" * 64, "c" * 64


def test_every_pin_has_hashes() -> None:
    known, kept = pins(PINS.read_text(encoding="utf-8")), HASHES.read_text(encoding="utf-8")
    assert len(known) > 80 and problems(known, kept, None) == [], "run `make hashes`"


def test_what_disagrees_is_named() -> None:
    kept = written({"x": "1", "y": "2"}, {"x": [A, B], "y": [C]})
    assert hashes_of(kept) == {"x": {A, B}, "y": {C}} and pins(kept) == {"x": "1", "y": "2"}
    assert problems({"x": "1", "y": "2"}, kept, {"x": {A, B, C}, "y": {C}}) == []
    assert problems({"x": "1.1", "z": "3"}, kept, None) == [
        "x==1.1: constraints.hashes has 1",
        "z==3: constraints.hashes has None",
        "y: constraints.hashes has it, constraints.txt has not",
    ]
    assert problems({"x": "1", "y": "2"}, kept, {"x": {A}, "y": {C}}) == [
        f"x: the index no longer has the files of {B}"
    ]
    assert problems({"x": "1"}, "x==1\n", None) == ["x: has no hash"]


def test_files_for_this_python() -> None:
    names = {
        "x_y-1.0-cp311-cp311-manylinux_2_28_x86_64.whl": A,
        "x_y-1.0.tar.gz": B,
        "x_y-1.0-cp312-cp312-win_amd64.whl": C,
        "x_y-1.0.1-py3-none-any.whl": C,
        "x_y-11.0.tar.gz": C,
    }
    page = {"files": [{"filename": name, "hashes": {"sha256": one}} for name, one in names.items()]}
    assert files_of(page, "1.0") == [A, B]
    assert pins("# torch==1\nX_y.z==2.0\n  --hash=a==b\n") == {"x-y-z": "2.0"}


def test_the_makefile_has_both() -> None:
    text = Path(ROOT / "Makefile").read_text(encoding="utf-8")
    assert "tests/helpers/audit.py check" in text and "tests/helpers/audit.py write" in text and "--strict" in text
