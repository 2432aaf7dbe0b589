"""State dicts made to fit a plain ViT of other image size, patch, channels, tokens, pooling and head.

Positions are resampled as for fine-tuning at a higher resolution (Dosovitskiy et al., 2021, section 3.2), kernels of
patches as FlexiViT's (Beyer et al., 2023, section 3.4).

Each function takes the file's tensors under our names, changes that dict in place, and writes what it did into the
report. What cannot be fitted without changing what the network computes raises, naming the ``model`` key to set.
"""

from __future__ import annotations

from collections.abc import Mapping, Sequence
from dataclasses import dataclass, field
from typing import Any

import torch
from torch import Tensor

from trainer.errors import CheckpointError
from vit.config import ChannelAdapt, HeadPolicy, ModelConfig, Pool, PosEmbed
from vit.model.architecture import Architecture
from vit.model.positions import resample, resample_patch, sincos2d
from vit.weights.position_tables import take_rows

State = dict[str, Tensor]
PATCH = "patch_embed.proj.weight"
LAST_NORM = ("norm.", "fc_norm.")
HEAD = ("head.", "head_dist.", "pre_logits.", "probe_norm.")
Size = tuple[int, int]

_SAME_TABLE = 1e-3  # largest difference of two tables of the same formula, one of them computed in fp16 or on a device


@dataclass
class Adaptation:
    """The file's side of one loading: its tensors as they are being fitted, and what has been done to them.

    Attributes:
        state: tensors under our names; changed in place.
        facts: what the reader knows of the file (``ViTCheckpoint.arch``).
        arch: the model that the tensors must fit.
        config: how to fit them.
        source: how messages call the file.
        grid_known: ``facts["grid"]`` is known, not taken for a square.
        lost_head: why the file's classifier cannot be read; empty where it can.
        altered: name to the shape that the file has it in.
        may_be_new: prefixes of parameters that the file need not have.
        notes: lines for the report.
    """

    state: State
    facts: Mapping[str, Any]
    arch: Architecture
    config: ModelConfig
    source: str
    grid_known: bool = True
    lost_head: str = ""
    altered: dict[str, tuple[int, ...]] = field(default_factory=dict)
    may_be_new: set[str] = field(default_factory=set)
    notes: list[str] = field(default_factory=list)

    def replace(self, name: str, value: Tensor) -> None:
        """Puts another tensor in place of ``name`` and remembers the shape it had."""
        self.altered.setdefault(name, tuple(self.state[name].shape))
        self.state[name] = value

    def drop(self, *prefixes: str) -> list[str]:
        """Takes tensors out by prefix; returns their names."""
        names = [name for name in self.state if name.startswith(prefixes)]
        for name in names:
            del self.state[name]
        return names

    def error(self, text: str) -> CheckpointError:
        return CheckpointError(f"model.weights={self.source}: {text}")


# --- channels ---------------------------------------------------------------------------------------------------------


def channel_sources(source: int, target: int, how: ChannelAdapt, channel_map: Sequence[int | None]) -> list[list[int]]:
    """For each new channel the channels of the file whose kernels it is made of; none: it starts at zero.

    Raises:
        CheckpointError: the map does not have one entry per new channel, or names a channel that the file lacks.
    """
    if channel_map:
        if len(channel_map) != target:
            raise CheckpointError(
                f"model.channel_map has {len(channel_map)} entries, but the pictures have {target} channels: one each"
            )
        wrong = [c for c in channel_map if c is not None and not 0 <= c < source]
        if wrong or all(c is None for c in channel_map):
            raise CheckpointError(
                f"model.channel_map={list(channel_map)}: the weights have the channels 0 to {source - 1}; name at "
                "least one of them, null for a channel that starts at zero"
            )
        return [[] if c is None else [c] for c in channel_map]
    if source == target:
        return [[c] for c in range(source)]
    if how is ChannelAdapt.auto:
        how = ChannelAdapt.sum if target == 1 else ChannelAdapt.tile
    if how is ChannelAdapt.tile:
        return [[c % source] for c in range(target)]
    if how is ChannelAdapt.zero:
        return [[c] if c < source else [] for c in range(target)]
    return [list(range(source)) for _ in range(target)]


def adapt_channels(weight: Tensor, target: int, how: ChannelAdapt, channel_map: Sequence[int | None] = ()) -> Tensor:
    """Patch kernels for another number of channels: (D, C, p, p) -> (D, C', p, p), same dtype.

    A picture whose channels are all equal keeps its activations, whatever the choice, up to how the kernels of the
    channels differ: new kernels are scaled by (channels read before) / (channels read now). ``auto`` is timm's rule
    (``adapt_input_conv``): the sum for 1 channel, else the kernels repeated and times C / C'. With the scale kept,
    ``sum`` and ``mean`` are the same: every new channel gets the mean kernel times C / C'. ``zero`` keeps the first
    kernels and starts further ones at zero. A map ([2, 1, 0], [0, 1, 2, null]) goes before all of these.

    Raises:
        CheckpointError: a map that does not fit.
    """
    source = weight.shape[1]
    parts = channel_sources(source, target, how, channel_map)
    if parts == [[c] for c in range(source)]:
        return weight
    kernels = weight.float()
    scale = source / sum(1 for part in parts if part)
    zero = torch.zeros_like(kernels[:, 0])
    new = [kernels[:, part].sum(dim=1) * (scale / len(part)) if part else zero for part in parts]
    return torch.stack(new, dim=1).to(weight.dtype)


