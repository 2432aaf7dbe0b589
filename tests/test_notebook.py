"""docs/first_steps.ipynb: a notebook that is valid, whose commands exist, and that runs from top to bottom."""

from __future__ import annotations

import json
import os
import re
import subprocess
import sys
from pathlib import Path

import av
import pytest

from tests.helpers import notebooks
from tests.helpers.documents import commands as commands_of
from tests.helpers.paths import ROOT

NOTEBOOK = ROOT / "docs" / "first_steps.ipynb"
CELL = {"cell_type", "id", "metadata", "source"}


def test_it_is_a_notebook_without_outputs() -> None:
    """The format is nbformat 4.5's: keys, unique ids, lists of lines."""
    content = json.loads(NOTEBOOK.read_text(encoding="utf-8"))
    assert set(content) == {"cells", "metadata", "nbformat", "nbformat_minor"}
    assert (content["nbformat"], content["nbformat_minor"]) == (4, 5)
    assert content["metadata"]["kernelspec"]["language"] == "python"
    ids = [cell["id"] for cell in content["cells"]]
    assert len(ids) == len(set(ids)) > 15 and all(re.fullmatch(r"[\w-]{1,64}", each) for each in ids)
    for cell in content["cells"]:
        code = cell["cell_type"] == "code"
        assert set(cell) == CELL | ({"execution_count", "outputs"} if code else set())
        assert all(line.endswith("\n") for line in cell["source"][:-1]) and cell["source"]
        if code:
            assert cell["execution_count"] is None and cell["outputs"] == []


def test_its_commands_are_those_of_documents_and_its_links_lead_somewhere() -> None:
    """So that tests/test_docs.py looks at every one of them."""
    found = notebooks.commands(NOTEBOOK)
    assert len(found) >= 5 and found == commands_of(NOTEBOOK)
    assert {words[1] for words in found} == {"train.py", "scripts/analyze.py", "scripts/generate.py"}
    text = NOTEBOOK.read_text(encoding="utf-8")
    links = re.findall(r"\]\(([^)]+)\)", text)
    assert links and all((NOTEBOOK.parent / link).exists() for link in links)


def first_cell(cwd: Path, *lines: str) -> subprocess.CompletedProcess[str]:
    code = notebooks.code_cells(NOTEBOOK)[0] + "\n" + "\n".join(lines)
    return subprocess.run([sys.executable, "-c", code], cwd=cwd, capture_output=True, text=True, check=False)


def test_in_a_checkout_it_installs_nothing() -> None:
    done = first_cell(ROOT / "docs", "print(Path.cwd(), sys.path[0], os.environ['PATH'].split(os.pathsep)[0])")
    assert done.returncode == 0, done.stderr
    assert done.stdout.splitlines()[-1] == f"{ROOT} {ROOT} {Path(sys.executable).parent}"


def test_elsewhere_it_asks_for_the_address(tmp_path: Path) -> None:
    done = first_cell(tmp_path)
    assert done.returncode == 1 and "put the repository's address into REPOSITORY" in done.stderr


def test_elsewhere_it_clones_and_installs(tmp_path: Path) -> None:
    """The commands that it would run are written down in place of git and pip."""
    tool = tmp_path / "tool"
    tool.write_text(f'#!/bin/sh\necho "$@" >> {tmp_path}/calls\nif [ "$1" = clone ]; then mkdir "$5"; fi\n')
    tool.chmod(0o755)
    (tmp_path / "git").symlink_to(tool)
    code = notebooks.code_cells(NOTEBOOK)[0].replace('REPOSITORY = ""', 'REPOSITORY = "file:///there"')
    code = f"import sys; real, sys.executable = sys.executable, {str(tool)!r}\n{code}"
    path = f"{tmp_path}{os.pathsep}{os.environ['PATH']}"
    done = subprocess.run(
        [sys.executable, "-c", code], cwd=tmp_path, env={**os.environ, "PATH": path}, capture_output=True, text=True
    )
    assert done.returncode == 0, done.stderr
    there = tmp_path / "vivid"
    calls = (tmp_path / "calls").read_text().splitlines()
    assert calls == [f"clone --depth 1 file:///there {there}", f"-m pip install --quiet --editable {there}"]
    assert done.stdout.splitlines()[-1] == f"working in {there}"


@pytest.mark.slow
@pytest.mark.timeout(1200)
def test_it_runs_from_top_to_bottom(tmp_path: Path) -> None:
    """Times to train in are numbers of samples here: what comes out does not hang on how busy the machine is."""
    for name in ("train.py", "scripts", "configs", "docs", "trainer", "vit", "vid2vid"):
        (tmp_path / name).symlink_to(ROOT / name)
    changes = ("trainer.budget=75s->trainer.max_samples=2560", "trainer.budget=100s->trainer.max_samples=3")
    done = subprocess.run(
        [sys.executable, "-m", "tests.helpers.notebooks", str(NOTEBOOK), *changes],
        cwd=tmp_path, env={**os.environ, "PYTHONPATH": str(ROOT)}, capture_output=True, text=True, check=False,
    )  # fmt: skip
    assert done.returncode == 0, done.stdout[-2000:] + done.stderr[-2000:]
    predictions, curves, drawn, attention, street, trees, painted = json.loads(done.stdout.splitlines()[-1])
    assert drawn == {"picture": [128, 128]} and painted == {"picture": [768, 128]}
    assert all("picture" in each for each in (predictions, curves, attention))
    labels = []
    for shown in (street, trees):
        assert shown["embed"] and Path(shown["video"]).parent == tmp_path / "runs" / "first_video"
        with av.open(shown["video"]) as video:
            frames = [frame.to_ndarray(format="rgb24") for frame in video.decode(video=0)]
        assert len(frames) == 32 and frames[0].shape[1] == 3 * 3 * 128 and frames[0].shape[0] > 3 * 64  # with captions
        labels.append(frames[0][-3 * 64 :, : 3 * 128].astype(int))
    assert abs(labels[0] - labels[1]).max() > 50  # houses are trees
    assert json.loads((tmp_path / "runs" / "first_vit" / "eval.json").read_text())["top1"] > 0.15  # chance: 0.1
