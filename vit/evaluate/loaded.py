"""Trained classifiers, and published weights, with everything that they must be evaluated with."""

from __future__ import annotations

from collections.abc import Sequence
from dataclasses import dataclass, field, replace
from pathlib import Path

import torch
from torch import Tensor, nn

from trainer.cli import load_run
from trainer.device.compute import Compute, choose_compute
from trainer.device.free_memory import is_out_of_memory, release
from trainer.errors import CheckpointError, ConfigError
from vit.build import Size, build_model
from vit.config import HeadPolicy, LossKind, VitConfig
from vit.data import DataInfo, describe
from vit.data.class_names import unnamed
from vit.data.clips.sampling import prepared
from vit.encoding import normalise
from vit.model.transformer import VisionTransformer
from vit.model.video import clip_frames, input_shape
from vit.preprocessing import Preprocessing, from_plain
from vit.trained import load_run_model, load_weights_model
from vit.weights.classes import head_names

NO_NUMBERS = (
    "the network's answer is not a number (NaN): its weights are damaged or of a run that diverged, or "
    "trainer.precision is too coarse for them; trainer.precision=fp32 tells which"
)


class ChannelsError(ConfigError):
    """Data of other channels than a network sees; ``channels`` is how many that are."""

    def __init__(self, problem: str, channels: int) -> None:
        super().__init__(f"{problem}data.channels={channels}")
        self.channels = channels


@dataclass
class Loaded:
    """A classifier with everything that it must be evaluated with.

    Attributes:
        model: in eval mode on its device.
        config: of the run, with the data and the resolution to evaluate on.
        info: of these data.
        classes: the head's, or None where nothing tells them.
        mean, std: input normalisation, per channel, on a scale of 0..1.
        num_classes: of the head; 0: the weights have none.
        compute: where and in which precision.
        weights_line: which weights these are.
        step, samples_seen: how far they were trained; 0 for published weights.
        notes: lines for the user.
        own: whether it is one of our runs'.
    """

    model: nn.Module
    config: VitConfig
    info: DataInfo
    classes: list[str] | None
    mean: list[float]
    std: list[float]
    num_classes: int
    compute: Compute
    weights_line: str
    step: int = 0
    samples_seen: int = 0
    notes: list[str] = field(default_factory=list)
    own: bool = False

    @property
    def transform_line(self) -> str:
        """How pictures are prepared: belongs beside every score."""
        height, width = self.config.resolution
        mean, std = (",".join(f"{x:.4g}" for x in values) for values in (self.mean, self.std))
        return f"{prepared(self.config, (height, width))}; mean {mean}, std {std}"

    def prepare(self, images: Tensor) -> Tensor:
        """Bytes (B, C, H, W), of clips (B, T, C, H, W), to the network's normalised input."""
        return normalise(images, self.mean, self.std)


def load_trained(
    run: str | Path, checkpoint: str | None = None, overrides: Sequence[str] = (), averaged: bool = True
) -> Loaded:
    """The classifier of a run, and its data, or others that ``overrides`` name.

    Args:
        run: run directory.
        checkpoint: one of the run's checkpoints by name, or a path; None: the newest.
        overrides: changes to the run's configuration (``data=...``, ``resolution=...``, ``augment.eval_...``).
        averaged: its averaged weights, where it has them; else those as trained.

    Raises:
        UserError: no such run. CheckpointError: no weights. ConfigError, DataError: data that cannot be used.
    """
    model, stored, meta = load_run_model(run, checkpoint, averaged)
    config: VitConfig = load_run(run, {"vit": VitConfig}, overrides)
    requested = {word.partition("=")[0] for word in overrides}
    if "resolution" not in requested and meta.get("resolution"):
        config = replace(config, resolution=list(meta["resolution"]))
    info = describe(config, None if config.data.class_map else list(meta["classes"]))
    mean = list(info.mean if info.mean and "data.mean" in requested else meta["mean"])
    std = list(info.std if info.std and "data.std" in requested else meta["std"])
    classes = list(meta["classes"])
    if info.channels != len(mean):
        raise ChannelsError(f"the run sees {len(mean)} channels, these data have {info.channels}: set ", len(mean))
    compute = choose_compute(config.trainer)
    loaded = Loaded(model.to(compute.device), config, info, classes, mean, std,
                    stored.model.num_classes or len(classes), compute, meta["weights_line"],
                    int(meta.get("step", 0)), int(meta.get("samples_seen", 0)), own=True)  # fmt: skip
    _try(loaded)
    return loaded


def load_published(config: VitConfig, requested: Sequence[str] = ()) -> Loaded:
    """A classifier as ``model`` describes it with ``model.weights`` in it: published weights, without a run.

    Where these tell how they were evaluated (size, crop, interpolation), so are they here.

    Args:
        config: composed as for training.
        requested: keys that the user set; they are left as they are.
    """
    own, names, count = _told(config)
    notes = []
    if own is not None and "resolution" not in requested and list(own) != list(config.resolution):
        height, width = config.resolution
        notes.append(
            f"pictures of {own[0]}x{own[1]}, as the weights were evaluated, instead of the configured {height}x{width} "
            f"(resolution=[{height},{width}] keeps these)"
        )
        config = replace(config, resolution=list(own))
    kept = config.model.head is HeadPolicy.keep and config.data.class_map is None
    info, note = describe(config), ""
    if kept and len(info.classes) < count:
        info = describe(config, head_names(names, count)[0])
        names, note = head_names(names, count, info)
    notes += [note] if note else []
    built = build_model(config, info)
    report = built.report
    if report is not None:
        config = _as_told(replace(report.preprocessing, mean=tuple(built.mean)), config, requested)
    compute = choose_compute(config.trainer, foreign=True)
    model = built.model.eval().requires_grad_(False).to(compute.device)
    new = report is not None and any(name.startswith(("head.", "attn_pool.", "fc_norm.")) for name in report.new)
    classes = 0 if new else built.num_classes  # nothing of a new head is worth a score
    named = names if note else report.classes if report else None
    loaded = Loaded(model, config, info, named, built.mean,
                    built.std, classes, compute, f"weights of {config.model.weights}")  # fmt: skip
    loaded.notes += [*(report.lines() if report else []), *notes]
    _try(loaded)
    return loaded


