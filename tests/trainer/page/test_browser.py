"""The page in Chromium: a run that trains appears and moves, keys alone suffice, nothing is asked of other machines."""

from __future__ import annotations

import os
import re
import signal
import subprocess
import sys
import time
from collections.abc import Iterator
from pathlib import Path
from typing import Any

import numpy as np
import pytest
from PIL import Image

from tests.helpers import browser
from tests.helpers.made_records import evaluation, record
from tests.helpers.paths import ROOT
from trainer.checkpoint.lock import RunLock

pytestmark = browser.needs_browser
AXE = Path(os.environ.get("VIVID_AXE", ROOT / ".axe" / "package" / "axe.min.js"))
GREY = (32, 48)


def make(folder: Path, name: str, loss: float, rate: float) -> None:
    run = folder / name
    (run / "samples").mkdir(parents=True)
    (run / "config.yaml").write_text(f"task: line\nname: {name}\noptim: {{main: {{lr: {rate}}}}}\n")
    lines = [record(step, progress=step / 20) for step in range(1, 21)] + [evaluation(20, loss)]
    (run / "metrics.jsonl").write_text("".join(lines))
    (run / "done.json").write_text('{"step": 20}')
    Image.fromarray(np.full((*GREY, 3), 128, np.uint8)).save(run / "samples" / "grey-00000020.png")


@pytest.fixture(scope="module")
def runs(tmp_path_factory: pytest.TempPathFactory) -> Path:
    folder = tmp_path_factory.mktemp("page") / "runs"
    make(folder, "first", 0.5, 0.1)
    make(folder, "second", 0.25, 0.2)
    return folder


@pytest.fixture(scope="module")
def temporary(tmp_path_factory: pytest.TempPathFactory) -> Path:
    return tmp_path_factory.mktemp("temporary")


@pytest.fixture(scope="module")
def address(runs: Path, temporary: Path) -> Iterator[str]:
    words = (f"runs={runs}", "app.max_upload_mb=1")
    with browser.served(*words, program=browser.TRIED, TMPDIR=str(temporary)) as (found, _):
        assert [path.name[:11] for path in temporary.iterdir()] == ["vivid-page-"]
        yield found
    assert list(temporary.iterdir()) == [], "what was uploaded stays behind"


@pytest.fixture(scope="module")
def chromium() -> Iterator[Any]:
    with browser.browser() as found:
        yield found


@pytest.fixture
def tab(chromium: Any, address: str) -> Iterator[Any]:
    """The tab of runs; in the end nothing must have been asked of another machine, nor have failed on the page."""
    errors: list[str] = []
    with browser.opened(chromium, address) as found:
        found.on("pageerror", lambda error: errors.append(str(error)))
        found.get_by_role("tab", name="Runs").click()
        yield found
        assert {host.partition(":")[0] for host in found.asked} == {"127.0.0.1"} and errors == []


def wait(found: Any) -> Any:
    """Expectations have their own, short time otherwise."""
    from playwright.sync_api import expect as waiting

    waiting.set_options(timeout=browser.WAIT_MS)
    return waiting(found)


def test_runs_beside_each_other(tab: Any) -> None:
    rows = tab.locator("table.runs tbody tr")
    wait(rows).to_have_count(2)
    wait(rows.filter(has_text="second")).to_contain_text("done")
    for name in ("first", "second"):
        tab.get_by_label(name, exact=True).set_checked(True)
    legend = tab.locator("#runs-curves .legend li")
    wait(legend).to_have_text(["first", "second"], use_inner_text=True)
    wait(tab.locator("#runs-curves figure")).to_have_count(2)
    row = tab.locator("#runs-settings tr").filter(has_text="optim.main.lr")
    wait(row.locator("td")).to_have_text(["0.1", "0.2"])
    pictures = tab.locator("#runs-media img")
    wait(pictures).to_have_count(2)
    pictures.first.scroll_into_view_if_needed()
    tab.wait_for_function("document.querySelector('#runs-media img').naturalWidth == 48")
    commands = tab.locator("#runs-commands textarea").input_value()
    assert "python train.py run=PATH/first" in commands and "python scripts/compare.py" in commands


def test_a_run_that_trains_appears_and_moves(tab: Any, runs: Path) -> None:
    wait(tab.locator("table.runs tbody tr")).to_have_count(2)
    lock = RunLock(runs / "live")
    lock.take()
    (runs / "live" / "config.yaml").write_text("task: line\nname: live\n")
    row = tab.locator("table.runs tr").filter(has_text="live")
    wait(row).to_contain_text("training")
    tab.get_by_label("live", exact=True).set_checked(True)
    for step, left in ((10, "1:30"), (20, "1:20")):
        with (runs / "live" / "metrics.jsonl").open("a") as file:
            file.write(record(step, progress=step / 100, eta_s=100.0 - step))
        wait(row).to_contain_text(f"{step} %")
        wait(row).to_contain_text(left)
    wait(tab.locator("#runs-curves .legend")).to_contain_text("live")
    lock.release()
    wait(row).to_contain_text("ended before it was done")


