"""Sweeps: whether a command line asks for one, and where its jobs write. Loads no torch."""

from __future__ import annotations

import re
import zlib
from collections.abc import Sequence
from contextlib import suppress
from importlib.util import find_spec
from pathlib import Path
from typing import Any

from trainer.config.schema import show
from trainer.errors import ConfigError

FOLDER_BYTES = 200  # of a sweep's folder names; file systems take 255


def asks_for_sweep(argv: Sequence[str]) -> bool:
    """Whether the words ask Hydra for a sweep: ``-m``, ``--multirun``, which may be shortened, or ``hydra.mode``."""
    flags = {"-m", *("--multirun"[:length] for length in range(3, 11))}
    return any(word in flags or word == "hydra.mode=MULTIRUN" for word in argv)


def flags_first(words: Sequence[str]) -> list[str]:
    """Flags before all ``key=value``: Hydra's parser takes none between two of them."""
    assignments = [word for word in words if not word.startswith("-") and ("=" in word or word.startswith("~"))]
    return [word for word in words if word not in assignments] + assignments


def check_sweeper(argv: Sequence[str]) -> None:
    """Refuses what Hydra would end in a traceback of its own.

    Raises:
        ConfigError: parameters of the sweeper on the command line; a launcher whose package is not installed.
    """
    launcher = next((word for word in argv if re.match(r"\+?hydra/launcher=[\"']?(slurm|submitit)", word)), None)
    if launcher is not None and find_spec("submitit") is None:
        raise ConfigError(f"{launcher} needs submitit, which is not installed: pip install -e '.[slurm]'")
    params = next((word for word in argv if word.lstrip("+").startswith("hydra.sweeper.params")), None)
    if params is not None:  # Hydra 1.3 ends in a traceback of its own there
        raise ConfigError(
            f"{params}: Hydra takes these from configuration files only; on the command line give what to sweep as "
            "it is: python train.py -m seed=0,1"
        )


def sweep_folder(hydra: Any, argv: Sequence[str]) -> Path:
    """The run directory of a job of a sweep: named by what differs between jobs, as ``runs/NAME/lr=0.1,seed=1``.

    Args:
        hydra: Hydra's own configuration, of this job.
        argv: what was typed; what is there and not swept is the same in all jobs.
    """
    if any(word.startswith("hydra.sweep.subdir=") for word in argv):
        return Path(hydra.sweep.dir, hydra.sweep.subdir)
    from hydra.core.override_parser.overrides_parser import OverridesParser
    from hydra.errors import HydraException

    parser = OverridesParser.create()
    fixed = set()
    for word in argv:
        with suppress(HydraException):  # a wrong one was reported by the composition; flags are none
            override = parser.parse_override(word)
            if not override.is_sweep_override():
                fixed.add(override.key_or_group)
    own = [parser.parse_override(word) for word in hydra.overrides.task]
    parts = sorted(f"{o.key_or_group}={show(o.value())}" for o in own if o.key_or_group not in fixed)
    name = ",".join(map(_as_file_name, parts))
    if len(name.encode()) > FOLDER_BYTES:
        name = name.encode()[: FOLDER_BYTES - 17].decode(errors="ignore") + f"-{zlib.crc32(name.encode()):08x}"
    return Path(hydra.sweep.dir, name)


def _as_file_name(text: str) -> str:
    """A slash becomes a plus; where that could be another text's name too, a checksum tells them apart."""
    name = re.sub(r"[/\\\0\s]", "+", text)
    return name if name == text.replace("/", "+") and "+" not in text else f"{name}-{zlib.crc32(text.encode()):08x}"
