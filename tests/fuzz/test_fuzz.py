"""What fuzzing has found stays found, and readers stand a few more files; ``python -m tests.fuzz`` counts thousands."""

from __future__ import annotations

import signal
from pathlib import Path

import pytest

from tests.fuzz.engine import CORPUS, Cases, folder_of, found_before, readers
from tests.fuzz.engine import with_hypothesis as draw
from tests.fuzz.reader import Reader

READERS = readers()


@pytest.fixture(autouse=True)
def _alarm() -> object:
    before = signal.getsignal(signal.SIGALRM)
    yield
    signal.signal(signal.SIGALRM, before)


def test_the_corpus_is_read_by_somebody() -> None:
    assert {path.name for path in CORPUS.iterdir()} <= {folder_of(reader).name for reader in READERS}


@pytest.mark.parametrize("reader", [r for r in READERS if found_before(r)], ids=lambda reader: reader.name)
def test_what_was_found_is_mended(tmp_path: Path, reader: Reader) -> None:
    cases = Cases(reader, None, tmp_path)
    wrong = {path.name: cases.fault(path.read_bytes()) for path in found_before(reader)}
    assert {name: fault for name, fault in wrong.items() if fault} == {}


@pytest.mark.parametrize("reader", READERS, ids=lambda reader: reader.name)
def test_it_begins_with_files_that_are_read(tmp_path: Path, reader: Reader) -> None:
    cases = Cases(reader, None, tmp_path)
    assert [cases.fault(data) for data in cases.seeds] == [None] * len(cases.seeds)
    assert cases.accepted


@pytest.mark.slow
@pytest.mark.parametrize("reader", READERS, ids=lambda reader: reader.name)
def test_more_files(tmp_path: Path, reader: Reader) -> None:
    out = tmp_path / "found"
    out.mkdir()
    cases = Cases(reader, out, tmp_path)
    draw(cases, 20, 7)
    assert {path.name: path.read_text() for path in out.glob("*.fault")} == {}
