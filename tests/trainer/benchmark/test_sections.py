"""Sections in processes of their own: what one does to itself is nothing to the others, and everything is recorded."""

from __future__ import annotations

import io
import json
import os
import signal
import subprocess
import sys
import time
from pathlib import Path
from typing import Any

import pytest

from tests.helpers.paths import ROOT
from trainer.benchmark.sections import Rows, Section, Series, markdown, show

AMPLE = 60.0  # seconds


HEAD = """
import os, subprocess, sys, time
from pathlib import Path
from trainer.benchmark.sections import Rows
rows = Rows(Path(sys.argv[1]))
"""


def section(name: str, program: str, limit: float = AMPLE) -> Section:
    environment = {"PYTHONPATH": str(ROOT)}
    return Section(name, f"The {name}", [sys.executable, "-c", HEAD + program, "{rows}"], limit, environment)


def series(out: Path, minutes: float = 5.0) -> tuple[Series, list[str]]:
    lines: list[str] = []
    work = out / "work"
    work.mkdir(parents=True)
    return Series(out, work, "found", {"title": "Found", "command": "python all.py"}, minutes, lines.append), lines


def outcomes(record: dict[str, Any]) -> dict[str, str]:
    return {entry["name"]: entry["outcome"] for entry in record["sections"]}


@pytest.mark.slow
def test_a_crash_a_hang_and_an_error_leave_the_others(tmp_path: Path) -> None:
    child = tmp_path / "child"
    found, lines = series(tmp_path / "out")
    record = found.run(
        [
            section("first", "rows.row('speeds', model='a', rate=1234.5)\nrows.detail('b', c=1)"),
            section("crash", "rows.row('speeds', model='b', rate=2.0)\nos.abort()"),
            section(
                "hang",
                "p = subprocess.Popen([sys.executable, '-c', 'import time; time.sleep(600)'], process_group=0)\n"
                f"Path({str(child)!r}).write_text(str(p.pid))\nrows.note('begun')\ntime.sleep(600)",
                limit=6,
            ),
            section("error", "raise ValueError('no such thing')"),
            section("last", "rows.note('a word')\nrows.row('speeds', model='c', rate=None, ok=True)"),
        ]
    )
    assert outcomes(record) == {
        "first": "done", "crash": "failed", "hang": "stopped", "error": "failed", "last": "done"
    }  # fmt: skip
    by_name = {entry["name"]: entry for entry in record["sections"]}
    assert by_name["first"]["rows"] == [{"table": "speeds", "model": "a", "rate": 1234.5}]
    assert by_name["first"]["details"] == [{"detail": "b", "c": 1}]
    assert by_name["crash"]["rows"] == [{"table": "speeds", "model": "b", "rate": 2.0}]
    assert "SIGABRT" in by_name["crash"]["why"]
    assert by_name["hang"]["notes"] == ["begun"] and "longer than 6 s" in by_name["hang"]["why"]
    assert any("time.sleep" in line or "<string>" in line for line in by_name["hang"]["tail"])  # where it hung
    assert "no such thing" in by_name["error"]["why"] and "ValueError: no such thing" in by_name["error"]["tail"][-1]
    assert not _alive(int(child.read_text()))  # children are gone with their section
    stored = json.loads((tmp_path / "out" / "found.json").read_text())
    assert stored["sections"] == record["sections"] and stored["command"] == "python all.py"
    assert any("1,234" in line or "1,235" in line for line in lines)  # passed on


def _alive(pid: int) -> bool:
    deadline = time.monotonic() + 20
    while time.monotonic() < deadline:
        try:
            status = Path(f"/proc/{pid}/status").read_text()
        except OSError:
            return False
        if "\nState:\tZ" in status:
            return False
        time.sleep(0.05)
    return True


def test_what_does_not_fit_into_the_time_is_left_out(tmp_path: Path) -> None:
    found, _ = series(tmp_path, minutes=0.01)
    record = found.run([section("late", "rows.note('never')")])
    assert outcomes(record) == {"late": "left out"} and record["sections"][0]["why"] == "no time was left"
    assert "No time was left" in markdown(record) or "no time was left" in markdown(record)


def test_whoever_is_killed_leaves_what_there_was(tmp_path: Path) -> None:
    root = ROOT
    program = (
        "import sys; from pathlib import Path; from trainer.benchmark.sections import Section, Series\n"
        'inner = "import sys, time; from pathlib import Path; from trainer.benchmark.sections import Rows\\n'
        "Rows(Path(sys.argv[1])).row('t', a=1); time.sleep(600)\"\n"
        f"Series(Path({str(tmp_path)!r}), Path({str(tmp_path)!r}), 'found', {{}}, 5, print).run("
        "[Section('one', 'One', [sys.executable, '-c', inner, '{rows}'], 300)])"
    )
    process = subprocess.Popen(
        [sys.executable, "-c", program], cwd=root, env={**os.environ, "PYTHONPATH": str(root)},
    )  # fmt: skip
    try:
        record: dict[str, Any] = {}
        deadline = time.monotonic() + AMPLE
        while not record.get("sections", [{}])[0].get("rows") and time.monotonic() < deadline:
            time.sleep(0.05)
            if (tmp_path / "found.json").exists():
                record = json.loads((tmp_path / "found.json").read_text())
    finally:
        process.send_signal(signal.SIGINT)
        process.wait(AMPLE)
    assert record["sections"][0]["rows"] == [{"table": "t", "a": 1}]
    assert record["sections"][0]["outcome"] == "running"


def test_tables_have_all_columns() -> None:
    record = {
        "title": "Speeds",
        "command": "make all",
        "seconds": 12.3,
        "sections": [
            {
                "title": "One", "outcome": "done", "seconds": 3.0, "notes": ["In bf16."],
                "rows": [{"table": "t", "a": 1, "b": 0.123456}, {"table": "t", "a": 20000.4, "c": "x|y"}],
            },
            {"title": "Two", "outcome": "failed", "seconds": 2.0, "notes": [], "rows": [], "why": "it fell"},
        ],
    }  # fmt: skip
    assert markdown(record).splitlines() == [
        "## Speeds", "", "`make all`: 12 s in all.", "",
        "### One", "", "In bf16.", "",
        "| a | b | c |", "| --- | --- | --- |", "| 1 | 0.1235 | - |", "| 20,000 | - | x\\|y |", "",
        "### Two", "", "Failed after 2 s: it fell",
    ]  # fmt: skip


@pytest.mark.parametrize(
    ("value", "text"), [(None, "-"), (True, "yes"), (3, "3"), (0.00012346, "0.0001235"), (1234.0, "1,234"), ("a", "a")]
)
def test_values_are_shown(value: Any, text: str) -> None:
    assert show(value) == text


def test_rows_are_printed_and_kept(tmp_path: Path) -> None:
    stream = io.StringIO()
    rows = Rows(tmp_path / "rows", stream)
    rows.row("speeds", model="a", rate=2.5, none=None)
    rows.note("a word")
    rows.detail("tests", name="b")
    rows.say("not kept")
    assert stream.getvalue() == "model a  rate 2.5\na word\nname b\nnot kept\n"
    assert [json.loads(line) for line in (tmp_path / "rows").read_text().splitlines()] == [
        {"table": "speeds", "model": "a", "rate": 2.5, "none": None},
        {"note": "a word"},
        {"detail": "tests", "name": "b"},
    ]
