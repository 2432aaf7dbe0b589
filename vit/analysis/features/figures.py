"""Numbers that were computed once, by what they depend on: an interrupted experiment goes on behind them."""

from __future__ import annotations

import hashlib
from collections.abc import Callable, Mapping
from pathlib import Path

from trainer.errors import UserError
from trainer.files import write_json
from trainer.untrusted import plain_json


class Figures:
    """Figures kept in a file.

    Args:
        path: of the JSON file; made when the first figures are kept.

    Raises:
        UserError: what is there cannot be read.
    """

    def __init__(self, path: Path) -> None:
        self.path = path
        self._known: dict[str, dict[str, float]] = {}
        if path.is_file():
            try:
                self._known = dict(plain_json.loads(path.read_text(encoding="utf-8")))
            except (OSError, ValueError) as error:
                raise UserError(f"{path}: cannot be read ({error}); delete it, and it is computed anew") from error

    def of(self, depends_on: str, compute: Callable[[], Mapping[str, float]]) -> dict[str, float]:
        """The figures of something; computed, and kept, where they are not known.

        Args:
            depends_on: everything that they follow from.
        """
        key = hashlib.sha256(depends_on.encode()).hexdigest()[:32]
        if key not in self._known:
            self._known[key] = dict(compute())
            write_json(self.path, self._known, durable=False)
        return self._known[key]
