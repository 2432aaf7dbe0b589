"""The losses of the first ten steps of small runs, with all digits: what no restructuring may move.

``python -m tests.helpers.golden`` writes them anew where a change of numbers is meant (say so in CHANGELOG.md), or for
a newer torch. The files say what made them; elsewhere the same steps come out nearly the same.
"""

from __future__ import annotations

import io
import json
import platform
import tempfile
from contextlib import redirect_stdout
from pathlib import Path
from typing import Any, NamedTuple

import torch
from omegaconf import OmegaConf

from tests.helpers import small_runs
from tests.helpers.paths import FIXTURES, ROOT
from train import SCHEMAS, build_task
from trainer.cli import compose
from trainer.device.cpu import cpu_fields
from trainer.loop import Trainer

FOLDER = FIXTURES / "golden"
COMMAND = "python -m tests.helpers.golden"
STEPS = 10
VIT = ["data.shapes_samples=64", "data.shapes_val_samples=8", "curriculum.stages.all.batch_size=8"]


def design_2018() -> list[str]:
    """What ``model=vid2vid_2018`` says of losses and layers, for a smaller model."""
    model = OmegaConf.load(ROOT / "configs" / "model" / "vid2vid_2018.yaml").model
    return [f"model.{key}={'null' if value is None else value}" for key, value in model.items()]


class Case(NamedTuple):
    """A run, and how near it comes to its file on another machine or with another torch."""

    words: list[str]  # of the command line, a model first
    near: float = 1e-4  # relative
    steps: int = STEPS  # so many of them
    stages: bool = False  # the run with two stages of ``small_runs``


# Measured with AVX2 and SSE4.1 against AVX-512. In half precision another last digit may be rounded the other way. In
# a GAN's first steps Adam divides gradients by their own size: where one is almost 0, its sign decides a whole step.
CASES = {
    "vit_mu": Case(["model=vit_mu", *VIT]),
    "vit_mu_bf16": Case(["model=vit_mu", *VIT, "trainer.precision=bf16", "augment.mixup=0.5"], near=0.02),
    "vit_mu_stages": Case(small_runs.words("vit_mu"), stages=True),
    "vid2vid_2018": Case(["model=vid2vid_tiny", *design_2018()], steps=1),
    "vid2vid_2018_stages": Case([*small_runs.words("vid2vid_tiny"), *design_2018()], steps=1, stages=True),
    "vid2vid_tiny": Case(["model=vid2vid_tiny", "model.penalty_every=1"], steps=1),
    "vid2vid_tiny_stages": Case(small_runs.words("vid2vid_tiny"), steps=1, stages=True),
    "label_predictor_stages": Case(small_runs.words("label_predictor"), steps=1, stages=True),
}


def maker() -> dict[str, str]:
    """What decides the last digits, besides the code."""
    cpu = cpu_fields().get("model name", platform.machine())
    return {"torch": torch.__version__, "capability": torch.backends.cpu.get_cpu_capability(), "cpu": cpu}


def losses(case: str, run_dir: Path) -> list[dict[str, float]]:
    """Ten steps of a case on one thread of the CPU: by step the name of a loss to its value."""
    words = CASES[case].words
    if not CASES[case].stages:
        ending = [f"trainer.max_steps={STEPS}", "trainer.checkpoint_every=100", "trainer.eval_every=0"]
        words = [*small_runs.COMMON, *words, *ending]
    config: Any = compose(words, SCHEMAS)
    config.trainer.threads = 1
    Trainer(config, lambda: build_task(config), run_dir).fit()
    records = [json.loads(line) for line in (run_dir / "metrics.jsonl").read_text(encoding="utf-8").splitlines()]
    return [record["losses"] for record in records if "losses" in record][:STEPS]


if __name__ == "__main__":
    for name in CASES:
        with tempfile.TemporaryDirectory() as folder, redirect_stdout(io.StringIO()):
            steps = [json.dumps(step) for step in losses(name, Path(folder))]
        lines = [f' "{key}": {json.dumps(value)},' for key, value in maker().items()]
        text = "\n".join(["{", *lines, ' "losses": [', ",\n".join(f"  {step}" for step in steps), " ]", "}"])
        (FOLDER / f"{name}.json").write_text(text + "\n", encoding="utf-8")
