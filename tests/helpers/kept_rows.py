"""Results of measurements in memory, for tests."""

from __future__ import annotations

import io
from typing import Any

from trainer.benchmark.sections import Rows


class Kept(Rows):
    """Rows, details and notes as lists."""

    def __init__(self) -> None:
        super().__init__(None, io.StringIO())
        self.rows: list[dict[str, Any]] = []
        self.details: list[dict[str, Any]] = []
        self.notes: list[str] = []

    def row(self, table: str, **values: Any) -> None:
        self.rows.append({"table": table, **values})

    def detail(self, what: str, **values: Any) -> None:
        self.details.append({"detail": what, **values})

    def note(self, text: str) -> None:
        self.notes.append(text)
