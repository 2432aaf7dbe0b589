"""Weights of any origin into one of our ViTs, whatever differs: positions, patch size, channels, tokens, head.

``load_pretrained`` reads through ``vit.weights``, fits what can be fitted (``vit.weights.fit``), loads, and reports.
Nothing is left out silently: every parameter that was not loaded as it is stands in the report.
"""

from __future__ import annotations

import re
from collections.abc import Iterable, Mapping
from dataclasses import dataclass, field
from typing import TYPE_CHECKING

from torch import Tensor

from trainer.config.schema import show
from trainer.text import by, few
from vit.config import HeadPolicy, ModelConfig
from vit.model.architecture import Architecture
from vit.model.options import OPTIONS, used
from vit.model.variants import VARIANTS
from vit.preprocessing import Preprocessing
from vit.weights.clips import fit_time
from vit.weights.fit import (
    HEAD,
    LAST_NORM,
    PATCH,
    Adaptation,
    State,
    adapt_statistics,
    channel_sources,
    fit_head,
    fit_patches,
    fit_pooling,
    fit_positions,
)

if TYPE_CHECKING:
    from vit.model.transformer import VisionTransformer
    from vit.weights.checkpoint import ViTCheckpoint

_GROUPS_SHOWN = 6  # names of parameters in one line of a report
Shape = tuple[int, ...]


@dataclass
class LoadReport:
    """What became of a weights file.

    Attributes:
        source: as given in ``model.weights``.
        origin: whose format it is.
        loaded: parameters taken over; those in ``resized`` too.
        resized: (name, shape in the file, shape in the model) of those that were fitted; equal shapes where only
            values were (a row of positions added to its token).
        dropped: names in the file that the model has no place for.
        new: names in the model that keep their initial values.
        notes: what else the user must know, one line each.
        mean, std: input normalisation that the weights were trained with, on a scale of 0..1, one number per channel
            of this model; None: the file does not tell.
        interpolation, crop_ratio: of the evaluation they were published with, where the file tells.
        preprocessing: all that the file tells of it, with its own channels.
        classes: names of the head's classes, where the file tells and the head was kept.
    """

    source: str
    origin: str
    loaded: list[str] = field(default_factory=list)
    resized: list[tuple[str, Shape, Shape]] = field(default_factory=list)
    dropped: list[str] = field(default_factory=list)
    new: list[str] = field(default_factory=list)
    notes: list[str] = field(default_factory=list)
    mean: list[float] | None = None
    std: list[float] | None = None
    interpolation: str | None = None
    crop_ratio: float | None = None
    preprocessing: Preprocessing = field(default_factory=Preprocessing)
    classes: list[str] | None = None

    def lines(self) -> list[str]:
        """A few lines for the console. All that was not loaded as it is appears, blocks counted together."""
        total = len(self.loaded) + len(self.new)
        lines = [f"weights: {self.source} ({self.origin}): {len(self.loaded)} of {total} tensors loaded"]
        resized = [name if a == b else f"{name} {by(a)} -> {by(b)}" for name, a, b in self.resized]
        for title, names in (("adapted", resized), ("new", self.new), ("left out", self.dropped)):
            if names:
                lines.append(f"  {title}: {', '.join(grouped(names))}")
        if self.mean is not None and self.std is not None:
            lines.append(f"  input: mean {_numbers(self.mean)}, std {_numbers(self.std)} (of the weights)")
        return lines + [f"  {note}" for note in self.notes]


def load_pretrained(model: VisionTransformer, config: ModelConfig) -> LoadReport:
    """Loads ``config.weights`` into a model, fitted as ``config`` says.

    Args:
        model: its parameters are overwritten; those that the weights do not have keep their values.
        config: ``weights``, ``head``, ``last_norm``, ``pos_interp``, ``channel_adapt`` and ``channel_map`` are read.

    Raises:
        CheckpointError: the file cannot be read, is of another size or kind (names the ``model`` keys that would fit
            it), lacks parameters, or holds nothing for this model. The model is then unchanged.
    """
    from vit.weights.reading import read

    if config.weights is None:
        raise ValueError("model.weights is not set")
    checkpoint = read(config.weights, model.arch.image_size)
    state, report = fit(checkpoint, model.state_dict(), model.arch, config)
    model.load_state_dict(state, strict=False)
    return report


