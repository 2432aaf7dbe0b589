"""Two tiny tasks that all contract tests are parametrised over.

- ``linear``: a linear classifier, one phase, one segment a batch.
- ``rival``: two phases that pull against each other, a forward pass that both share, three segments carried in time, a
  batch-statistics buffer, and two parts of one network of which a stage may train only one.
"""

from __future__ import annotations

from collections.abc import Iterator
from dataclasses import dataclass, field
from typing import Any

import numpy as np
import torch
from torch import Tensor, nn

from trainer.config.fields import (
    DeviceKind,
    LoggerConfig,
    OptimizerConfig,
    Precision,
    RunConfig,
    ScheduleConfig,
    ScheduleKind,
    StageConfig,
    TrainerConfig,
)
from trainer.task import Phase, SampleDataset, Segment, Stage, StepContext, Task


@dataclass
class ToyCurriculum:
    stages: dict[str, StageConfig] = field(default_factory=dict)


@dataclass
class ToyData:
    workers: int = 0


class ToyData64:
    """Random clips (T, 4) of float64 with a class; some noise comes from the sample's own stream."""

    def __init__(self, n: int, frames: int, offset: int = 0, poison: int | None = None) -> None:
        self.n, self.frames, self.offset, self.poison = n, frames, offset, poison

    def __len__(self) -> int:
        return self.n

    def sample(self, index: int, rng: np.random.Generator) -> dict[str, Any]:
        fixed = np.random.default_rng(1000 + self.offset + index)
        x = fixed.normal(size=(self.frames, 4)) + 0.1 * rng.normal(size=(self.frames, 4))
        if index == self.poison:
            x[-1, 0] = np.nan
        return {"x": x, "y": int(fixed.integers(0, 3)), "name": f"sample {index}"}


class ToyTask(Task):
    """What the two have in common: the data, and the mean square of the outputs as a metric."""

    def __init__(self, poison: int | None = None, samples: int = 10) -> None:
        self.poison, self.samples = poison, samples
        self.stages_entered: list[str] = []

    def dataset(self, split: str, stage: Stage) -> SampleDataset:
        if split == "train":
            return ToyData64(self.samples, stage.frames, poison=self.poison)
        return ToyData64(5, stage.frames, offset=500)

    def on_stage(self, stage: Stage) -> None:
        self.stages_entered.append(stage.name)

    def evaluate(self, loader: Any, ctx: StepContext) -> dict[str, tuple[float, float]]:
        total = weight = 0.0
        for batch in loader:
            error = self.score(batch["x"]).double()
            total += (error * batch["weight"]).sum().item()
            weight += batch["weight"].sum().item()
        return {"score": (total, weight)}

    def score(self, x: Tensor) -> Tensor:
        raise NotImplementedError


class LinearTask(ToyTask):
    def __init__(self, **kwargs: Any) -> None:
        super().__init__(**kwargs)
        self.model = nn.Linear(4, 3).double()

    def networks(self) -> dict[str, nn.Module]:
        return {"model": self.model}

    def phases(self, stage: Stage) -> tuple[Phase, ...]:
        return (Phase("main", ("model",)),)

    def losses(self, phase: str, segment: Segment, ctx: StepContext) -> dict[str, Tensor]:
        with ctx.amp():
            scores = self.model(segment["x"].mean(dim=1))
        ctx.log("score", scores.square().mean())
        return {"class": nn.functional.cross_entropy(scores.double(), segment["y"])}

    def score(self, x: Tensor) -> Tensor:
        return self.model(x.mean(dim=1)).square().mean(dim=1)


class Walker(nn.Module):
    """Next frame from the last one; a coarse and a fine part, and a running mean."""

    def __init__(self) -> None:
        super().__init__()
        self.coarse = nn.Linear(4, 4)
        self.fine = nn.Linear(4, 4)
        self.mean: Tensor
        self.register_buffer("mean", torch.zeros(4))

    def forward(self, x: Tensor, past: Tensor) -> Tensor:
        out = torch.tanh(self.coarse(x) + past) + self.fine(x)
        if self.training:
            with torch.no_grad():
                self.mean.lerp_(out.mean(dim=(0, 1)).to(self.mean.dtype), 0.1)
        return out


