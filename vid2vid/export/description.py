"""What an exported step tells of itself: its inputs and outputs, and how the run that it is of makes its condition."""

from __future__ import annotations

from typing import Any

import torch
from torch import Tensor

from trainer import __version__
from trainer.data.labels.label_map import ignored_ids
from vid2vid.config import DataKind
from vid2vid.data.sources.kinds import channel_names, parse_sources
from vid2vid.encoding import SourceEncoder
from vid2vid.export.loop import first_inputs, least, made_condition
from vid2vid.export.step import INSTANCES, KNOWN, LABELS, SOURCE, STYLE, WARPED, Step
from vid2vid.styles.class_names import class_names
from vid2vid.trained import LoadedRun


def describe(step: Step, size: tuple[int, int], batch: int | None, dynamic: bool) -> dict[str, Any]:
    """The graph's inputs and outputs in plain data."""
    clips: Any = "batch" if batch is None else batch
    condition = first_inputs(step, made_condition(step, None, batch or 1, 1, size))
    values = {
        LABELS: "class ids 0..65535, oldest frame first, the last of the frame to make; of a frame before the video "
        "those of its first. An id without a class sets no channel",
        INSTANCES: "instance ids, as labels; where there are none, the labels again. Edges between them are a channel",
        SOURCE: "pictures 0..255, frames as of labels",
        STYLE: "style vectors, each pixel that of its instance (docs/styles.md), frames as of labels",
        KNOWN: "false for the first frame of a video: it is made from its condition alone, the pasts count for nothing",
        WARPED: "false where the newest past is no frame of this video: it is seen, but not warped",
    }
    past = f"the next_ outputs of the step before, -1..1; zeros before the first (L={step.past_frames})"
    outputs = {
        "frame": "RGB, -1..1: 0..255 is round((frame + 1) * 127.5)",
        "hallucination": "RGB, -1..1, what was made anew",
        "flow": "pixels, to the frame before: where each pixel comes from, horizontal and vertical",
        "mask": "0..1; 1: hallucination, 0: the frame before, warped by flow",
    }

    def shape(name: str, tensor: Tensor) -> list[Any]:
        own: list[Any] = [clips, *tensor.shape[1:]]
        if dynamic and name not in (KNOWN, WARPED):
            own[-2:] = (f"H/{size[0] // own[-2]}", f"W/{size[1] // own[-1]}") if own[-2] != size[0] else ("H", "W")
        return own

    inputs = [
        {"name": name, "type": str(tensor.dtype).removeprefix("torch."), "shape": shape(name, tensor)}
        | {"example_shape": list(tensor.shape)}
        | {"values": values.get(name, past)}
        for name, tensor in condition.items()
    ]
    return {
        "inputs": inputs,
        "outputs": [{"name": name, "values": outputs.get(name, "the past of the next step")} for name in step.outputs],
        "size": None if dynamic else list(size),
        "size_multiple_of": step.divisor,
        "size_at_least": least(step),
        "batch": batch,
        "past_frames": step.past_frames,
        "scales": step.scales,
        "vivid": __version__,
        "torch": torch.__version__,
    }


def about_run(loaded: LoadedRun) -> dict[str, Any]:
    """Of which run the step is and what its condition is made of, in plain data, without a path of this machine."""
    config, encoder = loaded.config, loaded.encoder
    model, data = config.model, config.data
    names = {label: name for label, name in class_names(config, None).items() if label in encoder.ids}
    return {
        "weights": "averaged (EMA)" if loaded.averaged else "as trained",
        "step": loaded.step,
        "resolution": list(config.resolution),
        "condition": condition_of(loaded),
        "channels": channels_of(encoder, names),
        "label_ids": list(encoder.ids) if encoder.labels else [],
        "ignored_ids": list(ignored_ids(data.ignore_label)) if encoder.labels else [],
        "class_names": {str(label): name for label, name in names.items()} if encoder.labels else {},
        "foreground_ids": list(model.foreground_labels) if loaded.generator.has_foreground else [],
        "trained_with_instances": loaded.instances,
        "edge_thresholds": [data.edge_low, data.edge_high],
        "picture_range": {key: list(value) for key, value in loaded.ranges.items()},
        "first_frame": model.first_frame.value,
        "precision": "fp32",
    }


def condition_of(loaded: LoadedRun) -> str:
    """What a frame's condition is: labels, edges (of the frame itself), pictures, or labels and pictures."""
    encoder, data = loaded.encoder, loaded.config.data
    if encoder.labels:
        return "labels and pictures" if encoder.pictures else "labels"
    kinds = [entry.kind for entry in parse_sources(data)]
    return "edges" if data.kind is DataKind.video or kinds == ["edges"] else "pictures"


def channels_of(encoder: SourceEncoder, names: dict[int, str]) -> list[str]:
    """What each channel of one frame's condition is, in the order in which the generator sees them."""
    found = []
    if encoder.labels:
        found += [f"class {label}" + (f" ({names[label]})" if label in names else "") for label in encoder.ids]
        found += ["instance edges"] if encoder.edges else []
    if encoder.pictures:
        told = channel_names(encoder.data)
        found += told or [f"picture {channel}" for channel in range(encoder.pictures)]
    return found + [f"style {channel}" for channel in range(encoder.model.style_channels)]
