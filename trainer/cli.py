"""The command line: ``train.py``'s entry with Hydra underneath, and what every script shares.

A user's mistake ends with one message on stderr and exit code 2; a traceback means a bug of ours. Loads no torch
before a configuration is complete.
"""

from __future__ import annotations

import io
import os
import signal
import sys
import threading
from collections.abc import Callable, Mapping, Sequence
from contextlib import redirect_stdout, suppress
from functools import wraps
from pathlib import Path
from typing import Any

from trainer.cards.recipe import command_line
from trainer.checkpoint.run_folders import several_runs
from trainer.config.arguments import argument_lines, parse_args, required, usage
from trainer.config.fields import RunConfig
from trainer.config.foreign_flags import check_flags
from trainer.config.help import help_text
from trainer.config.resolve import check_resume, load_yaml, resolve
from trainer.config.schema import CONFIGS, Schemas
from trainer.config.short_forms import written_out
from trainer.config.stored import read_stored, trusted
from trainer.config.suggestions import did_you_mean
from trainer.config.sweeps import asks_for_sweep, check_sweeper, flags_first, sweep_folder
from trainer.errors import UserError, refuse, user_message
from trainer.parallel import failure, launched
from trainer.preempt import STOPPED, StopFlag, exit_code
from trainer.task_table import TaskEntry, Tasks, about_of, arguments_of, having, module_of
from trainer.untrusted.shown import shown, shown_logs, visible

ROOT = "train"  # configs/train.yaml
RUN = "run"  # the argument that names a run directory


def main(tasks: Mapping[str, TaskEntry], about: str = "") -> None:
    """``train.py``: compose, check, build, train.

    Args:
        tasks: by the name that a configuration's ``task`` key has.
        about: what ``--help`` says first: usage and examples.

    Raises:
        UserError: anything that the user can mend (``guarded`` shows it).
        SystemExit: a run was stopped before it was done; see trainer/preempt.py.
    """
    launched.adopt()
    if any(word.startswith(f"{RUN}=") for word in sys.argv[1:]) and not {"-h", "--help"} & set(sys.argv[1:]):
        return _go_on(sys.argv[1:], tasks)
    sweep = asks_for_sweep(sys.argv[1:])
    schemas = {name: entry.schema for name, entry in tasks.items()}
    argv = flags_first(written_out(sys.argv[1:], sweep, schemas))
    check_sweeper(argv)
    if {"-h", "--help"} & set(argv):
        overrides = [word for word in argv if not word.startswith("-")]
        chosen = any(word.startswith(("model=", "experiment=")) for word in overrides)
        composed = compose(overrides, schemas) if chosen else None
        sys.stdout.write(help_text(about, CONFIGS, composed) + "\n")
        return
    from trainer.config.sweep_start import STARTED as sweeps

    failures, stops = list[Exception](), list[bool]()
    sweeps.clear()

    def job(composed: Any) -> Any:
        from hydra.core.hydra_config import HydraConfig
        from hydra.types import RunMode

        hydra = HydraConfig.get()
        launched.adopt()  # a job of submitit's begins here
        swept = hydra.mode == RunMode.MULTIRUN  # also asked for by hydra.mode, or by an experiment
        made = Path(hydra.sweep.dir, hydra.sweep.subdir) if swept else Path(hydra.run.dir)
        run_dir = sweep_folder(hydra, argv) if swept else made
        if os.environ.get("RANK", "0") != "0":
            # Rank 0 makes what a run needs. This one may be killed at any moment when another finds a mistake.
            with suppress(OSError):  # not empty
                made.rmdir()
        try:
            config = resolve(composed, schemas)
            if swept and not config.trainer.dry_run:
                sweeps[Path(hydra.sweep.dir)] = config.logger.curves
            metrics, stop = _run(config, tasks[config.task], run_dir, list(hydra.overrides.task))
            stops.append(stop.undone)
        except Exception as error:
            if swept and not failure.several():
                if isinstance(error, UserError):  # told at once: the other jobs may take days
                    sys.stderr.write(f"{run_dir} failed: {user_message(error)}\n")
                raise
            failures.append(error)  # Hydra would put a line of its own before it
            if swept:  # processes that went on with the next job would wait for this one
                raise SweepFailed from error
            return None
        finally:
            _remove_empty(made)
            _remove_empty(run_dir)
        if stop.requested and launched.submitted():
            launched.hand_on(stop.signal_name)
            raise SystemExit(STOPPED)  # no result: submitit would take the run for done
        if stop.requested and swept and hydra.launcher._target_.endswith(".BasicLauncher"):
            raise SweepStopped  # else the launcher would start the next one
        return metrics

    try:
        _run_hydra(job, argv, schemas)
    except SweepStopped:
        sys.stdout.write("the sweep is stopped; the same command goes on with it\n")
    except SweepFailed:
        pass  # its cause is raised below
    finally:
        if os.environ.get("RANK", "0") == "0":
            for folder, curves in sweeps.items():
                from trainer.records.compare import end_of_sweep

                end_of_sweep(folder, curves, sys.stdout.write)
    if failures:
        raise failures[0]
    if any(stops):
        sys.exit(exit_code())


