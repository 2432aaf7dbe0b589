"""Pictures of README and the guides, made of what their commands leave; docs/index.md says which command comes first.

python -m tests.helpers.guide_pictures film                    # docs/film_sheet.png; makes the film and prepares it
python -m tests.helpers.guide_pictures demo [runs/demo]        # docs/demo.gif
python -m tests.helpers.guide_pictures report [runs/vit]       # docs/report.png, by Chromium
python -m tests.helpers.guide_pictures page [runs]             # docs/page_*.png: the page's tabs, by Chromium
"""

from __future__ import annotations

import sys
import tempfile
from pathlib import Path
from typing import Any

import av
from PIL import Image

import scripts  # noqa: F401  # a script that runs in this process finds its _setup
from tests.helpers import own_data
from tests.helpers.browser import browser, opened, served
from tests.helpers.paths import ROOT
from tests.helpers.scripts import run_script

DOCS = ROOT / "docs"
WIDTH = 1200  # pixels of wide pictures
GIF_WIDTH, GIF_FRAMES, GIF_STEP = 480, 24, 2  # every second frame, at half the rate
SLOW_MS, SETTLED_MS = 300_000, 5_000  # a video on a busy machine; what follows a click
HIGHEST = 1500  # pixels of a picture of the page
SHOWN_ABOVE = 880  # pixels of the video's tab above its button: the label map


def film(_: Path) -> Path:
    """What ``prepare.py edges`` shows of the film of `own_data`."""
    with tempfile.TemporaryDirectory() as made:
        source = own_data.film(Path(made) / "walk.mp4")
        code = run_script("prepare", "edges", f"source={source}", f"out={made}/walk", "data.video_cache=null")
        assert code == 0
        with Image.open(Path(made) / "walk" / "contact_sheet.png") as sheet:
            small = _reduced(sheet.convert("RGB"), WIDTH)
    return _written(small, "film_sheet.png")


def demo(run: Path) -> Path:
    """The beginning of the demo's video: label map, real video, generated."""
    with av.open(str(run / "street.mp4")) as container:
        rate = container.streams.video[0].average_rate
        assert rate is not None
        frames = [frame.to_image() for frame in container.decode(video=0)]
    shown = [_reduced(frame, GIF_WIDTH) for frame in frames[: GIF_FRAMES * GIF_STEP : GIF_STEP]]
    path = DOCS / "demo.gif"
    milliseconds = round(1000 * GIF_STEP / rate)
    shown[0].save(path, save_all=True, append_images=shown[1:], duration=milliseconds, loop=0, optimize=True)
    return path


def report(run: Path) -> Path:
    """The part on patchdrop of a run's report."""
    address = (run / "analysis" / "report.html").resolve().as_uri()
    path = DOCS / "report.png"
    with browser() as chromium, opened(chromium, address, viewport={"width": 1140, "height": 620}) as tab:
        tab.locator("h2", has_text="patchdrop").first.evaluate("part => part.scrollIntoView()")
        tab.screenshot(path=str(path))
    return path


def page(runs: Path) -> list[Path]:
    """Every tab of the page: a street of the demo drawn, a picture looked at, two runs beside each other.

    Args:
        runs: a folder with ``demo`` (of ``make demo``) and ``photos`` (of docs/your-own-pictures.md).
    """
    size = {"width": WIDTH, "height": 1000}
    with (
        tempfile.TemporaryDirectory() as made,
        served(f"runs={runs.resolve()}") as (address, _),
        browser() as chromium,
        opened(chromium, address, viewport=size) as tab,
    ):
        shown = sorted(own_data.pictures(Path(made), count=10, side=256).rglob("*.png"))
        tab.get_by_role("tab", name="Video", exact=True).click()
        _choose(tab, "#video-run", "demo")
        tab.locator("#video-load").click()
        tab.locator("#video-frames input[type=number]").fill("16")
        tab.locator("#video-generate").click()
        tab.locator("#video-panels video").wait_for(timeout=SLOW_MS)
        tab.wait_for_timeout(SETTLED_MS)
        button = tab.locator("#video-generate").evaluate("button => button.getBoundingClientRect().top + scrollY")
        painting = button - SHOWN_ABOVE
        found = [_shot(tab, "video", painting)]
        tab.get_by_role("tab", name="Picture", exact=True).click()
        _choose(tab, "#picture-network", "photos")
        tab.locator("#picture-files input[type=file]").set_input_files(shown[:1])
        tab.locator("#picture-bars >> text=%").first.wait_for(timeout=SLOW_MS)
        tab.wait_for_timeout(SETTLED_MS)
        found.append(_shot(tab, "picture"))
        tab.get_by_role("tab", name="Runs", exact=True).click()
        tab.get_by_label("demo", exact=True).check()
        tab.wait_for_timeout(SETTLED_MS)
        found.append(_shot(tab, "runs"))
    return found


def _choose(tab: Any, dropdown: str, name: str) -> None:
    field = tab.locator(f"{dropdown} input")
    if field.input_value() != name:
        field.click()
        tab.get_by_role("option", name=name, exact=True).click()
    tab.wait_for_timeout(SETTLED_MS)


def _shot(tab: Any, name: str, top: float = 0) -> Path:
    """``top``: pixels of the page that are left out above."""
    path = DOCS / f"page_{name}.png"
    tab.screenshot(path=str(path), full_page=True)
    with Image.open(path) as shot:
        picture = shot.convert("RGB")
    bottom = min(picture.height, round(top) + HIGHEST)
    return _written(picture.crop((0, round(top), picture.width, bottom)), path.name)


def _reduced(image: Image.Image, width: int) -> Image.Image:
    return image.resize((width, round(image.height * width / image.width)), Image.Resampling.LANCZOS)


def _written(image: Image.Image, name: str) -> Path:
    """As a PNG of few colours, which a repository can carry."""
    path = DOCS / name
    image.quantize(128).save(path, optimize=True)
    return path


MAKERS = {"film": (film, ""), "demo": (demo, "runs/demo"), "report": (report, "runs/vit"), "page": (page, "runs")}

if __name__ == "__main__":
    make, usual = MAKERS[sys.argv[1]]
    print(make(Path(sys.argv[2] if len(sys.argv) > 2 else usual)))
