"""eval.json says of what its figures are, and evaluations of anything else leave it alone."""

from __future__ import annotations

import json
from pathlib import Path
from typing import Any

import pytest
import torch
from PIL import Image

from tests.helpers.made_run import make_run, street_config
from tests.helpers.made_task import configured, make_trainer
from trainer.checkpoint.directory import Checkpoints
from trainer.cli import load_run
from trainer.data.loader import make_eval_loader
from vid2vid.config import DataKind, FirstFrame, FlowMethod, Vid2VidConfig
from vid2vid.evaluate.measure import Counted
from vid2vid.evaluate.provenance import file_name
from vid2vid.evaluate.run import evaluate_run, write_eval
from vid2vid.trained import load_generator, requested_resolution

FACTS = ("split", "data", "clips", "frames", "first_frame", "resolution", "weights", "flow")


def read(path: Path) -> dict[str, Any]:
    return json.loads(path.read_text())


def evaluate(run_dir: Path, *overrides: str, checkpoint: str | None = None, **options: Any) -> Path:
    """As scripts/evaluate.py does it."""
    config = load_run(run_dir, {"vid2vid": Vid2VidConfig}, overrides)
    own = load_run(run_dir, {"vid2vid": Vid2VidConfig}).data
    run = load_generator(config, run_dir, checkpoint, requested_resolution(config, overrides))
    return write_eval(run_dir, evaluate_run(run, own=own, **options), run)


def test_the_trainer_says_of_what(tmp_path: Path) -> None:
    words = ["trainer.max_steps=2", "data.val_clips=3", "data.val_frames=4", "trainer.eval_samples=2"]
    config = configured(*words)
    config.trainer.eval_every = 2
    trainer, _ = make_trainer(config, tmp_path)
    metrics = trainer.fit()
    written = read(tmp_path / "eval.json")
    assert [written[name] for name in FACTS] == ["val", "street", 2, 8, "model", "32x64", "EMA", "exact"]
    assert {name: written[name] for name in metrics} == metrics and written["step"] == 2
    assert all(not isinstance(value, dict | list) for value in written.values())


def test_evaluating_a_run_says_of_what(tmp_path: Path) -> None:
    make_run(tmp_path, street_config(), step=9)
    path = evaluate(tmp_path)
    assert path == tmp_path / "eval.json"
    written = read(path)
    assert [written[name] for name in FACTS] == ["val", "street", 2, 8, "model", "32x64", "EMA", "exact"]
    assert written["checkpoint"] == str(tmp_path / "checkpoints" / "step-00000009") and "asked" not in written
    raw = tmp_path / "raw"
    make_run(raw, street_config(), ema=False)
    assert read(evaluate(raw))["weights"] == "raw"


ELSE: list[tuple[dict[str, Any], tuple[str, ...], dict[str, Any]]] = [
    ({"split": "test"}, (), {"split": "test"}),
    ({"clips": 1}, (), {"clips": 1, "frames": 4}),
    ({"frames": 3}, (), {"frames": 6}),
    ({"first_frame": FirstFrame.zeros}, (), {"first_frame": "zeros"}),
    ({}, ("data.world_seed=3",), {"asked": "data.world_seed=3"}),
    ({}, ("data.street_detail=true",), {"asked": "data.street_detail=true"}),
    ({}, ("data.flow=dis",), {"flow": "dis"}),
    ({}, ("resolution=[16,32]",), {"resolution": "16x32"}),
]


@pytest.mark.parametrize(("options", "overrides", "expected"), ELSE)
def test_anything_else_leaves_the_run_s_own_figures_alone(
    tmp_path: Path, options: dict[str, Any], overrides: tuple[str, ...], expected: dict[str, Any]
) -> None:
    make_run(tmp_path, street_config())
    own = evaluate(tmp_path).read_bytes()
    path = evaluate(tmp_path, *overrides, **options)
    assert path.name.startswith(f"eval-{options.get('split', 'val')}") and path.parent == tmp_path
    assert (tmp_path / "eval.json").read_bytes() == own
    written = read(path)
    assert {name: written[name] for name in expected} == expected
    assert evaluate(tmp_path, *overrides, **options) == path, "the same question has the same file"
    assert {p.name for p in tmp_path.glob("*.json")} == {"eval.json", path.name}


