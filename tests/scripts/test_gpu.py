"""scripts/gpu.py: its plan, what it refuses, and all of it on the CPU with quick=true."""

from __future__ import annotations

import json
import subprocess
import sys
from pathlib import Path
from typing import Any

import pytest

from tests.helpers.paths import ROOT
from trainer.errors import ConfigError

SCRIPT = ROOT / "scripts" / "gpu.py"


def load() -> dict[str, Any]:
    import runpy

    return runpy.run_path(str(SCRIPT))


def run(*words: str, seconds: float) -> subprocess.CompletedProcess[str]:
    command = [sys.executable, str(SCRIPT), *words]
    return subprocess.run(command, cwd=ROOT, capture_output=True, text=True, timeout=seconds, check=False)


def test_sections_are_processes_of_this_script() -> None:
    script = load()
    sections = script["plan"](script["Arguments"](quick=True, sections=["card", "vit"]))
    assert [section.name for section in sections] == ["card", "vit"]
    for section in sections:
        assert section.command[:3] == [sys.executable, str(SCRIPT), f"section={section.name}"]
        assert {"rows={rows}", "seconds={seconds}", "quick=true"} <= set(section.command)
    assert [name for name in script["SECTIONS"]] == [
        "card", "tests", "vit", "windows", "generation", "training", "decoding", "resuming", "kernels"
    ]  # fmt: skip


def test_mistakes_are_named(monkeypatch: pytest.MonkeyPatch) -> None:
    script = load()
    with pytest.raises(ConfigError, match=r"(?s)no 'vits'; did you mean 'vit'.*minutes=-1: must be above 0"):
        script["check"](script["Arguments"](sections=["vits"], minutes=-1))
    import torch

    monkeypatch.setattr(torch.cuda, "is_available", lambda: False)
    with pytest.raises(script["UserError"], match=r"finds no CUDA device here.*quick=true"):
        script["check"](script["Arguments"]())
    script["check"](script["Arguments"](quick=True))


@pytest.mark.slow
def test_a_crash_in_one_section_leaves_the_next(tmp_path: Path, monkeypatch: pytest.MonkeyPatch) -> None:
    planted = "import os, sys\nif 'section=vit' in sys.argv: os.abort()\n"
    (tmp_path / "sitecustomize.py").write_text(planted)  # Python reads it when it starts
    monkeypatch.setenv("PYTHONPATH", str(tmp_path))
    out = tmp_path / "out"
    done = run("quick=true", "sections=[vit,card]", f"out={out}", seconds=200)
    assert done.returncode == 1, done.stdout + done.stderr
    record = json.loads((out / "gpu.json").read_text())
    assert [(entry["name"], entry["outcome"]) for entry in record["sections"]] == [("vit", "failed"), ("card", "done")]
    assert "SIGABRT" in record["sections"][0]["why"] and record["sections"][1]["rows"]
    table = (out / "gpu.md").read_text()
    assert "### The card" in table and "Failed after" in table
    assert sorted(path.name for path in out.iterdir()) == ["gpu.json", "gpu.md"]


@pytest.mark.slow
@pytest.mark.timeout(900)
def test_all_of_it_on_the_cpu(tmp_path: Path) -> None:
    done = run("quick=true", f"out={tmp_path}", "minutes=14", seconds=890)
    assert done.returncode == 0, done.stdout[-3000:] + done.stderr
    record = json.loads((tmp_path / "gpu.json").read_text())
    by_name = {entry["name"]: entry for entry in record["sections"]}
    assert len(by_name) == 9 and {entry["outcome"] for entry in by_name.values()} == {"done"}
    assert {row["variant"] for row in by_name["vit"]["rows"]} == {"timm", "vivid"}
    assert len(by_name["windows"]["rows"]) >= 5 and len(by_name["generation"]["rows"]) == 6
    assert [row["ended"] for row in by_name["training"]["rows"]] == ["well"] * 2
    assert all(row["finite"] for row in by_name["training"]["rows"])
    assert [row["same"] for row in by_name["resuming"]["rows"]] == [True, True]
    assert [row["decode"] for row in by_name["decoding"]["rows"] if "decode" in row] == ["cpu"]  # once with one worker
    assert by_name["decoding"]["rows"][-1]["ended"] == "well"
    assert len(by_name["kernels"]["rows"]) == 10
    assert by_name["tests"]["details"] and "exit code 0" in by_name["tests"]["notes"][-1]
    table = (tmp_path / "gpu.md").read_text()
    assert all(f"### {entry['title']}" in table for entry in by_name.values())
