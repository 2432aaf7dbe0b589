"""The demo: a length of training that fits the machine, and what it leaves to look at."""

from __future__ import annotations

import io
import json
import tempfile
from collections.abc import Callable
from contextlib import redirect_stderr, redirect_stdout
from copy import deepcopy
from pathlib import Path

import torch

from trainer.errors import UserError
from trainer.loop import Trainer
from trainer.media import write_png
from trainer.task import Task
from vid2vid.config import Vid2VidConfig
from vid2vid.data import open_source
from vid2vid.generation import Generated, generate_video
from vid2vid.loading import LoadedRun
from vid2vid.visuals import contact_sheet

BATCHES = 4  # of the trial; the first is left out of the measurement
CURVES = {
    "generator": ("g/l1", "g/gan", "g/feature", "g/gan_video0", "g/feature_video0"),
    "motion": ("g/flow", "g/flow_warp", "g/output_warp", "g/mask"),
    "discriminators": ("d_image/real", "d_image/fake", "d_video/real", "d_video/fake"),
    "mask and pixels": ("mask_mean", "l1_pixels"),
}


def fit_to_time(config: Vid2VidConfig, build: Callable[[Vid2VidConfig], Task], minutes: float) -> Vid2VidConfig:
    """The configuration with ``trainer.max_samples`` lowered to what this machine trains in ``minutes``.

    Times a few batches in a folder that goes away again. A run's schedule follows its samples, so a shorter run still
    decays its learning rate to the end.

    Raises:
        UserError: where the time is too short for anything.
    """
    trial = deepcopy(config)
    row = next(iter(trial.curriculum.stages.values()))
    trial.trainer.max_samples, trial.trainer.max_minutes = row.batch_size * BATCHES, None
    trial.trainer.eval_every, trial.trainer.log_every = 0, -(-row.frames // row.segment_frames)
    trial.logger.tensorboard = False
    with tempfile.TemporaryDirectory() as folder:
        with redirect_stdout(io.StringIO()), redirect_stderr(io.StringIO()):  # the trial's record is nobody's concern
            Trainer(trial, lambda: build(trial), Path(folder) / "trial").fit()
        lines = (Path(folder) / "trial" / "metrics.jsonl").read_text().splitlines()
    rates = [json.loads(line)["samples_per_s"] for line in lines][1:]
    if not rates:
        raise UserError("stopped while the machine was being timed; nothing was written")
    rate = sorted(rates)[len(rates) // 2]
    batches = int(rate * minutes * 60 / row.batch_size)
    if batches < 1:
        raise UserError(f"this machine trains {rate:.3g} clips a second: {minutes} minutes are too few; raise minutes=")
    fitted = deepcopy(config)
    fitted.trainer.max_samples = min(config.trainer.max_samples or 10**9, batches * row.batch_size)
    return fitted


def draw_curves(run_dir: Path) -> Path:
    """Losses over steps as ``curves.png``, from the run's ``metrics.jsonl``."""
    import matplotlib

    matplotlib.use("Agg")
    from matplotlib import pyplot

    records = [json.loads(line) for line in (run_dir / "metrics.jsonl").read_text().splitlines()]
    records = [record for record in records if "losses" in record]
    steps = [record["step"] for record in records]
    figure, axes = pyplot.subplots(2, 2, figsize=(11, 6), layout="constrained")
    for axis, (title, names) in zip(axes.flat, CURVES.items(), strict=True):
        for name in names:
            values = [record["losses"].get(name) for record in records]
            if any(value is not None for value in values):
                axis.plot(steps, values, label=name.split("/")[-1] if title != "discriminators" else name, lw=1.2)
        axis.set(title=title, xlabel="step")
        axis.set_ylim(bottom=0)
        axis.grid(alpha=0.3)
        if axis.has_data():
            axis.legend(fontsize=7)
    path = run_dir / "curves.png"
    figure.savefig(path, dpi=100)
    pyplot.close(figure)
    return path


def make_video(run: LoadedRun, out: Path, frames: int, zoom: int) -> Generated:
    """Label | real | generated of a street that no training saw, enlarged ``zoom`` times for the eye."""
    sequence = next(iter(open_source("street", run.config, frames)))
    return generate_video(run, sequence, out, frames=frames, compare=True, zoom=zoom)


def make_contact_sheet(video: Path, out: Path, count: int = 6) -> Path:
    """Evenly spaced frames of a video, one under the other."""
    import av

    with av.open(str(video)) as container:
        frames = [torch.from_numpy(frame.to_ndarray(format="rgb24")) for frame in container.decode(video=0)]
    write_png(out, contact_sheet(torch.stack(frames), count))
    return out
