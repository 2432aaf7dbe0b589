"""``scripts/check_data.py`` for pictures with masks: what it says of them."""

from __future__ import annotations

from collections.abc import Callable
from pathlib import Path
from typing import TYPE_CHECKING, Any

from trainer.errors import DataError
from trainer.records.progress import followed
from vit.data.checking.command import refuse_unfit
from vit.segmentation.config import SegmentationConfig

if TYPE_CHECKING:
    from vit.segmentation.classes import Classes
    from vit.segmentation.opening import Pairs

SHOWN = 10  # files that cannot be used
IN_SHEET = 6


def run(config: SegmentationConfig, arguments: Any, say: Callable[[str], None]) -> bool:
    """Look at pictures and masks; writes a sheet of some with their classes for each split.

    Args:
        config: composed as for training.
        arguments: the script's: ``out``, ``most``, ``flow``.
        say: takes a line for the user.

    Returns:
        Whether every pair that was read can be used.

    Raises:
        UserError: arguments that are not for pictures, or data that are not there.
    """
    refuse_unfit(arguments)
    from vit.segmentation.opening import open_masks

    data = open_masks(config.data)
    for line in data.notes:
        say(line)
    bad = 0
    for split in ("train", "val"):
        if split in data.listed or not data.listed:
            pairs = data.pairs(split, (config.resolution[0], config.resolution[1]))
            bad += _check(pairs, split, data.classes, arguments.most, Path(arguments.out), say)
    return not bad


def _check(pairs: Pairs, split: str, classes: Classes, most: int | None, out: Path, say: Callable[[str], None]) -> int:
    """Read the pairs of a split; how many cannot be used."""
    import torch

    from trainer.data.checking import spread
    from trainer.records.confusion import NONE
    from trainer.records.media import write_png
    from vit.segmentation.picture import Seen, known

    counts = torch.zeros(len(classes) + 1, dtype=torch.int64)
    chosen = spread(len(pairs), most or len(pairs))
    shown = {chosen[place] for place in spread(len(chosen), IN_SHEET)}
    seen: list[Seen] = []
    problems: list[str] = []
    for index in followed(chosen, unit="picture", what=split):
        try:
            image, mask = pairs.read(index, None)
        except DataError as error:
            problems.append(str(error))
            continue
        counts += torch.bincount((mask.long() - NONE).flatten(), minlength=len(counts))
        if index in shown:
            seen.append(Seen(image, mask.long(), mask.long(), pairs.name(index)))
    for problem in problems[:SHOWN]:
        say(f"cannot be used: {problem}")
    say(f"{split}: {len(chosen) - len(problems)} of {len(chosen)} pictures and masks can be used")
    total = max(1, int(counts.sum()))
    for name, count in zip(("void", *classes.names), counts.tolist(), strict=True):
        if count or name != "void":
            say(f"  {name:<24} {count / total:8.3%} of the pixels" + ("" if count else ": in no mask"))
    if seen:
        place = out.with_stem(f"{out.stem}_{split}")
        place.parent.mkdir(parents=True, exist_ok=True)
        write_png(place, known(seen, classes))
        say(f"  sheet: {place}")
    return len(problems)
