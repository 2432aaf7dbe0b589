"""The profiler writes a trace of a few steps, and nothing when it is off."""

import json

import pytest
import torch

from trainer.records.profile import StepProfiler


@pytest.mark.filterwarnings("ignore")  # torch warns about skipped cycles in some versions
def test_a_trace_is_written_once(tmp_path):
    with StepProfiler(tmp_path, enabled=True, wait=1, warmup=1, active=2, rank=3) as profiler:
        for _ in range(8):
            torch.mm(torch.ones(8, 8), torch.ones(8, 8))
            profiler.step()
    trace = json.loads((tmp_path / "profile" / "trace-rank3.json").read_text())
    assert sum(event.get("name") == "aten::mm" for event in trace["traceEvents"]) == 2
    assert "aten::mm" in (tmp_path / "profile" / "summary-rank3.txt").read_text()


def test_disabled_it_does_nothing(tmp_path):
    with StepProfiler(tmp_path, enabled=False) as profiler:
        profiler.step()
    assert list(tmp_path.iterdir()) == []
