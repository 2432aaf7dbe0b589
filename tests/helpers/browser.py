"""A real Chromium for tests of the page: the page as a process, a browser that notes which hosts it asks.

Without playwright or Chromium tests that need them are skipped, and say which is missing.
"""

from __future__ import annotations

import importlib.util
import os
import re
import select
import shutil
import signal
import subprocess
import sys
import threading
import time
from collections.abc import Iterator, Sequence
from contextlib import contextmanager
from pathlib import Path
from typing import Any
from urllib.parse import urlsplit

import pytest

from tests.helpers.paths import ROOT

CHROMIUM = shutil.which("chromium") or shutil.which("chromium-browser") or shutil.which("google-chrome")
APP = (str(ROOT / "scripts" / "app.py"),)
TRIED = ("-m", "tests.helpers.tried_page")
STARTS_S = 120  # so long the page may take on a machine that is busy
ENDS_S = 120  # and so long to end
WAIT_MS = 60_000  # as long an expectation
PHONE = {"width": 390, "height": 844}
DESK = {"width": 1280, "height": 900}


def missing() -> str:
    """Why there is no browser to test with; empty where there is one."""
    for package in ("gradio", "playwright"):
        if importlib.util.find_spec(package) is None:
            return f"needs {package}: pip install -e '.[dev]'"
    return "" if CHROMIUM else "needs Chromium: apt-get install chromium"


needs_browser = pytest.mark.skipif(bool(missing()), reason=missing() or "there is one")


@contextmanager
def served(
    *words: str, program: Sequence[str] = APP, cwd: Path = ROOT, **environment: str
) -> Iterator[tuple[str, subprocess.Popen[str]]]:
    """The page as a process of its own, at a free port; ended as by Ctrl-C in the end.

    Args:
        words: of the command line.
        program: scripts/app.py, or TRIED: the tab of runs beside one to try things with.
        cwd: where it is started.
        environment: variables beside those that there are.

    Yields:
        Its address, and the process.
    """
    process = subprocess.Popen(
        [sys.executable, *program, "app.port=0", *words],
        cwd=cwd, stdout=subprocess.PIPE, stderr=subprocess.STDOUT, text=True,
        env={**os.environ, "OMP_NUM_THREADS": "1", "PYTHONUNBUFFERED": "1", **environment},
    )  # fmt: skip
    said: list[str] = []
    reader = threading.Thread(target=_read, args=(process, said), daemon=True)
    try:
        address = _address(process)
        reader.start()
        yield address, process
    finally:
        if process.poll() is None:
            process.send_signal(signal.SIGINT)
            try:
                process.wait(ENDS_S)
            except subprocess.TimeoutExpired:
                process.kill()
                process.wait()
                print("the page did not end; its last words:", *said[-20:], sep="\n")
        if reader.is_alive():
            reader.join()
        if process.stdout is not None:
            process.stdout.close()


def _read(process: subprocess.Popen[str], said: list[str]) -> None:
    """All that the page says, as it says it: it would wait for ever with a pipe that is full."""
    assert process.stdout is not None
    said.extend(line.rstrip() for line in process.stdout)


def _address(process: subprocess.Popen[str]) -> str:
    assert process.stdout is not None
    lines, until = [], time.monotonic() + STARTS_S
    while time.monotonic() < until:
        ready, _, _ = select.select([process.stdout], [], [], 1.0)
        line = process.stdout.readline() if ready else ""
        lines.append(line)
        if found := re.search(r"the page is at (http://\S+)", line):
            return found[1]
        if process.poll() is not None:
            break
    raise AssertionError(f"the page did not start:\n{''.join(lines)}")


@contextmanager
def browser() -> Iterator[Any]:
    """Chromium without a window."""
    from playwright.sync_api import sync_playwright

    with sync_playwright() as playwright:
        found = playwright.chromium.launch(executable_path=CHROMIUM, args=["--no-sandbox", "--disable-gpu"])
        try:
            yield found
        finally:
            found.close()


@contextmanager
def opened(chromium: Any, address: str, **options: Any) -> Iterator[Any]:
    """A tab of its own on the page, loaded; ``tab.asked`` has every host that it asked for anything.

    Args:
        chromium: of ``browser``.
        address: of ``served``, perhaps with more behind it.
        options: of Playwright's ``new_context``: ``viewport``, ``color_scheme``, ...
    """
    context = chromium.new_context(**{"viewport": DESK, "reduced_motion": "reduce", **options})
    context.set_default_timeout(WAIT_MS)
    tab = context.new_page()
    tab.asked = set()
    tab.on("request", lambda request: tab.asked.add(urlsplit(request.url).netloc))
    tab.on("websocket", lambda socket: tab.asked.add(urlsplit(socket.url).netloc))
    try:
        tab.goto(address)
        yield tab
    finally:
        context.close()
