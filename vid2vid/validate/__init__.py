"""Checks of a vid2vid configuration across its fields, before anything is built. Loads no torch.

Letters as in the paper: L past frames, K frames seen by D_V.
"""

from __future__ import annotations

from collections.abc import Mapping

from trainer.config.schema import show
from trainer.errors import ConfigError
from trainer.validation import at_least, existing, run_problems
from vid2vid.config import (
    PHASES,
    DataConfig,
    DataKind,
    FirstFrame,
    FlowMethod,
    ForegroundKind,
    LabelFormat,
    ModelConfig,
    SourceKind,
    Vid2VidConfig,
    Vid2VidStage,
)
from vid2vid.data.settings import reading_problems

LABEL_IDS = 1 << 16


def validate(config: Vid2VidConfig) -> None:
    """Raise ConfigError with every problem of a configuration."""
    found = problems(config)
    if found:
        raise ConfigError(found)


def problems(config: Vid2VidConfig) -> list[str]:
    """Every problem of a configuration, one line each: key, value, remedy."""
    found = run_problems(config, PHASES)
    found += _model_problems(config.model)
    found += _label_problems(config.model)
    found += _data_problems(config.data)
    found += reading_problems(config.data, config.model)
    found += _agreement_problems(config)
    found += _stage_problems(config)
    return found


def _model_problems(model: ModelConfig) -> list[str]:
    found = []
    lowest = {
        "num_labels": 1, "source_channels": 1, "past_frames": 0, "ngf": 1, "downsamplings": 1, "blocks": 1,
        "local_blocks": 1, "scales": 1, "backprop_frames": 1, "ndf": 1, "discriminator_scales": 1,
        "discriminator_layers": 1, "video_discriminator_frames": 2, "temporal_scales": 1,
    }  # fmt: skip
    for name, value in lowest.items():
        found += at_least(f"model.{name}", getattr(model, name), value)
    for name in (name for name in vars(model) if name.startswith("lambda_")):
        if getattr(model, name) is not None:
            found += at_least(f"model.{name}", getattr(model, name), 0.0)
    found += at_least("model.flow_multiplier", model.flow_multiplier, 0.0, exclusive=True)
    if model.past_frames < 1 and model.flow:
        found.append(
            f"model.past_frames={model.past_frames}, but model.flow=true warps the frame before: "
            "set model.flow=false, or model.past_frames=2"
        )
    if model.past_frames < 1 and model.first_frame is not FirstFrame.model:
        found.append(
            f"model.first_frame={show(model.first_frame)} needs past frames; with model.past_frames=0 use model"
        )
    # Local enhancers halve the width once a scale; the foreground network has half the width (spec 1.3, 1.5).
    narrow = 2 if model.foreground is not ForegroundKind.off and model.downsamplings > 2 else 1
    divisor = 2 ** max(model.scales - 1, 0) * narrow
    if model.ngf % divisor:
        found.append(
            f"model.ngf={model.ngf}: must be a multiple of {divisor} with model.scales={model.scales} and "
            f"model.foreground={show(model.foreground)}; nearest: {_nearest(model.ngf, divisor)}"
        )
    found += existing("model.perceptual_weights", model.perceptual_weights, allowed=("torchvision",))
    found += existing("model.weights", model.weights)
    return found


def _label_problems(model: ModelConfig) -> list[str]:
    found = []
    if model.source is SourceKind.image:
        if model.foreground is not ForegroundKind.off:
            found.append(
                f"model.foreground={show(model.foreground)} needs label maps, but model.source=image has none: "
                "set model.foreground=off"
            )
        return found
    ids = model.label_ids
    if ids is not None:
        if not ids or len(set(ids)) < len(ids):
            found.append(f"model.label_ids={show(ids)}: needs at least one id, each once; null means 0..num_labels-1")
        wrong = [label for label in ids if not 0 <= label < LABEL_IDS]
        if wrong:
            found.append(f"model.label_ids has {show(wrong)}: label ids lie in 0..{LABEL_IDS - 1}")
    if model.foreground is not ForegroundKind.off:
        found += _foreground_problems(model)
    return found


def _foreground_problems(model: ModelConfig) -> list[str]:
    chosen = model.foreground_labels
    if model.label_ids is not None:  # the default list may name more classes than are in use
        if set(chosen) & set(model.label_ids):
            return []
        return [
            f"model.foreground_labels={show(chosen)} has no id of model.label_ids={show(model.label_ids)}: "
            "name one, or set model.foreground=off"
        ]
    wrong = [label for label in chosen if not 0 <= label < model.num_labels]
    if wrong or not chosen:
        return [
            f"model.foreground_labels={show(chosen)}: "
            + (f"{show(wrong)} is outside 0..{model.num_labels - 1} (model.num_labels={model.num_labels})" if wrong
               else "no class is named")
            + "; name classes of yours, or set model.foreground=off"
        ]  # fmt: skip
    return []


