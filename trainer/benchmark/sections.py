"""Measurements in sections, each in a process of its own: a crash, a hang or full memory in one does not stop the next.

A section's process prints what it does and appends its results to a file, one JSON object a line (``Rows``). The one
that started it passes the output on, keeps the time, and writes all that is known so far into ``NAME.json`` and
``NAME.md`` whenever something new is known, so that whoever is killed leaves what there was.
"""

from __future__ import annotations

import json
import os
import signal
import subprocess
import sys
import threading
import time
from collections import deque
from collections.abc import Callable, Mapping, Sequence
from contextlib import suppress
from dataclasses import dataclass
from pathlib import Path
from typing import TYPE_CHECKING, Any, TextIO

if TYPE_CHECKING:
    import torch

from trainer.files import write_text

TAIL = 30  # last lines of the output of a section that failed, for the report
CELL = 160  # characters of a table's cell
LEAST = 5.0  # seconds under which no section is begun
LAST_WORDS = 3.0  # seconds that a process has for telling where it hung


class Rows:
    """What a section finds out: rows of tables, and notes beside them. Everything is on disk when a method returns.

    Args:
        path: of the file that the results are appended to; None only prints them.
        stream: where a person reads along.
    """

    def __init__(self, path: Path | None, stream: TextIO | None = None) -> None:
        self.path, self.stream = path, stream or sys.stdout

    def row(self, table: str, **values: Any) -> None:
        """One row of a table; plain values, None for what is not known."""
        self._append({"table": table, **values})
        self.say("  ".join(f"{key} {show(value)}" for key, value in values.items() if value is not None))

    def detail(self, what: str, **values: Any) -> None:
        """A finding that belongs into the record, but in no table for people."""
        self._append({"detail": what, **values})
        self.say("  ".join(f"{key} {show(value)}" for key, value in values.items() if value is not None))

    def note(self, text: str) -> None:
        """A sentence that belongs beside the tables."""
        self._append({"note": text})
        self.say(text)

    def say(self, text: str) -> None:
        """For whoever reads along; not kept."""
        self.stream.write(text + "\n")
        self.stream.flush()

    def _append(self, entry: Mapping[str, Any]) -> None:
        if self.path is not None:
            with self.path.open("a", encoding="utf-8") as file:
                file.write(json.dumps(entry) + "\n")


@dataclass(frozen=True)
class Section:
    """One measurement.

    Attributes:
        name, title: short, and as a heading.
        command: of its process; ``{rows}`` in it becomes the file for its results, ``{seconds}`` the time it has.
        limit: seconds after which it is stopped.
        environment: variables that it gets besides.
    """

    name: str
    title: str
    command: Sequence[str]
    limit: float
    environment: Mapping[str, str] | None = None


@dataclass(frozen=True)
class Bench:
    """What a section's process works with.

    Attributes:
        rows: takes what is found out.
        runs: a folder for runs and pictures of its own.
        device: the card; the CPU where it is quick.
        quick: with tiny sizes.
        seconds: that there are.
        models: names of models, for sections that measure several.
        workers: data workers of real runs.
    """

    rows: Rows
    runs: Path
    device: torch.device
    quick: bool
    seconds: float
    models: Sequence[str]
    workers: int


@dataclass(frozen=True)
class Part:
    """A section as a table has it.

    Attributes:
        name, title: short, and as a heading.
        seconds: that it takes.
        place: sections are done in the order of their places. What is not begun when the time is up is left out, so
            that is the order of importance.
        measure: does it, in this process; imports what is heavy.
    """

    name: str
    title: str
    seconds: float
    place: int
    measure: Callable[[Bench], None]


