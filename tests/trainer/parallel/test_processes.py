"""Two gloo processes against one, and what happens when one of them fails."""

import json
import re
import subprocess
from pathlib import Path
from typing import Any

import pytest
import torch
from torch import nn

from tests.helpers.launching import run_module
from trainer.config.fields import DeviceKind, Strategy
from trainer.device.pick import pick_device
from trainer.errors import ConfigError
from trainer.parallel.gradients import buckets
from trainer.parallel.processes import Parallel


def launch(tmp_path: Path, case: str, world: int = 2, timeout: float = 120) -> list[subprocess.CompletedProcess[str]]:
    """``tests.helpers.gloo_cases CASE`` in each of ``world`` processes, as torchrun starts them."""
    return run_module("tests.helpers.gloo_cases", [case, str(tmp_path)], world, timeout)


@pytest.fixture(scope="module")
def results(tmp_path_factory: pytest.TempPathFactory) -> dict[int, dict[str, Any]]:
    """What all cases that end well give, in two processes and in one."""
    found = {}
    for world in (1, 2):
        folder = tmp_path_factory.mktemp(f"world{world}")
        for rank, process in enumerate(launch(folder, "all", world)):
            assert process.returncode == 0, f"rank {rank} of {world}:\n{process.stderr}"
        found[world] = torch.load(folder / "result.pt", weights_only=True)
    return found


@pytest.mark.parametrize("case", ["linear-flat", "linear-ddp", "rival-flat", "rival-fsdp2", "blocks-fsdp2"])
def test_two_processes_match_one(results: dict[int, dict[str, Any]], case: str) -> None:
    one, two = results[1][case], results[2][case]
    assert one.keys() == two.keys()
    assert any(not torch.equal(one[name], results[1][case + "-start"][name]) for name in one)
    for name in one:
        if name != "maker.mean":  # running means are each process's own
            torch.testing.assert_close(one[name], two[name], rtol=1e-6, atol=1e-6)


def test_metrics_are_reduced_exactly(results: dict[int, dict[str, Any]]) -> None:
    for case in ("linear-flat", "rival-flat", "rival-fsdp2", "blocks-fsdp2"):
        one, two = results[1][case + "-metrics"], results[2][case + "-metrics"]
        assert one.keys() == two.keys()
        assert all(abs(one[key] - two[key]) < 1e-6 for key in one)


def test_ddp_says_what_it_cannot_average(results: dict[int, dict[str, Any]]) -> None:
    """It averages during the backward pass: of a last micro-batch without one, nothing of the step would be."""
    assert results[2]["nothing"] == {
        "flat": 2,
        "ddp": "the configuration has a problem:\n  - trainer.strategy=ddp: phase main has nothing to learn from in a "
        "micro-batch at step 0; "
        "use trainer.strategy=flat, which takes it for zero",
    }


def test_ddp_equals_flat(results: dict[int, dict[str, Any]]) -> None:
    flat, ddp = results[2]["linear-flat"], results[2]["linear-ddp"]
    assert flat.keys() == ddp.keys()
    for name in flat:
        torch.testing.assert_close(flat[name], ddp[name], rtol=1e-9, atol=1e-12)


def test_gradients_missing_somewhere_count_as_zero(results: dict[int, dict[str, Any]]) -> None:
    assert results[2]["missing"] == {"everywhere": None, "somewhere": [2.0, 2.0], "nowhere": [3.0, 3.0]}


def test_a_request_to_one_stops_all(results: dict[int, dict[str, Any]]) -> None:
    assert results[2]["stopped"] == 6
    assert results[2]["asked to stop"] == [True, True]  # a sweep must end on both, or one waits in the next job


def test_start_weights_come_from_rank_zero(results: dict[int, dict[str, Any]]) -> None:
    assert results[2]["broadcast"] is True


def test_tensors_are_summed_in_evaluation(results: dict[int, dict[str, Any]]) -> None:
    assert sum(results[1]["sums"]) == 5.0
    assert results[2]["sums"] == results[1]["sums"]


def test_all_agree_on_micro_batches(results: dict[int, dict[str, Any]]) -> None:
    first, second = results[2]["agreed"]
    assert first == second > 1


def test_all_agree_on_what_fits_into_a_time(results: dict[int, dict[str, Any]]) -> None:
    """How long to time, and how long to train, are common decisions: each process has a clock of its own."""
    first, second = results[2]["budget"]
    assert first == second and first[0] == first[1] >= 2


@pytest.mark.parametrize("ema", ["None", "0.9"])
def test_all_evaluate_with_the_same_buffers(results: dict[int, dict[str, Any]], ema: str) -> None:
    """Those of rank 0, which the checkpoint will hold; the averages' copies of them too."""
    first, second = results[2][f"buffers-{ema}"]
    assert first == second and any(first)


def test_all_agree_on_the_best_and_one_writes_it(results: dict[int, dict[str, Any]]) -> None:
    """The mean of all processes decides; rank 0 alone names it; a resumed run keeps it."""
    (first, second), (resumed, resumed_too) = results[2]["best"]
    steps = [f"step-{step:08d}" for step in range(13)]
    assert first[:2] == second[:2] == resumed[:2] == resumed_too[:2] == [4, pytest.approx(0.55)]
    assert first[4] == second[4] == 7 and resumed[4] == resumed_too[4] == 12
    assert [name for name in first[2] if name.startswith("best")] == [f"best {steps[2]}", f"best {steps[4]}"]
    assert [name for name in resumed[2] if name.startswith("best")] == []
    assert second[2] == resumed_too[2] == []
    assert first[3] == ["best", "latest", steps[4], steps[7]] and resumed[3] == ["best", "latest", steps[4], steps[12]]


