"""Whose vectors these are: what is kept beside them tells the feature encoder that they mean something to."""

from __future__ import annotations

import hashlib
from collections.abc import Mapping
from dataclasses import dataclass
from pathlib import Path
from typing import TYPE_CHECKING, Any

from trainer.checkpoint.digest import add_weights
from trainer.errors import DataError

if TYPE_CHECKING:
    from torch import nn


@dataclass(frozen=True)
class Encoder:
    """A feature encoder, to be told from others.

    Attributes:
        fingerprint: of its weights.
        run: the name of its run's folder.
        step: that its weights are of.
    """

    fingerprint: str
    run: str
    step: int

    def facts(self) -> dict[str, str | int]:
        """Plain data, to be kept beside its vectors."""
        return {"encoder": self.fingerprint, "encoder_run": self.run, "step": self.step}


def encoder_of(style: nn.Module, run_dir: Path, step: int) -> Encoder:
    """The encoder of a run with these weights."""
    found = hashlib.blake2b(digest_size=8)
    add_weights(found, style)
    return Encoder(found.hexdigest(), run_dir.resolve().name, step)


def check_encoder(facts: Mapping[str, Any], own: Encoder, given: str, remedy: str) -> str:
    """Whether vectors are of a run's encoder.

    Args:
        facts: that are kept beside them; ``encoder: null``: the user says that they fit.
        own: of the run.
        given: the file, as the user gave it.
        remedy: what to do where they are not.

    Returns:
        A warning, where the encoder has learnt on since, or the file does not tell; else empty.

    Raises:
        DataError: they are of another run's encoder.
    """
    step = facts.get("step", own.step)
    learnt_on = f"{given} is of step {step}, these weights are of step {own.step}: {remedy}"
    if "encoder" not in facts:
        untold = f"{given} does not tell which run's feature encoder it is of (it was written before that was kept)"
        return learnt_on if step != own.step else f"{untold}: {remedy}"
    if facts["encoder"] in (None, own.fingerprint):
        return ""
    other = facts.get("encoder_run")
    if other == own.run and step != own.step:
        return learnt_on
    raise DataError(
        f"{given} is of the feature encoder of another run ({other}, step {step}), whose vectors mean other looks to "
        f'this one: {remedy}. If you know that it fits, write "encoder": null in it'
    )