class Series:
    """Sections one after the other, and the record of them.

    Args:
        out: the folder for ``NAME.json`` and ``NAME.md``.
        work: the folder for the sections' own files.
        name: of the record's files.
        about: what stands at the record's head, plain data (the command, say).
        minutes: all sections together; those that are not begun by then are left out, and the record says so.
        tell: gets every line of output.
    """

    def __init__(
        self, out: Path, work: Path, name: str, about: Mapping[str, Any], minutes: float, tell: Callable[[str], None]
    ) -> None:
        self.out, self.work, self.name, self.tell = out, work, name, tell
        self.began = time.monotonic()
        self.deadline = self.began + 60 * minutes
        self.record: dict[str, Any] = {**about, "seconds": 0.0, "sections": []}
        out.mkdir(parents=True, exist_ok=True)

    def run(self, sections: Sequence[Section]) -> dict[str, Any]:
        """All of them.

        Returns:
            The record: ``about``, ``seconds``, and ``sections`` with ``name``, ``title``, ``outcome`` (``done``,
            ``failed``, ``stopped``, ``left out``, ``running``), ``seconds``, ``rows``, ``details``, ``notes`` and, of
            those that did not end well, ``why`` and the ``tail`` of their output.
        """
        self.record["sections"] = [_entry(section) for section in sections]
        for section, entry in zip(sections, self.record["sections"], strict=True):
            left = self.deadline - time.monotonic()
            if left < LEAST:
                entry |= {"outcome": "left out", "why": "no time was left"}
                self.tell(f"== {section.title}: left out, no time is left")
            else:
                self._run(section, entry, min(section.limit, left))
            self.write()
        self.tell(f"== {self.record['seconds']:.0f} s in all: {self.out / self.name}.json, {self.name}.md")
        return self.record

    def write(self) -> None:
        """The record as it stands, as a whole or not at all."""
        self.record["seconds"] = round(time.monotonic() - self.began, 1)
        for suffix, text in (("json", json.dumps(self.record, indent=1)), ("md", markdown(self.record))):
            write_text(self.out / f"{self.name}.{suffix}", text + "\n")

    def _run(self, section: Section, entry: dict[str, Any], limit: float) -> None:
        self.tell(f"== {section.title} (at most {limit:.0f} s, {time.monotonic() - self.began:.0f} s so far)")
        path = self.work / f"{section.name}.jsonl"
        path.unlink(missing_ok=True)
        words = [word.replace("{rows}", str(path)).replace("{seconds}", f"{limit:.0f}") for word in section.command]
        began = time.monotonic()
        process = subprocess.Popen(
            words,
            stdin=subprocess.DEVNULL,
            stdout=subprocess.PIPE,
            stderr=subprocess.STDOUT,
            text=True,
            errors="replace",
            start_new_session=True,  # a group of its own, which can be ended as a whole
            env={**os.environ, "PYTHONUNBUFFERED": "1", "PYTHONFAULTHANDLER": "1", **(section.environment or {})},
        )
        tail: deque[str] = deque(maxlen=TAIL)
        reader = threading.Thread(target=self._pass_on, args=(process, tail), daemon=True)
        reader.start()
        entry["outcome"] = "running"
        try:
            stopped = self._wait(process, entry, path, began + limit)
        finally:
            _end(process)
        reader.join(LAST_WORDS)  # not for ever: something that left the group may hold the other end
        if not reader.is_alive() and process.stdout is not None:
            process.stdout.close()
        entry["seconds"] = round(time.monotonic() - began, 1)
        _read(path, entry)
        if stopped:
            entry |= {"outcome": "stopped", "why": f"it took longer than {limit:.0f} s", "tail": list(tail)}
        elif process.returncode:
            entry |= {"outcome": "failed", "why": _why(process.returncode, tail), "tail": list(tail)}
        else:
            entry["outcome"] = "done"
        self.tell(f"   {entry['outcome']} after {entry['seconds']:.0f} s" + _because(entry))

    def _pass_on(self, process: subprocess.Popen[str], tail: deque[str]) -> None:
        assert process.stdout is not None
        with suppress(ValueError):  # closed meanwhile
            for line in process.stdout:
                tail.append(line.rstrip("\n"))
                self.tell("   " + tail[-1])

    def _wait(self, process: subprocess.Popen[str], entry: dict[str, Any], path: Path, until: float) -> bool:
        """Until the process ends; True when it had to be stopped. What it finds meanwhile goes into the record."""
        size = -1
        while process.poll() is None:
            now = path.stat().st_size if path.exists() else 0
            if now != size:
                size = now
                _read(path, entry)
                self.write()
            if time.monotonic() > until:
                with suppress(ProcessLookupError):
                    process.send_signal(signal.SIGABRT)  # Python then says where every thread stands
                with suppress(subprocess.TimeoutExpired):
                    process.wait(LAST_WORDS)
                return True
            with suppress(subprocess.TimeoutExpired):
                process.wait(0.2)
        return False