def test_each_question_has_a_file_of_its_own(tmp_path: Path) -> None:
    make_run(tmp_path, street_config())
    paths = [evaluate(tmp_path, *overrides, **options) for options, overrides, _ in ELSE]
    assert len(set(paths)) == len(ELSE)
    assert paths[0].name == "eval-test.json"


@pytest.mark.parametrize("word", ["data.workers=0", "data.flip=0.1", "data.clips=5", "trainer.max_samples=9"])
def test_what_no_evaluation_depends_on_changes_no_name(tmp_path: Path, word: str) -> None:
    make_run(tmp_path, street_config())
    assert evaluate(tmp_path, word).name == "eval.json"


def test_other_validation_footage_is_named(tmp_path: Path) -> None:
    for root in ("own", "other"):
        for kind in ("labels", "images"):
            (tmp_path / root / kind).mkdir(parents=True)
            for i in range(4):
                Image.new("L", (64, 32), 7).save(tmp_path / root / kind / f"{i}.png")
    config = street_config()
    config.data.kind, config.data.flow, config.data.root = DataKind.folders, FlowMethod.none, str(tmp_path / "own")
    make_run(tmp_path / "run", config)
    own = evaluate(tmp_path / "run")
    assert own.name == "eval.json" and read(own)["data_root"] == str(tmp_path / "own")
    other = evaluate(tmp_path / "run", f"data.val_root={tmp_path / 'other'}")
    assert other.name != "eval.json" and read(other)["data_root"] == str(tmp_path / "other")


def test_an_older_checkpoint_is_not_the_run_s_own_evaluation(tmp_path: Path) -> None:
    config = street_config()
    make_run(tmp_path, config, step=4)
    generator = make_run(tmp_path, config, step=8)
    assert generator is not None and len(list((tmp_path / "checkpoints").glob("step-*"))) == 2
    older = read(evaluate(tmp_path, checkpoint="step-00000004"))
    assert older["step"] == 4 and older["asked"] == "checkpoint=step-00000004"
    newest = Checkpoints(tmp_path).latest()
    assert newest is not None and evaluate(tmp_path, checkpoint=newest.name).name == "eval.json"


def test_names_of_files() -> None:
    assert file_name({}) == "eval.json"
    assert file_name({"split": "test"}) == "eval-test.json"
    one, other = file_name({"split": "test", "clips": "3"}), file_name({"split": "test", "clips": "4"})
    assert one != other and one.startswith("eval-test-") and file_name({"clips": "3", "split": "test"}) == one


def test_clips_that_only_fill_up_are_not_counted() -> None:
    batches = [{"images": torch.zeros(2, 5, 3, 4, 4), "weight": torch.tensor([1.0, 0.0])}, {"labels": torch.zeros(1)}]
    counted = Counted(batches)
    assert len(list(counted)) == 2 and (counted.clips, counted.frames) == (1, 5)


def test_processes_count_together(tmp_path: Path) -> None:
    config = configured("data.val_clips=3", "data.val_frames=4", "trainer.max_steps=1")
    trainer, task = make_trainer(config, tmp_path)
    stage = trainer.curriculum.stages[0]
    with trainer.session():
        trainer.enter(stage)
        ctx = trainer.context()
    shares = []
    for rank in range(2):  # two clips each, one of which is padding
        loader = make_eval_loader(task.dataset("val", stage), batch_size=1, rank=rank, world=2)
        task.evaluate(loader, ctx)
        shares.append(task._counts)
    ctx.sum = lambda tensor: shares[0] + shares[1]
    task.evaluate(make_eval_loader(task.dataset("val", stage), batch_size=1), ctx)
    found = task.evaluation_facts(stage)
    assert (found["clips"], found["frames"]) == (3, 12)
