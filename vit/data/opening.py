"""From a configuration to its data: which source a split is, and what a run must know of it all."""

from __future__ import annotations

from collections.abc import Sequence

from trainer.errors import ConfigError
from trainer.text import few
from vit.config import DataKind, EvalCrop, VitConfig
from vit.data.info import DataInfo
from vit.data.source import Source, balance, class_counts, limit, under_classes


def open_source(config: VitConfig, split: str, resolution: tuple[int, int] | None = None) -> Source:
    """The pictures of one split, before limits, balance and cache.

    Args:
        resolution: of procedural pictures; None is the run's.

    Raises:
        ConfigError, DataError: as `vit.data.describe`.
    """
    data = config.data
    match data.kind:
        case DataKind.shapes:
            from vit.data.shapes.source import open_shapes

            return open_shapes(config, split, resolution)
        case DataKind.digits | DataKind.cifar10 | DataKind.cifar100:
            from vit.data.sources.arrays import open_arrays

            return open_arrays(config, split)
        case DataKind.flowers102 | DataKind.pets | DataKind.food101:
            from vit.data.sources.fetched import open_torchvision

            return open_torchvision(config, split)
        case DataKind.imagefolder | DataKind.imagenet:
            from vit.data.sources.folders import open_folders

            return open_folders(config, split)
        case DataKind.csv:
            from vit.data.sources.tables import open_csv

            return open_csv(config, split)
        case DataKind.hf:
            from vit.data.sources.hub import open_hf

            return open_hf(config, split)
        case DataKind.webdataset:
            from vit.data.sources.shards import open_webdataset

            return open_webdataset(config, split)


def training_view(config: VitConfig, source: Source) -> Source:
    """The training split as an epoch sees it: limited, then balanced."""
    if config.data.train_samples is not None:
        source = limit(source, config.data.train_samples)
    return balance(source) if config.data.balanced else source


def has_training(config: VitConfig) -> bool:
    """Whether there is a training split at all: not where only `data.val_root` or `data.test_root` is given."""
    data = config.data
    return data.kind.built_in or data.root is not None or not (data.val_root or data.test_root)


def describe_sources(config: VitConfig, classes: Sequence[str] | None) -> DataInfo:
    """`vit.data.describe`."""
    from vit.data.decoding.depth import probed

    train = None
    if has_training(config):
        train = training_view(config, under_classes(open_source(config, "train"), classes))
    held = under_classes(open_source(config, "val" if train or config.data.val_root else "test"), classes)
    source = train or held
    channels = config.data.channels or source.channels
    problems = []
    for key in ("mean", "std"):
        value = getattr(config.data, key)
        if value is not None and len(value) != channels:
            problems.append(f"data.{key} has {len(value)} numbers, but pictures have {channels} channels: one for each")
    fill = config.augment.eval_fill
    if config.augment.eval_crop is EvalCrop.border and len(fill) not in (1, channels):
        problems.append(
            f"augment.eval_fill has {len(fill)} numbers, but pictures have {channels} channels: give one, or one each"
        )
    if problems:
        raise ConfigError(problems)
    counts = class_counts(train) if train else None
    notes = [*source.notes, *(note for note in held.notes if note not in source.notes)]
    if counts and 0 in counts:
        empty = [name for name, count in zip(source.classes, counts, strict=True) if not count]
        notes.append(f"no training picture of {len(empty)} of {len(counts)} classes: {few(empty)}")
    if counts and not source.multilabel:
        absent = [name for name, count in zip(held.classes, class_counts(held), strict=True) if not count]
        if absent:
            which = f"{len(absent)} of {len(held.classes)} classes: {few(absent)}"
            notes.append(f"no validation picture of {which}; scores speak of the others alone")
    if train:
        from vit.data.sources.files import overlap

        notes += overlap(train, held)
    notes += probed(config, source)
    return DataInfo(
        classes=list(source.classes),
        channels=channels,
        multilabel=source.multilabel,
        train_samples=len(train) if train else 0,
        counts=counts,
        native=source.native,
        order=source.order,
        notes=notes,
        mean=None if config.data.mean is None else list(config.data.mean),
        std=None if config.data.std is None else list(config.data.std),
        facts=train.facts if train else dict,
        held=lambda: held.short_names(train) if train else [],
    )
