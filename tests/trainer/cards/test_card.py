"""A card says what is known, and what is not; what a run wrote is read for it."""

from __future__ import annotations

import json
import shlex
from pathlib import Path

import pytest

from trainer.cards.card import Card, render
from trainer.cards.recipe import COMMAND, Recipe, command_line, newest_sample, of_run

META = {
    "step": 30,
    "samples_seen": 1920,
    "vivid": "0.2.0",
    "torch": "2.14.1",
    "config": {"seed": 3, "data": {"kind": "folders", "root": "/data/x"}, "resolution": [32, 64]},
    "data": {"classes": ["a", "b"], "pictures": 4000, "files": ["1"], "labels": "ab12"},
}
LOG = """2026-11-27 20:00:00 vit 'x', seed 3: 640 samples in 10 steps, 1 stage(s), run directory /data/runs/x
device cuda (NVIDIA H100), precision bf16 (auto: NVIDIA H100), 2 processes (ddp), 1 thread(s)
2026-11-27 20:30:00 step 20
2026-11-27 23:00:00 vit 'x', seed 3: 640 samples in 10 steps, 1 stage(s), run directory /data/runs/x
device cpu, precision fp32 (as asked, on the CPU), 1 process (none), 1 thread(s)
2026-11-27 23:10:00 done
"""


def run(folder: Path) -> Path:
    folder.mkdir()
    (folder / "config.yaml").write_text(command_line(["model=vit_mu", "data.root=/data/my x"], folder) + "seed: 3\n")
    (folder / "train.log").write_text(LOG)
    told = {"top1": 0.5, "nll": None, "step": 20, "samples_seen": 1280, "data_root": "/data/x", "split": "val"}
    (folder / "eval.json").write_text(json.dumps(told))
    return folder


def test_a_run_tells_how_it_was_made(tmp_path: Path) -> None:
    recipe = of_run(run(tmp_path / "x"), META)
    assert recipe.name == "x" and recipe.command == "python train.py model=vit_mu data.root=PATH"
    assert dict(recipe.rows) == {
        "steps": "30",
        "samples seen": "1,920",
        "seed": "3",
        "versions": "vivid 0.2.0, torch 2.14.1",
        "hardware": "cuda (NVIDIA H100), bf16, 2 processes; then cpu, fp32, 1 process",
        "duration": "40 min in 2 sessions",
    }
    data = {"kind": "folders", "folder": "PATH", "classes": "2", "pictures": "4,000"}
    assert dict(recipe.data) == {**data, "resolution": "32x64 pixels (height x width)"}
    assert recipe.metrics == {"top1": 0.5, "nll": None}
    assert dict(recipe.measured) == {
        "step": "20",
        "samples seen": "1280",
        "data root": "PATH",
        "split": "val",
        "not of these weights": "measured at step 20, the weights are of step 30",
    }
    assert "/data" not in json.dumps(recipe.config)


def test_what_is_missing_is_left_out(tmp_path: Path) -> None:
    recipe = of_run(tmp_path / "nothing", {"step": 3})
    assert recipe.command == "" and recipe.metrics == {} and dict(recipe.rows)["steps"] == "3"
    folder = run(tmp_path / "x")
    (folder / "config.yaml").write_text(f"{COMMAND} model='broken\nseed: 3\n")
    (folder / "eval.json").write_text("[")
    recipe = of_run(folder, {})
    assert recipe.command == "" and recipe.metrics == {} and recipe.config == {"seed": 3}


def test_the_command_is_one_line_or_none(tmp_path: Path) -> None:
    assert command_line([], tmp_path) == "" and command_line(["name=a\nseed: 4"], tmp_path) == ""
    line = command_line(["name=a b", "seed=1"], tmp_path)
    assert line == f"{COMMAND} 'name=a b' seed=1\n"
    (tmp_path / "config.yaml").write_text(f"{line}seed: 1\n")
    assert command_line([], tmp_path) == line, "a run that goes on keeps it"


@pytest.mark.slow
def test_train_keeps_its_command(run_train, tmp_path: Path) -> None:
    words = ["model=vit_mu", "name=x", "data.shapes_samples=16", "data.shapes_val_samples=4", "trainer.max_steps=1"]
    words += ["resolution=[16,16]", "trainer.micro_batch=null", "data.workers=0", "trainer.device=cpu"]
    done = run_train(*words)
    assert done.returncode == 0, done.stderr
    (stored,) = tmp_path.rglob("config.yaml")
    assert stored.read_text().splitlines()[0] == f"{COMMAND} {shlex.join(words)}"
    assert of_run(stored.parent, {}).command == f"python train.py {shlex.join(words)}"


def test_the_newest_sample(tmp_path: Path) -> None:
    assert newest_sample(tmp_path, "predictions") is None
    (tmp_path / "predictions.png").touch()
    assert newest_sample(tmp_path, "predictions") == tmp_path / "predictions.png"
    (tmp_path / "samples").mkdir()
    for name in ("predictions-00000003.png", "predictions-00000012.png", "confusion-00000020.png"):
        (tmp_path / "samples" / name).touch()
    found = newest_sample(tmp_path, "predictions")
    assert found is not None and found.name == "predictions-00000012.png"


def test_a_card(tmp_path: Path) -> None:
    recipe = of_run(run(tmp_path / "x"), META)
    load = [("Python", "import vit")]
    more = {"licence": "Apache-2.0", "library": "timm", "facts": [("parameters", "3")]}
    text = render(Card("x", "About.", recipe, load, notes=["a note"], sample=("s.png", "A sample"), **more))
    head, _, body = text.partition("---\n\n")
    assert "library_name: timm" in head and "license: apache-2.0" in head and head.startswith("---\n")
    rows = ("| top1 | 0.5 |", "| nll | no number |", "| parameters | 3 |")
    said = ("![A sample](s.png)", "- a note", "Licence of the weights: Apache-2.0.", "measured at step 20")
    for part in ("```python\nimport vit\n```", *rows, *said):
        assert part in body, part
    bare = render(Card("y", "About.", Recipe("y"), load))
    assert "license" not in bare.split("---")[1] and "Licence of the weights: not stated by its maker." in bare
    assert "None: the run was not evaluated" in bare and "Not known" in bare
    odd = render(Card("y", "About.", Recipe("y", rows=[("a|b", "c\nd<e>")]), load, licence="ask me: first"))
    assert "| a\\|b | c d&lt;e> |" in odd and "license:" not in odd.split("---")[1]
    assert "The command was not kept" in odd