class RivalTask(ToyTask):
    """``maker`` wants its outputs judged high and near their inputs; ``judge`` tells outputs from inputs.

    Args:
        share: both phases use one forward pass of the maker; otherwise each makes its own.
        spoil: (phase, step) whose loss becomes NaN.
    """

    def __init__(
        self, share: bool = True, spoil: tuple[str, int] | None = None, noise: float = 0.0, **kwargs: Any
    ) -> None:
        super().__init__(**kwargs)
        self.share, self.spoil, self.noise = share, spoil, noise
        self.maker = Walker().double()
        self.judge = nn.Sequential(nn.Linear(4, 8), nn.Tanh(), nn.Linear(8, 1)).double()
        self.forwards = 0

    def networks(self) -> dict[str, nn.Module]:
        return {"maker": self.maker, "judge": self.judge}

    def phases(self, stage: Stage) -> tuple[Phase, ...]:
        return (Phase("make", ("maker",)), Phase("judge", ("judge",)))

    def segments_per_batch(self, stage: Stage) -> int:
        return stage.frames

    def segments(self, batch: dict[str, Any], ctx: StepContext) -> Iterator[Segment]:
        past = batch["x"].new_zeros(len(batch["x"]), 1, 4)
        for t in range(ctx.stage.frames):
            segment = Segment(x=batch["x"][:, t : t + 1], past=past)
            yield segment
            past = self.make(segment, ctx).detach() if segment.carried is None else segment.carried

    def make(self, segment: Segment, ctx: StepContext) -> Tensor:
        def run() -> Tensor:
            self.forwards += 1
            with ctx.amp():
                made = self.maker(segment["x"], segment["past"])
            segment.carried = made.detach()  # what is shared is forgotten before the next segment asks for it
            return made

        return segment.once("made", run) if self.share else run()

    def losses(self, phase: str, segment: Segment, ctx: StepContext) -> dict[str, Tensor]:
        made, real = self.make(segment, ctx), segment["x"]
        if self.noise:
            draw = torch.randn(real.shape, generator=ctx.generator, dtype=real.dtype, device=real.device)
            made = made + self.noise * draw + self.noise * torch.rand_like(real)
        with ctx.amp():
            if phase == "make":
                found = {"fool": -self.judge(made).mean(), "near": (made - real).square().mean()}
            else:
                high, low = self.judge(real), self.judge(made.detach())
                found = {"tell": torch.relu(1 - high).mean() + torch.relu(1 + low).mean()}
        if self.spoil == (phase, ctx.step):
            found = {name: value * float("nan") for name, value in found.items()}
        return {name: value.double() for name, value in found.items()}

    def score(self, x: Tensor) -> Tensor:
        return self.maker(x, torch.zeros_like(x)).square().mean(dim=(1, 2))

    def state_dict(self) -> dict[str, Any]:
        return {"forwards": self.forwards}

    def load_state_dict(self, state: dict[str, Any]) -> None:
        self.forwards = state["forwards"]


TASKS = {"linear": LinearTask, "rival": RivalTask}


def toy_stages() -> dict[str, StageConfig]:
    """Two stages; the change falls into the middle of an epoch of ten samples."""
    return {
        "short": StageConfig(frames=2, batch_size=4, accumulate=2, downscale=2),
        "long": StageConfig(start=0.5, frames=3, batch_size=2),
    }


def toy_config(
    name: str = "rival", stages: dict[str, StageConfig] | None = None, workers: int = 0, **trainer: Any
) -> RunConfig:
    """A run of a toy; further keywords go to ``TrainerConfig``."""
    settings: dict[str, Any] = {
        "max_samples": 24,
        "log_every": 3,
        "eval_every": 5,
        "checkpoint_every": 4,
        "precision": Precision.fp32,
        "device": DeviceKind.cpu,
        "ema": 0.9,
        **trainer,
    }
    if settings.get("max_steps") is not None:
        settings["max_samples"] = trainer.get("max_samples")
    phases = ("main",) if name == "linear" else ("make", "judge")
    return RunConfig(
        task=name,
        name="toy",
        seed=3,
        resolution=[4, 8],
        data=ToyData(workers=workers),
        optim={phase: OptimizerConfig(lr=0.01, clip=5.0) for phase in phases},
        schedule=ScheduleConfig(kind=ScheduleKind.linear),
        curriculum=ToyCurriculum(toy_stages() if stages is None else stages),
        trainer=TrainerConfig(**settings),
        logger=LoggerConfig(tensorboard=False, curves=False),
    )


def build_toy(config: RunConfig, **kwargs: Any) -> ToyTask:
    return TASKS[config.task](**kwargs)
