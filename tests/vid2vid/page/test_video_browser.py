"""The Video tab in a real Chromium: paint, generate, a video plays; bad files in words; the keyboard alone."""

from __future__ import annotations

from collections.abc import Iterator
from pathlib import Path
from typing import Any
from urllib.request import urlopen

import numpy as np
import pytest
from PIL import Image

from tests.helpers.browser import PHONE, browser, needs_browser, opened, served
from tests.helpers.made_run import make_run, make_styled_run, street_config
from vid2vid.config import DataKind, FlowMethod, SourceKind

pytestmark = needs_browser

IDS = [7, 8, 11, 21, 23, 24, 26]


@pytest.fixture(scope="module")
def site(tmp_path_factory: pytest.TempPathFactory) -> Iterator[tuple[Any, str]]:
    """Chromium, and the address of a page with three runs; the one called street is chosen first."""
    runs = tmp_path_factory.mktemp("page") / "runs"
    edges = street_config()
    edges.model.source, edges.model.source_channels = SourceKind.image, 1
    edges.data.kind, edges.data.flow, edges.data.root = DataKind.video, FlowMethod.dis, "films"
    make_run(runs / "edges", edges)
    make_styled_run(runs / "styled", 0.5)
    config = street_config()
    config.model.label_ids = IDS
    make_run(runs / "street", config)
    with served(f"runs={runs}", cwd=runs.parent) as (address, _), browser() as chromium:
        yield chromium, address


def ready(tab: Any) -> None:
    """The run is loaded, and the canvas shows a label map."""
    tab.locator('#video-canvas .lc[data-state="ready"]').wait_for()
    tab.locator("#video-about").get_by_text("Checkpoint").wait_for()


def choose(tab: Any, place: str, option: str) -> None:
    tab.locator(f"{place} input").click()
    tab.get_by_role("option", name=option, exact=True).click()
    tab.get_by_role("option").first.wait_for(state="detached")


def frames(tab: Any, count: int) -> None:
    tab.locator("#video-frames input[type=number]").fill(str(count))
    tab.keyboard.press("Tab")


def plays(tab: Any, place: str) -> tuple[float, float]:
    """The video's duration [s] and width [pixels], once it moves."""
    tab.locator(f"{place} video").wait_for()
    tab.wait_for_function(
        "place => { const v = document.querySelector(`${place} video`); v.muted = true; v.play();"
        " return v.readyState >= 2 && v.currentTime > 0; }",
        arg=place,
    )
    duration, width = tab.evaluate(
        "place => { const v = document.querySelector(`${place} video`); return [v.duration, v.videoWidth]; }", place
    )
    return duration, width


def test_paint_change_generate_and_watch(site: tuple[Any, str], tmp_path: Path):
    with opened(site[0], site[1]) as tab:
        ready(tab)
        tab.locator("#video-canvas").get_by_text("car", exact=True).click()
        box = tab.locator("#video-canvas .lc-surface").bounding_box()
        tab.mouse.move(box["x"] + 40, box["y"] + 40)
        tab.mouse.down()
        tab.mouse.move(box["x"] + 200, box["y"] + 90, steps=4)
        tab.mouse.up()
        tab.locator("#video-changes button").first.click()
        choose(tab, "#video-first", "building (11)")
        choose(tab, "#video-second", "vegetation (21)")
        tab.locator("#video-add").click()
        tab.wait_for_function("document.querySelector('#video-edits textarea').value.includes('class: building')")
        frames(tab, 8)
        tab.locator("#video-generate").click()
        duration, width = plays(tab, "#video-result")
        assert width == 256 and duration == pytest.approx(8 / 24, abs=0.05)
        assert plays(tab, "#video-panels")[1] == 3 * 256
        assert "Done: 8 frames" in tab.locator("#video-progress").inner_text()
        assert tab.locator("#video-live figure").count() == 5, "label map, result, flow, mask, hallucination"
        with tab.expect_download() as waited:
            tab.locator("#video-save-edits").click()
        waited.value.save_as(tmp_path / "edits.yaml")
        assert (tmp_path / "edits.yaml").read_text() == "edits:\n  - {replace: vegetation, class: building}\n"
        command = tab.locator("#video-command textarea").input_value()
        assert command.startswith("python scripts/generate.py run=runs/street source=clip frames=8 edit=edits.yaml ")
        assert {host for host in tab.asked if host} == {site[1].removeprefix("http://")}, "nothing leaves the machine"