@pytest.fixture(scope="module")
def jobs(tmp_path_factory: pytest.TempPathFactory) -> tuple[Path, list[list[str]]]:
    """Several jobs in the same two processes: what they wrote, and what each process said of the last ones."""
    folder = tmp_path_factory.mktemp("jobs")
    processes = launch(folder, "jobs")
    for process in processes:
        assert process.returncode == 0, process.stderr
    return folder, [process.stdout.splitlines()[-3:] for process in processes]


@pytest.mark.slow
def test_several_jobs_share_the_processes(jobs: tuple[Path, list[list[str]]]) -> None:
    """The second one asked for a group anew, which the launcher's store has only once."""
    for seed in (0, 1):
        assert (jobs[0] / f"seed={seed}" / "done.json").is_file()


@pytest.mark.slow
def test_without_a_common_folder_nothing_is_trained(jobs: tuple[Path, list[list[str]]]) -> None:
    """Every checkpoint of such a run was worthless, and it showed at the first resume."""
    for said in jobs[1]:
        assert "is not the same folder for all processes: rank 1" in said[0]
    assert not list(jobs[0].glob("node*/run/checkpoints"))


@pytest.mark.slow
def test_late_verdicts_end_all_processes_after_the_same_step(jobs: tuple[Path, list[list[str]]]) -> None:
    first, second = (said[1] for said in jobs[1])
    assert first == second and re.match(r"after step \d+: step 4 .*phase 'make' is not finite", first)
    names = sorted(p.name for p in (jobs[0] / "late" / "nonfinite" / "step-4").iterdir())
    assert names == ["config.json", "rank0.pt", "rank1.pt"]


@pytest.mark.slow
def test_a_checkpoint_counts_when_every_part_is_there(jobs: tuple[Path, list[list[str]]]) -> None:
    for said in jobs[1]:
        assert "1 part(s) of other processes are not there (state/__1_0.distcp)" in said[2]
    assert not list((jobs[0] / "missing" / "checkpoints").glob("step-*"))


@pytest.mark.slow
def test_a_bad_loss_on_one_stops_all_before_any_weight_changes(tmp_path: Path) -> None:
    for process in launch(tmp_path, "nonfinite"):
        assert process.returncode == 3, process.stderr
        assert "weights unchanged" in process.stdout and "step 4" in process.stdout
    names = sorted(p.name for p in (tmp_path / "run" / "nonfinite" / "step-4").iterdir())
    assert names == ["config.json", "rank0.pt", "rank1.pt"]
    assert json.loads((tmp_path / "run" / "nonfinite" / "step-4" / "config.json").read_text())["failed"] == "make"


@pytest.mark.slow
def test_an_exception_on_one_ends_all_with_the_traceback(tmp_path: Path) -> None:
    first, second = launch(tmp_path, "failing", timeout=60)
    assert first.returncode != 0 and second.returncode != 0
    assert "ZeroDivisionError: deliberately" in second.stderr and "Traceback" in second.stderr


def test_one_process_needs_no_group() -> None:
    parallel = Parallel(Strategy.auto, torch.device("cpu"))
    parallel.start()
    assert (parallel.rank, parallel.world, parallel.strategy) == (0, 1, Strategy.none)
    assert parallel.any(True) and not parallel.any(False)
    assert parallel.sum(torch.ones(3)).tolist() == [1.0, 1.0, 1.0]
    assert parallel.mean({"a": (6.0, 3.0), "empty": (0.0, 0.0)}) == {"a": 2.0}
    parameter = nn.Parameter(torch.ones(2))
    parallel.backward(parameter.sum(), [parameter])
    parallel.synchronize([parameter])
    assert parameter.grad is not None and parameter.grad.tolist() == [1.0, 1.0]


def test_strategy_none_with_several_processes(monkeypatch: pytest.MonkeyPatch) -> None:
    monkeypatch.setenv("WORLD_SIZE", "2")
    with pytest.raises(ConfigError, match=r"trainer\.strategy=none with 2 processes"):
        Parallel(Strategy.none, torch.device("cpu"))


def test_cuda_that_is_not_there(monkeypatch: pytest.MonkeyPatch) -> None:
    monkeypatch.setattr(torch.cuda, "is_available", lambda: False)
    assert pick_device(DeviceKind.auto).type == "cpu"
    with pytest.raises(ConfigError, match=r"trainer\.device=cuda"):
        pick_device(DeviceKind.cuda)


def test_buckets_keep_types_apart_and_sizes_small() -> None:
    half = 2**23 - 1  # a bit less than 32 MiB of floats
    tensors = [torch.empty(half), torch.empty(4, dtype=torch.float64), torch.empty(half), torch.empty(1)]
    sizes = [[tensors[place].numel() for place in bucket] for bucket in buckets(tensors)]
    assert sizes == [[half], [half, 1], [4]]
