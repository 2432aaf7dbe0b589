"""What is written and does not stay as it was, or cannot be written at all; and two runs in one directory."""

from __future__ import annotations

import os
import random
import shutil
import signal
import socket
import subprocess
import threading
from collections.abc import Callable, Iterator
from contextlib import contextmanager
from pathlib import Path
from typing import Any

from tests.faults.catalogue import BOTH, Fault
from tests.faults.here import fit
from tests.faults.kills import survives
from tests.faults.undisturbed import undisturbed
from tests.helpers.altering import cut, flip
from tests.helpers.exactness import assert_same, outcome
from tests.helpers.killed_runs import Begun, Plan, run_to_end
from tests.helpers.small_runs import prepare
from trainer import saving
from trainer.checkpoint.lock import LOCK
from trainer.errors import SaveError

FILES = ("meta.json", "state/.metadata", "state/__0_0.distcp", "state/tree.json")
FILES += ("weights.safetensors", "ema.safetensors")
DISK_MIB = 48


def killed(folder: Path, model: str) -> tuple[Path, list[Path]]:
    """A run that was killed with two checkpoints, and these, oldest first."""
    run_dir = folder / "run"
    samples = {"vit_mu": 20, "vid2vid_tiny": 10}[model]
    assert run_to_end(run_dir, model, plan=Plan(event="loss", samples=samples)).code != 0
    checkpoints = sorted((run_dir / "checkpoints").glob("step-*"))
    assert len(checkpoints) == 2
    return run_dir, checkpoints


