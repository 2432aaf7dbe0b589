"""What a card is and can do, and its tests: the first things to know on a machine that has one."""

from __future__ import annotations

import importlib.util
import os
import platform
import re
from collections.abc import Sequence
from pathlib import Path
from typing import Any

import torch

from trainer.benchmark.machine import machine
from trainer.benchmark.sections import Rows
from trainer.device.clock import Clock

MARK = re.compile(r"pytest\.mark\.gpu\b")
ERROR_LINES = 25  # of a failed test's report that are kept


def about(rows: Rows, device: torch.device, quick: bool) -> None:
    """Name, memory, versions; and two ceilings measured: copying, and multiplying matrices in bf16.

    Args:
        device: the card, or the CPU.
        quick: with small sizes.
    """
    cuda = device.type == "cuda"
    rows.note(machine(device, "torchvision", "timm", "triton"))
    found: dict[str, Any] = {"cores": os.cpu_count(), "system": platform.release()}
    if cuda:
        properties = torch.cuda.get_device_properties(device)
        found |= {
            "memory GB": properties.total_memory / 1e9,
            "multiprocessors": properties.multi_processor_count,
            "compute capability": f"{properties.major}.{properties.minor}",
            "CUDA": torch.version.cuda,
            "cuDNN": torch.backends.cudnn.version(),
        }
    rows.row("machine", **found)
    side, count = (1024, 2**24) if quick or not cuda else (8192, 2**30)
    source = torch.empty(count, dtype=torch.uint8, device=device).random_()
    target = torch.empty_like(source)
    seconds = _fastest(lambda: target.copy_(source), device)
    a, b = (torch.randn(side, side, device=device).bfloat16() for _ in range(2))
    product = _fastest(lambda: a @ b, device)
    rows.row(
        "ceilings",
        **{"copy GB/s, read and written": 2 * count / seconds / 1e9, "bf16 TFLOP/s": 2 * side**3 / product / 1e12},
    )


def _fastest(work: Any, device: torch.device, tries: int = 10) -> float:
    """Seconds of the fastest of some tries, after three that warm up."""
    best = float("inf")
    for number in range(tries + 3):
        clock = Clock(device)
        work()
        if number >= 3:
            best = min(best, clock.mark())
    return best


def marked_files(folder: Path) -> list[Path]:
    """The test files that hold tests for a card: the others need not be read, nor what they import."""
    return sorted(path for path in folder.rglob("test_*.py") if MARK.search(path.read_text(encoding="utf-8")))


def run_tests(rows: Rows, files: Sequence[Path], timeout: float = 60.0) -> None:
    """Runs the tests marked ``gpu``, in this process; a row for each when it ends, with the end of its report if bad.

    Args:
        files: where they are.
        timeout: seconds that one test may take.
    """
    import pytest

    reporter = _Reporter(rows)
    words = ["-m", "gpu", "-o", "addopts=", "--import-mode=importlib", "-p", "no:cacheprovider"]
    words += ["-q", "--no-header", "--tb=short"]
    # Other packages' warnings are not what is tested.
    words += ["--continue-on-collection-errors", "--disable-warnings", "--no-summary", "-W", "default"]
    os.environ["PYTEST_DISABLE_PLUGIN_AUTOLOAD"] = "1"  # whatever else is installed there
    if importlib.util.find_spec("pytest_timeout") is not None:
        words += ["-p", "pytest_timeout", f"--timeout={timeout:.0f}"]
    code = pytest.main([*words, *map(str, files)], plugins=[reporter])
    counts = ", ".join(f"{count} {name}" for name, count in sorted(reporter.counts.items())) or "none"
    rows.note(f"Tests marked gpu: {counts}; exit code {int(code)}.")


class _Reporter:
    """A pytest plugin that makes rows of results."""

    def __init__(self, rows: Rows) -> None:
        self.rows = rows
        self.counts: dict[str, int] = {}

    def pytest_runtest_logreport(self, report: Any) -> None:
        """A phase of a test has ended; set-up and tear-down count only where they say something."""
        if report.when != "call" and report.outcome == "passed":
            return
        self._tell(report.nodeid, report.outcome, report.duration, report)

    def pytest_collectreport(self, report: Any) -> None:
        """A file could not be read."""
        if report.failed:
            self._tell(report.nodeid, "not collected", 0.0, report)

    def pytest_report_teststatus(self, report: Any) -> tuple[str, str, str]:
        """No dots between the rows."""
        return (report.outcome if report.when == "call" or report.outcome != "passed" else ""), "", ""

    def _tell(self, name: str, outcome: str, seconds: float, report: Any) -> None:
        self.counts[outcome] = self.counts.get(outcome, 0) + 1
        found = {"test": name, "outcome": outcome, "seconds": round(seconds, 2)}
        if outcome in ("passed", "skipped"):
            self.rows.detail("tests", **found)
        else:
            self.rows.row("tests", **found, error="\n".join(str(report.longrepr).splitlines()[-ERROR_LINES:]))
