"""A network that starts from the weights of a smaller one: more scales, classes, discriminator scales, past frames.

What both have is copied by name. The first convolutions see stacked channels, so theirs are placed one by one: those of
a class by its id, those of a frame by its distance from the newest. Channels that the weights lack begin at zero, so
where a new class is absent the grown network computes what the small one did. Everything else must agree.

Letters: C channels of one source frame (classes, then instance edges), L past frames.
"""

from __future__ import annotations

import re
from collections.abc import Mapping, Sequence
from dataclasses import dataclass, field, fields, replace
from typing import Any

import torch
from torch import Tensor, nn

from trainer.checkpoint.trained import load_weights, of_network
from trainer.checkpoint.weights import compare_architecture
from trainer.errors import CheckpointError
from trainer.text import few
from vid2vid.config import DataConfig, ModelConfig, SourceKind
from vid2vid.weights.originals import infer_model
from vid2vid.weights.source_channels import Index, SourceChannels, channel_titles, placed_channels

_UNIT = re.compile(r"^((?:\w+\.)?scale\d+)\.")  # what can be added or left out as a whole; of D_region a kind
_INPUTS = re.compile(r"^scale\d+\.(labels|foreground\.encoder|past)\.layers\.0\.conv\.weight$")
_SEGMENTED = ("head.weight", "head.bias")  # of a D_I that segments: a row for each class, then "generated"
_COMPARED = (
    "ngf", "downsamplings", "blocks", "local_blocks", "norm", "upsample", "downsample", "block", "group_width", "flow",
    "foreground", "ndf",
)  # fmt: skip

_DATA = {item.name for item in fields(DataConfig)}


@dataclass
class Report:
    """What came of it, by the names that a user knows."""

    loaded: int = 0
    total: int = 0
    anew: list[str] = field(default_factory=list)
    zero: list[str] = field(default_factory=list)
    left_out: list[str] = field(default_factory=list)
    guess: str = ""

    def line(self, path: str) -> str:
        """All of it in one line."""
        parts = [f"a new run starts from model.weights={path}: {self.loaded} of {self.total} tensors loaded"]
        parts += [f"not in it, so drawn anew: {few(self.anew, 8)}"] if self.anew else []
        parts += [f"new inputs, zero at first: {few(self.zero, 8)}"] if self.zero else []
        parts += [f"in it, but left out: {few(self.left_out, 8)}"] if self.left_out else []
        parts += [f"{self.guess}, as the file does not name them"] if self.guess else []
        return "; ".join(parts)


def start_from(path: str, networks: Mapping[str, nn.Module], model: ModelConfig, data: DataConfig) -> Report:
    """Load ``model.weights`` (EMA where there is one) into networks of the same or a larger size.

    Args:
        path: a run, a checkpoint or a weights file.
        networks: the task's, by name.
        model, data: what they were built from.

    Raises:
        CheckpointError: nothing usable there, or networks that differ in more than can grow.
    """
    found, meta = load_weights(path)
    here = SourceChannels.of(model, data)
    there = _channels_of_weights(found, meta, model, here)
    _check_kind(path, here, there)
    placed = placed_channels(here, there)
    report, absent = Report(), []
    for name, network in networks.items():
        own = of_network(found, name)
        report.total += len(network.state_dict())
        if own:
            _load(name, network, own, _Growth(path, here, there, placed, model), report)
        else:
            absent.append(name)
    if len(absent) == len(networks):
        raise CheckpointError(
            f"model.weights={path} holds none of {', '.join(absent)}; give a run, its checkpoint, or a file of "
            "scripts/convert.py format=vid2vid"
        )
    report.anew = absent + report.anew
    report.left_out += sorted({key.partition(".")[0] for key in found} - set(networks))
    _report_channels(here, there, placed, report)
    return report


def _channels_of_weights(
    found: Mapping[str, Tensor], meta: Mapping[str, Any], model: ModelConfig, here: SourceChannels
) -> SourceChannels:
    """From the configuration beside the weights, else from their shapes.

    Classes are then known by position. Of a file with more of them than there are here they are ids, as in the
    originals' weights, whose channel 7 is label 7.
    """
    stored = meta.get("config", {}).get("model")
    if stored:
        known = {
            name: stored[name]
            for name in ("num_labels", "label_ids", "instance_edges", "source_channels", "style_channels")
            if name in stored
        }
        source = SourceKind[stored.get("source", SourceKind.labels.name)]
        settings = {key: value for key, value in meta["config"].get("data", {}).items() if key in _DATA}
        return SourceChannels.of(
            ModelConfig(source=source, past_frames=stored.get("past_frames", model.past_frames), **known),
            DataConfig(**settings),
        )
    seen = infer_model(found) if "generator.scale0.labels.layers.0.conv.weight" in found else {}
    judge = found.get("d_image.scale0.layers.0.conv.weight")
    head = found.get("style.head.conv.weight")
    styles = 0 if head is None else head.shape[0]
    channels = seen["source_channels"] - styles if seen else here.channels if judge is None else judge.shape[1] - 3
    past = seen.get("past_frames", here.past)
    pictures = channels if here.ids is None else here.pictures
    classes = channels - here.edges - pictures
    alike = SourceChannels(channels, past, None, here.edges, pictures, styles=styles)
    if here.ids is not None and len(here.ids) < classes and max(here.ids) < classes:
        return replace(alike, ids=tuple(range(classes)), guess="classes by id = channel")
    return replace(alike, guess="classes by position" if here.ids is not None else "")