def adapt_statistics(
    values: Sequence[float], target: int, how: ChannelAdapt, channel_map: Sequence[int | None] = ()
) -> list[float]:
    """Input means or standard deviations of new channels: of those each is made of; the mean of all for a zero one."""
    parts = channel_sources(len(values), target, how, channel_map)
    average = sum(values) / len(values)
    return [sum(values[c] for c in part) / len(part) if part else average for part in parts]


def fit_patches(adaptation: Adaptation) -> None:
    """Channels, then patch size (they commute)."""
    weight = adaptation.state[PATCH]
    fitted = adapt_channels(
        weight, adaptation.arch.in_channels, adaptation.config.channel_adapt, adaptation.config.channel_map
    )
    fitted = resample_patch(fitted, adaptation.arch.patch)
    if fitted is not weight:
        adaptation.replace(PATCH, fitted)


# --- tokens and positions ---------------------------------------------------------------------------------------------


def fit_positions(adaptation: Adaptation) -> None:
    """Class, distillation and register tokens and the position table.

    A token's row of the table is added to the token itself where the model's table has no row for it (the sum is all
    that the network ever sees), and is zero where only the model's table has one. Patch rows are resampled to the
    model's grid by ``model.pos_interp``.
    """
    state, arch = adaptation.state, adaptation.arch
    tokens = [name for name in ("cls_token", "dist_token") if name in state]
    needed = [name for name, there in (("cls_token", arch.class_token), ("dist_token", arch.distilled)) if there]
    adaptation.may_be_new.update(name for name in needed if name not in state)
    table = state.pop("pos_embed", _computed_table(adaptation))
    own_rows: dict[str, Tensor] = {}
    if table is not None:
        known = adaptation.facts.get("grid") if adaptation.grid_known else None
        try:
            told = None if known is None else (int(known[0]), int(known[1]))
            prefix, grid, notes = take_rows(state, table, tokens, told, arch.grid)
        except ValueError as error:
            raise adaptation.error(f"{error}: set resolution to that of the weights first") from None
        own_rows = {name: table[:, index : index + 1] for index, name in enumerate(tokens[:prefix])}
        adaptation.notes += notes
    rows = needed if arch.position_prefix else []
    for name, row in own_rows.items():
        if name in needed and name not in rows:
            state[name] = state[name] + row
            adaptation.notes.append(f"{name}: its position is added to it (model.class_position=false)")
    for name in tokens:
        if name not in needed:
            adaptation.notes.append(_token_left(name, arch))
    if table is None:
        _without_table(adaptation)
    elif arch.pos_embed is PosEmbed.learned:
        state["pos_embed"] = table
        _fit_table(adaptation, prefix, grid, own_rows, rows)
    else:
        state["pos_embed"] = table  # no parameter here: reported as dropped
        _compare_table(adaptation, table[:, prefix:], grid)


def _token_left(name: str, arch: Architecture) -> str:
    key = "model.class_token=true" if name == "cls_token" else "model.distilled=true"
    pool = f"with model.pool={arch.pool.value} " if name == "cls_token" else ""
    return f"{name}: the model has none {pool}and leaves it and its position out; {key} keeps it"


def _fit_table(
    adaptation: Adaptation, prefix: int, grid: Size, own_rows: Mapping[str, Tensor], rows: Sequence[str]
) -> None:
    """The file's learned table to the model's grid and tokens. What fits is left as it is, bit by bit."""
    table = adaptation.state["pos_embed"]
    patches = table[:, prefix:]
    fitted = resample(patches, grid, adaptation.arch.grid, 0, adaptation.config.pos_interp)
    if list(own_rows) == list(rows) and prefix == len(rows) and fitted is patches:
        return
    zero = torch.zeros_like(table[:, :1])
    adaptation.replace("pos_embed", torch.cat([*(own_rows.get(name, zero) for name in rows), fitted], dim=1))
    added = [name for name in rows if name not in own_rows]
    if added:
        adaptation.notes.append(f"{', '.join(added)}: the file's table has no position for it; it starts at zero")


def _computed_table(adaptation: Adaptation) -> Tensor | None:
    """The fixed table of weights that were trained with one, as the beginning of a learned one (as MAE fine-tunes)."""
    told, grid = adaptation.facts.get("pos_embed"), adaptation.facts.get("grid")
    kind = PosEmbed(getattr(told, "value", told)) if told is not None else PosEmbed.none
    if "pos_embed" in adaptation.state or adaptation.arch.pos_embed is not PosEmbed.learned or not grid:
        return None
    if kind not in (PosEmbed.sincos2d, PosEmbed.sincos2d_mae):
        return None
    adaptation.notes.append(f"pos_embed: its fixed positions (model.pos_embed={kind.value}) begin the learned ones")
    return sincos2d((int(grid[0]), int(grid[1])), adaptation.arch.width, kind)


