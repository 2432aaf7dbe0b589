"""Changing classes of a whole scene, all at once (``remap=11:21``): buildings to trees."""

from __future__ import annotations

from collections.abc import Iterable, Mapping
from typing import Any

import torch

from trainer.data.labels.label_map import parse_pairs
from trainer.errors import ConfigError
from vid2vid.config import ModelConfig
from vid2vid.data.sources.kinds import wants_labels
from vid2vid.generate.edit.objects import CITYSCAPES_THINGS, knows_cityscapes


class Relabel:
    """Changes classes of label maps, and their instances so that the edges stay those of the new scene.

    A region (building, road) has its class for an instance id, an object (car 3) an id of its own. What turns into a
    region class takes that region's id: its edges towards its own new class vanish. What turns into an object class
    keeps its outline. Which classes are regions is known for Cityscapes ids; with others, former regions count as
    regions and former objects stay objects.

    Args:
        mapping: old id -> new id, all at once: 11:21,21:11 swaps.
        model: whose label channels the new ids must have.

    Attributes:
        unseen: old ids that have not occurred so far.

    Raises:
        ConfigError: a new id without a channel, or a model without labels.
    """

    def __init__(self, mapping: Mapping[int, int], model: ModelConfig) -> None:
        if not wants_labels(model):
            raise ConfigError("remap changes labels, but this run has model.source=image; leave remap out")
        known = model.label_ids if model.label_ids is not None else range(model.num_labels)
        missing = sorted({new for new in mapping.values() if new not in known})
        if missing:
            raise ConfigError(
                f"remap to {', '.join(map(str, missing))}: this model knows the labels {_ranges(known)} only"
            )
        self.mapping = dict(mapping)
        self.unseen = set(mapping)
        self._cityscapes = knows_cityscapes(model)

    def __call__(self, frame: dict[str, Any]) -> dict[str, Any]:
        """A frame (``labels`` (H, W), optionally ``instances`` (H, W)) with its classes changed, as a new dict."""
        old = torch.as_tensor(frame["labels"])
        labels = old.clone()
        ids = frame.get("instances")
        instances = None if ids is None else torch.as_tensor(ids).clone()
        for before, after in self.mapping.items():
            hit = old == before
            labels[hit] = after
            if before in self.unseen and bool(hit.any()):
                self.unseen.discard(before)
            if instances is None:
                continue
            if self._cityscapes:
                if after not in CITYSCAPES_THINGS:
                    instances[hit] = after
            else:
                instances[hit & (torch.as_tensor(ids) == before)] = after
        return frame | {"labels": labels} | ({} if instances is None else {"instances": instances})


def parse_remap(text: str) -> dict[int, int]:
    """``11:21,26:24`` as {11: 21, 26: 24}.

    Raises:
        ConfigError: what cannot be read, or an id that is changed twice.
    """
    return parse_pairs(text, "remap")


def _ranges(ids: Iterable[int]) -> str:
    if isinstance(ids, range):
        return f"{ids.start}..{ids.stop - 1}"
    return ", ".join(map(str, ids))
