"""The trainer's configuration: dataclasses are the only place of defaults. Importing this loads no torch."""

from __future__ import annotations

from dataclasses import dataclass, field
from enum import Enum
from typing import Any

from trainer.untrusted.limits import MAX_PIXELS


class Precision(Enum):
    auto = "auto"
    bf16 = "bf16"
    fp16 = "fp16"
    fp32 = "fp32"


class DeviceKind(Enum):
    auto = "auto"
    cpu = "cpu"
    cuda = "cuda"


class Strategy(Enum):
    auto = "auto"
    none = "none"
    flat = "flat"
    ddp = "ddp"
    fsdp2 = "fsdp2"


class OptimizerKind(Enum):
    adam = "adam"
    adamw = "adamw"
    sgd = "sgd"
    lamb = "lamb"  # You et al., 2020
    lars = "lars"  # You et al., 2017
    lion = "lion"  # Chen et al., 2023
    muon = "muon"  # Jordan et al., 2024: for matrices between the first and the last layer; AdamW for the rest


class ScheduleKind(Enum):
    constant = "constant"
    linear = "linear"  # constant, then straight down to `final`
    cosine = "cosine"  # constant, then a half cosine down to `final`
    step = "step"  # multiplied by `gamma` at each milestone
    linear_restarts = "linear_restarts"  # `linear` anew from each milestone, each time from `gamma` times as much
    rsqrt = "rsqrt"  # 1 / sqrt(1 + t / timescale) from the end of warm-up; straight down to `final` from `decay_start`


class DataChanged(Enum):
    stop = "stop"
    accept = "accept"


class Split(Enum):  # of the data, as scripts take it
    val = "val"
    test = "test"
    train = "train"


OnBadFile = Enum("OnBadFile", {"raise": "raise", "skip": "skip"})  # of data: what `trainer.data.pictures` makes of one
OnNonFinite = Enum("OnNonFinite", {"raise": "raise", "skip": "skip"})  # `raise` is a keyword: OnNonFinite["raise"]


@dataclass
class OptimizerConfig:
    """One phase's optimiser.

    ``weight_decay`` (wd) is meant as torch means it. With the current rate r = lr * schedule factor (* layer decay):

    - ``adamw``: decoupled (Loshchilov and Hutter, 2019), w -= r * wd * w.
    - ``adam``, ``sgd``: wd * w is added to the gradient (L2).
    - ``lamb``: wd * w is added to the update, before its trust ratio. ``lars``: likewise, to the gradient.
    - ``lion``, ``muon``: as ``adamw``.

    big_vision decouples it from lr too: w -= factor * wd_bv * w, so wd_bv = lr * wd: its 1e-4 at lr 1e-3 is 0.1 here.
    Tensors of less than two dimensions (biases, norms) and those that the task names are spared.
    """

    kind: OptimizerKind = OptimizerKind.adam
    lr: float = 2e-4
    betas: list[float] = field(default_factory=lambda: [0.9, 0.999])
    eps: float = 1e-8
    momentum: float = 0.9  # sgd, lars, muon
    nesterov: bool = False  # sgd
    trust: float = 0.001  # lars: a matrix moves by this share of its norm, times the rate
    weight_decay: float = 0.0  # times the rate for adamw (as torch), on tensors of two and more dimensions only
    layer_decay: float | None = None  # a layer's rate is lr * layer_decay^(last - layer); None: the same for all
    every: int = 1  # update on steps divisible by this
    clip: float | None = None  # largest total gradient norm


@dataclass
class ScheduleConfig:
    """What changes with progress (0..1), the same for every phase: the learning rate's factor, and ramps.

    A ramp is [from, to, over]: half a cosine from one value to the other over a share of the run.
    """

    kind: ScheduleKind = ScheduleKind.constant
    warmup: float = 0.0  # the rate rises over this share of the run (< 1) or so many samples (>= 1)
    warmup_epochs: float | None = None  # so many passes over the training data instead of `warmup`
    warmup_from: float = 0.0  # factor at the first sample of warm-up
    warmup_lr: float | None = None  # the rate there instead, whatever `optim.PHASE.lr` is
    decay_start: float | None = 0.5  # share of the run, or of a piece, at which decay begins; None: when warm-up ends
    decay_end: float = 1.0  # share of the run at which linear, cosine and rsqrt reach `final`, to stay there
    decay_from_start: bool = False  # the decay's clock also runs while the rate still warms up (timm, DeiT)
    final: float = 0.0  # factor at the end
    min_lr: float | None = None  # the rate there instead, whatever `optim.PHASE.lr` is
    timescale: float = 0.1  # rsqrt: share of the run (< 1) or samples (>= 1) after which the factor is 1 / sqrt(2)
    milestones: list[float] = field(default_factory=list)  # shares of the run, for `step` and `linear_restarts`
    gamma: float = 0.1
    beta2: list[float] | None = None  # ramp of Adam's second beta; None: `optim.PHASE.betas`
    ema_half_life: list[float] | None = (
        None  # ramp, in steps after which half of an average is new; None: `trainer.ema`
    )


@dataclass
class StageConfig:
    """One row of the curriculum. Starts are samples (int >= 1) or shares of the run (0 <= float < 1)."""

    start: float = 0.0
    resolution: list[int] | None = None  # [H, W]; None: the run's resolution divided by `downscale`
    downscale: int = 1
    frames: int = 1  # length of a clip
    batch_size: int = 1  # samples per batch over all processes
    accumulate: int = 1  # micro-batches per process
    trainable: list[str] = field(default_factory=lambda: ["*"])  # names (fnmatch) that train; "!name": not that one