def _check_kind(path: str, here: SourceChannels, there: SourceChannels) -> None:
    if there.kind is SourceKind.labels and here.kind is SourceKind.both:
        return  # pictures beside the labels are new inputs
    if there.kind is not None and here.kind is not there.kind:
        assert here.kind is not None
        raise CheckpointError(
            f"model.weights={path} was trained with model.source={there.kind.name}, this is a model with "
            f"model.source={here.kind.name}: give weights of the same kind, or set model.source={there.kind.name}"
        )


@dataclass(frozen=True)
class _Growth:
    """What ``_load`` has to know besides the tensors."""

    path: str
    here: SourceChannels
    there: SourceChannels
    placed: Index
    model: ModelConfig

    def index(self, network: str, name: str) -> Index | None:
        """Per input channel of a weight: the one of the file's; None for weights with the same input in any size."""
        here, there = self.here, self.there
        if network == "d_image" and name.endswith(".layers.0.conv.weight"):
            return self.placed + [there.channels + i for i in range(3)]
        match = _INPUTS.match(name) if network == "generator" else None
        if match is None:
            return None
        older = here.past - there.past  # frames that the weights do not know
        frames, per_frame = (here.past, 3) if match[1] == "past" else (here.past + 1, there.channels + there.styles)
        styles: Index = [there.channels + i if i < there.styles else None for i in range(here.styles)]
        one: Sequence[int | None] = range(3) if match[1] == "past" else [*self.placed, *styles]
        return [None if i is None or t < older else (t - older) * per_frame + i for t in range(frames) for i in one]


def _load(name: str, network: nn.Module, own: dict[str, Tensor], growth: _Growth, report: Report) -> None:
    """One network: copies, places and checks."""
    needed = network.state_dict()
    here, there = (list(dict.fromkeys(_unit(key) for key in keys)) for keys in (needed, own))
    resized = _resized(name, needed, own, here, there, growth.model)
    kept = [unit for unit in here if unit in there and unit not in resized]
    # A generator grows from its coarsest scale on.
    may_be_new = set(here) - set(kept) if "scale0" in kept or name != "generator" else set()
    fresh = {key for key in needed if _unit(key) in may_be_new or _needs_a_past(name, key, own, growth)}
    spare = {key for key in own if _unit(key) not in kept}
    taken = {key: x for key, x in own.items() if key not in spare}
    for key in set(taken) & (set(needed) - fresh):
        index = growth.index(name, key)
        if name == "d_video" and key.endswith(".layers.0.conv.weight"):
            index = _of_windows(needed[key].shape[1], taken[key].shape[1], growth.model.video_discriminator_frames)
        if index is not None and taken[key].ndim == 4:
            taken[key] = _place(taken[key], index, needed[key])
    if name == "d_image" and growth.there.ids is not None:
        classes = [*growth.placed[: growth.here.classes], growth.there.classes]
        for key in taken.keys() & set(_SEGMENTED):
            taken[key] = _place_rows(taken[key], classes, needed[key])
    expected = {key: x for key, x in needed.items() if key not in fresh}
    try:
        compare_architecture(expected, taken, f"the {name} in model.weights={growth.path}")
    except CheckpointError as error:
        raise CheckpointError(f"{error}\n{_settings(growth, own, name)}") from None
    network.load_state_dict(needed | taken)
    report.loaded += len(taken)
    report.anew += _names(name, fresh, needed)
    report.left_out += _names(name, spare, own)


def _unit(key: str) -> str:
    match = _UNIT.match(key)
    return match[1] if match else ""


