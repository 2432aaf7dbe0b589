"""``scripts/check_data.py`` for clips of frames: what it says of them."""

from __future__ import annotations

from collections.abc import Callable
from functools import partial
from pathlib import Path
from typing import Any

from trainer.errors import ConfigError, refuse
from trainer.records.progress import followed
from vid2vid.config import Vid2VidConfig


def run(config: Vid2VidConfig, arguments: Any, say: Callable[[str], None]) -> bool:
    """Look at clips of frames; writes a contact sheet, and the reference flow of all stages where that is asked for.

    Args:
        config: composed as for training.
        arguments: the script's: ``out``, ``most``, ``flow``.
        say: takes a line for the user.

    Returns:
        Whether every frame can be used.

    Raises:
        UserError: arguments that are not for clips, or data that are not there.
    """
    if arguments.most is not None:
        raise ConfigError(f"most={arguments.most}: is for a classifier's pictures; leave it out")
    import torch

    from vid2vid.data.checking.check import (
        check_data,
        fill_flow_cache,
        find_sequences,
        format_report,
        stage_resolutions,
    )
    from vid2vid.data.checking.contact_sheet import contact_sheet
    from vid2vid.validate import problems

    if not config.data.kind.built_in:
        refuse(problems(config))
    progress: Any = partial(followed, unit="frame", count=int)  # each item is how many frames it was
    sequences = find_sequences(config)
    report = check_data(config, sequences, progress)
    say(format_report(report))
    sheet = contact_sheet(sequences, Path(arguments.out), config.model)
    if sheet is not None:
        say(f"contact sheet: {sheet}")
    if arguments.flow:
        device = "cuda" if torch.cuda.is_available() else "cpu"
        count = fill_flow_cache(sequences, config, stage_resolutions(config), device, progress)
        say(f"{count} flows in {config.data.flow_cache}")
    return report.usable
