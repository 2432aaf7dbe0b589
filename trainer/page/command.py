"""The arguments of scripts/app.py, and what is wrong with them. Loads neither gradio nor torch."""

from __future__ import annotations

import errno
import importlib.util
import ipaddress
import socket
from collections.abc import Sequence
from dataclasses import dataclass, field
from pathlib import Path

from trainer.checkpoint.run_folders import CONFIG, several_runs
from trainer.config.arguments import parse_args, parse_value
from trainer.config.suggestions import did_you_mean
from trainer.errors import ConfigError, UserError, refuse

SHORTEST = 8  # characters of a password
_GIVEN = "run="


@dataclass
class Server:
    host: str = "127.0.0.1"  # address to listen at; any other than this machine's own needs app.password=
    port: int = 7860  # 0: any that is free
    password: str | None = None  # whoever opens the page is asked for it
    max_upload_mb: float = 200.0  # MiB that an uploaded file may have
    max_waiting: int = 40  # requests that wait in the queue; the next one is told to come again


@dataclass
class Arguments:
    run: list[str] = field(default_factory=list)  # runs that are on the page wherever they lie; may be given twice
    runs: str = "runs"  # the folder whose runs are on the page
    app: Server = field(default_factory=Server)


def read_arguments(words: Sequence[str], about: str) -> Arguments:
    """Arguments from the command line, checked.

    Args:
        words: without the script's name; ``run=`` may stand there several times, and may hold a list.
        about: what ``--help`` says first.

    Raises:
        ConfigError: with all problems. UserError: a run that is none, or gradio is missing.
    """
    arguments = parse_args(Arguments, [word for word in words if not word.startswith(_GIVEN)], about=about)
    for word in words:
        if word.startswith(_GIVEN):
            value = parse_value(word.removeprefix(_GIVEN))
            arguments.run += [str(entry) for entry in (value if isinstance(value, list) else [value])]
    refuse(problems(arguments))
    for run in arguments.run:
        _check_run(Path(run))
    if importlib.util.find_spec("gradio") is None:
        raise UserError("the page needs gradio, which is not installed: pip install -e '.[demo]', or run make page")
    return arguments


def problems(arguments: Arguments) -> list[str]:
    """One line for each problem of the server's settings."""
    app, found = arguments.app, list[str]()
    if not 0 <= app.port <= 65535:
        found.append(f"app.port={app.port}: must be 0 to 65535; 0 takes any that is free")
    if app.max_upload_mb <= 0:
        found.append(f"app.max_upload_mb={app.max_upload_mb:g}: must be above 0")
    if app.max_waiting < 1:
        found.append(f"app.max_waiting={app.max_waiting}: must be at least 1")
    if app.password is not None and len(app.password) < SHORTEST:
        found.append(f"app.password=: must have at least {SHORTEST} characters")
    if app.password is None and not is_own(app.host):
        found.append(
            f"app.host={app.host}: others can reach this address, so the page needs a password: "
            "app.password=WORD, or leave app.host out and open the page through ssh -L"
        )
    return found


def is_own(host: str) -> bool:
    """Whether an address can be reached from this machine alone."""
    if host == "localhost":
        return True
    try:
        return ipaddress.ip_address(host).is_loopback
    except ValueError:
        return False


def free_port(host: str, port: int) -> int:
    """The port to listen at, free at this moment.

    Raises:
        ConfigError: another program has it, or the address is none of this machine.
    """
    family = socket.AF_INET6 if ":" in host else socket.AF_INET
    with socket.socket(family, socket.SOCK_STREAM) as probe:
        probe.setsockopt(socket.SOL_SOCKET, socket.SO_REUSEADDR, 1)
        try:
            probe.bind((host, port))
        except PermissionError:
            raise ConfigError(
                f"app.port={port}: this system lets root only listen there; take one above 1023"
            ) from None
        except socket.gaierror:
            raise ConfigError(f"app.host={host}: no such address; 127.0.0.1 is this machine alone") from None
        except OSError as error:
            if error.errno == errno.EADDRINUSE:
                raise ConfigError(
                    f"app.port={port}: another program listens there; give another one, or app.port=0 for any"
                ) from None
            raise ConfigError(
                f"app.host={host}: cannot listen there ({error.strerror}); 127.0.0.1 is this machine alone"
            ) from None
        return probe.getsockname()[1]


def _check_run(run: Path) -> None:
    if (run / CONFIG).is_file():
        return
    if several := several_runs(run):
        raise UserError(f"run={several}\nor all of them: runs={run}")
    beside = sorted(str(path.parent) for path in run.parent.glob(f"*/{CONFIG}"))
    raise UserError(f"run={run}: no {CONFIG} there, so it is no run{did_you_mean(str(run), beside)}")
