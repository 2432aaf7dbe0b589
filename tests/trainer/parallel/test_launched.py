"""Which process this is under launchers that are not torchrun."""

from __future__ import annotations

import os
import signal
import subprocess
import sys

import pytest

from trainer.errors import ConfigError
from trainer.parallel.launched import adopt, first_host, hand_on, problem, tasks_on_nodes

# Of the second node's second task, as Slurm 22.05 sets them for srun --nodes=2 --ntasks=6 in job 4711.
STEP = {
    "SLURM_JOB_ID": "4711",
    "SLURM_STEP_ID": "0",
    "SLURM_STEP_NUM_TASKS": "6",
    "SLURM_STEP_NODELIST": "gpu[007,012]",
    "SLURM_STEP_TASKS_PER_NODE": "3(x2)",
    "SLURM_PROCID": "4",
    "SLURM_LOCALID": "1",
    "SLURM_NODEID": "1",
    "SLURM_NTASKS": "6",
}
NAMES = ("RANK", "WORLD_SIZE", "LOCAL_RANK", "LOCAL_WORLD_SIZE", "MASTER_ADDR", "MASTER_PORT")


def adopted(environment: dict[str, str]) -> tuple[str | None, ...]:
    environment = dict(environment)
    adopt(environment)
    return tuple(environment.get(name) for name in NAMES)


def test_a_task_of_a_slurm_step_is_a_rank() -> None:
    assert adopted(STEP) == ("4", "6", "1", "3", "gpu007", str(15000 + 4711 * 17 % 16000))


def test_steps_at_the_same_time_meet_at_ports_of_their_own() -> None:
    steps = [STEP | {"SLURM_STEP_ID": str(step)} for step in range(3)] + [STEP | {"SLURM_JOB_ID": "4712"}]
    ports = [adopted(step)[5] for step in steps]
    assert len(set(ports)) == 4 and all(port and 1024 < int(port) < 32768 for port in ports)
    assert adopted(STEP | {"MASTER_PORT": "29500", "MASTER_ADDR": "here"})[4:] == ("here", "29500")


@pytest.mark.parametrize(
    "environment",
    [
        {},
        {key: value for key, value in STEP.items() if not key.startswith("SLURM_STEP")},  # the script of sbatch itself
        STEP | {"SLURM_STEP_NUM_TASKS": "1"},
        {"SUBMITIT_EXECUTOR": "local", "SUBMITIT_LOCAL_NTASKS": "1"},
    ],
)
def test_one_process_stays_alone(environment: dict[str, str]) -> None:
    assert adopted(environment) == (None,) * 6


def test_what_torchrun_has_set_stays() -> None:
    """srun starts one torchrun on each node, which is a task of the step."""
    torchrun = dict(zip(NAMES, ("9", "16", "1", "8", "head", "29400"), strict=True))
    assert adopted(STEP | torchrun) == tuple(torchrun.values())
    assert adopted(STEP | {"RANK": "0", "WORLD_SIZE": "1"})[:2] == ("0", "1")


def test_a_task_of_submitits_local_executor_is_a_rank() -> None:
    local = {
        "SUBMITIT_EXECUTOR": "local",
        "SUBMITIT_LOCAL_NTASKS": "2",
        "SUBMITIT_LOCAL_GLOBALID": "1",
        "SUBMITIT_LOCAL_LOCALID": "1",
        "SUBMITIT_LOCAL_JOB_ID": "123",
    }
    assert adopted(local) == ("1", "2", "1", "2", "127.0.0.1", "15123")
    assert adopted(STEP | local)[1] == "2"


def test_variables_that_lack_are_named() -> None:
    with pytest.raises(ConfigError, match=r"SLURM_STEP_NUM_TASKS=6, but SLURM_STEP_NODELIST, SLURM_NODEID is not set"):
        adopted({key: value for key, value in STEP.items() if key not in ("SLURM_STEP_NODELIST", "SLURM_NODEID")})


