"""Figures are computed once, by what they depend on."""

from __future__ import annotations

from pathlib import Path

import pytest

from trainer.errors import UserError
from vit.analysis.features.figures import Figures


def test_once_for_each_cause(tmp_path: Path) -> None:
    path, computed = tmp_path / "deep/solved.json", []

    def compute() -> dict[str, float]:
        computed.append(1)
        return {"top1": len(computed) / 4}

    figures = Figures(path)
    assert figures.of("a", compute) == figures.of("a", compute) == {"top1": 0.25}
    assert figures.of("b", compute) == {"top1": 0.5}
    assert Figures(path).of("a", compute) == {"top1": 0.25} and len(computed) == 2
    path.write_text("{")
    with pytest.raises(UserError, match=r"solved.json: cannot be read .* delete it"):
        Figures(path)
