"""The picture tab in a real Chromium: what it shows is what predict.py and the network say, by mouse and keyboard."""

from __future__ import annotations

import os
from collections.abc import Callable, Iterator
from contextlib import ExitStack
from pathlib import Path
from typing import Any

import pytest

from tests.helpers.browser import PHONE, browser, needs_browser, opened, served
from tests.helpers.made_classifier import make_run, mu_config
from tests.helpers.made_pictures import write_noise
from tests.helpers.paths import ROOT
from tests.helpers.predictions import read
from tests.helpers.scripts import run_script
from vit.analysis.occlusion.dropping import Fill
from vit.page.classifier import Classifier, cells
from vit.predict.predictor import load_predictor

pytestmark = [pytest.mark.slow, needs_browser]
AXE = Path(os.environ.get("VIVID_AXE", ROOT / ".axe" / "package" / "axe.min.js"))
SHARES = "#picture-bars .vp-share"
Open = Callable[..., Any]


@pytest.fixture(scope="module")
def runs(tmp_path_factory: pytest.TempPathFactory) -> Path:
    folder = tmp_path_factory.mktemp("runs")
    make_run(folder / "made", mu_config("model.depth=2"))
    return folder


@pytest.fixture(scope="module")
def network(runs: Path) -> Classifier:
    return Classifier(load_predictor(run=str(runs / "made")), "made")


@pytest.fixture(scope="module")
def address(runs: Path) -> Iterator[str]:
    with served(f"runs={runs}") as (found, _):
        yield found


@pytest.fixture(scope="module")
def chromium() -> Iterator[Any]:
    with browser() as found:
        yield found


@pytest.fixture
def visitor(chromium: Any, address: str) -> Iterator[Open]:
    """Opens the tab for one more visitor."""
    with ExitStack() as stack:

        def open_tab(**options: Any) -> Any:
            page = stack.enter_context(opened(chromium, address, **options))
            page.get_by_role("tab", name="Picture").click()
            page.wait_for_function("document.querySelector('#picture-network input')?.value === 'made'")
            return page

        yield open_tab


def give(page: Any, *files: Path) -> None:
    page.set_input_files("#picture-files input[type=file]", [str(file) for file in files])


def shown(page: Any) -> dict[str, float]:
    """The bars: probabilities by class."""
    names = page.locator("#picture-bars .vp-class").all_inner_texts()
    shares = page.locator(SHARES).evaluate_all("all => all.map(one => Number(one.dataset.share))")
    return dict(zip(names, shares, strict=True))


def told(network: Classifier, file: Path, hidden: list[int], count: int = 5) -> dict[str, float]:
    """The same by the network itself."""
    sample = network.read(file, file.name)
    mask = cells(hidden, network.grid(sample.size))
    values = network.probabilities(sample, mask, Fill.mean)
    return {name: float(f"{share:.6g}") for name, share in network.best(values, count)}


def until_hidden(page: Any, count: int) -> None:
    page.get_by_text(f"with {count} of 16 cells hidden").wait_for()


def test_a_picture_is_answered_as_predict_does(visitor: Open, runs: Path, tmp_path: Path) -> None:
    file = write_noise(tmp_path / "a.png", 1)
    out = tmp_path / "out.csv"
    assert run_script("predict", f"run={runs / 'made'}", f"source={file}", f"out={out}") == 0
    row, page = read(out)[0], visitor()
    give(page, file)
    page.wait_for_selector(SHARES)
    assert shown(page) == {row[f"label_{n}"]: float(row[f"probability_{n}"]) for n in range(1, 6)}
    assert page.locator(".vp-cell").count() == 16
    assert page.locator("#picture-attention img").count() == 1


def test_a_click_takes_a_patch_away_and_the_figures_follow(visitor: Open, network: Classifier, tmp_path: Path) -> None:
    file, page = write_noise(tmp_path / "a.png", 2), visitor()
    give(page, file)
    page.wait_for_selector(SHARES)
    whole = shown(page)
    page.locator(".vp-cell").nth(5).click()
    until_hidden(page, 1)
    now = shown(page)
    assert now != whole and told(network, file, [5]).items() <= now.items()
    page.locator(".vp-cell").nth(6).click()
    until_hidden(page, 2)
    assert told(network, file, [5, 6]).items() <= shown(page).items()
    page.get_by_role("button", name="Undo").click()
    until_hidden(page, 1)
    assert told(network, file, [5]).items() <= shown(page).items()
    page.locator(".vp-clear").click()
    page.get_by_text("Nothing is hidden").wait_for()
    page.get_by_role("heading", name="Top 5", exact=True).wait_for()
    assert shown(page) == whole


def test_a_bad_file_gets_a_message_and_the_tab_goes_on(visitor: Open, tmp_path: Path) -> None:
    (tmp_path / "notes.png").write_text("no picture")
    page = visitor()
    give(page, tmp_path / "notes.png")
    toast = page.get_by_test_id("toast-body")
    toast.wait_for()
    text = toast.inner_text()
    assert "notes.png" in text and "/" not in text.replace("n/a", "") and "Traceback" not in text
    page.get_by_label("Clear", exact=True).first.click()
    give(page, write_noise(tmp_path / "a.png"))
    page.wait_for_selector(SHARES)


