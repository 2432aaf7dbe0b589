"""A sequence that goes on where its source is no longer looked at: observed frames, then predicted label maps."""

from __future__ import annotations

from collections.abc import Iterator
from itertools import islice
from typing import Any

from trainer.errors import ConfigError, DataError
from vid2vid.config import Vid2VidConfig
from vid2vid.data import Sequence
from vid2vid.data.augment import Crop
from vid2vid.future.rollout import LabelRollout
from vid2vid.generate.video import open_clip
from vid2vid.trained import LoadedRun


class FutureSequence:
    """Observed frames of a sequence, then ``predict`` predicted ones (`vid2vid.data.Sequence`).

    Frames have ``captions`` besides: what stands above condition and picture. Predicted ones keep the source's
    ``image`` as far as it goes on: what has come, to compare with.

    Args:
        source: labels and pictures.
        rollout: predicts.
        observed: how many of its frames are observed.
        predict: how many are predicted.
    """

    def __init__(self, source: Sequence, rollout: LabelRollout, observed: int, predict: int) -> None:
        self.source, self.rollout, self.observed, self.predict = source, rollout, observed, predict
        self.name, self.fps = source.name, source.fps

    def __len__(self) -> int:
        return self.observed + self.predict

    @property
    def crop(self) -> Crop | None:
        """How frames are cut from their source, see `vid2vid.data.frames.Stream`: predicted ones as observed ones."""
        return getattr(self.source, "crop", None)

    def __iter__(self) -> Iterator[dict[str, Any]]:
        self.rollout.reset()
        frames = iter(self.source)
        for frame in islice(frames, self.observed):
            if frame.get("image") is None:
                raise DataError(
                    f"{self.name}: a future begins with real pictures, and an observed frame has none: give the folder "
                    "above labels and images, or one of whose frames all have a picture (data.images_dir)"
                )
            self.rollout.observe(frame)
            yield {**frame, "captions": ("observed labels", "observed")}
        for ahead in range(1, self.predict + 1):
            come = next(frames, {})
            made = self.rollout.step()
            real = {"image": come["image"]} if come.get("image") is not None else {}
            made = {
                name: value.cpu() for name, value in made.items()
            }  # as other frames: edits, trackers look at arrays
            yield {**made, **real, "captions": ("predicted labels", f"predicted t+{ahead}")}


def open_future(
    source: str, run: LoadedRun, rollout: LabelRollout, predict: int, clip: int = 0, observed: int | None = None
) -> FutureSequence:
    """What follows on the frames of a source.

    Args:
        source, clip: see `vid2vid.generate.video.open_clip`.
        run: the renderer.
        predict: how many frames are predicted.
        observed: at most so many frames are observed, those behind them are compared with; None: all of the source
            (of the endless street ``data.val_frames``).

    Raises:
        ConfigError, DataError: numbers or a source that cannot be used; too few frames to predict from.
    """
    if predict < 1:
        raise ConfigError(f"predict={predict}: must be at least 1")
    config, endless = run.config, source == "street"
    wanted = config.data.val_frames if endless and observed is None else observed
    length = wanted + predict if endless and wanted is not None else None
    sequence = open_clip(source, config, clip, length, [run.colours, rollout.run.colours])
    seen = len(sequence) if wanted is None else min(wanted, len(sequence))
    refuse_too_few(seen, f"frames={observed}" if seen == observed else sequence.name, run.config, rollout)
    return FutureSequence(sequence, rollout, seen, predict)


def least_observed(config: Vid2VidConfig, rollout: LabelRollout) -> int:
    """How many frames renderer and predictor must have seen."""
    return max(config.model.past_frames, rollout.run.past_frames)


def refuse_too_few(seen: int, where: str, config: Vid2VidConfig, rollout: LabelRollout) -> None:
    """Raises DataError where renderer or predictor must see more frames than are observed.

    Args:
        seen: frames observed.
        where: what says so, for the message.
    """
    least = least_observed(config, rollout)
    if seen >= least:
        return
    raise DataError(
        f"{where}: {seen} observed frame{'s' if seen != 1 else ''}, but model.past_frames={rollout.run.past_frames} of "
        f"the predictor and {config.model.past_frames} of the renderer need {least}: observe at least {least} "
        "(frames=, a longer sequence), or train a predictor with fewer model.past_frames"
    )