def _data_problems(data: DataConfig) -> list[str]:
    found = []
    for name, value in {
        "workers": 0,
        "frame_step": 1,
        "start_frames": 1,
        "clips": 1,
        "val_clips": 1,
        "val_frames": 1,
        "supersample": 1,
    }.items():
        found += at_least(f"data.{name}", getattr(data, name), value)
    if not 0.0 <= data.flip <= 1.0:
        found.append(f"data.flip={data.flip}: a probability, between 0 and 1")
    if not 0.0 < data.val_share < 1.0:
        found.append(
            f"data.val_share={data.val_share}: must lie between 0 and 1, for example 0.1; or give data.val_root"
        )
    if len(data.scale) != 2 or not 1.0 <= data.scale[0] <= data.scale[1]:
        found.append(
            f"data.scale={show(data.scale)}: needs [least, most], both at least 1 (1: the frame just covers the crop); "
            "for example [1.0,1.2]"
        )
    if not 0 <= data.edge_low < data.edge_high:
        found.append(f"data.edge_low={data.edge_low} must be below data.edge_high={data.edge_high}, and not negative")
    if data.fps is not None and not 0 < data.fps <= 1000:
        found.append(
            f"data.fps={show(data.fps)}: frames per second, above 0 and at most 1000; null keeps the file's own"
        )
    if data.fps is not None and data.kind is not DataKind.video:
        found.append(f"data.fps={show(data.fps)} resamples video files, but data={show(data.kind)}: set data.fps=null")
    if data.cut_threshold is not None and not 0 < data.cut_threshold < 1:
        found.append(
            f"data.cut_threshold={show(data.cut_threshold)}: a share between 0 and 1, for example 0.15; "
            "null looks for no cuts"
        )
    if data.kind is not DataKind.street:
        found += existing("data.root", data.root, f"data={show(data.kind)} reads files; give data.root=PATH")
        found += existing("data.val_root", data.val_root)
    found += _flow_problems(data)
    return found


def _flow_problems(data: DataConfig) -> list[str]:
    if data.flow is FlowMethod.exact and data.kind is not DataKind.street:
        return [f"data.flow=exact is known for data=street only, not for {show(data.kind)}: use data.flow=dis"]
    if data.flow is FlowMethod.precomputed:
        found = [] if data.flow_dir else ["data.flow_dir is not set: data.flow=precomputed reads flow files from it"]
        if data.kind is DataKind.street:
            found.append("data.flow=precomputed, but data=street is rendered while training: use data.flow=exact")
        if data.frame_step != 1:
            found.append(
                f"data.flow=precomputed is between neighbouring frames, data.frame_step={data.frame_step} skips some: "
                "set data.frame_step=1, or data.flow=dis"
            )
        return found
    if data.flow is FlowMethod.raft:
        needed = "data.flow=raft needs a weights file, or 'torchvision' to download it"
        return existing("data.flow_weights", data.flow_weights, needed, allowed=("torchvision",))
    return []


def _agreement_problems(config: Vid2VidConfig) -> list[str]:
    """Where model and data must fit each other."""
    model, data = config.model, config.data
    found = []
    if data.kind is DataKind.video and model.source is not SourceKind.image:
        found.append(
            "model.source=labels, but data=video has no label maps (its edges are the source): set model.source=image"
        )
    if data.kind is DataKind.street and model.source is not SourceKind.labels:
        found.append("model.source=image, but data=street gives label maps: set model.source=labels")
    files = data.kind in (DataKind.folders, DataKind.cityscapes)
    if files and (data.labels is LabelFormat.rgb) != (model.source is SourceKind.image):
        found.append(
            f"data.labels={show(data.labels)} does not fit model.source={show(model.source)}: "
            "ids go with labels, rgb with image"
        )
    if model.source is SourceKind.image and model.source_channels not in (1, 3):
        found.append(f"model.source_channels={model.source_channels}: pictures have 3 channels, or 1 read as grey")
    if model.first_frame is FirstFrame.real and 1 <= data.val_frames <= model.past_frames:
        found.append(
            f"data.val_frames={data.val_frames}: with model.first_frame=real the first model.past_frames="
            f"{model.past_frames} of them are real: give at least {model.past_frames + 1}"
        )
    if data.flow is FlowMethod.none:
        users = [
            f"model.{name}" for name in ("lambda_flow", "lambda_flow_warp") if model.flow and getattr(model, name) > 0
        ]
        users += [f"model.{name}" for name in ("lambda_output_warp", "lambda_mask") if getattr(model, name) > 0]
        users += ["model.video_discriminator"] if model.video_discriminator else []
        if users and model.flow:
            found.append(
                f"data.flow=none, but {', '.join(users)} need reference flow: set data.flow="
                f"{'exact' if data.kind is DataKind.street else 'dis'}, or these to 0 (false)"
            )
        elif model.video_discriminator:
            found.append("data.flow=none, but model.video_discriminator sees flow: set it to false, or data.flow=dis")
    return found


