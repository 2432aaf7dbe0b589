"""Scripts in this process, as a user calls them."""

from __future__ import annotations

import runpy
import sys

import pytest

from tests.helpers.paths import ROOT


def run_script(monkeypatch: pytest.MonkeyPatch, *arguments: str) -> int:
    monkeypatch.setattr(sys, "argv", ["evaluate.py", *arguments])
    try:
        runpy.run_path(str(ROOT / "scripts" / "evaluate.py"), run_name="__main__")
    except SystemExit as end:
        return int(end.code or 0)
    return 0
