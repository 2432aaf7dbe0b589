"""Plain Vision Transformers, and any timm classifier, on the shared trainer: models, data, recipes, checkpoints.

``vit.load`` is the way in from Python. Importing the package loads no torch.
"""

from __future__ import annotations

import os
from collections.abc import Sequence
from typing import TYPE_CHECKING

if TYPE_CHECKING:
    import torch

    from vit.classifier import Classifier

__all__ = ["load"]


def load(
    path: str | os.PathLike[str],
    *,
    checkpoint: str | None = None,
    name: str | None = None,
    device: str | torch.device | None = None,
    overrides: Sequence[str] = (),
) -> Classifier:
    """A trained classifier, ready to look at pictures: ``vit.load("runs/first")(["cat.jpg"])[0].label``.

    No code of the files is run: they are read as plain data, of a ``.pth`` its tensors alone.

    Args:
        path: a run; a folder that ``scripts/export.py format=folder`` wrote; a checkpoint of a run; a weights file or
            folder of any kind that is known (docs/checkpoints.md), or ``timm:NAME``, which timm downloads.
        checkpoint: of a run: ``best``, the name of one of its checkpoints, or a path; None: the newest.
        name: timm's name of the model in a weights file; None: as the folder tells, or a plain ViT.
        device: ``cpu``, ``cuda`` or ``cuda:N``; None: as the run asks, a card where there is one.
        overrides: ``key=value`` words as ``scripts/predict.py`` takes them: ``resolution``, ``trainer.precision``,
            ``augment.eval_*``, ...

    Returns:
        The classifier, in eval mode, with the averaged (EMA) weights where the run has them.

    Raises:
        trainer.errors.UserError: nothing there, damaged, of another kind, or not for this device; says what to do.
    """
    from vit import classifier

    return classifier.load(path, checkpoint=checkpoint, name=name, device=device, overrides=overrides)
