"""Launchers other than torchrun: which process this is when Slurm's ``srun`` or submitit has started it. No torch here.

Everything else reads torchrun's variables (``RANK``, ``WORLD_SIZE``, ``LOCAL_RANK``, ``LOCAL_WORLD_SIZE``,
``MASTER_ADDR``, ``MASTER_PORT``), so ``adopt`` sets them from what ``srun`` tells its tasks
(https://slurm.schedmd.com/srun.html, "Output environment variables"), and submitit's local executor likewise.
"""

from __future__ import annotations

import os
import re
import signal
from collections.abc import MutableMapping

from trainer.errors import ConfigError

_RANKS = ("RANK", "WORLD_SIZE", "LOCAL_RANK", "LOCAL_WORLD_SIZE")
_MEETING = ("MASTER_ADDR", "MASTER_PORT")
_PORTS = range(15000, 31000)  # below those that Linux gives to outgoing connections


def problem(environment: MutableMapping[str, str] = os.environ) -> str | None:
    """What is wrong with a launcher's variables; None: nothing. Empty ones are taken away, as a shell unsets them.

    Half of them, left in a shell or a container by something else, would make a run that waits for nobody, or one that
    is rank 1 of one process: it trains, says nothing, and leaves no records.
    """
    for name in (*_RANKS, *_MEETING):
        if environment.get(name) == "":
            del environment[name]
    found = {name: environment[name] for name in _RANKS if name in environment}
    said = " ".join(f"{name}={value}" for name, value in found.items())
    remedy = (
        "Unset RANK, WORLD_SIZE, LOCAL_RANK and LOCAL_WORLD_SIZE for one process alone, or start several with torchrun"
    )
    if not all(value.isascii() and value.isdecimal() for value in found.values()):
        return f"{said}: these are numbers of processes. {remedy}"
    rank, world = int(found.get("RANK", "0")), int(found.get("WORLD_SIZE", "1"))
    if not rank < world:
        given = said if "WORLD_SIZE" in found else f"{said}, and no WORLD_SIZE"
        return f"{given}: there is no such process among {world}. {remedy}"
    missing = [name for name in ("RANK", *_MEETING) if name not in environment]
    if world > 1 and missing:
        return f"{said}, and {', '.join(missing)} is not set: {world} processes cannot meet. {remedy}"
    return None


def adopt(environment: MutableMapping[str, str] = os.environ) -> None:
    """Sets torchrun's variables in a task of a Slurm step, or of submitit, that has several.

    What torchrun or the user has set stays. The script of ``sbatch`` itself is no task of a step: what it starts
    by ``python train.py`` is one process, however many tasks the job has room for.

    Raises:
        ConfigError: the variables that tell who this is are not all there.
    """
    if "RANK" in environment or "WORLD_SIZE" in environment:
        return
    # submitit's local executor may itself run in a task of Slurm's: the inner one counts.
    if environment.get("SUBMITIT_EXECUTOR") == "local":
        _adopt_local(environment)
    elif int(environment.get("SLURM_STEP_NUM_TASKS", "1")) > 1:
        _adopt_step(environment)


def _adopt_step(environment: MutableMapping[str, str]) -> None:
    needed = ("SLURM_JOB_ID", "SLURM_STEP_ID", "SLURM_STEP_NODELIST", "SLURM_PROCID", "SLURM_LOCALID", "SLURM_NODEID")
    missing = [name for name in needed if name not in environment]
    if missing:
        raise ConfigError(
            f"SLURM_STEP_NUM_TASKS={environment['SLURM_STEP_NUM_TASKS']}, but {', '.join(missing)} is not set: start "
            "the processes by srun or torchrun, or set RANK=0 WORLD_SIZE=1 for one process alone"
        )
    on_nodes = tasks_on_nodes(environment.get("SLURM_STEP_TASKS_PER_NODE", environment["SLURM_STEP_NUM_TASKS"]))
    number = int(environment["SLURM_JOB_ID"]) * 17 + int(environment["SLURM_STEP_ID"])  # steps of a job at one time
    _set(
        environment,
        rank=environment["SLURM_PROCID"],
        world=environment["SLURM_STEP_NUM_TASKS"],
        local=environment["SLURM_LOCALID"],
        local_world=str(on_nodes[int(environment["SLURM_NODEID"])]),
        address=first_host(environment["SLURM_STEP_NODELIST"]),
        number=number,
    )


def _adopt_local(environment: MutableMapping[str, str]) -> None:
    world = environment.get("SUBMITIT_LOCAL_NTASKS", "1")
    if int(world) == 1:
        return
    _set(
        environment,
        rank=environment["SUBMITIT_LOCAL_GLOBALID"],
        world=world,
        local=environment["SUBMITIT_LOCAL_LOCALID"],
        local_world=world,
        address="127.0.0.1",
        number=int(environment["SUBMITIT_LOCAL_JOB_ID"]),
    )


def _set(
    environment: MutableMapping[str, str],
    *,
    rank: str,
    world: str,
    local: str,
    local_world: str,
    address: str,
    number: int,
) -> None:
    ranks = {"RANK": rank, "WORLD_SIZE": world, "LOCAL_RANK": local, "LOCAL_WORLD_SIZE": local_world}
    environment.update(ranks)
    environment.setdefault("MASTER_ADDR", address)
    environment.setdefault("MASTER_PORT", str(_PORTS[number % len(_PORTS)]))


def first_host(nodes: str) -> str:
    """The first host of a list as Slurm writes it: of ``gpu[003-005,9],login`` it is ``gpu003``.

    Args:
        nodes: of ``SLURM_STEP_NODELIST``.
    """
    first = re.match(r"(?:[^,\[]|\[[^\]]*\])+", nodes)
    return re.sub(r"\[([^\],-]*)[^\]]*\]", r"\1", first[0] if first else nodes)


def tasks_on_nodes(counts: str) -> list[int]:
    """How many tasks each node has, from how Slurm writes it: ``4(x2),3`` is 4, 4, 3."""
    found: list[int] = []
    for part in counts.split(","):
        tasks, _, times = part.rstrip(")").partition("(x")
        found += [int(tasks)] * int(times or 1)
    return found


def submitted() -> bool:
    """Whether this process is a job of submitit's."""
    return "SUBMITIT_EXECUTOR" in os.environ


def hand_on(name: str | None) -> None:
    """A signal that ``StopFlag`` has taken over goes to whoever handled it before, once the run is saved.

    In a job of submitit's that is what submits it again: rank 0's handler of ``SIGUSR2`` asks Slurm to requeue the job,
    and ends the process.

    Args:
        name: of the signal, such as SIGUSR2; None: none has come.
    """
    if name is None or name == "SIGINT":
        return
    number = signal.Signals[name]
    if callable(signal.getsignal(number)):
        signal.raise_signal(number)
