"""What a task tells the trainer, and what the trainer tells a task. This file is the whole interface.

One step, in words: the trainer splits a batch into ``accumulate`` micro-batches and walks ``task.segments`` of all of
them side by side. For each micro-batch, for each phase that is due: ``task.losses`` and backward into that phase's
parameters only. Then, for each phase: synchronise gradients; check that they are finite; unscale; clip; step. Then EMA,
and ``step += 1``. So all phases' gradients are taken at the same weights, whether they share a forward pass or not, and
what they share lives for one micro-batch. After the last segment of the batch ``samples_seen`` advances; only there are
evaluation, checkpoints, stage changes and preemption looked at.
"""

from __future__ import annotations

from abc import ABC, abstractmethod
from collections.abc import Callable, Iterator, Mapping
from contextlib import AbstractContextManager
from dataclasses import dataclass, field
from typing import TYPE_CHECKING, Any, Protocol, TypeVar

if TYPE_CHECKING:
    import numpy as np
    import torch
    from torch import Tensor, nn

    from trainer.config.fields import StageConfig

T = TypeVar("T")

SPLITS = ("train", "val", "test")  # names of what `Task.dataset` gives


@dataclass(frozen=True)
class Phase:
    """One thing to update: a name (its key in ``optim``), the networks it trains, how often.

    Attributes:
        name: key of its optimiser in the configuration.
        modules: names among ``Task.networks()`` whose parameters it updates.
        every: it is due on steps divisible by this.
        clip: largest total gradient norm; None does not clip.
    """

    name: str
    modules: tuple[str, ...]
    every: int = 1
    clip: float | None = None


@dataclass(frozen=True)
class Stage:
    """One row of the coarse-to-fine curriculum, resolved: starts are samples, resolutions are pixels.

    Attributes:
        index, name: position in the table and its key there.
        start: ``samples_seen`` at which it begins.
        resolution: (height, width) in pixels.
        frames: length of a clip; 1 where there is no time.
        batch_size: samples of one batch over all processes.
        accumulate: micro-batches that each process splits its share into.
        trainable: network name patterns (fnmatch) that train in this stage; others keep their weights.
        config: the row as configured, with the task's own columns.
    """

    index: int
    name: str
    start: int
    resolution: tuple[int, int]
    frames: int
    batch_size: int
    accumulate: int
    trainable: tuple[str, ...]
    config: StageConfig


class Segment:
    """One optimiser step's worth of a (micro-)batch.

    Args:
        data: tensors and whatever else the task needs; read by ``segment["name"]``. It is kept until the step's numbers
            are known to be finite: large things that follow from small ones are better made by ``once``.

    Attributes:
        carried: what the task hands on to the next segment; stays when shared work is forgotten.
    """

    def __init__(self, **data: Any) -> None:
        self.data = data
        self.carried: Any = None
        self._shared: dict[str, Any] = {}

    def __getitem__(self, key: str) -> Any:
        return self.data[key]

    def once(self, key: str, compute: Callable[[], T]) -> T:
        """``compute()`` at the first call, the same object afterwards: work that several phases share.

        It is kept until the last phase of the micro-batch has its gradients (``forget``).
        """
        if key not in self._shared:
            self._shared[key] = compute()
        return self._shared[key]

    def forget(self) -> None:
        """Drops all shared work: its phases are through. What the next segment builds upon is ``carried``."""
        self._shared.clear()


