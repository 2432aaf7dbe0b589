"""Two gloo processes with half the batch each make the same steps as one process with all of it, for every task."""

import json
import subprocess
import sys
from pathlib import Path
from typing import Any

import pytest
from torch import Tensor

from tests.helpers.paths import ROOT
from trainer.checkpoint.trained import load_weights

COMMON = [
    "trainer.log_every=10",
    "trainer.precision=fp32",
    "trainer.device=cpu",
    "logger.tensorboard=false",
    "logger.curves=false",
]
# Adam divides by the size of the gradient: where that is rounding, so is its whole step, and 10 steps differ by 2e-4.
WORDS = {
    "vid2vid_tiny": [
        "model.flow_init=0.1",
        "curriculum.stages.all.batch_size=2",
        "trainer.max_samples=10",
        *(f"optim.{phase}.{word}" for phase in ("g", "d_image", "d_video") for word in ("kind=sgd", "momentum=0")),
    ],
    "vid2vid_tiny segmenting": [
        "model.image_discriminator=segmenting",
        "model.segmenting_gamma=1",
        "model.flow_init=0.1",
        "curriculum.stages.all.batch_size=2",
        "trainer.max_samples=10",
        *(f"optim.{phase}.{word}" for phase in ("g", "d_image", "d_video") for word in ("kind=sgd", "momentum=0")),
    ],
    # One process accumulates over two micro-batches, each of two processes has one.
    "vit_mu": [
        "curriculum.stages.all.batch_size=8",
        "trainer.micro_batch=4",
        "trainer.max_samples=80",
        "trainer.eval_every=null",
        "data.shapes_samples=30",
        "data.shapes_val_samples=9",
        "data.workers=0",
        "optim.main.kind=sgd",
        "optim.main.layer_decay=0.8",
        "schedule=constant",
    ],
}
RATES = {
    "vid2vid_tiny": {"g": 3e-6, "d_image": 1e-3, "d_video": 1e-3},
    "vid2vid_tiny segmenting": {"g": 3e-6, "d_image": 1e-3, "d_video": 1e-3},
    "vit_mu": {"main": 0.05},
}
MOVING = {
    "vid2vid_tiny": ("generator.", "d_image."),
    "vid2vid_tiny segmenting": ("generator.", "d_image.head."),
    "vit_mu": ("model.blocks.", "model.head."),
}


def train(folder: Path, name: str, model: str, scale: float, *before: str) -> tuple[dict[str, Tensor], dict[str, Any]]:
    rates = [f"optim.{phase}.lr={rate * scale}" for phase, rate in RATES[model].items()]
    command = [
        *before,
        str(ROOT / "train.py"),
        f"name={name}",
        f"model={model.partition(' ')[0]}",
        *COMMON,
        *WORDS[model],
        *rates,
    ]
    done = subprocess.run(command, cwd=folder, capture_output=True, text=True, timeout=240, check=False)
    assert done.returncode == 0, done.stdout + done.stderr
    run_dir = folder / "runs" / name
    record = json.loads((run_dir / "metrics.jsonl").read_text().splitlines()[0])
    return load_weights(run_dir, ema=False)[0], record


@pytest.mark.slow
@pytest.mark.parametrize("model", sorted(WORDS))
def test_half_the_batch_each(tmp_path: Path, model: str) -> None:
    launcher = [sys.executable, "-m", "torch.distributed.run", "--standalone", "--nproc-per-node=2"]
    one, one_record = train(tmp_path, "one", model, 1.0, sys.executable)
    two, two_record = train(tmp_path, "two", model, 1.0, *launcher)
    start, _ = train(tmp_path, "start", model, 1e-25, sys.executable)
    assert one_record["step"] == two_record["step"] == 10
    assert one.keys() == two.keys()
    worst = max((float((one[name] - two[name]).abs().max()), name) for name in one)
    assert worst[0] <= 1e-5, worst
    for part in MOVING[model]:  # and they did move
        moved = max(float((one[name] - start[name]).abs().max()) for name in one if name.startswith(part))
        assert moved > 1e-4
    for name, value in one_record["losses"].items():
        assert abs(two_record["losses"][name] - value) <= 1e-3 * max(1.0, abs(value)), name
