"""A trained classifier as a file that runs without this package: ONNX, or torch.export's .pt2.

The graph is fp32, for one picture size; the position table is in it at that size. What comes out of the file is
compared with the model before the file is handed over.
"""

from __future__ import annotations

import math
from collections.abc import Sequence
from dataclasses import dataclass, replace
from pathlib import Path
from typing import Any

import torch
from torch import Tensor, nn

from trainer import __version__
from trainer.errors import ConfigError, UserError
from trainer.export import Format
from trainer.export.graph import Run, beside, check_kind, draft, open_graph, weight_of, write_description, write_graph
from vit.model.timm_model import bare
from vit.model.transformer import VisionTransformer
from vit.model.video import clip_frames

TOLERANCE = 1e-4  # largest difference of a logit
INPUT, OUTPUT, BATCH = "image", "logits", "batch"


@dataclass(frozen=True)
class Exported:
    """What was written.

    Attributes:
        path: the file. sidecar: JSON with all that is needed to feed it and to read its answer.
        differences: batch size to the largest absolute difference of a logit from the model's.
        size: bytes of the file, with the tensors that ONNX keeps beside it from 2 GB on.
    """

    path: Path
    sidecar: Path
    differences: dict[int, float]
    size: int

    def lines(self) -> list[str]:
        found = ", ".join(f"{value:.2g} at batch {batch}" for batch, value in self.differences.items())
        return [
            f"written to {self.path} ({self.size / 1e6:.1f} MB), described in {self.sidecar}",
            f"largest difference from the model: {found} (allowed {TOLERANCE:g})",
        ]


class Deployed(nn.Module):
    """The network behind its input's normalisation.

    Args:
        model: normalised pictures to logits.
        mean, std: per channel on a scale of 0..1.
        normalise: take bytes 0..255 (uint8) and normalise them here; else pictures come normalised (float32).
    """

    def __init__(self, model: nn.Module, mean: Sequence[float], std: Sequence[float], normalise: bool) -> None:
        super().__init__()
        self.model = bare(model)
        self.normalise = normalise
        self.scale: Tensor
        self.shift: Tensor
        scale = 1.0 / (255.0 * torch.tensor(list(std), dtype=torch.float64))
        shift = -torch.tensor(list(mean), dtype=torch.float64) / torch.tensor(list(std), dtype=torch.float64)
        self.register_buffer("scale", scale.float().view(1, -1, 1, 1))
        self.register_buffer("shift", shift.float().view(1, -1, 1, 1))

    def forward(self, image: Tensor) -> Tensor:
        if self.normalise:
            image = image.float() * self.scale + self.shift
        return self.model(image)


def bake_positions(model: nn.Module, size: tuple[int, int]) -> None:
    """Makes a ViT one of pictures of ``size`` (height, width): the position table that they see is the stored one."""
    if not isinstance(model, VisionTransformer) or size == model.arch.image_size:
        return
    arch = replace(model.arch, image_size=size)
    with torch.no_grad():
        table = model.positions(arch.grid)
    if table is None:
        pass
    elif isinstance(model.pos_embed, nn.Parameter):
        model.pos_embed = nn.Parameter(table.clone(), requires_grad=False)
    else:
        model.pos_embed = table.clone()
    model.arch = arch


