"""Scripts in this process, as a user calls them."""

from __future__ import annotations

import runpy
import sys

import pytest

from tests.helpers.paths import ROOT


def run_script(name: str, *words: str) -> int:
    """The exit code of ``python scripts/NAME.py WORDS``."""
    with pytest.MonkeyPatch.context() as patch:
        patch.setattr(sys, "argv", [f"{name}.py", *words])
        try:
            runpy.run_path(str(ROOT / "scripts" / f"{name}.py"), run_name="__main__")
        except SystemExit as end:
            return int(end.code or 0)
    return 0