def _resized(
    name: str,
    needed: Mapping[str, Tensor],
    own: Mapping[str, Tensor],
    here: list[str],
    there: list[str],
    model: ModelConfig,
) -> set[str]:
    """Discriminator scales that are wider or narrower only because there is another number of them."""
    if name == "generator":
        return set()
    per_scale = [[unit.rpartition("scale")[2] for unit in units] for units in (here, there)]
    finest = max(there, key=lambda unit: int(unit.rpartition("scale")[2] or 0))
    width = own.get(f"{finest}.layers.0.conv.weight")
    if set(per_scale[0]) == set(per_scale[1]) or width is None or width.shape[0] != min(64, model.ndf):
        return set()
    firsts = {unit: f"{unit}.layers.0.conv.weight" for unit in here if f"{unit}.layers.0.conv.weight" in own}
    return {unit for unit, key in firsts.items() if own[key].shape[0] != needed[key].shape[0]}


def _needs_a_past(name: str, key: str, own: Mapping[str, Tensor], growth: _Growth) -> bool:
    """What a frame-by-frame model does not have: the encoder of past frames, flow and mask."""
    return (
        name == "generator"
        and growth.there.past == 0
        and growth.here.past > 0
        and key not in own
        and key.split(".")[1] in ("past", "flow")
    )


def _place(x: Tensor, index: Index, like: Tensor) -> Tensor:
    """``x`` (out, in, h, w) with its input channels in other places, zeros where there are none.

    Returned as it is where its other dimensions do not fit, or where an index is beyond it, for the comparison to tell.
    """
    known = [(i, source) for i, source in enumerate(index) if source is not None]
    if x.shape[0] != like.shape[0] or x.shape[2:] != like.shape[2:] or len(index) != like.shape[1]:
        return x
    if any(source >= x.shape[1] for _, source in known):
        return x
    placed = torch.zeros_like(like, dtype=x.dtype, device=x.device)
    to, of = (torch.tensor(column, dtype=torch.long) for column in zip(*known, strict=True)) if known else ([], [])
    placed[:, to] = x[:, of]
    return placed


def _of_windows(here: int, there: int, frames: int) -> Index | None:
    """Per channel of a window: the one of the weights. Flow comes last, and either side may see none."""
    alone, with_flow = 3 * frames, 5 * frames - 2
    return [i if i < alone else None for i in range(here)] if {here, there} == {alone, with_flow} else None


def _place_rows(x: Tensor, index: Index, like: Tensor) -> Tensor:
    """``x`` (out, ...) with its output channels in other places, likewise: one with no source says 0 of every pixel."""
    if like.ndim == 1:
        return _place_rows(x[:, None], index, like[:, None])[:, 0]
    return _place(x.transpose(0, 1), index, like.transpose(0, 1)).transpose(0, 1)


def _names(network: str, keys: set[str], all_keys: Mapping[str, Tensor]) -> list[str]:
    """Keys in as few words as possible: whole temporal scales, whole scales, parts of scales."""
    found = []
    rest = [key for key in all_keys if key in keys]
    for depth in (1, 2):
        groups = dict.fromkeys(".".join(key.split(".")[:depth]) for key in rest)
        for group in groups:
            members = [key for key in all_keys if key.startswith(f"{group}.")]
            if members and all(key in keys for key in members):
                found.append(f"{network}.{group}")
                rest = [key for key in rest if not key.startswith(f"{group}.")]
    return found + [f"{network}.{key}" for key in rest]


def _report_channels(here: SourceChannels, there: SourceChannels, placed: Index, report: Report) -> None:
    titles = channel_titles(here)
    report.zero += [title for title, source in zip(titles, placed, strict=True) if source is None]
    report.zero += ["features of E"] if here.styles and not there.styles else []
    if there.past and here.past > there.past:
        report.zero.append(f"past frames {', '.join(str(n) for n in range(there.past + 1, here.past + 1))} back")
    elif here.past < there.past:
        report.left_out.append(f"past frames {', '.join(str(n) for n in range(here.past + 1, there.past + 1))} back")
    gone = sorted(set(range(there.channels)) - {source for source in placed if source is not None})
    names = channel_titles(there)
    report.left_out += [names[i] for i in gone]
    report.guess = there.guess if report.zero or gone else ""


def _settings(growth: _Growth, own: Mapping[str, Tensor], name: str) -> str:
    """Which settings of the model the weights speak against."""
    weights = {f"{name}.{key}": x for key, x in own.items()}
    whole = name != "generator" or "scale0.labels.layers.0.conv.weight" in own
    seen, model, differing = (infer_model(weights) if whole else {}), growth.model, []
    for key in (key for key in _COMPARED if key in seen):
        value = getattr(model, key)
        value = getattr(value, "name", value)
        if key == "foreground":
            value = "off" if value == "off" else "override"
        if seen[key] != (min(64, value) if key == "ndf" else value):
            differing.append(f"model.{key}={str(seen[key]).lower()} (here {str(value).lower()})")
    more = f"; these weights are of {', '.join(differing)}" if differing else ""
    return (
        f"A start may have more or fewer scales, classes, regions and past frames than its weights, nothing else{more}"
    )
