"""The pictures of the guides, made by the guides' own commands: docs/film_sheet.png.

python -m tests.helpers.guide_pictures
"""

from __future__ import annotations

import tempfile
from pathlib import Path

from PIL import Image

import scripts  # noqa: F401  # a script that runs in this process finds its _setup
from tests.helpers import own_data
from tests.helpers.paths import ROOT
from tests.helpers.scripts import run_script

SHEET = ROOT / "docs" / "film_sheet.png"
WIDTH = 1200  # pixels


def film_sheet(folder: Path) -> Image.Image:
    """What ``prepare.py edges`` shows of the film of `own_data`."""
    film = own_data.film(folder / "walk.mp4")
    code = run_script("prepare", "edges", f"source={film}", f"out={folder / 'walk'}", "data.video_cache=null")
    assert code == 0
    with Image.open(folder / "walk" / "contact_sheet.png") as sheet:
        return sheet.convert("RGB").resize((WIDTH, round(sheet.height * WIDTH / sheet.width)), Image.Resampling.LANCZOS)


if __name__ == "__main__":
    with tempfile.TemporaryDirectory() as made:
        film_sheet(Path(made)).quantize(128).save(SHEET, optimize=True)
