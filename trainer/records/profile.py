"""A torch profiler trace of a few steps, written into the run directory."""

from __future__ import annotations

import logging
import os
from pathlib import Path
from typing import Any

import torch

_log = logging.getLogger(__name__)


class StepProfiler:
    """Context manager around the loop; ``step()`` ends a training step and costs nothing when disabled.

    Skips ``wait`` steps, warms up for ``warmup``, records ``active``, then writes
    ``profile/trace-rank<r>.json`` (for chrome://tracing or Perfetto) and ``profile/summary-rank<r>.txt``
    (operators by total time), once per run. A run that ends before it got so far writes what it recorded.

    Args:
        run_dir: the run directory.
        enabled: False makes every method a no-op.
        device: CUDA kernels are recorded when this is a CUDA device.
        rank: number of this process, part of the file names.
        wait, warmup, active: steps to skip, to warm up and to record.
    """

    def __init__(
        self,
        run_dir: Path,
        *,
        enabled: bool,
        device: torch.device | str = "cpu",
        rank: int = 0,
        wait: int = 2,
        warmup: int = 2,
        active: int = 3,
    ) -> None:
        self.folder = Path(run_dir) / "profile"
        self.rank = rank
        self._profile: torch.profiler.profile | None = None
        if not enabled:
            return
        os.environ.setdefault("KINETO_LOG_LEVEL", "5")  # on a machine without a card it calls that an error
        activities = [torch.profiler.ProfilerActivity.CPU]
        if torch.device(device).type == "cuda":
            activities.append(torch.profiler.ProfilerActivity.CUDA)
        self._sort = "self_cuda_time_total" if len(activities) > 1 else "self_cpu_time_total"
        self._profile = torch.profiler.profile(
            activities=activities,
            schedule=torch.profiler.schedule(wait=wait, warmup=warmup, active=active, repeat=1),
            on_trace_ready=self._write,
            record_shapes=True,
            profile_memory=True,
            acc_events=True,  # there is one cycle; some releases warn that others would be lost
        )

    def __enter__(self) -> StepProfiler:
        if self._profile is not None:
            self._profile.__enter__()
        return self

    def __exit__(self, *exc: Any) -> None:
        if self._profile is not None:
            self._profile.__exit__(*exc)

    def step(self) -> None:
        """Tell the profiler that a training step ended."""
        if self._profile is not None:
            self._profile.step()

    def _write(self, profile: Any) -> None:
        self.folder.mkdir(parents=True, exist_ok=True)
        trace = self.folder / f"trace-rank{self.rank}.json"
        profile.export_chrome_trace(str(trace))
        table = profile.key_averages().table(sort_by=self._sort, row_limit=40)
        (self.folder / f"summary-rank{self.rank}.txt").write_text(table + "\n")
        _log.warning("profile written to %s", trace)  # a warning is what the console shows of a module