def fit(
    checkpoint: ViTCheckpoint, target: Mapping[str, Tensor], arch: Architecture, config: ModelConfig
) -> tuple[State, LoadReport]:
    """The tensors of a file that a model takes over, in the model's shapes and dtypes, and the report.

    Args:
        checkpoint: what ``vit.weights.reading.read`` returned; left unchanged.
        target: the model's state dict.
        arch: the model's architecture.
        config: how to fit.

    Raises:
        CheckpointError: as ``load_pretrained``.
    """
    source = config.weights or checkpoint.origin
    state, notes = dict(checkpoint.state), list(checkpoint.notes)
    adaptation = Adaptation(
        state, checkpoint.arch, arch, config, source, checkpoint.grid_known, checkpoint.lost_head, notes=notes
    )
    _check_kind(adaptation, target)
    _check_sizes(adaptation, checkpoint.heads_known)
    _check_parts(adaptation)
    classes = adaptation.state["head.weight"].shape[0] if "head.weight" in adaptation.state else None
    fit_patches(adaptation)
    fit_time(adaptation)
    fit_positions(adaptation)
    fit_pooling(adaptation)
    fit_head(adaptation)
    _note_functions(adaptation)
    state, report = _collect(adaptation, target, checkpoint.origin)
    if checkpoint.mean is not None and checkpoint.std is not None:
        report.mean, report.std = _statistics(adaptation, checkpoint)
    report.preprocessing = checkpoint.preprocessing
    report.interpolation, report.crop_ratio = checkpoint.interpolation, checkpoint.crop_ratio
    if checkpoint.classes is not None and len(checkpoint.classes) == classes and "head.weight" in report.loaded:
        report.classes = list(checkpoint.classes)
    return state, report


def grouped(names: Iterable[str]) -> list[str]:
    """Names with the blocks of the network counted together: ``blocks.*.norm1.bias (12)``; coarser where still many."""
    names = list(names)
    for depth in (99, 5, 4, 3, 2, 1):
        counts: dict[str, int] = {}
        for name in names:
            parts = re.sub(r"(?<=\.)\d+(?=\.)", "*", name).split(".")
            short = ".".join(parts[:depth]) + (".*" if len(parts) > depth else "")
            counts[short] = counts.get(short, 0) + 1
        if len(counts) <= _GROUPS_SHOWN:
            break
    return [name if count == 1 else f"{name} ({count})" for name, count in counts.items()]


# --- checks -----------------------------------------------------------------------------------------------------------


def _check_kind(adaptation: Adaptation, target: Mapping[str, Tensor]) -> None:
    if PATCH not in adaptation.state or not any(name.startswith("blocks.0.") for name in adaptation.state):
        fits = [name for name in adaptation.state if name in target]
        raise adaptation.error(
            f"nothing in it fits a plain ViT ({len(fits)} of {len(adaptation.state)} names are known); it holds "
            f"{', '.join(grouped(adaptation.state)) or 'no tensors'}. Give weights of a ViT, or the timm name of their "
            "model as model.name"
        )


def _check_sizes(adaptation: Adaptation, heads_known: bool) -> None:
    """Width, depth, MLP width and heads (where the file tells them), which no fitting can change."""
    state, arch = adaptation.state, adaptation.arch
    theirs = {"width": state[PATCH].shape[0], "depth": 1 + max(_block_numbers(state))}
    if "blocks.0.mlp.fc1.weight" in state:
        theirs["mlp"] = state["blocks.0.mlp.fc1.weight"].shape[0]
    if heads_known and adaptation.facts.get("heads"):
        theirs["heads"] = int(adaptation.facts["heads"])
    ours = {name: getattr(arch, name) for name in theirs}
    if theirs == ours:
        return
    patch = state[PATCH].shape[-1]
    alike = [
        name for name, sizes in VARIANTS.items() if all(getattr(sizes, key) == value for key, value in theirs.items())
    ]
    if alike:
        remedy = f"it looks like {alike[0]}/{patch}: model.variant={alike[0]}/{patch}"
    else:
        remedy = "no named variant: " + " ".join(f"model.{key}={value}" for key, value in theirs.items())
        remedy += f" model.patch={patch}"
    differing = ", ".join(f"{key} {theirs[key]} (here {ours[key]})" for key in theirs if theirs[key] != ours[key])
    raise adaptation.error(f"it is a network of another size: {differing}; {remedy}")


