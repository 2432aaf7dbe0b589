"""Parameter names of the released checkpoints <-> ours, without loss in either direction.

The originals keep one plain state dict per network: ``G0``, ``G1``... ``D``, ``D_T0``... in files such as
``latest_net_G0.pth``. Ours are one flat dict: ``generator.scale0.*``, ``d_image.*``, ``d_video.0.*``. The running
statistics of their batch norm have no counterpart: they ran it in training mode always, so no output depends on them.
"""

from __future__ import annotations

import logging
import re
from collections.abc import Iterator, Mapping
from pathlib import Path
from typing import Any

import torch
from torch import Tensor

from trainer.checkpoint.trained import load_weights
from trainer.checkpoint.weights import read_pth, save_weights
from trainer.errors import CheckpointError
from trainer.files import replace_file

log = logging.getLogger(__name__)

States = dict[str, dict[str, Tensor]]

_REGIONS = "d_region."  # the beginning of our names that have no counterpart
_PROJECTIONS = "projections."  # of a student's features to its teacher's: training alone has them
_SEGMENTING = ("d_image.down.", "d_image.up.", "d_image.head.")
_RUNNING = ("running_mean", "running_var", "num_batches_tracked")
_FILE = re.compile(r"^(?:(?P<label>.+)_net_)?(?P<network>G\d+|D_T\d+|D)\.pth$")
_NETWORK = re.compile(r"^(?:G(?P<scale>\d+)|D_T(?P<temporal>\d+)|D)$")
_BLOCK = {"conv1": "1", "norm1": "2", "conv2": "5", "norm2": "6"}
_HEADS = {
    "hallucination.head": "model_final_img.1",
    "flow.flow": "model_final_flow.1",
    "flow.mask": "model_final_w.1",
    "foreground.head": "indv_final.1",
}


def _scale_modules(scale: int, downs: int, encoder_blocks: int, trunks: Mapping[str, int]) -> Iterator[tuple[str, str]]:
    """(our module, their module) for every layer of one generator scale.

    Args:
        scale: 0 for the coarsest, which keeps its trunks' blocks apart from their upsampling layers.
        downs: halvings in an encoder.
        encoder_blocks: residual blocks at the end of an encoder.
        trunks: residual blocks of the trunks, by our name.
    """

    def block(ours: str, theirs: str) -> Iterator[tuple[str, str]]:
        for part, index in _BLOCK.items():
            yield f"{ours}.{part}", f"{theirs}.conv_block.{index}"

    encoders = (("labels", "model_down_seg"), ("past", "model_down_img"), ("foreground.encoder", "indv_down"))
    for ours, theirs in encoders:
        for i in range(downs + 1):  # a padding layer, then convolution, norm, ReLU
            yield f"{ours}.layers.{i}.conv", f"{theirs}.{1 + 3 * i}"
            yield f"{ours}.layers.{i}.norm", f"{theirs}.{2 + 3 * i}"
        for r in range(encoder_blocks):
            yield from block(f"{ours}.blocks.{r}", f"{theirs}.{4 + 3 * downs + r}")
    for ours, (blocks, ups) in _TRUNKS.items():
        count = trunks[ours]
        for r in range(count):
            yield from block(f"{ours}.blocks.{r}", f"{blocks if scale == 0 else ups}.{r}")
        first = 0 if scale == 0 else count
        for i in range(downs):
            yield f"{ours}.ups.{i}.conv", f"{ups}.{first + 3 * i}"
            yield f"{ours}.ups.{i}.norm", f"{ups}.{first + 3 * i + 1}"
    for ours, theirs in _HEADS.items():
        yield f"{ours}.conv", theirs


_TRUNKS = {
    "hallucination.trunk": ("model_res_img", "model_up_img"),
    "flow.trunk": ("model_res_flow", "model_up_flow"),
    "foreground.trunk": ("indv_res", "indv_up"),
}


def _count(names: Any, pattern: str) -> int:
    """How many different numbers the group of ``pattern`` takes among ``names``."""
    return len({match[1] for name in names if (match := re.match(pattern, name))})


