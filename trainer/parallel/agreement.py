"""Whether all processes run the same: configuration, code and data. One that does not leads to a wait without end."""

from __future__ import annotations

import hashlib
import json
import socket
import sys
from collections.abc import Mapping, Sequence
from functools import cache
from pathlib import Path
from typing import Any

import torch

from trainer.errors import ConfigError
from trainer.parallel.processes import Parallel
from trainer.text import few

_FEW = 5


def check_same(parallel: Parallel, what: str, facts: Mapping[str, Any], remedy: str) -> None:
    """Makes sure that facts are the same for all processes; all must call this.

    Args:
        what: of which these are facts, in the message.
        facts: plain data by name.

    Raises:
        ConfigError: on all of them, when they differ; names the facts, the processes and the values.
    """
    if parallel.world == 1:
        return
    text = json.dumps(dict(facts), sort_keys=True, default=str)
    digests = parallel.gather(hashlib.blake2b(text.encode(), digest_size=16).hexdigest())
    if len(set(digests)) == 1:
        return
    other = next(rank for rank, digest in enumerate(digests) if digest != digests[0])
    (host, first), (other_host, second) = (
        (name, json.loads(said)) for name, said in _said_by(parallel, (0, other), (socket.gethostname(), text))
    )
    differing = [name for name in dict.fromkeys((*first, *second)) if first.get(name) != second.get(name)]
    lines = [f"{name}: {_show(first.get(name))} for rank 0, {_show(second.get(name))} for rank {other}" for name in
             differing[:_FEW]]  # fmt: skip
    more = f"; and {len(differing) - _FEW} more" if len(differing) > _FEW else ""
    ranks = [rank for rank, digest in enumerate(digests) if digest != digests[0]]
    raise ConfigError(
        f"the processes do not have the same {what}: {'; '.join(lines)}{more}. Rank 0 is on {host}, rank {other} on "
        f"{other_host}; differing from rank 0: {few(ranks, 8)} of {parallel.world}. {remedy}"
    )


def check_run(parallel: Parallel, config: Mapping[str, Any], packages: Sequence[str]) -> None:
    """Makes sure that all processes have the same configuration, code and torch.

    Args:
        config: as plain data.
        packages: whose code counts.

    Raises:
        ConfigError: on all of them, when they do not.
    """
    if parallel.world == 1:
        return
    leaves = _leaves(config)
    # Where data lie may be each host's own affair (a local disk); what they are is compared by itself.
    words = {k: v for k, v in leaves.items() if not (k.startswith("data.") and isinstance(v, str) and "/" in v)}
    check_same(parallel, "configuration", words, "Start all of them with the same words")
    versions = {"torch": torch.__version__, "python": ".".join(map(str, sys.version_info[:3]))}
    code = {f"code of {name}": code_digest(name) for name in packages}
    check_same(parallel, "versions", {**versions, **code}, "Give all hosts the same environment and the same checkout")


@cache
def code_digest(package: str) -> str:
    """A number of a package's source files; the same for the same code, wherever it lies."""
    folder = Path(sys.modules[package].__file__ or "").parent
    digest = hashlib.blake2b(digest_size=6)
    for path in sorted(folder.rglob("*.py")):
        digest.update(path.relative_to(folder).as_posix().encode() + b"\0" + path.read_bytes() + b"\0")
    return digest.hexdigest()


def _said_by(parallel: Parallel, ranks: Sequence[int], mine: Any) -> list[Any]:
    """What some processes have to say, for all of them."""
    said = parallel.gather(mine if parallel.rank in ranks else None)
    return [said[rank] for rank in ranks]


def _leaves(value: Any, path: str = "") -> dict[str, Any]:
    if isinstance(value, Mapping) and value:
        return {k: v for key, item in value.items() for k, v in _leaves(item, f"{path}.{key}" if path else key).items()}
    return {path: value}


def _show(value: Any) -> str:
    if isinstance(value, list):
        return f"{len(value)} ({few(value, 3)})"
    text = "nothing" if value is None else str(value)
    return text if len(text) <= 80 else f"{text[:79]}…"
