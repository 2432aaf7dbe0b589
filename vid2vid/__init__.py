"""Video-to-Video Synthesis (Wang et al., NeurIPS 2018, arXiv 1808.06601) on the shared trainer.

``vid2vid.load`` is the way in from Python. Importing the package loads no torch, so that ``train.py --help`` and
configuration errors answer at once.
"""

from __future__ import annotations

import os
from collections.abc import Sequence
from typing import TYPE_CHECKING

if TYPE_CHECKING:
    import torch

    from vid2vid.video_model import VideoModel

__all__ = ["load"]


def load(
    path: str | os.PathLike[str],
    *,
    checkpoint: str | None = None,
    resolution: tuple[int, int] | None = None,
    device: str | torch.device | None = None,
    overrides: Sequence[str] = (),
) -> VideoModel:
    """A trained video model, ready to generate: ``vid2vid.load("runs/demo").generate("street", frames=30)``.

    No code of the files is run: they are read as plain data.

    Args:
        path: a run; a folder that ``scripts/export.py format=folder`` wrote; a checkpoint; or a weights file in one of
            these.
        checkpoint: of a run: ``best``, the name of one of its checkpoints, or a path; None: the newest.
        resolution: (height, width) in pixels to work at; None: that of the stage that the checkpoint is of.
        device: ``cpu``, ``cuda`` or ``cuda:N``; None: as the run asks, a card where there is one.
        overrides: ``key=value`` words as ``scripts/generate.py`` takes them.

    Returns:
        The model, in eval mode, with the averaged (EMA) weights where the run has them.

    Raises:
        trainer.errors.UserError: nothing there, damaged, of another kind, or not for this device; says what to do.
    """
    from vid2vid import video_model

    return video_model.load(path, checkpoint=checkpoint, resolution=resolution, device=device, overrides=overrides)
