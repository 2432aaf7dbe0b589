"""How far a piece of work is: lines where there is no terminal, a bar where there is one."""

from __future__ import annotations

import sys

import pytest

from trainer.records.progress import Progress, followed


@pytest.fixture
def now(monkeypatch: pytest.MonkeyPatch) -> list[float]:
    clock = [100.0]
    monkeypatch.setattr("time.monotonic", lambda: clock[0])
    return clock


def test_short_work_is_not_spoken_of(now: list[float], capsys: pytest.CaptureFixture[str]) -> None:
    assert list(followed(range(3), unit="file")) == [0, 1, 2]
    assert capsys.readouterr() == ("", "")


def test_a_line_now_and_then(now: list[float], capsys: pytest.CaptureFixture[str]) -> None:
    for _ in followed(range(8), unit="batch", what="val"):
        now[0] += 10.0
    assert capsys.readouterr().err.splitlines() == [
        "val: 38 % 3 batches, 0.1 batches/s, ETA 50 s",
        "val: 75 % 6 batches, 0.1 batches/s, ETA 20 s",
    ]


def test_items_count_for_more_than_one_and_their_number_need_not_be_known(now: list[float]) -> None:
    lines: list[str] = []
    with Progress("frame", tell=lines.append) as progress:
        now[0] += 40.0
        progress.show(20)
        progress.show(21)
    assert lines == ["20 frames, 0.5 frames/s"]


def test_a_bar_with_the_time_left(
    now: list[float], monkeypatch: pytest.MonkeyPatch, capsys: pytest.CaptureFixture[str]
) -> None:
    monkeypatch.setattr(sys.stderr, "isatty", lambda: True, raising=False)
    with Progress("frame", 40, "val") as progress:
        now[0] += 10.0
        progress.show(10)
        progress.show(20)
        shown = progress.bar.format_meter(**progress.bar.format_dict)
    assert shown.startswith("val:  50%|")
    assert "20/40 frames" in shown and "2 frames/s, ETA 10 s" in shown