def export_model(
    model: nn.Module,
    path: Path | str,
    kind: Format,
    *,
    size: tuple[int, int],
    mean: Sequence[float],
    std: Sequence[float],
    classes: Sequence[str] | None = None,
    batch: int | None = None,
    normalise: bool = False,
    about: dict[str, Any] | None = None,
) -> Exported:
    """Writes a classifier and checks the file against it, on random pictures at two batch sizes.

    Args:
        model: on the CPU; put into eval mode, its position table into ``size``.
        path: with the suffix of its kind: ``.onnx`` or ``.pt2``. Missing folders are made.
        kind: what to write.
        size: (height, width) in pixels.
        mean, std: input normalisation, per channel on a scale of 0..1.
        classes: names of the outputs.
        batch: number of pictures that the graph is made for; None: any.
        normalise: the graph takes uint8 pictures and normalises them itself; else normalised float32.
        about: further plain data for the description.

    Raises:
        ConfigError: another suffix, a batch below 1, or a network of clips.
        UserError: packages are missing (with the command that installs them), the network cannot be traced, or the
            file's answers differ by more than ``TOLERANCE``; nothing is left behind then.
    """
    path = Path(path).expanduser()
    if batch is not None and batch < 1:
        raise ConfigError(f"batch={batch}: must be at least 1, or dynamic")
    if (frames := clip_frames(model)) > 1:
        raise ConfigError(f"the network sees clips of {frames} frames; files are made of networks of pictures alone")
    check_kind(path, kind)
    bake_positions(model, size)
    deployed = Deployed(model, mean, std, normalise).eval().requires_grad_(False)
    description = _description(kind, size, mean, std, classes, batch, normalise, about)
    shapes = {INPUT: {0: torch.export.Dim(BATCH, min=1)}} if batch is None else None
    remedy = "; batch=1 makes the graph for one picture at a time" if shapes else ""
    with draft(path) as place:
        example = {INPUT: _pictures(batch or 2, len(mean), size, normalise)}
        write_graph(deployed, place, kind, example, [OUTPUT], shapes, description, remedy)
        run = open_graph(place, kind, [INPUT], [OUTPUT])
        differences = _compare(deployed, run, batch, len(mean), size, normalise)
        worst = max(differences.values(), key=lambda value: value if value == value else math.inf)
        if not worst <= TOLERANCE:
            raise UserError(
                f"{path}: its answers differ from the model's by {worst:.2g}, more than {TOLERANCE:g}; the file was "
                f"removed. Try {'format=torch_export' if kind is Format.onnx else 'format=onnx'}, or another version "
                "of torch"
            )
        description["largest_difference"] = worst
        write_description(place, description)
        total = weight_of(place)
    return Exported(path, beside(path), differences, total)


def _description(
    kind: Format,
    size: tuple[int, int],
    mean: Sequence[float],
    std: Sequence[float],
    classes: Sequence[str] | None,
    batch: int | None,
    normalise: bool,
    about: dict[str, Any] | None,
) -> dict[str, Any]:
    expects = "uint8, 0..255" if normalise else "float32, (pixel / 255 - mean) / std per channel"
    return {
        "format": kind.name,
        "input": {
            "name": INPUT,
            "shape": [BATCH if batch is None else batch, len(mean), *size],
            "values": expects,
            "channels": {1: "grey", 3: "RGB", 4: "RGBA"}.get(len(mean), "as trained"),
        },
        "output": {"name": OUTPUT, "values": "logits, one per class"},
        "size": list(size),
        "mean": list(mean),
        "std": list(std),
        "normalised_inside": normalise,
        "classes": None if classes is None else list(classes),
        **(about or {}),
        "vivid": __version__,
        "torch": torch.__version__,
    }


def _compare(
    model: nn.Module, run: Run, batch: int | None, channels: int, size: tuple[int, int], normalise: bool
) -> dict[int, float]:
    """Batch size to the largest difference of a logit; at two sizes where the graph takes any."""
    differences = {}
    for count in (1, 3) if batch is None else (batch,):
        image = _pictures(count, channels, size, normalise)
        with torch.no_grad():
            expected, found = model(image), run({INPUT: image})[OUTPUT]
        if found.shape != expected.shape:
            raise UserError(f"the exported graph returns shape {tuple(found.shape)}, the model {tuple(expected.shape)}")
        differences[count] = float((found - expected).abs().max())
    return differences


def _pictures(count: int, channels: int, size: tuple[int, int], normalise: bool) -> Tensor:
    """Random input; torch's global random stream stays as it was."""
    generator = torch.Generator().manual_seed(count)
    if normalise:
        return torch.randint(256, (count, channels, *size), dtype=torch.uint8, generator=generator)
    return torch.randn(count, channels, *size, generator=generator)
