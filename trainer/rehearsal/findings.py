"""What trials found out about a run on this machine, in its folder: a run that is killed need not find it anew."""

from __future__ import annotations

import hashlib
import json
from collections.abc import Mapping
from typing import TYPE_CHECKING, Any

from trainer.config.resolve import plain
from trainer.errors import ConfigError
from trainer.files import write_json
from trainer.untrusted import plain_json

if TYPE_CHECKING:
    from trainer.runtime import Runtime

_PACING = (
    "precision",
    "device",
    "strategy",
    "shard_group",
    "compile",
    "deterministic",
    "channels_last",
    "tf32",
    "threads",
    "ema",
)


def keep(trainer: Runtime, name: str, data: Mapping[str, Any]) -> None:
    """Writes down what was found out about this run on this machine, for one that is killed before its checkpoint."""
    if trainer.parallel.is_main:
        write_json(trainer.run_dir / name, {**data, "of": _making(trainer)})


def kept(trainer: Runtime, name: str) -> dict[str, Any]:
    """What ``keep`` wrote; nothing where there is no such file, or where it was another run that was looked at.

    Raises:
        ConfigError: the file cannot be read.
    """
    path = trainer.run_dir / name
    if trainer.settings.resume == "never" or not path.is_file():
        return {}
    try:
        found = plain_json.loads(path.read_text())
    except ValueError as error:
        raise ConfigError(f"{path} is no JSON ({error}): remove it, and what it holds is found anew") from error
    return found if isinstance(found, dict) and found.pop("of", None) == _making(trainer) else {}


def _making(trainer: Runtime) -> str:
    """A digest of all that memory and pace of a run depend on, but for the machine and what else it does."""
    made = plain(trainer.config)
    parts = {name: value for name, value in made.items() if name not in ("name", "seed", "schedule", "logger", "trust")}
    parts["trainer"] = {name: made["trainer"][name] for name in (*_PACING, "micro_batch")}
    text = json.dumps([parts, trainer.parallel.world, str(trainer.device)], sort_keys=True, default=str)
    return hashlib.blake2b(text.encode(), digest_size=8).hexdigest()