class SweepStopped(BaseException):
    """A job of a sweep was asked to stop, and so the sweep is. No Exception: Hydra would go on with the next job."""


class SweepFailed(BaseException):
    """A job of a sweep of several processes failed, and so the sweep did. No Exception, as ``SweepStopped``."""


def run(config: RunConfig, entry: TaskEntry, run_dir: Path) -> Any:
    """Check a configuration across its fields, build the task and train it in ``run_dir``.

    Raises:
        ConfigError: with all problems found.
        CheckpointError: ``run_dir`` belongs to another model.

    Returns:
        The metrics of the last evaluation (what a Hydra sweeper may optimise); what a dry run printed.
    """
    return _run(config, entry, run_dir)[0]


def _run(config: RunConfig, entry: TaskEntry, run_dir: Path, words: Sequence[str] = ()) -> tuple[Any, StopFlag]:
    """``run``, and who was asked to stop."""
    refuse(entry.problems(config))
    trusted(config)
    changed = check_resume(config, run_dir)

    from trainer.loop import Trainer  # torch comes in here

    trainer = Trainer(config, lambda: entry.build(config), run_dir, changed=changed)
    trainer.heading = command_line(words, run_dir)
    if config.trainer.dry_run:
        return trainer.dry_run(), trainer.stop
    return trainer.fit(), trainer.stop


def _go_on(words: Sequence[str], tasks: Tasks) -> None:
    """``train.py run=PATH [key=value ...]``: the run that is there, by its own ``config.yaml``."""
    wrong = [word for word in words if "=" not in word or word.startswith("-")]
    first, *more = (word for word in words if word.startswith(f"{RUN}="))
    refuse([f"{word}: beside {RUN}=PATH there are key=value changes only" for word in [*wrong, *more]])
    path = first.partition("=")[2]
    overrides = ["trainer.resume=auto", *(word for word in words if not word.startswith(f"{RUN}="))]
    config = load_run(path, {name: entry.schema for name, entry in tasks.items()}, overrides)
    if _run(config, tasks[config.task], Path(path))[1].undone:
        sys.exit(exit_code())


def register(schemas: Schemas) -> None:
    """Put the tasks' schemas where a model's YAML finds them (``- /schema@_global_: NAME``).

    What is there already stays: storing it again took a quarter of the time of composing.
    """
    from hydra.core.config_store import ConfigStore
    from omegaconf import OmegaConf

    store = ConfigStore.instance()
    stored = store.repo.get("schema", {})
    for name, schema in schemas.items():
        node = stored.get(f"{name}.yaml")
        if node is None or OmegaConf.get_type(node.node) is not schema:
            store.store(group="schema", name=name, node=schema, package="_global_")


def compose(overrides: Sequence[str], schemas: Schemas) -> Any:
    """The configuration that ``train.py OVERRIDES`` would run with.

    Raises:
        ConfigError: as on the command line.
    """
    return trusted(resolve(compose_raw(overrides, schemas), schemas), overrides)


def compose_raw(overrides: Sequence[str], schemas: Schemas) -> Any:
    """Hydra's composition alone; its errors in our words."""
    from trainer.config.overrides import ERRORS, explain, hydra_compose

    register(schemas)
    overrides = written_out(overrides, schemas=schemas)
    try:
        return hydra_compose(overrides, CONFIGS, ROOT)
    except ERRORS as error:
        raise explain(error, overrides, CONFIGS, ROOT, schemas) from error


def load_run(run_dir: str | Path, schemas: Schemas, overrides: Sequence[str] = (), key: str = RUN) -> Any:
    """The configuration of a finished or running run, from its ``config.yaml``, whoever wrote that.

    Args:
        run_dir: such as ``runs/demo``.
        schemas: task name to root dataclass.
        overrides: ``key=value`` changes; ``data=NAME`` and other groups start that group from its YAML anew.
        key: what the user has named the run by, for messages.

    Raises:
        UserError: no such run; a similar one is suggested.
        ConfigError: the file does not fit the schema or holds interpolations, or an override is wrong.
    """
    run_dir = Path(run_dir)
    stored = run_dir / "config.yaml"
    if not stored.is_file():
        several = several_runs(run_dir)
        if several is not None:
            raise UserError(f"{key}={several}")
        beside = sorted(str(path.parent) for path in run_dir.parent.glob("*/config.yaml"))
        have = f"; {run_dir.parent} has: {', '.join(beside)}" if beside else f"; {run_dir.parent} holds no runs"
        raise UserError(
            f"{key}={run_dir}: no config.yaml there, so it is no run{did_you_mean(str(run_dir), beside) or have}"
        )
    config = read_stored(stored, schemas, overrides)
    if not overrides:
        return config
    from trainer.config.overrides import apply_overrides

    return trusted(apply_overrides(config, overrides, CONFIGS, schemas), overrides)


