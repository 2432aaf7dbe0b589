"""A cluster of one node, this machine: Slurm's own daemons in a folder and on ports of their own.

Installs nothing. ``python -m tests.helpers.slurm_cluster FOLDER`` starts one to try things on, until Ctrl-C.
"""

from __future__ import annotations

import os
import shutil
import socket
import subprocess
import sys
import tempfile
import time
from collections.abc import Iterator
from contextlib import contextmanager, suppress
from pathlib import Path

DAEMONS = ("munged", "slurmctld", "slurmd")
_SEARCHED = os.pathsep.join([os.environ.get("PATH", ""), "/usr/sbin", "/usr/local/sbin"])
# No cgroups and no accounting: neither may be there in a container. A requeued job starts again after 5 s, not 120.
_CONF = """
ClusterName=vivid
SlurmctldHost={host}(127.0.0.1)
SlurmUser=root
SlurmdUser=root
AuthInfo=socket={folder}/munge.socket,cred_expire=5
SlurmctldPort={ports[0]}
SlurmdPort={ports[1]}
SlurmctldPidFile={folder}/slurmctld.pid
SlurmdPidFile={folder}/slurmd.pid
StateSaveLocation={folder}/state
SlurmdSpoolDir={folder}/spool
SlurmctldLogFile={folder}/slurmctld.log
SlurmdLogFile={folder}/slurmd.log
SlurmdParameters=config_overrides
ProctrackType=proctrack/linuxproc
TaskPlugin=task/none
MpiDefault=none
SelectType=select/cons_tres
SelectTypeParameters=CR_CPU
JobAcctGatherType=jobacct_gather/none
SchedulerParameters=batch_sched_delay=0,sched_min_interval=100000
NodeName={host} NodeAddr=127.0.0.1 CPUs=4
PartitionName=main Nodes=ALL Default=YES MaxTime=INFINITE State=UP
"""


def why_not() -> str | None:
    """Why no cluster can be started here; None: it can."""
    missing = [name for name in (*DAEMONS, "sbatch") if shutil.which(name, path=_SEARCHED) is None]
    if missing:
        return f"{', '.join(missing)} not installed (apt-get install slurm-wlm)"
    return "Slurm's daemons need root" if os.geteuid() != 0 else None


@contextmanager
def cluster(folder: Path | None = None) -> Iterator[dict[str, str]]:
    """Inside, ``sbatch`` and ``srun`` have a node of 4 CPUs (whatever the machine has).

    Args:
        folder: for state and logs, with a short path (sockets); None: a temporary one.

    Yields:
        The environment to call Slurm's commands with.
    """
    folder = folder or Path(tempfile.mkdtemp(prefix="slurm-"))
    for name in ("state", "spool"):
        (folder / name).mkdir(parents=True, exist_ok=True)
    key = folder / "munge.key"
    key.write_bytes(os.urandom(128))
    key.chmod(0o600)
    folder.chmod(0o755)
    conf = folder / "slurm.conf"
    conf.write_text(_CONF.format(host=socket.gethostname().partition(".")[0], folder=folder, ports=_free_ports()))
    outside = ("SLURM_", "SBATCH_", "SRUN_", "SUBMITIT_")  # of a cluster that the tests themselves may run on
    of_processes = ("RANK", "WORLD_SIZE", "LOCAL_RANK", "LOCAL_WORLD_SIZE", "MASTER_ADDR", "MASTER_PORT")
    environment = {k: v for k, v in os.environ.items() if not k.startswith(outside) and k not in of_processes}
    environment |= {"SLURM_CONF": str(conf), "PATH": _SEARCHED}
    started: list[subprocess.Popen[bytes]] = []
    try:
        munge = ("munged", "--foreground", "--force", f"--socket={folder}/munge.socket", f"--key-file={key}")
        files = [f"--{name}={folder}/munge.{name}" for name in ("pid-file", "log-file", "seed-file")]
        for command in ([*munge, *files], ["slurmctld", "-D", "-c"], ["slurmd", "-D"]):
            with (folder / f"{command[0]}.out").open("wb") as log:
                started.append(subprocess.Popen(command, env=environment, stdout=log, stderr=subprocess.STDOUT))
            if command[0] == "munged":
                _until(lambda: (folder / "munge.socket").exists(), "munged", folder)
        _until(lambda: _says(["sinfo", "-h", "-o", "%T"], environment) == "idle", "an idle node", folder)
        yield environment
    finally:
        with suppress(OSError, subprocess.SubprocessError):
            subprocess.run(["scancel", "--me", "--signal=KILL"], env=environment, timeout=20, check=False)
            subprocess.run(["scancel", "--me"], env=environment, timeout=20, check=False)
        for process in reversed(started):
            process.terminate()
        for process in reversed(started):
            try:
                process.wait(20)
            except subprocess.TimeoutExpired:
                process.kill()
                process.wait()


def _says(command: list[str], environment: dict[str, str]) -> str:
    done = subprocess.run(command, env=environment, capture_output=True, text=True, timeout=60, check=False)
    return done.stdout.strip()


def _until(ready, what: str, folder: Path, seconds: float = 60) -> None:
    end = time.monotonic() + seconds
    while not ready():
        if time.monotonic() > end:
            logs = "\n".join(f"{path.name}: {path.read_text()[-500:]}" for path in sorted(folder.glob("*.log")))
            raise RuntimeError(f"{what} did not come within {seconds:.0f} s\n{logs}")
        time.sleep(0.2)


def _free_ports() -> list[int]:
    with socket.socket() as one, socket.socket() as two:
        for opened in (one, two):
            opened.bind(("127.0.0.1", 0))
        return [one.getsockname()[1], two.getsockname()[1]]


if __name__ == "__main__":
    reason = why_not()
    if reason:
        sys.exit(reason)
    with cluster(Path(sys.argv[1])) as shown, suppress(KeyboardInterrupt):
        print(f"export SLURM_CONF={shown['SLURM_CONF']}", flush=True)
        while True:
            time.sleep(3600)
