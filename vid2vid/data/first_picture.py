"""Which frame stands for the picture that a user gives with ``first_frame=image``."""

from __future__ import annotations

from collections.abc import Sequence

import numpy as np

from trainer.errors import DataError
from vid2vid.config import FirstFrame, ModelConfig


def wants_picture(model: ModelConfig) -> bool:
    """Whether samples need a ``picture``: the model starts from one."""
    return model.first_frame is FirstFrame.image and model.past_frames > 0


def other_frame(length: int, indices: Sequence[int], past: int, rng: np.random.Generator | None, name: str) -> int:
    """A frame of the sequence that the clip's first frames, which see it as their past, are not compared with.

    Otherwise the picture would be the target, and copying it the best answer: no user has such a picture.

    Args:
        length: of the sequence.
        indices: of the clip's frames in it.
        past: L; the picture is in the history of so many frames.
        rng: draws it; None: the one half the sequence away.
        name: of the sequence, for the message.

    Raises:
        DataError: the sequence has one frame only.
    """
    if length < 2:
        raise DataError(
            f"{name}: has one frame only, but model.first_frame=image starts from another frame of the sequence than "
            "the one to generate: use longer sequences, or model.first_frame=model"
        )
    seen = sorted(set(indices[:past]))
    if len(seen) == length:
        seen = [indices[0]]
    free = length - len(seen)
    chosen = (indices[0] + length // 2) % free if rng is None else int(rng.integers(free))
    for index in seen:
        chosen += chosen >= index
    return chosen
