"""The record of all trials, docs/reliability.json, and the document that is made of it.

``python -m tests.faults.report`` makes the document anew; the record stays as it is.
"""

from __future__ import annotations

import datetime
import json
import os
import platform
import subprocess
from collections.abc import Mapping, Sequence
from dataclasses import asdict, dataclass
from importlib.metadata import version
from typing import Any

import torch

from tests.faults.catalogue import Fault, faults
from tests.faults.running import Trial
from tests.helpers.paths import ROOT
from tests.helpers.small_runs import on_a_card
from trainer.data.workers import usable_cores
from trainer.device.cpu import cpu_fields
from trainer.files import write_text

RECORD, DOCUMENT = ROOT / "docs" / "reliability.json", ROOT / "docs" / "reliability.md"
COUNTS = ROOT / "docs" / "fuzzing.json"
ENGINES = ("hypothesis", "atheris")
TEXT = ROOT / "tests" / "faults" / "reliability.md.in"
_PACKAGES = ("torch", "numpy", "safetensors")


@dataclass(frozen=True)
class Row:
    """What came of a fault with a model.

    Attributes:
        tried, survived: trials.
        lost: what was, in the words of the first trial that lost something; empty for nothing.
        date, commit: of the trials.
        machine: and versions.
        device: ``cpu`` or ``cuda``.
    """

    fault: str
    model: str
    tried: int
    survived: int
    lost: str
    date: str
    commit: str
    machine: str
    device: str = "cpu"

    @property
    def key(self) -> tuple[str, str, str]:
        return self.device, self.fault, self.model


def rows_of(chosen: Sequence[Fault], done: Sequence[Trial]) -> list[Row]:
    """A row for each fault and model of which there are trials."""
    git = subprocess.run(["git", "rev-parse", "--short=10", "HEAD"], cwd=ROOT, capture_output=True, text=True)
    cpu = cpu_fields().get("model name", platform.machine())
    versions = ", ".join(f"{package} {version(package)}" for package in _PACKAGES)
    device = "cuda" if on_a_card() else "cpu"
    card = f"{torch.cuda.get_device_name()}, " if device == "cuda" else ""
    facts = (
        datetime.date.today().isoformat(),
        git.stdout.strip() or os.environ.get("VIVID_COMMIT", "unknown"),  # where the sources came without .git
        f"{card}{cpu}, {usable_cores()} cores, Linux {platform.release()}, Python {platform.python_version()}, "
        + versions,
        device,
    )
    rows = []
    for fault in chosen:
        for model in fault.models:
            of = [trial for trial in done if (trial.fault, trial.model) == (fault.name, model)]
            if not of:
                continue
            errors = [trial.error for trial in of if trial.error]
            rows.append(Row(fault.name, model, len(of), len(of) - len(errors), errors[0] if errors else "", *facts))
    return rows


def read_record() -> list[Row]:
    """All rows of the record; none where there is no record."""
    return [Row(**row) for row in json.loads(RECORD.read_text(encoding="utf-8"))] if RECORD.exists() else []


def write_record(rows: Sequence[Row]) -> None:
    """The record, and the document out of it."""
    write_text(RECORD, json.dumps([asdict(row) for row in rows], indent=1) + "\n")
    write_text(DOCUMENT, document(rows))


def headline(rows: Sequence[Row]) -> str:
    """The counts of the CPU in one sentence, as README has them."""
    rows = [row for row in rows if row.device == "cpu"]
    random = [row for row in rows if row.fault == "SIGKILL at a random moment"]
    each = " and ".join(f"{row.survived} of {row.tried} ({row.model})" for row in random)
    return (
        f"SIGKILL at random moments: {each} survived bit by bit; all faults: "
        f"{sum(row.survived for row in rows):,} of {sum(row.tried for row in rows):,}"
    )


def document(rows: Sequence[Row]) -> str:
    """docs/reliability.md."""
    own, card = ([row for row in rows if row.device == device] for device in ("cpu", "cuda"))
    text = TEXT.read_text(encoding="utf-8").replace("HEADLINE", headline(rows)).replace("CPU_TABLE", _table(own))
    text = text.replace("CARD_TABLE", _table(card) if card else "Not tried yet.")
    return text.replace("FUZZ_TABLE", fuzz_table(read_counts()))


def _table(rows: Sequence[Row]) -> str:
    known = {fault.name: fault for fault in faults()}
    lines = [
        "| fault | model | times tried | times survived | what was lost | what the user sees |",
        "|---|---|--:|--:|---|---|",
    ]
    for row in rows:
        counts = (row.tried, row.survived, row.lost or "nothing")
        cells = (row.fault, row.model or "any", *counts, known[row.fault].promise)
        lines.append("| " + " | ".join(str(cell).replace("|", "\\|") for cell in cells) + " |")
    told = ["\n".join(lines), *sorted({f"{row.date}, commit {row.commit}: {row.machine}." for row in rows})]
    part = [f"{row.fault} ({row.model or 'any'})" for row in rows if row.tried < known[row.fault].times]
    if part:
        told.append(f"Of these fewer trials were done than the full count has: {', '.join(part)}.")
    return "\n\n".join(told)


def fuzz_table(counts: Sequence[Mapping[str, Any]]) -> str:
    """A row for each reader, out of docs/fuzzing.json (``python -m tests.fuzz --record``)."""
    if not counts:
        return "Not counted yet."
    lines = [
        "| reader | cases by hypothesis | by atheris | read, not refused | faults |",
        "|---|--:|--:|--:|--:|",
    ]
    for reader in dict.fromkeys(row["reader"] for row in counts):
        own = {row["engine"]: row for row in counts if row["reader"] == reader}
        cases = [f"{own[engine]['cases']:,}" if engine in own else "-" for engine in ENGINES]
        read, faults = (sum(row[key] for row in own.values()) for key in ("accepted", "faults"))
        lines.append(f"| {reader.replace('|', '/')} | {' | '.join(cases)} | {read:,} | {faults} |")
    total, faults = (sum(row[key] for row in counts) for key in ("cases", "faults"))
    dates = sorted({row["date"] for row in counts})
    when = dates[0] if len(dates) == 1 else f"{dates[0]} to {dates[-1]}"
    return "\n".join(lines) + f"\n\n{total:,} cases in all, {faults} faults; {when}."


def read_counts() -> list[dict[str, Any]]:
    """The rows of docs/fuzzing.json; none where there is none."""
    return json.loads(COUNTS.read_text(encoding="utf-8")) if COUNTS.exists() else []


if __name__ == "__main__":
    write_record(read_record())