def _table_from_theirs(scale: int, names: Any) -> dict[str, str]:
    """Their module -> our module, for the sizes that a state dict of theirs shows."""
    convolutions = _count(names, r"model_down_seg\.(\d+)\.(?:weight)$")
    norms = _count(names, r"model_down_seg\.(?:2|5|8|11|14|17)\.()weight$")
    layers = convolutions if norms == 0 else convolutions // 2
    trunks = {
        ours: _count(names, rf"{blocks if scale == 0 else ups}\.(\d+)\.conv_block\.")
        for ours, (blocks, ups) in _TRUNKS.items()
    }
    encoder_blocks = _count(names, r"model_down_seg\.(\d+)\.conv_block\.")
    return {theirs: ours for ours, theirs in _scale_modules(scale, layers - 1, encoder_blocks, trunks)}


def _table_from_ours(scale: int, names: Any) -> dict[str, str]:
    """Our module -> their module, for the sizes that our state dict of one scale shows."""
    layers = _count(names, r"labels\.layers\.(\d+)\.")
    trunks = {ours: _count(names, rf"{re.escape(ours)}\.blocks\.(\d+)\.") for ours in _TRUNKS}
    encoder_blocks = _count(names, r"labels\.blocks\.(\d+)\.")
    return dict(_scale_modules(scale, layers - 1, encoder_blocks, trunks))


def _discriminator_to_ours(name: str) -> str | None:
    match = re.match(r"^scale(\d+)_layer(\d+)\.([01])\.(weight|bias)$", name)
    return match and f"scale{match[1]}.layers.{match[2]}.{('conv', 'norm')[int(match[3])]}.{match[4]}"


def _discriminator_to_theirs(name: str) -> str | None:
    match = re.match(r"^scale(\d+)\.layers\.(\d+)\.(conv|norm)\.(weight|bias)$", name)
    return match and f"scale{match[1]}_layer{match[2]}.{int(match[3] == 'norm')}.{match[4]}"


def from_originals(states: Mapping[str, Mapping[str, Tensor]]) -> dict[str, Tensor]:
    """Our flat state dict from the originals' state dicts, by network name (``G0``, ``D``, ``D_T0``...).

    Running statistics are left out, and the log says so; a ``module.`` prefix is taken off.

    Raises:
        CheckpointError: for a network or a parameter that is not theirs.
    """
    out: dict[str, Tensor] = {}
    dropped = 0
    for network, state in states.items():
        match = _NETWORK.match(network)
        if match is None:
            raise CheckpointError(f"{network!r} is no network of the originals: expected G0, G1, ..., D, D_T0, ...")
        names = {name: name.removeprefix("module.") for name in state}
        kept = [name for name in names if not name.endswith(_RUNNING)]
        dropped += len(names) - len(kept)
        if match["scale"] is not None:
            scale = int(match["scale"])
            prefix = f"generator.scale{scale}."
            table = _table_from_theirs(scale, [names[name] for name in kept])
        else:
            prefix = "d_image." if match["temporal"] is None else f"d_video.{match['temporal']}."
            table = None
        for name in kept:
            module, _, leaf = names[name].rpartition(".")
            if table is not None:
                ours = f"{table[module]}.{leaf}" if module in table else None
            else:
                ours = _discriminator_to_ours(names[name])
            if ours is None:
                raise CheckpointError(
                    f"{network} has a parameter {name!r} {tuple(state[name].shape)} that vid2vid's {network} does not"
                )
            out[prefix + ours] = state[name]
    if dropped:
        log.info("left out %d running statistics of batch norm: no output depends on them", dropped)
    return out