def _check_parts(adaptation: Adaptation) -> None:
    """Parts that only one of file and model has, and without which the other would compute something else."""
    problems: list[tuple[str, bool, str]] = []  # part, whether it is the file that has it, remedy
    for option in OPTIONS:
        if not option.part or option.implied is None:
            continue
        theirs, ours = option.implied(adaptation.state), getattr(adaptation.arch, option.name)
        ours = getattr(ours, "value", ours)
        if theirs == ours or (isinstance(theirs, float) and isinstance(ours, float)):  # where a parameter began
            continue
        counts = [value if isinstance(value, int) else int(used(value)) for value in (theirs, ours)]
        more = counts[0] > counts[1] or (counts[0] == counts[1] and used(theirs))
        problems.append((option.part.format(max(counts)), more, f"model.{option.name}={show(theirs)}"))
    if problems:
        lines = [
            f"{'the file' if theirs else 'this model'} has {part}, {'this model' if theirs else 'the file'} not: {key}"
            for part, theirs, key in problems
        ]
        raise adaptation.error("; ".join(lines))


def _note_functions(adaptation: Adaptation) -> None:
    """Settings without parameters that the weights were trained with."""
    for key in ("gelu", "norm_eps"):
        theirs, ours = adaptation.facts.get(key), getattr(adaptation.arch, key)
        if theirs is None:
            continue
        theirs = getattr(theirs, "value", theirs)
        if theirs != getattr(ours, "value", ours):
            what = f"{theirs} GELU" if key == "gelu" else f"epsilon {theirs} in its norms"
            adaptation.notes.append(f"trained with {what}; model.{key}={show(theirs)} reproduces it exactly")


# --- the result -------------------------------------------------------------------------------------------------------


def _collect(adaptation: Adaptation, target: Mapping[str, Tensor], origin: str) -> tuple[State, LoadReport]:
    report = LoadReport(adaptation.source, origin, notes=adaptation.notes)
    reset = HEAD if adaptation.config.head is HeadPolicy.reset else ()
    reset += LAST_NORM if adaptation.config.last_norm is HeadPolicy.reset else ()
    state: State = {}
    missing, misshapen = [], []
    for name, ours in target.items():
        theirs = None if reset and name.startswith(reset) else adaptation.state.get(name)
        if theirs is None:
            report.new.append(name)
            if not name.startswith(tuple(adaptation.may_be_new)):
                missing.append(name)
        elif theirs.shape != ours.shape:
            misshapen.append(f"{name} (file {by(theirs.shape)}, model {by(ours.shape)})")
        else:
            state[name] = theirs.to(ours.dtype)
            report.loaded.append(name)
            if name in adaptation.altered:
                report.resized.append((name, adaptation.altered[name], tuple(ours.shape)))
    report.dropped = [name for name in adaptation.state if name not in state]
    if not state:
        raise adaptation.error(f"nothing in it fits this model; it holds {', '.join(grouped(adaptation.state))}")
    if missing or misshapen:
        parts = [f"it lacks {', '.join(grouped(missing))}"] if missing else []
        parts += [f"of another shape: {few(misshapen, 4)}"] if misshapen else []
        raise adaptation.error("; ".join(parts))
    return state, report


def _statistics(adaptation: Adaptation, checkpoint: ViTCheckpoint) -> tuple[list[float], list[float]]:
    """The file's input statistics, per channel of this model."""
    channels = checkpoint.state[PATCH].shape[1]
    config, target = adaptation.config, adaptation.arch.in_channels
    channel_sources(channels, target, config.channel_adapt, config.channel_map)
    both = []
    for values in (checkpoint.mean, checkpoint.std):
        values = list(values or [])
        values = values * channels if len(values) == 1 else values
        if len(values) != channels:
            raise adaptation.error(f"it tells input statistics {_numbers(values)} for its {channels} channels")
        both.append(adapt_statistics(values, target, config.channel_adapt, config.channel_map))
    return both[0], both[1]


def _block_numbers(names: Iterable[str]) -> list[int]:
    return [int(match[1]) for name in names if (match := re.match(r"blocks\.(\d+)\.", name))]


def _numbers(values: Iterable[float]) -> str:
    return "[" + ", ".join(f"{value:.4g}" for value in values) + "]"
