"""An exported folder in the hands of the libraries that it is for, to compare their answers. Nothing is downloaded."""

from __future__ import annotations

import importlib.util
import logging
from collections.abc import Callable, Iterator
from contextlib import contextmanager
from dataclasses import dataclass, field
from pathlib import Path
from typing import Any

import torch
from torch import Tensor

from vit.trained import load_weights_model

OWN, TIMM = "vit.load", "timm"
WRAPPED, TRANSFORMERS = "transformers, with timm installed", "transformers alone"
Answer = Callable[[Tensor], Tensor]


@dataclass
class Tried:
    """Ways to load a folder: each takes normalised pictures (B, C, H, W) and gives logits (B, K).

    Attributes:
        untried: ways whose library is missing here.
    """

    ways: dict[str, Answer] = field(default_factory=dict)
    untried: list[str] = field(default_factory=list)


def answers(folder: Path, timm: bool, native: bool) -> Tried:
    """The folder, loaded in every way that it is for.

    Args:
        timm: whether the folder itself has timm's form. native: whether there is ``transformers/`` in it.
    """
    found = Tried({OWN: _own(folder)})
    if timm:
        found.ways[TIMM] = _timm(folder)
    places = [(WRAPPED, folder)] * timm + [(TRANSFORMERS, folder / "transformers")] * native
    if importlib.util.find_spec("transformers") is None:
        found.untried = [way for way, _ in places]
    else:
        found.ways |= {way: _transformers(place) for way, place in places}
    return found


def _own(folder: Path) -> Answer:
    model, _ = load_weights_model(str(folder))
    return _quietly(model)


def _timm(folder: Path) -> Answer:
    import timm

    return _quietly(timm.create_model(f"local-dir:{folder}", pretrained=True).eval())


def _transformers(folder: Path) -> Answer:
    from transformers import AutoModelForImageClassification

    with _silent():
        model: Any = AutoModelForImageClassification.from_pretrained(folder, local_files_only=True).eval()
    return _quietly(lambda images: model(pixel_values=images).logits)


def _quietly(model: Callable[[Tensor], Tensor]) -> Answer:
    def answer(images: Tensor) -> Tensor:
        with torch.inference_mode():
            return model(images).float()

    return answer


@contextmanager
def _silent() -> Iterator[None]:
    """Without the progress bars and the warnings of transformers."""
    from transformers.utils import logging as theirs

    level, shown = theirs.get_verbosity(), theirs.is_progress_bar_enabled()
    theirs.set_verbosity(logging.ERROR)
    theirs.disable_progress_bar()
    try:
        yield
    finally:
        theirs.set_verbosity(level)
        if shown:
            theirs.enable_progress_bar()