WHOLE = {"RANK": "1", "WORLD_SIZE": "2", "MASTER_ADDR": "here", "MASTER_PORT": "29500"}


@pytest.mark.parametrize(
    ("environment", "wrong"),
    [
        ({"RANK": "1"}, "RANK=1, and no WORLD_SIZE: there is no such process among 1. Unset RANK"),
        ({"RANK": "1", "WORLD_SIZE": "1"}, "RANK=1 WORLD_SIZE=1: there is no such process among 1. "),
        (WHOLE | {"WORLD_SIZE": "0", "RANK": "0"}, "RANK=0 WORLD_SIZE=0: there is no such process among 0. "),
        (WHOLE | {"RANK": "-1"}, "RANK=-1 WORLD_SIZE=2: these are numbers of processes. "),
        (WHOLE | {"LOCAL_RANK": "gpu0"}, "RANK=1 WORLD_SIZE=2 LOCAL_RANK=gpu0: these are numbers of processes. "),
        ({"WORLD_SIZE": "2"}, "WORLD_SIZE=2, and RANK, MASTER_ADDR, MASTER_PORT is not set: 2 processes cannot meet. "),
        (WHOLE | {"MASTER_PORT": ""}, "RANK=1 WORLD_SIZE=2, and MASTER_PORT is not set: 2 processes cannot meet. "),
    ],
)
def test_half_of_a_launchers_variables_is_refused(environment: dict[str, str], wrong: str) -> None:
    """They are left in a shell: a lone rank 1 would train to the end, say nothing and leave no records."""
    assert (problem(environment) or "").startswith(wrong)


@pytest.mark.parametrize("environment", [WHOLE, {"RANK": "0"}, {"WORLD_SIZE": "1"}, {"LOCAL_RANK": "3"}, {}])
def test_what_says_who_this_is_passes(environment: dict[str, str]) -> None:
    assert problem(dict(environment)) is None


def test_empty_variables_are_none() -> None:
    environment = dict.fromkeys(NAMES, "") | {"HOME": ""}
    assert problem(environment) is None and environment == {"HOME": ""}


def test_every_command_looks_at_them_first() -> None:
    code = "from trainer.cli import guarded; guarded(lambda: print('trained'))()"
    environment = {**os.environ, "RANK": "2"}
    ended = subprocess.run([sys.executable, "-c", code], env=environment, capture_output=True, text=True, check=False)
    assert (ended.returncode, ended.stdout) == (2, "") and ended.stderr.startswith("error: RANK=2, and no WORLD_SIZE")


@pytest.mark.parametrize(
    ("nodes", "host"),
    [
        ("vm", "vm"),
        ("vm,other", "vm"),
        ("gpu[003-005,9],login", "gpu003"),
        ("r[0-1]n[2-3]", "r0n2"),
        ("a[1,3]-ib,b", "a1-ib"),
        ("node-7-[10-12].site", "node-7-10.site"),
    ],
)
def test_first_host(nodes: str, host: str) -> None:
    assert first_host(nodes) == host


def test_tasks_on_nodes() -> None:
    assert tasks_on_nodes("4(x2),3") == [4, 4, 3] and tasks_on_nodes("8") == [8]


def test_a_signal_is_handed_on_to_who_handled_it_before() -> None:
    came: list[int] = []
    before = signal.signal(signal.SIGUSR2, lambda number, frame: came.append(number))
    try:
        hand_on("SIGUSR2")
        hand_on(None)
    finally:
        signal.signal(signal.SIGUSR2, before)
    assert came == [signal.SIGUSR2]
    hand_on("SIGUSR1")  # nobody's: its default would end this process


def test_it_needs_no_torch() -> None:
    code = "import sys, trainer.parallel.launched; sys.exit('torch' in sys.modules)"
    assert subprocess.run([sys.executable, "-c", code], check=False).returncode == 0