def test_keys_alone_suffice(chromium: Any, address: str) -> None:
    with browser.opened(chromium, address) as tab:
        wait(tab.get_by_role("tab", name="Runs")).to_be_visible()

        def go(until: str) -> None:
            for _ in range(60):
                tab.keyboard.press("Tab")
                if tab.evaluate(f"(() => {{ const e = document.activeElement; return {until}; }})()"):
                    return
            raise AssertionError(f"Tab does not lead there: {until}")

        go("e.getAttribute('role') == 'tab'")
        for _ in range(4):
            if tab.evaluate("document.activeElement.textContent.trim()") == "Runs":
                break
            tab.keyboard.press("ArrowRight")
            if tab.evaluate("document.activeElement.textContent.trim()") != "Runs":
                tab.keyboard.press("Tab")
        tab.keyboard.press("Enter")
        wait(tab.locator("table.runs")).to_be_visible()
        box = "e.type == 'checkbox' && e.closest('label').textContent.trim() == 'second'"
        go(box)
        checked = tab.evaluate("document.activeElement.checked")
        tab.keyboard.press("Space")
        assert tab.evaluate("document.activeElement.checked") != checked
        wait(tab.locator("#runs-media h3").filter(has_text="second")).to_have_count(0 if checked else 1)
        go("e.closest('#runs-commands') != null")


def test_uploads(chromium: Any, address: str, temporary: Path, tmp_path: Path) -> None:
    good, bad, large = (tmp_path / name for name in ("good.png", "bad.png", "large.png"))
    Image.fromarray(np.zeros((20, 30, 3), np.uint8)).save(good)
    bad.write_bytes(b"\x89PNG\r\n\x1a\n and then nothing of a picture")
    large.write_bytes(bytes(2**20 + 1))
    with browser.opened(chromium, address) as tab:
        upload = tab.locator("input[type=file]")
        upload.set_input_files(good)
        wait(tab.get_by_label("Size")).to_have_value("20 x 30")
        assert len(list(temporary.glob("*/visitors/*/seen"))) == 1
        tab.get_by_label("Clear").or_(tab.get_by_label("Remove")).first.click()
        tab.locator("input[type=file]").set_input_files(bad)
        message = tab.get_by_test_id("toast-body")
        wait(message).to_contain_text("bad.png")
        assert str(tmp_path.parent) not in message.inner_text() and "/tmp" not in message.inner_text()
        tab.get_by_test_id("toast-close").click()
        tab.get_by_label("Clear").or_(tab.get_by_label("Remove")).first.click()
        tab.locator("input[type=file]").set_input_files(large)
        wait(tab.get_by_test_id("toast-body")).to_contain_text("exceed the maximum allowed size of 1.0 M")
    until = time.monotonic() + 60
    while list(temporary.glob("*/visitors/*/seen")):  # who has left has left nothing
        assert time.monotonic() < until
        time.sleep(0.2)


@pytest.mark.parametrize("scheme", ["light", "dark"])
def test_no_serious_accessibility_fault(chromium: Any, address: str, scheme: str) -> None:
    if not AXE.is_file():
        pytest.skip("needs axe-core: mkdir -p .axe && cd .axe && npm pack axe-core@4 && tar xzf *.tgz")
    with browser.opened(chromium, address, color_scheme=scheme) as tab:
        tab.get_by_role("tab", name="Runs").click()
        wait(tab.locator("#runs-curves figure").first).to_be_visible()
        assert faults(tab) == []


def faults(tab: Any) -> list[str]:
    """What axe-core calls serious or critical, with the first element of each."""
    tab.evaluate(AXE.read_text(encoding="utf-8"))
    found = tab.evaluate("axe.run(document, {resultTypes: ['violations']})")["violations"]
    return [
        f"{fault['id']}: {node['html'][:200]} {node['failureSummary'][:200]}"
        for fault in found
        if fault["impact"] in ("serious", "critical")
        for node in fault["nodes"][:3]
    ]


def test_a_phone_scrolls_in_one_direction(chromium: Any, address: str) -> None:
    with browser.opened(chromium, address, viewport=browser.PHONE, is_mobile=True, has_touch=True) as tab:
        tab.get_by_role("tab", name="Runs").click()
        wait(tab.locator("#runs-curves figure").first).to_be_visible()
        assert tab.evaluate("document.documentElement.scrollWidth") <= 390


@pytest.mark.slow
def test_a_real_training_is_followed_until_it_stops(tab: Any, runs: Path) -> None:
    command = [sys.executable, "-m", "tests.helpers.slow_training", str(runs / "real")]
    training = subprocess.Popen(command, cwd=ROOT, stdout=subprocess.DEVNULL, stderr=subprocess.STDOUT)
    try:
        row = tab.locator("table.runs tr").filter(has_text="real")
        wait(row).to_contain_text("training")
        wait(row.locator("td").nth(1)).to_have_text(re.compile(r"^[1-9]"))
        step = int(row.locator("td").nth(1).inner_text())
        tab.wait_for_function(
            "step => [...document.querySelectorAll('table.runs tr')]"
            ".some(row => row.innerText.startsWith('real') && parseInt(row.cells[2].innerText) > step)",
            arg=step + 5,
        )
        training.send_signal(signal.SIGTERM)
        wait(row).to_contain_text("stopped by SIGTERM, saved")
    finally:
        training.kill()
        training.wait()


@pytest.mark.slow
def test_all_tabs_ask_no_other_machine_and_have_no_serious_fault(chromium: Any, runs: Path) -> None:
    errors: list[str] = []
    with browser.served(f"runs={runs}") as (address, _), browser.opened(chromium, address) as tab:
        tab.on("pageerror", lambda error: errors.append(str(error)))
        for title in ("Video", "Picture", "Runs"):
            tab.get_by_role("tab", name=title, exact=True).click()
            wait(tab.locator(f"#tab-{title.lower()}")).to_be_visible()
            time.sleep(2)  # for what it loads on its own
            assert not AXE.is_file() or faults(tab) == [], title
        assert {host.partition(":")[0] for host in tab.asked} == {"127.0.0.1"} and errors == []