def _entry(section: Section) -> dict[str, Any]:
    return {
        "name": section.name,
        "title": section.title,
        "outcome": "left out",
        "seconds": 0.0,
        "rows": [],
        "details": [],
        "notes": [],
    }


def _end(process: subprocess.Popen[str]) -> None:
    """Ends a section's whole session, groups of their own in it as well: they hold memory of the card."""
    for pid in _session(process.pid):
        with suppress(ProcessLookupError, PermissionError):
            os.kill(pid, signal.SIGKILL)
    with suppress(ProcessLookupError, PermissionError):
        os.killpg(process.pid, signal.SIGKILL)
    process.wait()


def _session(leader: int) -> list[int]:
    """The processes of a session, as Linux tells them; none elsewhere."""
    found = []
    for path in Path("/proc").glob("[0-9]*/stat"):
        with suppress(OSError, ValueError, IndexError):
            # pid (name) state parent group session ...: names may hold blanks and parentheses.
            fields = path.read_text().rpartition(")")[2].split()
            if int(fields[3]) == leader:
                found.append(int(path.parent.name))
    return found


def _read(path: Path, entry: dict[str, Any]) -> None:
    """The results so far; a line that is cut off is left out."""
    entry["rows"], entry["details"], entry["notes"] = [], [], []
    for line in path.read_text(encoding="utf-8").splitlines() if path.exists() else []:
        with suppress(ValueError):
            found = json.loads(line)
            if "note" in found:
                entry["notes"].append(found["note"])
            else:
                entry["details" if "detail" in found else "rows"].append(found)


def _why(code: int, tail: Sequence[str]) -> str:
    said = next((line.strip() for line in reversed(tail) if line.strip()), "it said nothing")
    if code < 0:
        with suppress(ValueError):
            return f"it died of {signal.Signals(-code).name}; last line: {said}"
    return f"exit code {code}; last line: {said}"


def _because(entry: Mapping[str, Any]) -> str:
    return f": {entry['why']}" if "why" in entry else ""


def show(value: Any) -> str:
    """A value as tables have it: four digits of a number, a dash for what is not known."""
    if value is None:
        return "-"
    if isinstance(value, bool):
        return "yes" if value else "no"
    if isinstance(value, float):
        return f"{value:,.0f}" if abs(value) >= 1000 else f"{value:.4g}"
    return str(value)


def markdown(record: Mapping[str, Any]) -> str:
    """The record for people: a heading, notes and tables for each section, and why one is not there."""
    lines = [f"## {record.get('title', 'Measurements')}", ""]
    if "command" in record:
        lines += [f"`{record['command']}`: {record['seconds']:.0f} s in all.", ""]
    for entry in record["sections"]:
        lines += [f"### {entry['title']}", ""]
        if entry["outcome"] != "done":
            why = entry.get("why", "not begun").replace("|", "\\|")
            lines += [f"{entry['outcome'].capitalize()} after {entry['seconds']:.0f} s: {why}", ""]
        for note in entry["notes"]:
            lines += [note, ""]
        tables: dict[str, list[dict[str, Any]]] = {}
        for row in entry["rows"]:
            tables.setdefault(row["table"], []).append({key: value for key, value in row.items() if key != "table"})
        for name, rows in tables.items():
            lines += [*([f"{name}:", ""] if len(tables) > 1 else []), *_table(rows), ""]
    return "\n".join(lines).rstrip()


def _table(rows: Sequence[Mapping[str, Any]]) -> list[str]:
    columns = list(dict.fromkeys(key for row in rows for key in row))
    cells = [columns, ["---"] * len(columns), *([_cell(row.get(key)) for key in columns] for row in rows)]
    return [f"| {' | '.join(row)} |" for row in cells]


def _cell(value: Any) -> str:
    text = show(value).replace("|", "\\|").replace("\n", " ")
    return text if len(text) <= CELL else text[:CELL] + " ..."