@dataclass
class StepContext:
    """All that a task sees of the trainer.

    Attributes:
        step, samples_seen: the trainer's two counters.
        stage: the current row of the curriculum.
        progress: share of the run that is done, 0..1.
        device: where tensors live.
        amp: ``with ctx.amp():`` is the run's autocast; losses are computed outside it, in fp32.
        generator: random numbers of this step, from (seed, rank, step), on ``device``.
        log: ``ctx.log("mask_mean", tensor)`` adds a scalar to this step's record without waiting for the device.
        should_stop: True once the run was asked to stop (signal); evaluations poll it, all processes equally often.
        rank, world: process number and count.
        loss_scale: what fp16 multiplies the current phase's loss by before backward, else 1; for a task that takes
            gradients of its own.
        rehearsing: whether memory is only tried out: then whatever a step may do has to be done in this one.
        sum: ``ctx.sum(tensor)`` adds a tensor up over all processes, in evaluation, where every process calls it alike.
    """

    step: int
    samples_seen: int
    stage: Stage
    progress: float
    device: torch.device
    amp: Callable[[], AbstractContextManager[Any]]
    generator: torch.Generator
    log: Callable[[str, Tensor], None] = field(default=lambda name, value: None)
    should_stop: Callable[[], bool] = field(default=lambda: False)
    rank: int = 0
    world: int = 1
    loss_scale: Tensor | float = 1.0
    rehearsing: bool = False
    sum: Callable[[Tensor], Tensor] = field(default=lambda tensor: tensor)


class SampleDataset(Protocol):
    """What ``Task.dataset`` returns: a map-style data set whose randomness comes in from outside.

    With a method ``name(index)``, the file of a sample or whatever else finds it again, messages name it.
    """

    def __len__(self) -> int: ...

    def sample(self, index: int, rng: np.random.Generator) -> dict[str, Any]:
        """Sample ``index`` with its augmentation drawn from ``rng`` (made from (seed, epoch, index))."""
        ...


