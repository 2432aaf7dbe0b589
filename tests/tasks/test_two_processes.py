"""Two gloo processes with half the batch each make the same steps as one process with all of it."""

import json
import subprocess
import sys
from pathlib import Path
from typing import Any

from torch import Tensor

from trainer.checkpoint import load_weights

ROOT = Path(__file__).resolve().parents[2]
WORDS = [
    "model=vid2vid_tiny",
    "model.flow_init=0.1",
    "curriculum.stages.all.batch_size=2",
    "trainer.max_samples=10",
    "trainer.log_every=10",
    "trainer.precision=fp32",
    "trainer.device=cpu",
    "logger.tensorboard=false",
]
# Adam divides by the size of the gradient: where that is rounding, so is its whole step, and 10 steps differ by 2e-4.
SGD = [f"optim.{phase}.{word}" for phase in ("g", "d_image", "d_video") for word in ("kind=sgd", "momentum=0")]
RATES = ["optim.g.lr=3e-6", "optim.d_image.lr=1e-3", "optim.d_video.lr=1e-3"]


def train(folder: Path, name: str, words: list[str], *before: str) -> tuple[dict[str, Tensor], dict[str, Any]]:
    command = [*before, str(ROOT / "train.py"), f"name={name}", *WORDS, *words]
    done = subprocess.run(command, cwd=folder, capture_output=True, text=True, timeout=240, check=False)
    assert done.returncode == 0, done.stdout + done.stderr
    run_dir = folder / "runs" / name
    record = json.loads((run_dir / "metrics.jsonl").read_text().splitlines()[0])
    return load_weights(run_dir, ema=False)[0], record


def test_half_the_batch_each(tmp_path: Path) -> None:
    launcher = [sys.executable, "-m", "torch.distributed.run", "--standalone", "--nproc-per-node=2"]
    one, one_record = train(tmp_path, "one", [*SGD, *RATES], sys.executable)
    two, two_record = train(tmp_path, "two", [*SGD, *RATES], *launcher)
    start, _ = train(tmp_path, "start", [*SGD, *RATES, "optim.g.lr=1e-30", "optim.d_image.lr=1e-30"], sys.executable)
    assert one_record["step"] == two_record["step"] == 10
    assert one.keys() == two.keys()
    worst = max((float((one[name] - two[name]).abs().max()), name) for name in one)
    assert worst[0] <= 1e-5, worst
    for network in ("generator.", "d_image."):  # and they did move
        moved = max(float((one[name] - start[name]).abs().max()) for name in one if name.startswith(network))
        assert moved > 1e-4
    for name, value in one_record["losses"].items():
        assert abs(two_record["losses"][name] - value) <= 1e-3 * max(1.0, abs(value)), name
