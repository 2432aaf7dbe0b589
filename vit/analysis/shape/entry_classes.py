"""The 16 entry-level classes of the cue-conflict pictures, and the classes of ImageNet-1k that each of them stands for.

Geirhos et al., "Generalisation in humans and deep neural networks", 2018, and "ImageNet-trained CNNs are biased towards
texture", 2019: 207 classes of ImageNet, those below an entry class in WordNet less ambiguous ones.
"""

from __future__ import annotations

from collections.abc import Sequence

import torch

from vit.data.class_map import MeanClassMap
from vit.data.class_names import class_keys
from vit.weights.classes import imagenet_ids

# Indices of ImageNet-1k's classes in the order of their WordNet ids; A-B stands for all from A to B.
_MEMBERS = {
    "airplane": "404",
    "bear": "294-297",
    "bicycle": "444 671",
    "bird": "8 10-16 18-20 22-24 80-83 87-96 98-100 127-133 135-145",
    "boat": "472 554 625 814 914",
    "bottle": "440 720 737 898 899 901 907",
    "car": "436 511 817",
    "cat": "281-286",
    "chair": "423 559 765 857",
    "clock": "409 530 892",
    "dog": "152-191 193-203 205-226 228-241 243-250 252-257 259 261-263 265-268",
    "elephant": "385 386",
    "keyboard": "508 878",
    "knife": "499",
    "oven": "766",
    "truck": "555 569 656 675 717 734 864 867",
}
ENTRY_CLASSES = tuple(_MEMBERS)


def members(entry: str) -> list[int]:
    """Indices in ImageNet-1k of the classes that an entry class stands for, ascending."""
    found: list[int] = []
    for word in _MEMBERS[entry].split():
        first, _, last = word.partition("-")
        found += range(int(first), int(last or first) + 1)
    return found


def entry_map(head: Sequence[str]) -> MeanClassMap | None:
    """The 16 entry classes out of a head's.

    Args:
        head: names of its classes, with WordNet ids.

    Returns:
        None where some of the 207 are not among them.
    """
    place = {name: index for index, name in enumerate(class_keys(head))}
    ids, target = imagenet_ids(), torch.full((len(head),), -1, dtype=torch.int64)
    for number, entry in enumerate(ENTRY_CLASSES):
        for member in members(entry):
            if ids[member] not in place:
                return None
            target[place[ids[member]]] = number
    return MeanClassMap(target, len(ENTRY_CLASSES))