class Console(Enum):
    short = "short"
    full = "full"


@dataclass
class LoggerConfig:
    console: Console = Console.short  # a record's line: the few numbers that one steers by, or all of them
    tensorboard: bool = True
    videos: bool = True  # pictures and videos into TensorBoard as well as samples/
    curves: bool = True  # curves.png in the run directory at the end


@dataclass
class TrainerConfig:
    """The loop. `*_every` count steps (segment updates: 250), or are a share of the run (5%), epochs or a time."""

    max_steps: int | None = None  # the first of max_steps, max_samples and max_epochs that is reached ends the run
    max_samples: int | None = None
    max_epochs: float | None = None  # one has as many samples as the training data (of clips: as sequences)
    budget: str | None = None  # 7m, 2h: lay the whole schedule into this time of training, as timed at the start
    hang_after: str = "30min"  # several processes: end the run when nothing gets on for so long; 0: never
    max_minutes: float | None = None  # save and stop (resumable) after this much wall-clock time
    log_every: int = 20
    eval_every: str | None = None  # 250, 5%, 1epoch, 30min; None: at the end only; 0: never
    visuals_every: str | None = None  # likewise; None: with every evaluation; 0: never
    checkpoint_every: str = "1000"  # likewise: 10min
    save_retries: int = 10  # tries, 1, 2, 4 .. 60 min apart, of a checkpoint that fails while training goes on
    keep: int = 2  # newest checkpoints kept
    keep_best: str | None = None  # a metric's name (loss): the checkpoint of its best evaluation is kept, too
    eval_samples: int | None = None  # None: the whole validation split
    eval_raw: bool = False  # beside the averaged weights evaluate those as trained, too: raw_loss, ...
    precision: Precision = Precision.auto
    device: DeviceKind = DeviceKind.auto
    strategy: Strategy = Strategy.auto  # of several processes (docs/parallel.md)
    shard_group: int | None = None  # fsdp2: processes that share one copy of the state; None: all of them
    compile: bool | None = False  # None: on CUDA only
    deterministic: bool = False
    channels_last: bool = False
    tf32: bool = True
    threads: int | None = None  # None: torch's own choice
    micro_batch: str | None = None  # samples per process and micro-batch (then accumulate follows), or auto: what fits
    dry_run: bool = False
    preflight: bool | None = None  # one step of the largest stage first; None: on CUDA only
    resume: str = "auto"  # auto | never | a checkpoint directory, or a run's (its newest)
    data_changed: DataChanged = DataChanged.stop  # resuming on other data: refuse, or go on, a head's rows by name
    replay: str | None = None  # a nonfinite/step-N directory: run that one step again and stop
    ema: float | None = 0.999  # decay per step, ramped up as min(ema, (1 + step) / (10 + step)); None: no EMA
    on_nonfinite: OnNonFinite = OnNonFinite["raise"]
    nonfinite_budget: int = 10  # steps that may be skipped in a row
    sample_timeout: float | None = 600.0  # seconds that reading one sample may take, then the run saves and ends
    profile: bool = False  # a torch profiler trace of a few steps in the run directory


@dataclass
class RemoteConfig:
    """Data at addresses (s3://, gs://, hf://, https://): how they are read and what is kept of them."""

    cache_dir: str = ".cache/remote"  # a folder on a local disk; several runs and processes may share it
    cache_size: str = "50GB"  # what objects may take there; those not used for longest go first
    relist: bool = False  # list the objects again: what is new in a bucket is not seen otherwise
    timeout: float = 60.0  # seconds for one answer
    retries: int = 8  # further tries when a store is busy or the network fails; waits double, from half a second to 30
    options: dict[str, Any] = field(default_factory=dict)  # for fsspec's file system, like {endpoint_url: URL} of s3


@dataclass
class TrustConfig:
    max_pixels: int = MAX_PIXELS  # height x width that a picture or a frame may have: beyond, it is refused unread
    paths_outside: bool = False  # tables may name files that do not lie below their own folder or the one given


# Metadata of a key of ``model`` that says where something is, whose content the task itself holds against the run's: a
# run goes on with it elsewhere.
PLACE = {"place": True}


def only_with(name: str, value: Any) -> dict[str, Any]:
    """Metadata of a key of ``model`` that is read only where its key ``name`` is ``value``.

    Elsewhere a run goes on with any value of it.
    """
    return {"only_with": (name, value)}


@dataclass
class RunConfig:
    """What every run has. A task's own root schema inherits from this and types the untyped groups."""

    task: str = ""  # which package trains (train.py names them)
    name: str = "default"
    seed: int = 0
    resolution: list[int] = field(default_factory=lambda: [128, 256])  # [H, W], the final one
    model: Any = None
    data: Any = None
    optim: dict[str, OptimizerConfig] = field(default_factory=dict)
    schedule: ScheduleConfig = field(default_factory=ScheduleConfig)
    curriculum: Any = None
    trainer: TrainerConfig = field(default_factory=TrainerConfig)
    logger: LoggerConfig = field(default_factory=LoggerConfig)
    trust: TrustConfig = field(default_factory=TrustConfig)  # what files may ask for; never read from a run's file

    def frames_of(self, row: StageConfig) -> int:
        """Length of a clip in a stage."""
        return row.frames