def test_weights_that_are_none_get_a_message(visitor: Open, tmp_path: Path) -> None:
    (tmp_path / "torn.safetensors").write_bytes(b"nothing")
    page = visitor()
    page.get_by_role("button", name="Upload weights instead").click()
    page.set_input_files("#picture-weights input[type=file]", str(tmp_path / "torn.safetensors"))
    toast = page.get_by_test_id("toast-body")
    toast.wait_for()
    assert "torn.safetensors is no weights file" in toast.inner_text()


def test_the_keyboard_alone_suffices(visitor: Open, network: Classifier, tmp_path: Path) -> None:
    file, page = write_noise(tmp_path / "a.png", 3), visitor()

    def tab_to(selector: str) -> None:
        for _ in range(80):
            if page.evaluate("selector => document.activeElement.matches(selector)", selector):
                return
            page.keyboard.press("Tab")
        raise AssertionError(f"{selector} is not reached by the Tab key")

    offered: list[Any] = []
    page.on("filechooser", lambda chooser: offered.append(chooser))
    for _ in range(30):  # a button that is drawn anew while the page begins hears nothing yet
        tab_to("#picture-files button")
        page.keyboard.press("Enter")
        page.wait_for_timeout(1000)
        if offered:
            break
    offered[0].set_files(str(file))
    page.wait_for_selector(SHARES)
    tab_to(".vp-cell")
    for key in ("ArrowRight", "ArrowDown", "Space", "ArrowLeft", "Space"):
        page.keyboard.press(key)
    until_hidden(page, 2)
    assert told(network, file, [4, 5]).items() <= shown(page).items()
    page.keyboard.press("u")
    until_hidden(page, 1)
    assert told(network, file, [5]).items() <= shown(page).items()
    page.keyboard.press("Escape")
    page.get_by_role("heading", name="Top 5", exact=True).wait_for()
    tab_to("#picture-layer input")
    before = page.locator("#picture-attention img").get_attribute("src")
    page.keyboard.press("Control+A")
    page.keyboard.type("layer 2")
    page.keyboard.press("Enter")
    page.get_by_text("layer 2, mean of the heads").wait_for()
    assert page.locator("#picture-attention img").get_attribute("src") != before
    tab_to("#picture-measure")
    page.keyboard.press("Enter")
    page.get_by_text("How the probability of").wait_for()


def test_two_visitors_do_not_mix(visitor: Open, network: Classifier, tmp_path: Path) -> None:
    files = [write_noise(tmp_path / f"{name}.png", seed) for seed, name in enumerate("ab")]
    pages = [visitor(), visitor()]
    for page, file in zip(pages, files, strict=True):
        give(page, file)
    for page in pages:
        page.wait_for_selector(SHARES)
    pages[0].locator(".vp-cell").nth(3).click()
    until_hidden(pages[0], 1)
    pages[1].locator(".vp-cell").nth(9).click()
    until_hidden(pages[1], 1)
    for page, file, hidden in zip(pages, files, ([3], [9]), strict=True):
        assert told(network, file, hidden).items() <= shown(page).items()


def test_nothing_is_wider_than_a_phone_and_nothing_leaves(visitor: Open, address: str, tmp_path: Path) -> None:
    page = visitor(viewport=PHONE, has_touch=True)
    give(page, write_noise(tmp_path / "a.png"), write_noise(tmp_path / "b.png", 1))
    page.wait_for_selector(SHARES)
    assert page.evaluate("document.documentElement.scrollWidth") <= PHONE["width"]
    page.locator(".vp-cell").nth(5).tap()
    until_hidden(page, 1)
    assert page.asked == {address.removeprefix("http://")}


@pytest.mark.parametrize("scheme", ["light", "dark"])
def test_no_serious_accessibility_fault(scheme: str, visitor: Open, tmp_path: Path) -> None:
    if not AXE.is_file():
        pytest.skip("needs axe-core: mkdir -p .axe && cd .axe && npm pack axe-core@4 && tar xzf *.tgz")
    page = visitor(color_scheme=scheme)
    page.evaluate(AXE.read_text(encoding="utf-8"))
    assert faults(page) == []
    give(page, write_noise(tmp_path / "a.png"), write_noise(tmp_path / "b.png", 1))
    page.wait_for_selector(SHARES)
    page.locator(".vp-cell").nth(5).click()
    until_hidden(page, 1)
    assert faults(page) == []


def faults(page: Any) -> list[str]:
    """What axe-core calls serious or critical."""
    found = page.evaluate("axe.run(document, {resultTypes: ['violations']})")["violations"]
    return [
        f"{fault['id']}: {fault['nodes'][0]['html'][:200]}"
        for fault in found
        if fault["impact"] in ("serious", "critical")
    ]