@pytest.mark.slow
def test_bad_files_are_told_in_words_and_good_ones_come_to_the_canvas(site: tuple[Any, str], tmp_path: Path):
    (tmp_path / "bad.png").write_bytes(b"no picture")
    Image.fromarray(np.full((32, 64), 23, np.uint8)).save(tmp_path / "sky.png")
    with opened(site[0], site[1], viewport=PHONE) as tab:
        ready(tab)
        assert tab.evaluate("document.documentElement.scrollWidth") <= PHONE["width"], "nothing is wider than a phone"
        tab.get_by_label("Upload", exact=True).check()
        chosen = tab.locator("#video-files input[type=file]")
        chosen.set_input_files(str(tmp_path / "bad.png"))
        toast = tab.get_by_test_id("toast-body")
        toast.wait_for()
        assert "bad.png: cannot be decoded" in toast.inner_text()
        assert str(tmp_path) not in toast.inner_text()
        tab.get_by_test_id("toast-close").click()
        clear = tab.locator("#video-files").get_by_role("button", name="Clear").first
        clear.click()
        clear.wait_for(state="detached")  # the place for files is a new one then
        chosen.set_input_files(str(tmp_path / "sky.png"))
        tab.locator("#video-uploaded").get_by_text("one label map").wait_for()
        tab.locator('#video-canvas .lc[data-state="ready"]').wait_for()
        tab.get_by_label("Upload", exact=True).check()
        tab.locator("#video-canvas").wait_for(state="hidden")
        tab.get_by_label("Paint", exact=True).check()
        frames(tab, 2)
        tab.locator("#video-generate").click()
        tab.locator("#video-progress").get_by_text("Done: 2 frames").wait_for()
        shown = tab.locator('#video-live figure[data-name="source"] img').get_attribute("src")
        assert shown is not None
        with urlopen(shown) as file:
            assert set(np.asarray(Image.open(file)).reshape(-1, 3)[:, 0].tolist()) == {70}, "sky throughout"


@pytest.mark.slow
def test_while_a_video_is_made_no_other_run_can_be_chosen_and_what_failed_can_be_tried_again(site: tuple[Any, str]):
    states = ("#video-run input", "#video-refresh", "#video-generate", "#video-stop")
    with opened(site[0], site[1]) as tab:
        ready(tab)

        def wait(*usable: bool) -> None:
            for place, can in zip(states, usable, strict=True):
                tab.locator(f"{place}{':enabled' if can else ':disabled'}").wait_for()

        tab.locator("#video-changes button").first.click()
        tab.locator("#video-edits textarea").fill("no list: [")
        frames(tab, 2)
        tab.locator("#video-generate").click()
        tab.locator("#video-progress").get_by_text("Nothing was made").wait_for()
        wait(True, True, True, False)
        tab.locator("#video-edits textarea").fill("")
        frames(tab, 400)
        tab.locator("#video-generate").click()
        tab.locator("#video-progress").get_by_text("of 400").wait_for()
        wait(False, False, False, True)
        tab.locator("#video-stop").click()
        wait(True, True, True, False)


@pytest.mark.slow
def test_the_keyboard_alone_paints_and_generates(site: tuple[Any, str]):
    with opened(site[0], site[1]) as tab:
        ready(tab)
        reach(tab, "#video-canvas .lc-surface")
        for key in ("5", "ArrowRight", "ArrowDown", "Space"):  # sky, in the middle of a car
            tab.keyboard.press(key)
        undo = tab.locator('#video-canvas [data-do="undo"]')
        tab.wait_for_function("!document.querySelector('#video-canvas [data-do=undo]').disabled")
        assert undo.is_enabled(), "a stroke was painted"
        reach(tab, "#video-frames input[type=number]")
        tab.keyboard.press("Control+A")
        tab.keyboard.type("3")
        reach(tab, "#video-generate")
        tab.keyboard.press("Enter")
        tab.locator("#video-progress").get_by_text("Done: 3 frames").wait_for()
        plays(tab, "#video-result")


def reach(tab: Any, selector: str) -> None:
    """Press Tab until the focus is there."""
    for _ in range(150):
        if tab.evaluate("s => document.activeElement.matches(s)", selector):
            return
        tab.keyboard.press("Tab")
    raise AssertionError(f"{selector} cannot be reached by Tab")


@pytest.mark.slow
def test_styles_stopping_and_runs_without_label_maps(site: tuple[Any, str]):
    with opened(site[0], site[1]) as tab:
        ready(tab)
        assert tab.locator("#video-style").count() == 0 or not tab.locator("#video-style").is_visible()
        choose(tab, "#video-run", "styled")
        tab.locator("#video-seed").wait_for()
        frames(tab, 480)
        tab.locator("#video-generate").click()
        tab.locator("#video-live figure").first.wait_for()
        tab.locator("#video-stop").click()
        tab.locator("#video-stopped").get_by_text("Stopped").wait_for()
        frames(tab, 2)
        tab.locator("#video-seed input").fill("5")
        tab.locator("#video-generate").click()
        tab.locator("#video-progress").get_by_text("Done: 2 frames").wait_for()
        assert "seed=5 style=sample" in tab.locator("#video-command textarea").input_value()
        choose(tab, "#video-run", "edges")
        about = tab.locator("#video-about")
        about.get_by_text("cannot be painted").wait_for()
        assert "not on this machine" in about.inner_text()
        for gone in ("#video-canvas", "#video-seed", "#video-changes"):
            tab.locator(gone).wait_for(state="hidden")
        assert tab.get_by_label("Paint", exact=True).count() == 0
