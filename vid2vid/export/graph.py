"""A trained generator as a file that runs without this package: one step of F as ONNX, or as torch.export's .pt2.

The graph is fp32. Before the file is handed over it generates several frames in a loop, and so does the generator: what
differs after some steps, with each fed its own frames, is what counts.
"""

from __future__ import annotations

import math
from collections.abc import Mapping
from dataclasses import dataclass
from pathlib import Path
from typing import Any

from torch import Tensor

from trainer.errors import ConfigError, UserError
from trainer.export import Format
from trainer.export.graph import beside, check_kind, draft, open_graph, weight_of, write_description, write_graph
from vid2vid.encoding import SourceEncoder
from vid2vid.export.description import describe
from vid2vid.export.loop import by_model, first_inputs, in_torch, least, made_condition, play
from vid2vid.export.step import INSTANCES, KNOWN, LABELS, WARPED, Step
from vid2vid.model import Generator

STEPS = 6  # in the loop that is compared
TOLERANCES = {"frame": 2e-3, "hallucination": 2e-3, "mask": 2e-3, "flow": 0.02}  # pictures in [-1, 1], flow in pixels
SINGLE = {name: value / 20 for name, value in TOLERANCES.items()}  # of frames that are made from the same ones


@dataclass(frozen=True)
class Exported:
    """What was written.

    Attributes:
        path: the file. sidecar: JSON with all that is needed to feed it and to read its answer.
        differences: ``BxHxW`` to output to its largest absolute difference from the generator's in ``STEPS`` frames.
        single: likewise of frames made from the same ones before, where a loop differs by more than ``TOLERANCES``.
        size: bytes of the file.
    """

    path: Path
    sidecar: Path
    differences: dict[str, dict[str, float]]
    size: int
    single: dict[str, dict[str, float]]

    def lines(self) -> list[str]:
        said = [f"written to {self.path} ({self.size / 1e6:.1f} MB), described in {self.sidecar}"]
        for shape, found in self.differences.items():
            text = ", ".join(f"{name} {value:.2g}" for name, value in found.items())
            said.append(f"largest difference from the model in a loop of {STEPS} frames of {shape} (BxHxW): {text}")
        for shape, found in self.single.items():
            text = ", ".join(f"{name} {value:.2g}" for name, value in found.items())
            said.append(f"this network enlarges rounding from frame to frame; frame by frame of {shape}, from the same "
                        f"ones before, it differs by {text}")  # fmt: skip
        allowed = ", ".join(f"{name} {value:g}" for name, value in TOLERANCES.items())
        return [*said, f"allowed: {allowed} (frames in -1..1, flow in pixels)"]


