"""The mixtures that were fitted for a run, checked against its weights."""

from __future__ import annotations

import logging
from pathlib import Path

from vid2vid.styles.mixtures import FILE, Styles, check_styles, read_styles
from vid2vid.styles.whose import encoder_of
from vid2vid.trained import LoadedRun

logger = logging.getLogger(__name__)


def styles_of_run(run_dir: Path, run: LoadedRun) -> Styles:
    """``styles.json`` of a run; the log says where E has learnt on since.

    Args:
        run_dir: such as ``runs/demo``.
        run: its networks.

    Raises:
        DataError: there is none, or it is of another run; names the command that fits it.
    """
    assert run.style is not None
    path = run_dir / FILE
    styles = read_styles(path)
    encoder = encoder_of(run.style, run_dir, run.step)
    warning = check_styles(styles, path, run.encoder.ids, run.config.model.style_channels, encoder)
    if warning:
        logger.warning("%s", warning)
    return styles
