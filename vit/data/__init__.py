"""Data of a classifier: what there is (`describe`) and samples of it (`build_dataset`). Importing this loads no torch.

A sample is a dict:
    image: uint8 tensor (C, H, W) at the stage's resolution; normalised on the device, later. Of clips (model.frames
        above 1) (T, C, H, W); in evaluation with several views (V, T, C, H, W)
    label: int, the class; with data.multilabel=true float32 (K,), 1 for every class that applies
    name: file or index; val and test only
    readable: 1, or 0 for a picture that cannot be read, which counts nowhere; val and test, data.on_bad_file=skip only
    shape, texture: int, which of each a procedural picture has; data.kind=shapes only
A data set is a `vit.data.source.Source` (pictures as they lie on disk, and labels), perhaps seen through views (fewer
samples, balanced classes, a cache), with a transform on top. Every kind is imported when it is asked for.
"""

from __future__ import annotations

from collections.abc import Sequence
from typing import TYPE_CHECKING

from trainer.task import SPLITS
from vit.data.info import DataInfo

if TYPE_CHECKING:
    from trainer.task import SampleDataset
    from vit.config import VitConfig

__all__ = ["DataInfo", "build_dataset", "describe", "split_notes"]


def describe(config: VitConfig, classes: Sequence[str] | None = None) -> DataInfo:
    """Look at the data of a run; reads lists and labels, decodes but a few pictures of 16 bits.

    Args:
        classes: of a trained head. Data whose classes are all among them, by name, are seen under the head's numbers.

    Raises:
        ConfigError: keys of `data` that do not fit each other or the data.
        DataError: files missing or unusable; names file, what was expected and the remedy.
    """
    from vit.data.opening import describe_sources

    return describe_sources(config, classes)


def build_dataset(
    config: VitConfig,
    split: str,
    resolution: tuple[int, int],
    *,
    classes: Sequence[str] | None = None,
    evaluated: bool = False,
) -> SampleDataset:
    """Samples at ``resolution`` (height, width) in pixels.

    With `data.cache=true` the first call writes the cache of its split.

    Args:
        split: ``train`` is augmented and sees `data.train_samples` and `data.balanced`; ``val`` and ``test`` are
            deterministic. Data without a test split give the validation split for it.
        classes: as for `describe`.
        evaluated: ``train`` too is prepared, and what cannot be read is treated, as of the other splits.

    Raises:
        ValueError: unknown split.
        ConfigError, DataError: as `describe`; a split that the data do not have.
    """
    if split not in SPLITS:
        raise ValueError(f"split={split!r}: must be one of {', '.join(SPLITS)}")
    from vit.data.dataset import build

    return build(config, split, resolution, classes, evaluated)


def split_notes(config: VitConfig, split: str) -> list[str]:
    """What the user should know of one split, as ``DataInfo.notes`` of training and validation: another stands for it.

    Raises:
        ConfigError, DataError: as `build_dataset`.
    """
    from vit.data.opening import open_source

    return list(open_source(config, split).notes)
