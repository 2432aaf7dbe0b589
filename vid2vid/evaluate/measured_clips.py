"""Which clips an evaluation measures: those of a split of the run's own data, or all frames of other footage."""

from __future__ import annotations

from copy import deepcopy
from dataclasses import dataclass, replace
from pathlib import Path
from typing import Any

from trainer.data.loader import make_eval_loader
from trainer.errors import ConfigError
from vid2vid.config import DataConfig, DataKind, FirstFrame, Vid2VidConfig
from vid2vid.data import build_evaluation
from vid2vid.data.labels.trained_colours import check_colours
from vid2vid.evaluate.measure import Counted
from vid2vid.evaluate.provenance import changed_data, facts
from vid2vid.trained import LoadedRun


@dataclass(frozen=True)
class MeasuredClips:
    """Clips to be measured, one by one: those of footage may differ in length.

    Attributes:
        loader: of batches of one clip.
        config: that the clips were built from; its ``model.first_frame`` is what they are generated from.
        requested: what differs from the run's own evaluation.
    """

    loader: Any
    config: Vid2VidConfig
    requested: dict[str, str]
    _all_of: str
    _left_out: int
    _split: str
    _averaged: bool

    def scope(self, counted: Counted) -> str:
        """Which footage it was, and how much of it was skipped, in words; empty for all of the run's own split."""
        scope = f"all frames of {self._all_of}, other footage than the run's own" if self._all_of else ""
        if scope and self._left_out:
            several = "s" if self._left_out > 1 else ""
            start = self.config.model.first_frame.name
            scope += f", without {self._left_out} sequence{several} too short for first_frame={start}"
        if counted.skipped:
            several = "s with bad files count" if counted.skipped > 1 else " with a bad file counts"
            scope = "; ".join(part for part in (scope, f"{counted.skipped} clip{several} nowhere") if part)
        return scope

    def facts(self, counted: Counted) -> dict[str, str | int | float]:
        """What the figures are of, flat (`vid2vid.evaluate.provenance`)."""
        height, width = self.config.resolution
        return facts(
            self.config,
            counted.clips,
            counted.frames,
            counted.skipped,
            resolution=(height, width),
            split=self._split,
            averaged=self._averaged,
        )


def measured_clips(
    run: LoadedRun,
    split: str = "val",
    frames: int | None = None,
    clips: int | None = None,
    first_frame: FirstFrame | None = None,
    own: DataConfig | None = None,
) -> MeasuredClips:
    """The clips that were asked for; arguments and errors are those of `vid2vid.evaluate.run.evaluate_run`."""
    for name, value in (("clips", clips), ("frames", frames)):
        if value is not None and value < 1:
            raise ConfigError(f"{name}={value}: must be at least 1")
    options = {"clips": clips, "frames": frames, "first_frame": first_frame and first_frame.name}
    requested = {key: str(value) for key, value in options.items() if value is not None} | run.requested
    requested |= {"split": split} if split != "val" else {}
    requested |= {} if own is None else changed_data(own, run.config.data, run.ranges)
    config = deepcopy(run.config)
    config.data.val_frames = frames if frames is not None else config.data.val_frames
    foreign = own is not None and is_foreign(config, own)
    if foreign:
        config.data.val_root = config.data.root
    start = first_frame if first_frame is not None else config.model.first_frame
    height, width = config.resolution
    dataset = build_evaluation(config, split, (height, width), whole=foreign, first_frame=start)
    config.model.first_frame = start
    check_colours(run.colours, getattr(dataset, "sequences", ()))
    loader = make_eval_loader(
        dataset, batch_size=1, workers=config.data.workers, seed=config.seed, limit=clips, device=run.compute.device
    )
    all_of = str(config.data.root) if foreign and clips is None else ""
    return MeasuredClips(loader, config, requested, all_of, getattr(dataset, "left_out", 0), split, run.averaged)


def is_foreign(config: Vid2VidConfig, own: DataConfig) -> bool:
    """Whether the data are other footage than a run's own, without a split of their own."""
    data = config.data
    if data.kind is DataKind.street or not data.root:
        return False
    if data.val_root and data.val_root != own.val_root:
        return False  # said by the user
    theirs = {Path(root).resolve() for root in (own.root, own.val_root) if root}
    if own.kind is not DataKind.street and Path(data.root).resolve() in theirs:
        return False
    from vid2vid.data.folders.dataset import has_own_splits

    return not has_own_splits(replace(config, data=replace(data, val_root=None)))
