"""What exact resume means, and processes to be killed on the way."""

import json
import multiprocessing
from pathlib import Path
from typing import Any

import torch
from torch import Tensor

from trainer.checkpoint.contents import EMA, WEIGHTS
from trainer.checkpoint.directory import Checkpoints
from trainer.checkpoint.trained import load_weights

MEASURED = ("samples_per_s", "frames_per_s", "data_wait", "memory", "eta_s")  # times: never the same twice


def leaves(value: Any, path: str = "") -> dict[str, Any]:
    if isinstance(value, dict):
        return {k: v for key, item in value.items() for k, v in leaves(item, f"{path}/{key}").items()}
    return {path: value}


def outcome(run_dir: Path) -> dict[str, Any]:
    """Everything that must be the same: weights, EMA, optimisers, counters, metrics."""
    newest = sorted((run_dir / "checkpoints").glob("step-*"))[-1]
    result = {f"weights/{k}": v for k, v in load_weights(newest / WEIGHTS)[0].items()}
    result |= {f"ema/{k}": v for k, v in load_weights(newest / EMA)[0].items()}
    stored = leaves(Checkpoints(run_dir).load(newest)[0], "state")
    result |= {k: v for k, v in stored.items() if k.rsplit("/", 1)[-1] not in MEASURED}
    records = [json.loads(line) for line in (run_dir / "metrics.jsonl").read_text().splitlines()]
    result["metrics"] = [{k: v for k, v in record.items() if k not in MEASURED} for record in records]
    for name in ("eval", "done"):
        result[name] = json.loads((run_dir / f"{name}.json").read_text())
    for record in [result["eval"], result["done"], *(r.get("eval", {}) for r in result["metrics"])]:
        for key in MEASURED:
            record.pop(key, None)
    return result


def assert_same(one: dict[str, Any], two: dict[str, Any]) -> None:
    assert one.keys() == two.keys()
    for key, value in one.items():
        same = torch.equal(value, two[key]) if isinstance(value, Tensor) else value == two[key]
        assert same, (key, value, two[key])


def killable_processes(*modules: str) -> Any:
    """Processes that start with torch and ``modules`` already imported, so that many can be killed."""
    context = multiprocessing.get_context("forkserver")
    context.set_forkserver_preload(list(modules))
    return context