def _told(config: VitConfig) -> tuple[Size | None, list[str] | None, int]:
    """Of ``model.weights``: (height, width) in pixels that they are evaluated at, names and number of their classes."""
    weights, name = str(config.model.weights), config.model.name
    try:
        if name is None:
            from vit.weights.reading import read

            found = read(weights)
            return found.preprocessing.size, found.classes, int(found.arch["num_classes"])
        from vit.weights.timm_models.files import read_state, rows

        file = read_state(weights, name, config.model.name_options)
        size = file.cfg.get("input_size")
        count = rows(file.state, file.cfg.get("classifier"), 0) or 0
        return None if size is None else (size[-2], size[-1]), file.classes, count
    except CheckpointError:  # not without the configured size, or not at all: building says what is wrong
        return None, None, 0


def load_file(weights: str, config: VitConfig, requested: Sequence[str] = (), name: str | None = None) -> Loaded:
    """A classifier out of its weights file alone, evaluated as the file tells: size, crop, interpolation, mean, std.

    Args:
        weights: what ``vit.trained.load_weights_model`` takes.
        config: composed as for training; its ``model`` is not read.
        requested: keys that the user set; they go before what the file tells.
        name: timm's name of the model, for files of its weights that do not tell it.

    Raises:
        ConfigError: the data have other channels. CheckpointError: as ``load_weights_model``.
    """
    size = (config.resolution[0], config.resolution[1]) if "resolution" in requested else None
    model, meta = load_weights_model(weights, name, size)
    told = from_plain(meta)
    resolution = list(size or told.size or meta["resolution"])
    config = _as_told(told, config, requested)
    own = replace(config.model, weights=weights, frames=clip_frames(model))
    config = replace(config, resolution=resolution, model=own)
    kept = config.data.class_map is None
    names = head_names(meta["classes"], heads(model))[0] if kept else None
    info = describe(config, names if names and not unnamed(names) else None)
    names, note = head_names(meta["classes"], heads(model), info) if kept else (meta["classes"], "")
    mean = list(info.mean if info.mean and "data.mean" in requested else meta["mean"])
    std = list(info.std if info.std and "data.std" in requested else meta["std"])
    if info.channels != len(mean):
        raise ChannelsError(f"weights={weights} see {len(mean)} channels, these data have {info.channels}: ", len(mean))
    compute = choose_compute(config.trainer, foreign=True)
    loaded = Loaded(model.to(compute.device), config, info, names, mean, std, heads(model), compute,
                    f"weights of {weights}", notes=[*meta["notes"], *([note] if note else [])])  # fmt: skip
    _try(loaded)
    return loaded


def _as_told(told: Preprocessing, config: VitConfig, requested: Sequence[str]) -> VitConfig:
    """A configuration with how weights are evaluated, but for the keys that were requested."""
    config = replace(config, augment=told.into(config.augment, requested))
    if told.span is not None and "data.range" not in requested:
        config = replace(config, data=replace(config.data, range=list(told.span)))
    independent = told.answers in ("sigmoid", "labels")
    if independent and config.loss.kind is LossKind.softmax and "loss.kind" not in requested:
        config = replace(config, loss=replace(config.loss, kind=LossKind.sigmoid))
    return config


def heads(model: nn.Module) -> int:
    """How many classes a classifier tells apart; 0: it has no head."""
    if isinstance(model, VisionTransformer):
        return model.arch.num_classes
    return int(getattr(getattr(model, "net", model), "num_classes", 0))


@torch.inference_mode()
def _try(loaded: Loaded) -> None:
    """One grey picture: a size that the network cannot take is told before the data are read."""
    height, width = loaded.config.resolution
    try:
        shape = input_shape(loaded.model, (len(loaded.mean), height, width))
        loaded.model(torch.zeros(1, *shape, device=loaded.compute.device))
    except (AssertionError, RuntimeError, ValueError) as error:
        raise ConfigError(
            f"resolution=[{height},{width}]: the network cannot take pictures of this size "
            f"({(str(error).splitlines() or ['?'])[0]}); it is a "
            f"{loaded.config.model.name or loaded.config.model.variant}, trained at another one"
        ) from error


def fitting_batch(model: nn.Module, picture: tuple[int, int, int], compute: Compute) -> int:
    """Pictures at a time for forward passes on one device.

    A CPU gains nothing from more than a few; on a card one forward pass is tried, and halved until there is room.

    Args:
        picture: (C, H, W); a network of clips sees as many at a time.
    """
    device = compute.device
    most = 32 if device.type == "cpu" else 512
    pixels, shape = picture[1] * picture[2] * clip_frames(model), input_shape(model, picture)
    batch = max(1, min(most, most * 224 * 224 // pixels))
    while device.type == "cuda" and batch > 1:
        try:
            with torch.inference_mode(), compute.amp():
                model(torch.zeros(batch, *shape, device=device))
            break
        except Exception as error:
            if not is_out_of_memory(error):
                raise
            batch //= 2
            release(device)
    return batch
