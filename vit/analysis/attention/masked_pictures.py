"""Pictures with a mask of classes for each pixel, as a classifier under study is shown them."""

from __future__ import annotations

import hashlib
import re
from collections.abc import Iterator
from contextlib import contextmanager
from dataclasses import dataclass, replace
from pathlib import Path
from typing import Any, Protocol

import numpy as np
import torch
import torch.nn.functional as F
from torch import Tensor

from trainer.data.labels.colour_tables import colour_table
from trainer.data.labels.label_map import parse_label_map
from trainer.data.pictures.decode import span_of, to_channels
from trainer.data.pictures.files import BadFileError
from trainer.errors import ConfigError, DataError
from trainer.records.confusion import NONE
from trainer.text import few
from vit.analysis.subjects import Subject
from vit.data.kinds import DataKind
from vit.data.shapes.source import open_shapes
from vit.data.sources.files import file_stamp
from vit.data.sources.layout import check_folder
from vit.data.transforms import resize
from vit.segmentation.config import Layout, MasksConfig
from vit.segmentation.layouts import list_pairs
from vit.segmentation.opening import FilePairs
from vit.segmentation.reading import MaskReading

_ALL_OBJECTS = (Layout.cityscapes, Layout.ade20k)  # layouts whose masks have no class of what is no object
VOID = 255  # the value of masks that is no class, by custom


class Masked(Protocol):
    """A list of pictures with masks.

    Attributes:
        identity: which they are, and in which order.
        background: the class that is no object; NONE: all are.
    """

    identity: str
    background: int

    def __len__(self) -> int: ...

    def sample(self, index: int, rng: np.random.Generator) -> dict[str, Any]:
        """``image`` uint8 (C, Y, X) and ``mask`` int16 (Y, X), whose NONE is void."""
        ...

    def name(self, index: int) -> str: ...


class MaskedShapes:
    """The built-in shapes and their outlines: class 1 on background 0."""

    def __init__(self, subject: Subject, split: str) -> None:
        self._source = open_shapes(subject.loaded.config, split, subject.size)
        self.identity, self.background = f"{subject.loaded.config.data}", 0

    def __len__(self) -> int:
        return len(self._source)

    def sample(self, index: int, rng: np.random.Generator) -> dict[str, Any]:
        return {"image": self._source.read(index)[0], "mask": self._source.cover(index).to(torch.int16)}

    def name(self, index: int) -> str:
        return f"{self._source.name(index)} {self._source.classes[self._source.label(index)]}"


@dataclass(frozen=True)
class Folders:
    """Where pictures and masks lie, as words of the command line.

    Attributes:
        masks: root of both, in a layout that segmentation reads too; or the folder of the masks alone.
        images: that of the pictures then.
        mask_suffix: what masks' names have beyond those of their pictures.
        palette: of masks that hold colours: a name, or a file of them.
        label_map: other numbers for values of masks, like 255:1.
    """

    masks: str
    images: str | None = None
    mask_suffix: str = ""
    palette: str | None = None
    label_map: str | None = None


class MaskedFiles:
    """Pictures and masks in files, both resized whole to what the network sees.

    Args:
        subject: whom they are shown to.
        folders: where they lie.
        split: which of them; of data without splits all.

    Raises:
        DataError: no such folder or split, pictures or masks without their counterpart.
    """

    def __init__(self, subject: Subject, folders: Folders, split: str) -> None:
        config = MasksConfig(mask_suffix=folders.mask_suffix)
        if folders.images is not None:
            own = {"images": Path(folders.images).expanduser(), "masks": Path(folders.masks).expanduser()}
            for key, path in own.items():
                check_folder(key, path)
            images, masks = (str(path.absolute()) for path in own.values())
            config = replace(config, layout=Layout.folders, images=images, masks=masks)
        with _in_our_words():
            listed = list_pairs(config, "masks", folders.masks)
            told = folders.palette or listed.palette
            table = None if told is None else colour_table(told)
            changes = folders.label_map or listed.label_map
            change = None if changes is None else parse_label_map(changes)
        pairs = listed.pairs.get(split) or (listed.pairs["train"] if [*listed.pairs] == ["train"] else None)
        if pairs is None:
            raise DataError(f"masks={folders.masks}: has no pictures of split={split}, but of {few(listed.pairs)}")
        reading = MaskReading(None, table, change, listed.reduce_zero_label, (VOID,))
        self._files = FilePairs(pairs, reading, span_of(subject.loaded.config.data.range))
        self._size, self._channels = subject.size, len(subject.loaded.mean)
        self.background = NONE if listed.layout in _ALL_OBJECTS else 0
        digest = hashlib.sha256(f"{reading}".encode())
        for pair in pairs:
            digest.update(f"{file_stamp(pair.image)}\n{file_stamp(pair.mask)}\n".encode("utf-8", "surrogateescape"))
        self.identity = f"{folders} {split} {digest.hexdigest()[:16]}"

    def __len__(self) -> int:
        return len(self._files)

    def sample(self, index: int, rng: np.random.Generator) -> dict[str, Any]:
        with _in_our_words():
            image, mask = self._files.read(index, None)
        image, mask = squashed(to_channels(image, self._channels), mask, self._size)
        return {"image": image, "mask": mask}

    def name(self, index: int) -> str:
        return self._files.pairs[index].name


def masked_pictures(subject: Subject, folders: Folders | None, split: str) -> Masked:
    """The pictures with masks in folders; without any those of the data, which must be the shapes.

    Raises:
        ConfigError: data without masks. DataError: pictures and masks that cannot be used.
    """
    if folders is not None:
        return MaskedFiles(subject, folders, split)
    kind = subject.loaded.config.data.kind
    if kind is not DataKind.shapes:
        raise ConfigError(
            f"data={kind.value} has no masks: give masks=PATH, a folder in VOC's layout or with images/ and masks/; or "
            "data=shapes, whose outlines are known"
        )
    return MaskedShapes(subject, split)


@contextmanager
def _in_our_words() -> Iterator[None]:
    """Keys in messages as they are here: without the ``data.`` of a training run."""
    try:
        yield
    except BadFileError:
        raise
    except DataError as error:
        raise DataError(_ours(str(error))) from error
    except ConfigError as error:
        raise ConfigError([_ours(problem) for problem in error.problems]) from error


def _ours(text: str) -> str:
    return re.sub(r"\bdata\.(?=(mask_suffix|images|masks|palette|label_map)\b)", "", text)


def squashed(image: Tensor, mask: Tensor, size: tuple[int, int]) -> tuple[Tensor, Tensor]:
    """A picture (C, y, x) uint8 and its mask (y, x), both resized whole to ``size``: smoothly, and to the nearest."""
    picture = torch.from_numpy(resize(image.permute(1, 2, 0).numpy(), size, cubic=False)).permute(2, 0, 1)
    nearest = F.interpolate(mask[None, None].float(), size, mode="nearest-exact")[0, 0]
    return picture.contiguous(), nearest.to(torch.int16)