def export_step(
    generator: Generator,
    encoder: SourceEncoder,
    path: Path | str,
    kind: Format,
    *,
    size: tuple[int, int],
    scales: int | None = None,
    batch: int | None = 1,
    dynamic: bool = False,
    about: Mapping[str, Any] | None = None,
) -> Exported:
    """Writes one step of a generator and checks the file against it.

    Args:
        generator: on the CPU in fp32, in eval mode. encoder: of the same configuration.
        path: with the suffix of its kind: ``.onnx`` or ``.pt2``. Missing folders are made.
        size: (height, width) in pixels, multiples of the step's divisor; with ``dynamic`` a size that is compared.
        scales: how many of the generator's scales are in use; None: all.
        batch: number of clips that the graph is made for; None: any.
        dynamic: the graph takes pictures of any height and width that the divisor divides, from ``least`` on.
        about: plain data for the description.

    Raises:
        ConfigError: another suffix, or a size below twice the divisor.
        UserError: packages are missing (with the command that installs them), the network cannot be traced, or the
            file's answers differ by more than ``TOLERANCES``, and from the same frames before by more than ``SINGLE``;
            nothing is left behind then.
    """
    path = Path(path).expanduser()
    check_kind(path, kind)
    step = Step(generator, encoder, scales).eval().requires_grad_(False)
    small = least(step)
    if min(size) < small:
        raise ConfigError(
            f"resolution=[{size[0]},{size[1]}]: this generator pads by reflection at 1/{step.divisor} of the size, so "
            f"height and width must be at least {small}"
        )
    description = {"format": kind.name, **describe(step, size, batch, dynamic), **(about or {})}
    traced = (small + step.divisor, small + 2 * step.divisor) if dynamic else size
    example = first_inputs(step, made_condition(step, encoder, batch or 2, 1, traced))
    remedy = "; without size=dynamic the graph is made for one size" if dynamic else ""
    with draft(path) as place:
        axes = free_axes(step, batch is None, dynamic)
        write_graph(step, place, kind, example, step.outputs, axes, description, remedy)
        run = open_graph(place, kind, step.inputs, step.outputs)
        model, differences, single = in_torch(step), {}, {}
        for count in (1, 2) if batch is None else (batch,):
            for height, width in [size, (small, small + step.divisor)] if dynamic else [size]:
                condition = made_condition(step, encoder, count, STEPS, (height, width))
                found = _differences(play(run, step, condition), by_model(step, encoder, condition))
                shape = f"{count}x{height}x{width}"
                differences[shape] = found
                if _beyond(found, TOLERANCES):  # a network that was hardly trained enlarges rounding, in torch too
                    alike = _differences(play(run, step, condition, model), play(model, step, condition, model))
                    _judge(path, kind, shape, found, alike)
                    single[shape] = alike
        description["largest_difference"] = differences
        write_description(place, description)
        total = weight_of(place)
    return Exported(path, beside(path), differences, total, single)


def _beyond(found: Mapping[str, float], allowed: Mapping[str, float]) -> list[str]:
    return [
        name for name, value in found.items() if not value <= allowed[name if name in allowed else "frame"]
    ]  # the next step's pasts are frames


def _judge(path: Path, kind: Format, shape: str, found: Mapping[str, float], single: Mapping[str, float]) -> None:
    if not _beyond(single, SINGLE):
        return
    name = _beyond(found, TOLERANCES)[0]
    raise UserError(
        f"{path}: its {name} differs from the model's by {found[name]:.2g} in a loop of {STEPS} frames of "
        f"{shape} (BxHxW), more than {TOLERANCES[name]:g}; the file was removed. Try "
        f"{'format=torch_export' if kind is Format.onnx else 'format=onnx'}, or another version of torch"
    )


def free_axes(step: Step, batch: bool, size: bool) -> dict[str, dict[int, Any]] | None:
    """Which axes of the inputs differ from call to call; None: none does."""
    if not batch and not size:
        return None
    from torch.export import Dim

    lowest = least(step) // step.divisor
    clips, rows, columns = Dim("batch", min=1), Dim("h", min=lowest), Dim("w", min=lowest)
    axes: dict[str, dict[int, Any]] = {}
    for name in step.inputs:
        axes[name] = {0: clips} if batch else {}
        if size and name not in (KNOWN, WARPED):
            first = 2 if name in (LABELS, INSTANCES) else 3
            factor = step.divisor
            if name in step.pasts:
                factor //= 2 ** (step.scales - 1 - step.pasts.index(name))
            height, width = (rows, columns) if factor == 1 else (factor * rows, factor * columns)
            axes[name] |= {first: height, first + 1: width}
    return axes


def _differences(found: Mapping[str, Tensor], expected: Mapping[str, Tensor]) -> dict[str, float]:
    """Output to its largest absolute difference; infinite where one of them is no number."""
    out = {}
    for name, value in expected.items():
        if found[name].shape != value.shape:
            raise UserError(
                f"the exported {name} has shape {tuple(found[name].shape)}, the model's {tuple(value.shape)}"
            )
        worst = float((found[name] - value).abs().max())
        out[name] = worst if worst == worst else math.inf
    return out
