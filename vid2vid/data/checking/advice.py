"""What to do about what a check of a data set found: every sentence names keys that can be set as they stand."""

from __future__ import annotations

from typing import TYPE_CHECKING

from trainer.text import few
from vid2vid.config import CropKind, ForegroundKind, Vid2VidConfig
from vid2vid.data.augment import centre_crop
from vid2vid.data.frames import FrameSequence, cut_off
from vid2vid.data.labels.decode import colour_remedy
from vid2vid.data.labels.label_range import mask_remedy
from vid2vid.data.split import longest_clip, shorter_clips, shortest_validation

if TYPE_CHECKING:
    from vid2vid.data.checking.report import Report

_FEW = 1000  # training frames


def give_advice(config: Vid2VidConfig, sequences: list[tuple[str, FrameSequence]], report: Report) -> list[str]:
    """Sentences for the user, the most pressing first.

    Args:
        config: what training would run with.
        sequences: (split, sequence) of the data set.
        report: what was found.
    """
    advice = _about_labels(config, report)
    if report.damaged:
        advice.append("data.on_bad_file=skip trains without the files that cannot be decoded")
    for name, (height, width), files in report.odd:
        advice.append(
            f"{name}: of another size ({height}x{width}) than the others: {few(sorted(files))}. Resize them, or take "
            "them away with their labels: the sequence then ends there and goes on behind"
        )
    if report.nobody:
        stops = ": training would stop; look for the people anew (scripts/prepare.py people)"
        advice.append(
            f"nobody is in the landmarks of {report.nobody} of {report.frames} frames, which are drawn empty"
            + (stops if report.nobody == report.frames else "")
        )
    height, width = config.resolution
    whole = report.sizes if config.data.crop is CropKind.none else ()
    crops = {size: cut_off(centre_crop(size, (height, width))) for size in whole}
    advice += [loss for loss in crops.values() if loss][:2]
    return advice + _about_lengths(config, sequences)


def _about_labels(config: Vid2VidConfig, report: Report) -> list[str]:
    allowed = report.label_range
    if allowed is None:
        return []
    advice = []
    labels = set(report.pixels) - set(allowed.ignored)
    if config.model.num_labels >= 34 and allowed.label_ids is None and labels and max(labels) <= 18:
        advice.append(
            "all ids lie in 0..18: these may be Cityscapes trainIds, while model.num_labels="
            f"{config.model.num_labels} means labelIds; set model.num_labels=19 if so"
        )
    if report.colours:
        advice.append(colour_remedy(report.colours, report.table))
    masks = mask_remedy(set(report.pixels), config.model.foreground is not ForegroundKind.off)
    if masks:
        advice.append(masks)
    elif report.unknown:
        advice.append(allowed.remedy(sorted(report.unknown)))
    silent = [label for label in allowed.ignored if label in report.pixels and 0 <= label < allowed.num_labels]
    if silent and allowed.label_ids is None and not masks:
        advice.append(
            f"{', '.join(map(str, silent))} is data.ignore_label and also one of model.num_labels={allowed.num_labels} "
            "classes: its pixels belong to no class; if it is one, set data.ignore_label=null"
        )
    return advice


def _about_lengths(config: Vid2VidConfig, sequences: list[tuple[str, FrameSequence]]) -> list[str]:
    advice = []
    for split, needed in (("train", longest_clip(config)), ("val", shortest_validation(config))):
        mine = [s for name, s in sequences if name == split]
        short = [f"{s.name} ({len(s)})" for s in mine if len(s) < needed]
        longest = max((len(s) for s in mine), default=0)
        if short and len(short) == len(mine) and split == "train":
            advice.append(
                f"{split}: no sequence has the {needed} frames of a clip ({few(short)}): training would stop; "
                f"train shorter clips: {shorter_clips(config, longest)}"
            )
        elif short and len(short) == len(mine):
            advice.append(f"{split}: sequences of one frame: pictures are measured, motion is not")
        elif short:
            advice.append(f"{split}: shorter than the {needed} frames of a clip, will be left out: {few(short)}")
    frames = sum(len(s) for name, s in sequences if name == "train")
    if frames < _FEW:
        advice.append(f"{frames} training frames are few: expect a model of these clips, not of their kind")
    return advice