def to_originals(weights: Mapping[str, Tensor]) -> States:
    """The inverse of ``from_originals``: the originals' state dicts by network name.

    ``d_region``, ``projections`` and a ``d_image`` that segments are left out: the originals have none.

    Raises:
        CheckpointError: for a parameter that the originals have no name for.
    """
    groups: States = {}
    for name, tensor in weights.items():
        if name.startswith((_REGIONS, _PROJECTIONS, *_SEGMENTING)):
            continue
        match = re.match(r"^generator\.scale(\d+)\.(.+)$", name)
        if match:
            network, rest = f"G{match[1]}", match[2]
        elif match := re.match(r"^d_video\.(\d+)\.(.+)$", name):
            network, rest = f"D_T{match[1]}", match[2]
        elif match := re.match(r"^d_image\.(.+)$", name):
            network, rest = "D", match[1]
        elif name.startswith("style."):
            raise CheckpointError(
                "these weights have a feature encoder (model.style_channels), for which the originals' video generator "
                "has no input: only a model without one can be written in their format"
            )
        else:
            raise CheckpointError(f"{name!r} belongs to none of generator, d_image, d_video: not vid2vid weights")
        if network.startswith("D_T") and rest.endswith(".layers.0.conv.weight") and tensor.shape[1] % 5 != 3:  # 5K - 2
            raise CheckpointError(
                f"these weights have a video discriminator of {tensor.shape[1]} channels, without flow "
                "(model.video_discriminator_input=frames), which the originals do not have; their format holds one "
                "that sees frames and flow"
            )
        groups.setdefault(network, {})[rest] = tensor
    out: States = {}
    for network, state in groups.items():
        table = _table_from_ours(int(network[1:]), state) if network.startswith("G") else None
        out[network] = {}
        for name, tensor in state.items():
            module, _, leaf = name.rpartition(".")
            if table is not None:
                theirs = f"{table[module]}.{leaf}" if module in table else None
            else:
                theirs = _discriminator_to_theirs(name)
            if theirs is None and (setting := _not_theirs(module)):
                raise CheckpointError(
                    f"these weights are of model.{setting[0]}, which the originals do not have: only a model with "
                    f"{setting[1]} can be written in their format"
                )
            if theirs is None:
                raise CheckpointError(f"the originals' {network} has no counterpart of {name!r}")
            out[network][theirs] = tensor
    return out


def _not_theirs(module: str) -> tuple[str, str] | None:
    """The setting that made a module which the originals do not have, and what they have instead."""
    if module.endswith(".resize_conv"):
        return "upsample=nearest", "transposed convolutions"
    if module.endswith(".blurred_conv"):
        return "downsample=antialiased", "strided convolutions"
    if module.endswith((".spatial", ".mix")):
        return "block=grouped or depthwise", "plain residual blocks"
    return None


def infer_model(weights: Mapping[str, Tensor]) -> dict[str, Any]:
    """The ``model.*`` keys that our flat state dict shows, as far as it shows them.

    Of the source only the number of channels of one frame can be told (``source_channels``: classes and edge).
    """
    out: dict[str, Any] = {}
    g0 = {
        name.removeprefix("generator.scale0."): x for name, x in weights.items() if name.startswith("generator.scale0.")
    }
    if g0:
        first = g0["labels.layers.0.conv.weight"]
        past = g0.get("past.layers.0.conv.weight")
        out["ngf"] = first.shape[0]
        out["downsamplings"] = _count(g0, r"labels\.layers\.(\d+)\.") - 1
        out["blocks"] = _count(g0, r"labels\.blocks\.(\d+)\.") + _count(g0, r"hallucination\.trunk\.blocks\.(\d+)\.")
        out["scales"] = _count(weights, r"generator\.scale(\d+)\.")
        if out["scales"] > 1:
            out["local_blocks"] = _count(weights, r"generator\.scale1\.hallucination\.trunk\.blocks\.(\d+)\.")
        out["past_frames"] = 0 if past is None else past.shape[1] // 3
        out["flow"] = "flow.flow.conv.weight" in g0
        out["foreground"] = "override" if "foreground.head.conv.weight" in g0 else "off"
        if "hallucination.trunk.ups.0.conv.weight" in g0 or "hallucination.trunk.ups.0.resize_conv.weight" in g0:
            out["upsample"] = "transposed" if "hallucination.trunk.ups.0.conv.weight" in g0 else "nearest"
        if "labels.layers.1.conv.weight" in g0 or "labels.layers.1.blurred_conv.weight" in g0:
            out["downsample"] = "strided" if "labels.layers.1.conv.weight" in g0 else "antialiased"
        if "labels.blocks.0.conv1.weight" in g0:
            out["block"] = "plain"
        elif "labels.blocks.0.conv1.spatial.weight" in g0:
            width = g0["labels.blocks.0.conv1.spatial.weight"].shape[1]
            out |= {"block": "depthwise"} if width == 1 else {"block": "grouped", "group_width": width}
        out["norm"] = "instance" if "labels.layers.0.norm.weight" in g0 else "instance_plain"
        out["source_channels"] = first.shape[1] // (out["past_frames"] + 1)
    if "d_image.scale0.layers.0.conv.weight" in weights:
        out["discriminator_scales"] = _count(weights, r"d_image\.scale(\d+)\.")
        finest = weights[f"d_image.scale{out['discriminator_scales'] - 1}.layers.0.conv.weight"]
        out["ndf"] = finest.shape[0]
    if temporal := _count(weights, r"d_video\.(\d+)\."):
        out["temporal_scales"] = temporal
    return out