def _without_table(adaptation: Adaptation) -> None:
    """The file has no table of positions: neither may the model, or one of the same formula."""
    here, theirs = adaptation.arch.pos_embed, adaptation.facts.get("pos_embed")
    theirs = getattr(theirs, "value", theirs)
    if here is PosEmbed.learned or theirs not in (None, here.value):
        kinds = theirs or f"{PosEmbed.sincos2d.value} or {PosEmbed.none.value}"
        raise adaptation.error(
            f"it has no table of learned positions, this model has model.pos_embed={here.value}: "
            f"model.pos_embed={kinds} is what it was trained with"
        )


def _compare_table(adaptation: Adaptation, patches: Tensor, grid: Size) -> None:
    """The file has a table where the model computes one, or has no positions at all."""
    kind = adaptation.arch.pos_embed
    if kind is PosEmbed.none:
        adaptation.notes.append("positions: this model has none (model.pos_embed=none); =learned keeps the file's")
        return
    difference = float((patches.float() - sincos2d(grid, adaptation.arch.width, kind)).abs().max())
    if difference > _SAME_TABLE:
        raise adaptation.error(
            f"its positions are not the fixed table of model.pos_embed={kind.value} (they differ by up to "
            f"{difference:.2g}): model.pos_embed=learned takes them as they are"
        )


# --- pooling and head -------------------------------------------------------------------------------------------------


def fit_pooling(adaptation: Adaptation) -> None:
    """The last norm's name, and what pools; says so where file and model differ."""
    state, arch = adaptation.state, adaptation.arch
    here, there = ("fc_norm", "norm") if arch.pool_first else ("norm", "fc_norm")
    if adaptation.config.last_norm is HeadPolicy.reset:
        adaptation.may_be_new.update(LAST_NORM)
    elif f"{here}.weight" not in state and f"{there}.weight" in state:
        for part in ("weight", "bias"):
            state[f"{here}.{part}"] = state.pop(f"{there}.{part}")
        order = "pools, then normalises; the file" if arch.pool_first else "normalises, then pools; the file"
        adaptation.notes.append(f"{there} is loaded as {here}: this model {order} does it the other way round")
    adaptation.may_be_new.add("attn_pool.")
    theirs = adaptation.facts.get("pool") or ("map" if "attn_pool.latent" in state else None)
    theirs = getattr(theirs, "value", theirs)
    if theirs not in (None, arch.pool.value) and arch.pool is not Pool.none:
        adaptation.notes.append(
            f"pooling: {theirs} in the file, {arch.pool.value} here; it was trained with model.pool={theirs}"
        )


def fit_head(adaptation: Adaptation) -> None:
    """Head and representation layer by ``model.head``: ``keep`` takes all or raises; ``reset`` starts both anew.

    Without a head in the file it is new under either. A model without a head (0 classes) leaves the file's out.
    """
    state, arch = adaptation.state, adaptation.arch
    adaptation.may_be_new.update(HEAD)
    if not arch.num_classes or adaptation.config.head is HeadPolicy.reset:
        return
    if adaptation.lost_head:
        raise adaptation.error(f"{adaptation.lost_head}, so it cannot be kept: model.head=reset starts a new one")
    if "head.weight" not in state:
        return
    classes, reads = state["head.weight"].shape
    if classes != arch.num_classes:
        raise adaptation.error(
            f"its head has {classes} classes, this model {arch.num_classes}: model.head=reset starts a new head, "
            f"model.num_classes={classes} keeps it"
        )
    theirs = state["pre_logits.fc.weight"].shape[0] if "pre_logits.fc.weight" in state else 0
    if theirs != arch.representation:
        what = f"a representation layer of width {theirs}" if theirs else "the features, without a representation layer"
        raise adaptation.error(
            f"its head reads {what}; this model has model.representation={arch.representation}: "
            f"model.representation={theirs} keeps the head, model.head=reset starts a new one"
        )
    if reads != arch.head_width:
        pool = adaptation.facts.get("pool")
        kept = f"model.pool={getattr(pool, 'value', pool)} keeps it, " if pool and theirs == 0 else ""
        raise adaptation.error(
            f"its head reads {reads} features, this model's {arch.head_width}: {kept}model.head=reset starts a new one"
        )
    if "head_dist.weight" in state and not arch.distilled:
        adaptation.notes.append(
            "head_dist: the file predicts with the mean of two heads, this model with the first alone"
        )
    if arch.distilled and "head_dist.weight" not in state:
        adaptation.notes.append(
            "head_dist: the file has one head, this model predicts with the mean of it and a new one"
        )