def parse_command(tasks: Tasks, verb: str, about: str) -> tuple[Any, Any]:
    """The task's module of a verb, and its arguments from the command line: the run, or else the table, tells whose.

    The module has ``Arguments``, a dataclass whose docstring says whose they are (or ``arguments(words)``, which gives
    it), and ``run(arguments, schemas, say)``: root dataclasses of all tasks by name, and who takes a line for the user.

    Args:
        about: what ``--help`` says first; it ends the process.

    Raises:
        UserError: no such run, or its task has no such verb. ConfigError: wrong arguments, all together.
    """
    words = sys.argv[1:]
    path = next((word.partition("=")[2] for word in words if word.startswith(f"{RUN}=")), None)
    known = dict(sorted(having(tasks, verb), key=lambda pair: RUN in required(pair[1].Arguments)))
    if {"-h", "--help"} & set(words) and path is None:
        task, *others = known
        sys.stdout.write(usage(arguments_of(known[task], words), about_of(known[task], about)) + "\n")
        for schema in (known[name].Arguments for name in others):
            sys.stdout.write(f"\narguments of {schema.__doc__} (key=value)\n{argument_lines(schema)}\n")
        raise SystemExit(0)
    task = None if path is None else _task_of_run(path)
    if task is None or task not in tasks:
        if path is not None and len(known) > 1:  # whose arguments these are is not known: what is wrong with the run?
            load_run(path, {name: entry.schema for name, entry in tasks.items()})
        task = next(iter(known))  # without a run: one that does without, and says what lacks
    command = module_of(tasks, task, verb)
    return command, parse_args(arguments_of(command, words), run=tasks[task].schema, about=about_of(command, about))


def _task_of_run(path: str) -> str | None:
    """Which task a run is of; None: there is none, or its configuration does not tell."""
    with suppress(UserError):  # whoever reads all of it says what is wrong with it
        task = load_yaml(Path(path) / "config.yaml").get("task")
        return task if isinstance(task, str) else None
    return None


def guarded(function: Callable[[], Any]) -> Callable[[], None]:
    """Wrap a script's ``main``: a user's mistake or a full disk is one message and exit code 2, Ctrl-C is 130."""

    @wraps(function)
    def wrapper() -> None:
        sys.stdout = sys.stdout or open(os.devnull, "w")  # noqa: SIM115  a daemon has none
        sys.stderr = sys.stderr or open(os.devnull, "w")  # noqa: SIM115
        for stream in (sys.stdout, sys.stderr):
            if isinstance(stream, io.TextIOWrapper):  # a file's name may hold bytes that are no text
                stream.reconfigure(errors="backslashreplace")
        if problem := launched.problem():
            sys.stderr.write(f"error: {visible(problem)}\n")
            sys.exit(2)
        if failure.several():  # torch tells of every connection that a dead process leaves, with addresses of its code
            os.environ.setdefault("TORCH_CPP_LOG_LEVEL", "ERROR")
        try:
            with shown_logs(), redirect_stdout(shown(sys.stdout)):
                function()
        except (SystemExit, GeneratorExit):
            raise
        except BaseException as error:  # torch.distributed.checkpoint's is no Exception
            text, code = failure.told(error)
            if failure.several():
                from trainer.parallel.watch import first_of_all  # with torch

                if (first := first_of_all(error, text, code)) is not None:
                    sys.exit(first.code)
            if text is None:
                raise
            sys.stderr.write(f"{visible(text)}\n")
            sys.stderr.flush()
            if code == failure.INTERRUPTED and threading.current_thread() is threading.main_thread():
                signal.signal(signal.SIGINT, signal.SIG_IGN)  # it ends already: one more would change the exit code
            sys.exit(code)

    return wrapper


def _run_hydra(job: Callable[[Any], Any], argv: Sequence[str], schemas: Schemas) -> None:
    import hydra

    from trainer.config.overrides import ERRORS, explain

    register(schemas)
    check_flags(argv, hydra_flags())
    os.environ["HYDRA_FULL_ERROR"] = "1"  # Hydra hands its errors on instead of printing them
    before, sys.argv = sys.argv, [sys.argv[0], *argv]
    try:
        hydra.main(version_base="1.3", config_path=str(CONFIGS), config_name=ROOT)(job)()
    except ERRORS as error:
        words = [word for word in argv if not word.startswith("-")]
        raise explain(error, words, CONFIGS, ROOT, schemas) from error
    finally:
        sys.argv = before


def hydra_flags() -> list[str]:
    """Flags that Hydra takes, with their dashes."""
    from hydra._internal.utils import get_args_parser

    return [flag for action in get_args_parser()._actions for flag in action.option_strings]


def _remove_empty(run_dir: Path) -> None:
    """Hydra makes the run directory before anything is checked; an empty one goes away again."""
    for folder in (run_dir, *run_dir.parents):
        with suppress(OSError):  # not empty
            folder.rmdir()
