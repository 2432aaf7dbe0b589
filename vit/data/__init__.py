"""Data of a classifier: what there is (`describe`) and samples of it (`build_dataset`). Importing this loads no torch.

A sample is a dict:
    image: uint8 tensor (C, H, W) at the stage's resolution; normalised on the device, later
    label: int, the class; with data.multilabel=true float32 (K,), 1 for every class that applies
    name: file or index; val and test only
    readable: 1, or 0 for a picture that cannot be read, which counts nowhere; val and test, data.on_bad_file=skip only
    shape, texture: int, which of each a procedural picture has; data.kind=shapes only
A data set is a `vit.data.source.Source` (pictures as they lie on disk, and labels), perhaps seen through views (fewer
samples, balanced classes, a cache), with a transform on top. Every kind is imported when it is asked for.
"""

from __future__ import annotations

from collections.abc import Callable, Sequence
from dataclasses import dataclass, field
from typing import TYPE_CHECKING, Any

if TYPE_CHECKING:
    from trainer.task import SampleDataset
    from vit.config import ClassOrder, VitConfig

SPLITS = ("train", "val", "test")


@dataclass(frozen=True)
class DataInfo:
    """What a run must know of its data before a model is built.

    Attributes:
        classes: names, by class index. ImageNet's are "n01440764 tench": the WordNet id, then words.
        channels: of a sample's image.
        multilabel: labels are float32 (K,) instead of one int.
        train_samples: length of an epoch: of the training split after `data.train_samples` and `data.balanced`; 0 when
            there is none (only `data.val_root` or `data.test_root` is given).
        counts: training samples per class, likewise; None without a training split.
        native: (height, width) in pixels where all pictures have one size and it is not the run's.
        order: how class names were put in order (`data.class_order`); None where something else numbers the classes.
        notes: what the user should know (what was skipped, how the split was made): lines for the log.
        mean, std: `data.mean` and `data.std`, per channel on a scale of 0..1; None where not configured.
        facts: what tells the training pictures from others, see `Source.facts`; made when called.
        held: names of the validation pictures, as those of the training pictures in `facts`; made when called.
    """

    classes: list[str]
    channels: int
    multilabel: bool
    train_samples: int
    counts: list[int] | None = None
    native: tuple[int, int] | None = None
    order: ClassOrder | None = None
    notes: list[str] = field(default_factory=list)
    mean: list[float] | None = None
    std: list[float] | None = None
    facts: Callable[[], dict[str, Any]] = field(default=dict, compare=False, repr=False)
    held: Callable[[], list[str]] = field(default=list, compare=False, repr=False)


def describe(config: VitConfig, classes: Sequence[str] | None = None) -> DataInfo:
    """Look at the data of a run; reads lists and labels, decodes but a few pictures of 16 bits.

    Args:
        classes: of a trained head. Data whose classes are all among them, by name, are seen under the head's numbers.

    Raises:
        ConfigError: keys of `data` that do not fit each other or the data.
        DataError: files missing or unusable; names file, what was expected and the remedy.
    """
    from vit.data.source import describe_sources

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
    from vit.data.source import open_source

    return list(open_source(config, split).notes)