def altered(folder: Path, model: str, number: int) -> None:
    """Each file of the newest checkpoint in turn, a bit turned over or cut short: the one before is used."""
    run_dir, (_, newest) = killed(folder, model)
    name = FILES[number % len(FILES)]
    (flip if number // len(FILES) % 2 == 0 else cut)(newest / name, number)
    survives(run_dir, model)
    told = f"damaged checkpoint {newest.name}: {name} "
    assert told in (run_dir / "train.log").read_text(), told


def left_over(folder: Path, model: str, number: int) -> None:
    """A half-written directory of a killed save, and a pointer to nothing or of garbage."""
    run_dir, (_, newest) = killed(folder, model)
    half = newest.with_name("step-00000099.tmp")
    shutil.copytree(newest, half)
    for file in random.Random(number).sample(FILES, 3):
        (half / file).unlink()
    garbage = (b"step-00000099\n", b"\xff\xfe\0", b"", b"../../run\n")
    (newest.parent / "latest").write_bytes(garbage[number % len(garbage)])
    survives(run_dir, model)
    assert not half.exists()


def while_failing(run_dir: Path, model: str, number: int, fault: Callable[[], Any], mend: Callable[[], Any]) -> None:
    """A run with a fault from its second or a later save on, for two or three saves; then all of it is written."""
    trainer = prepare(run_dir, model)
    save, tried, failed = trainer.save, 0, 0
    first, last = 1 + number % 2, 2 + number % 3
    before, saving.FIRST_RETRY_S = saving.FIRST_RETRY_S, 0.0

    def disturbed() -> None:
        nonlocal tried, failed
        tried += 1
        if first < tried <= first + last:
            fault()
            try:
                save()
            except SaveError:
                failed += 1
                raise
            finally:
                mend()
        else:
            save()

    trainer.save = disturbed
    try:
        fit(trainer)
    finally:
        saving.FIRST_RETRY_S = before
    assert failed == last, (failed, last)
    assert (run_dir / "train.log").read_text().count("NO CHECKPOINT at step ") == last
    assert_same(undisturbed(model)[0], outcome(run_dir))


@contextmanager
def small_disk(folder: Path) -> Iterator[Path]:
    """A file system of ``DISK_MIB`` in memory; needs the right to mount one."""
    folder.mkdir()
    subprocess.run(["mount", "-t", "tmpfs", "-o", f"size={DISK_MIB}m", "tmpfs", str(folder)], check=True)
    try:
        yield folder
    finally:
        subprocess.run(["umount", "--lazy", str(folder)], check=True)


def full_disk(folder: Path, model: str, number: int) -> None:
    with small_disk(folder / "disk") as disk:
        ballast = disk / "ballast"

        def fill() -> None:
            """To the last byte, or but for a part of what a checkpoint needs."""
            with ballast.open("wb", buffering=0) as file:
                while file.write(b"\0" * 4096) == 4096:
                    if shutil.disk_usage(disk).free <= (number % 4) * 40960:
                        break

        while_failing(disk / "run", model, number, fill, ballast.unlink)


def no_permission(folder: Path, model: str, number: int) -> None:
    """The directory of checkpoints can be written no more: by its mode, for root by its attribute (``chattr +i``)."""
    place = str(folder / "run" / "checkpoints")
    root = os.geteuid() == 0
    lock, free = (["chattr", "+i"], ["chattr", "-i"]) if root else (["chmod", "500"], ["chmod", "700"])

    def run(command: list[str]) -> Callable[[], Any]:
        return lambda: subprocess.run([*command, place], check=True)

    while_failing(folder / "run", model, number, run(lock), run(free))


def two_runs(folder: Path, model: str, number: int) -> None:
    """Started together, or while the first one trains: one goes on undisturbed, the other names it."""
    run = folder / "run"
    run.mkdir()
    (folder / "same").symlink_to(run.name)  # what the two print goes to files of their own
    begun = [Begun(run, model, command=True)]
    if number % 2:
        _owner(run, begun)
    begun.append(Begun(folder / "same", model, command=True))
    owner = _owner(run, begun)
    owner.kill(signal.SIGSTOP)  # so small a run is through before the other one gives up
    ends = [next(each for each in begun if each is not owner).wait()]
    owner.kill(signal.SIGCONT)
    ends.append(owner.wait())
    assert sorted(end.code for end in ends) == [0, 2], [end.output[-500:] for end in ends]
    refused, done = sorted(ends, key=lambda end: end.code == 0)
    assert f"is in use: process {done.pid} on {socket.gethostname()}, since 20" in refused.output, refused.output[-500:]
    assert_same(undisturbed(model)[0], outcome(run))


def _owner(run: Path, begun: list[Begun]) -> Begun:
    """Which of them has the directory, as soon as one has."""
    while True:
        told = (run / LOCK).read_text() if (run / LOCK).exists() else ""
        for each in begun:
            if f'"pid": {each.pid},' in told:
                return each
        assert any(each.alive() for each in begun)


def late_names(folder: Path, model: str, number: int) -> None:
    """Every renamed folder or file shows its new name up to 0.3 s later."""
    rename, chance = Path.rename, random.Random(number)

    def late(path: Path, target: Path) -> Any:
        if not path.name.endswith(".tmp"):
            return rename(path, target)
        threading.Timer(chance.uniform(0.05, 0.3), rename, (path, target)).start()
        return target

    Path.rename = late  # type: ignore[method-assign]
    try:
        fit(prepare(folder / "run", model))
    finally:
        Path.rename = rename  # type: ignore[method-assign]
    assert_same(undisturbed(model)[0], outcome(folder / "run"))


FAULTS = [
    Fault(
        "a file of the newest checkpoint altered or cut short",
        altered,
        BOTH,
        "The file is named, and the run goes on from the checkpoint before.",
        times=12,
        slow=1,
        on_a_card=False,
    ),
    Fault(
        "a half-written checkpoint and a pointer to nothing",
        left_over,
        BOTH,
        "The half is removed, and the run goes on from the newest whole checkpoint.",
        times=4,
        slow=0,
        on_a_card=False,
    ),
    Fault(
        "a disk that is full for some checkpoints",
        full_disk,
        BOTH,
        "It is said at once, training goes on, and a later checkpoint is written.",
        times=4,
        on_a_card=False,
    ),
    Fault(
        "permission to write lost for some checkpoints",
        no_permission,
        BOTH,
        "It is said at once, training goes on, and a later checkpoint is written.",
        times=4,
        slow=0,
        on_a_card=False,
    ),
    Fault(
        "two runs in one directory",
        two_runs,
        BOTH,
        "The second one refuses and names the first, which does not notice.",
        times=4,
        on_a_card=False,
    ),
    Fault(
        "a file system that shows new names late",
        late_names,
        BOTH,
        "Nothing points at what is not to be seen yet.",
        times=4,
        slow=0,
        on_a_card=False,
    ),
]