class Task(ABC):
    """A model with its data and losses. Subclass, implement the five abstract methods; the rest has defaults."""

    @abstractmethod
    def networks(self) -> dict[str, nn.Module]:
        """All trained networks by name, built for the whole curriculum. The same objects at every call."""

    @abstractmethod
    def phases(self, stage: Stage) -> tuple[Phase, ...]:
        """What is updated in this stage, in the order of updating."""

    @abstractmethod
    def dataset(self, split: str, stage: Stage) -> SampleDataset:
        """``train``, ``val`` or ``test`` data for a stage."""

    @abstractmethod
    def losses(self, phase: str, segment: Segment, ctx: StepContext) -> dict[str, Tensor]:
        """Weighted scalar losses (mean over the segment's samples) whose sum the phase minimises.

        An empty dict, or losses that depend on nothing: the phase has nothing to learn from this segment.
        """

    @abstractmethod
    def evaluate(self, loader: Any, ctx: StepContext) -> dict[str, tuple[float, float]]:
        """Metrics as (weighted sum, weight) over this process's share of ``loader``; the trainer divides.

        Called with EMA weights in place and networks in eval mode. Each batch has ``weight`` (B,): 0 marks padding.
        """

    def segments(self, batch: dict[str, Any], ctx: StepContext) -> Iterator[Segment]:
        """Pieces of a micro-batch (on the device), one optimiser step each. Default: all of it, once."""
        yield Segment(**batch)

    def segments_per_batch(self, stage: Stage) -> int:
        """How many segments ``segments`` yields in a stage; must be the same for every batch of the stage."""
        return 1

    def epoch_samples(self) -> int | None:
        """Samples of an epoch: what ``trainer.max_epochs`` and the like count. None: the data have no fixed number."""
        return None

    def segments_to_peak(self, stage: Stage) -> int:
        """How many segments of a batch it takes until one needs as much memory as any will.

        The default is two, as the second one of a clip carries what the first left behind.
        """
        return min(2, self.segments_per_batch(stage))

    def work(self, stage: Stage) -> tuple[float, ...]:
        """What the memory of a step grows with in a stage, beside the parameters that train; any count of numbers.

        A stage whose numbers are all at most another's needs no more memory. Default: the pixels of a micro-batch's
        segment.
        """
        height, width = stage.resolution
        frames = stage.frames / self.segments_per_batch(stage)
        return (height * width * frames * stage.batch_size / stage.accumulate,)

    def idle_phases(self) -> tuple[str, ...]:
        """Names that ``optim`` may have although no stage has such a phase: of networks that are switched off."""
        return ()

    def frozen(self) -> dict[str, nn.Module]:
        """Networks that are used but never trained nor saved (a perceptual network, a teacher)."""
        return {}

    def on_stage(self, stage: Stage) -> None:
        """Called before the first batch of a stage, also after resuming into it."""

    def judged_by(self) -> dict[str, bool]:
        """Metrics of ``evaluate`` that ``trainer.keep_best`` may choose by, and whether larger is better."""
        return {}

    def visuals(self, loader: Any, ctx: StepContext) -> dict[str, Tensor]:
        """Pictures (H, W, 3) and videos (T, H, W, 3), uint8, to be looked at. EMA weights are in place."""
        return {}

    def meta(self) -> dict[str, Any]:
        """Plain data that must travel with the weights (input normalisation, class names)."""
        return {}

    def data_facts(self) -> dict[str, Any]:
        """What a resumed run must find again of its training data: plain data by name (counts, classes, a digest).

        Kept with every checkpoint. A difference stops a run that would resume, unless ``trainer.data_changed=accept``.
        """
        return {}

    def moved_rows(self, before: Mapping[str, Any]) -> tuple[dict[str, list[int]], list[str]]:
        """Where data that changed number a parameter's rows otherwise: for each of its rows the checkpoint's.

        Args:
            before: ``data_facts`` of the checkpoint, which differ.

        Returns:
            By full name (``network.parameter``), each as many numbers as the parameter has rows; none where all stay.
            Weights, averages and what optimisers gathered are moved alike. Besides, lines for the user.

        Raises:
            CheckpointError: the run cannot go on with the data as they are now; says why, and what can be done.
        """
        return {}, []

    def console(self) -> tuple[str, ...]:
        """Columns of a training record that a person steers by, the most telling first: three to six names.

        They are ``PHASE/LOSS``, ``PHASE/grad_norm``, or what the task gives to ``ctx.log``. None: all.
        """
        return ()

    def quicker(self) -> str:
        """What shows the same in minutes on a CPU: commands, told where a run would take hours. Empty: nothing does."""
        return ""

    def notes(self) -> list[str]:
        """What the user should know of this run (a loss that is off, say): lines told and logged at its start."""
        return []

    def state_dict(self) -> dict[str, Any]:
        """Further state of the task: tensors and plain data. Networks are saved by the trainer."""
        return {}

    def load_state_dict(self, state: dict[str, Any]) -> None:
        """Counterpart of ``state_dict``."""

    def layers(self, phase: str) -> dict[str, int]:
        """Depth of a phase's parameters by full name (``network.parameter``), from 0 (the embedding) to the head.

        Read for layer-wise learning-rate decay (``optim.PHASE.layer_decay``); must then name every parameter.
        """
        return {}

    def undecayed(self, phase: str) -> set[str]:
        """Full names of a phase's parameters that weight decay spares although they have two or more dimensions."""
        return set()

    def tables(self, stage: Stage) -> list[tuple[str, list[list[str]]]]:
        """What the dry run shows besides: (title, rows of cells), the first row being the heading."""
        return []

    def evaluation_note(self, stage: Stage) -> str:
        """How the validation data are prepared, in a few words; printed with every score. Empty: nothing to say."""
        return ""

    def evaluation_facts(self, stage: Stage) -> dict[str, str | int | float]:
        """What the last evaluation's figures are of (split, data, counts, ...), for ``eval.json``; flat."""
        return {}

    def compiled(self) -> list[nn.Module]:
        """What ``trainer.compile`` compiles, each module by itself. Default: every network as a whole."""
        return list(self.networks().values())

    def shard_blocks(self) -> list[nn.Module]:
        """Modules that a sharding strategy wraps one by one: called themselves, large, and most of the network."""
        return []

    def one_pass(self) -> bool:
        """Whether a loss calls every network that trains, as a whole and once, and all that trains gets a gradient.

        That is what DistributedDataParallel asks for; ``trainer.strategy=auto`` takes it where a task says so.
        """
        return False

    def frames_per_sample(self, stage: Stage) -> int:
        """Frames in one sample, for the throughput line."""
        return stage.frames
