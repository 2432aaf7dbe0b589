"""``scripts/check_data.py`` for a classifier's pictures: what it says of them."""

from __future__ import annotations

from collections.abc import Callable
from functools import partial
from pathlib import Path
from typing import Any

from trainer.errors import ConfigError
from trainer.records.progress import followed
from vit.config import VitConfig


def run(config: VitConfig, arguments: Any, say: Callable[[str], None]) -> bool:
    """Look at a classifier's data; writes a contact sheet per split.

    Args:
        config: composed as for training.
        arguments: the script's: ``out``, ``most``, ``flow``.
        say: takes a line for the user.

    Returns:
        Whether every picture that was decoded can be used.

    Raises:
        UserError: arguments that are not for pictures, or data that are not there.
    """
    refuse_unfit(arguments)
    from trainer.data.workers import CPU_WORKERS
    from vit.data.checking.check import check_split, contact_sheet, format_report, open_splits
    from vit.data.decoding.depth import depth_notes

    out, reports = Path(arguments.out), []
    progress = partial(followed, unit="picture")
    for split, source in open_splits(config, say).items():
        threads = max(1, config.data.workers or CPU_WORKERS)
        report = check_split(source, split, progress, arguments.most, threads)
        say(format_report([report]))
        sheet = contact_sheet(source, out.with_stem(f"{out.stem}_{split}"))
        if sheet is not None:
            say(f"  contact sheet: {sheet}")
        reports.append(report)
    deep = [value for report in reports for value in report.deep]  # of all splits: one range holds for all
    for note in depth_notes(deep, config, f"of all {len(deep)} that were looked at"):
        say(f"\n{note}")
    return not any(report.bad for report in reports)


def refuse_unfit(arguments: Any) -> None:
    """Raises ConfigError where arguments of the script are not for pictures."""
    if arguments.flow:
        raise ConfigError("flow=true: pictures have no flow; leave it out")
    if arguments.most is not None and arguments.most < 1:
        raise ConfigError(f"most={arguments.most}: give at least 1, or leave it out for all pictures")