def read_originals(path: str | Path) -> States:
    """Reads a folder of the originals' files (one label of them, ``latest`` first) or a single file.

    Raises:
        CheckpointError: nothing there, unreadable, or not a state dict of tensors. Nothing in it is ever executed.
    """
    path = Path(path)
    if not path.exists():
        raise CheckpointError(f"{path} does not exist: give a folder with *_net_G0.pth ..., or one such file")
    files: dict[str, dict[str, Path]] = {}
    for file in sorted(path.iterdir()) if path.is_dir() else [path]:
        if match := _FILE.match(file.name):
            files.setdefault(match["label"] or "", {})[match["network"]] = file
    if not files:
        raise CheckpointError(
            f"{path} holds no network of the originals: names end in _net_G0.pth, _net_D.pth, _net_D_T0.pth"
        )
    label = "latest" if "latest" in files else sorted(files)[-1]
    if len(files) > 1:
        log.info("%s holds %s; taking %r", path, ", ".join(sorted(files)), label)
    return {network: read_pth(file) for network, file in sorted(files[label].items())}


def write_originals(
    folder: str | Path, states: Mapping[str, Mapping[str, Tensor]], label: str = "latest"
) -> list[Path]:
    """Writes ``<label>_net_<network>.pth`` for every network and returns the paths."""
    folder = Path(folder)
    if folder.exists() and not folder.is_dir():
        raise CheckpointError(f"dst={folder} is a file: the originals' format is a folder with one file per network")
    folder.mkdir(parents=True, exist_ok=True)
    paths = []
    for network, state in states.items():
        path = folder / f"{label}_net_{network}.pth"
        content = {name: tensor.detach().cpu().clone() for name, tensor in state.items()}
        replace_file(path, lambda place, content=content: torch.save(content, place))
        paths.append(path)
    return paths


def convert(src: str | Path, dst: str | Path) -> list[str]:
    """Converts in the direction that ``src`` shows.

    Args:
        src: the originals' folder or one of their files; or ours: a run, a checkpoint, a weights file.
        dst: a ``.safetensors`` file for ours, a folder for the originals'.

    Returns:
        Lines that tell what was written.

    Raises:
        CheckpointError: ``src`` cannot be read or holds other networks, or ``dst`` does not fit the direction.
    """
    src, dst = Path(src), Path(dst)
    if not src.exists():
        raise CheckpointError(f"src={src} does not exist")
    theirs = bool(_FILE.match(src.name)) if src.is_file() else any(_FILE.match(file.name) for file in src.iterdir())
    if not theirs:
        weights, _ = load_weights(src)
        lines = [f"wrote {path}" for path in write_originals(dst, to_originals(weights))]
        if any(name.startswith(_REGIONS) for name in weights):
            lines.append("left out d_region: the originals' discriminator of faces sees labels too")
        if any(name.startswith(_PROJECTIONS) for name in weights):
            lines.append("left out projections: a student's training alone has them (model.teacher)")
        if any(name.startswith(_SEGMENTING) for name in weights):
            lines.append("left out d_image: it segments (model.image_discriminator), the originals have PatchGANs")
        return lines
    if dst.suffix != ".safetensors":
        raise CheckpointError(f"dst={dst}: {src} holds the originals' networks; dst must end in .safetensors")
    weights = from_originals(read_originals(src))
    dst.parent.mkdir(parents=True, exist_ok=True)
    partial = dst.with_name(dst.name + ".tmp")
    save_weights(partial, weights)
    partial.replace(dst)
    total = sum(tensor.numel() for tensor in weights.values())
    seen = " ".join(f"model.{key}={value}" for key, value in infer_model(weights).items())
    return [
        f"wrote {dst}: {len(weights)} tensors, {total:,} values",
        f"these weights fit model=vid2vid_2018 {seen}",
        f"model.weights={dst} starts a run from them, also one with more scales, classes or discriminator scales",
    ]