def _stage_problems(config: Vid2VidConfig) -> list[str]:
    model = config.model
    named: Mapping[str, Vid2VidStage] = config.curriculum.stages
    stages = named or {"": Vid2VidStage()}
    keyed = {f"curriculum.stages.{name}." if named else "the default stage's ": row for name, row in stages.items()}
    found = _size_problems(keyed, config)
    for key, stage in keyed.items():
        found += _clip_problems(key, stage, model)
        for column, available in (("scales", model.scales), ("discriminator_scales", model.discriminator_scales)):
            value = getattr(stage, column)
            if value is not None and not 1 <= value <= available:
                found.append(f"{key}{column}={value}: must lie between 1 and model.{column}={available}")
    segments = sorted({stage.segment_frames for stage in stages.values() if stage.segment_frames >= 1})
    indivisible = [n for n in segments if model.backprop_frames >= 1 and n % model.backprop_frames]
    if indivisible:
        common = [n for n in range(1, segments[0] + 1) if all(segment % n == 0 for segment in segments)]
        found.append(
            f"model.backprop_frames={model.backprop_frames} must divide segment_frames={indivisible[0]} of the "
            f"curriculum; possible: {', '.join(map(str, common))}"
        )
    k = model.video_discriminator_frames
    context = model.past_frames if model.first_frame is FirstFrame.real else 0  # real frames that D_V sees as well
    if model.video_discriminator and all(context + stage.frames < k for stage in stages.values()):
        found.append(
            f"no stage has clips of model.video_discriminator_frames={k} frames, so the video discriminator would "
            "never train: lengthen a stage, or set model.video_discriminator=false"
        )
    return found


def _clip_problems(key: str, stage: Vid2VidStage, model: ModelConfig) -> list[str]:
    segment = stage.segment_frames
    if segment < 1:
        return [f"{key}segment_frames={segment}: must be at least 1"]
    found = []
    if stage.frames >= 1 and stage.frames % segment:
        found.append(
            f"{key}frames={stage.frames} must be a multiple of segment_frames={segment}; "
            f"nearest: {_nearest(stage.frames, segment)}"
            + (f", or {key}segment_frames={stage.frames}" if stage.frames < segment else "")
        )
    return found


def _size_problems(stages: Mapping[str, Vid2VidStage], config: Vid2VidConfig) -> list[str]:
    """Height and width against the downsamplings of the scales in use; the run's resolution by its strictest stage."""
    model = config.model
    strictest: dict[str, tuple[list[int], int, int, int]] = {}  # key: size, step, downscale, scales
    for key, stage in stages.items():
        scales = model.scales if stage.scales is None else min(stage.scales, model.scales)
        size, source = (stage.resolution, f"{key}resolution") if stage.resolution else (config.resolution, "resolution")
        downscale = 1 if stage.resolution else stage.downscale
        if len(size) != 2 or min(size) < 1 or model.downsamplings < 0 or scales < 1 or downscale < 1:
            continue  # said by others
        step = 2 ** (model.downsamplings + scales - 1) * downscale
        if source not in strictest or step > strictest[source][1]:
            strictest[source] = (size, step, downscale, scales)
    found = []
    for source, (size, step, downscale, scales) in strictest.items():
        for side, word in zip(size, ("height", "width"), strict=True):
            if side % step == 0 and side >= 2 * step:
                continue
            reasons = [f"model.downsamplings={model.downsamplings}"]
            reasons += [f"{scales} generator scales"] if scales > 1 else []
            reasons += [f"a stage with downscale={downscale}"] if downscale > 1 else []
            found.append(
                f"{source}={show(size)}: {word} {side} must be a multiple of {step} and at least {2 * step}, "
                f"because of {', '.join(reasons)}; nearest: {_nearest(side, step, 2)}"
            )
    return found


def _nearest(value: int, step: int, least: int = 1) -> str:
    """The multiples of ``step`` on both sides of a value, from ``least`` times the step on."""
    below = max(value // step, least) * step
    above = below + step if below <= value else below
    return f"{below} or {above}" if below != above else str(below)
