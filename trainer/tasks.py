"""The table of tasks: what ``train.py`` and the scripts know of each, and who of them answers a command.

A task's verbs are modules, named in the table and imported when they are asked for, so that a command line is judged
before torch is loaded. What such a module has to offer stands at the head of the script of that name.
"""

from __future__ import annotations

import sys
from collections.abc import Callable, Iterator, Mapping
from contextlib import suppress
from dataclasses import dataclass, field
from enum import Enum
from importlib import import_module
from pathlib import Path
from typing import Any

from trainer.config.arguments import argument_lines, parse_args, required, usage
from trainer.config.fields import RunConfig
from trainer.config.resolve import load_yaml
from trainer.config.schema import field_types, unwrap
from trainer.errors import UserError

RUN = "run"  # the argument that names a run directory


@dataclass(frozen=True)
class TaskEntry:
    """One task as ``train.py`` names it.

    Attributes:
        schema: root dataclass of its configuration.
        problems: cross-field checks: one line per problem, none when the configuration can be run.
        build: makes the task from the configuration; imports what is heavy.
        model: of ``configs/model``: its configuration where a script is told of data only.
        verbs: what else can be done with it: name of a script -> module. Importing the module loads no torch.
    """

    schema: type[RunConfig]
    problems: Callable[[Any], list[str]]
    build: Callable[[Any], Any]
    model: str = ""
    verbs: Mapping[str, str] = field(default_factory=dict)


Tasks = Mapping[str, TaskEntry]


def having(tasks: Tasks, verb: str) -> Iterator[tuple[str, Any]]:
    """(name, module of the verb) of every task that has it, in the order of the table."""
    return ((name, import_module(entry.verbs[verb])) for name, entry in tasks.items() if verb in entry.verbs)


def module_of(tasks: Tasks, task: str, verb: str) -> Any:
    """The module that does ``verb`` for a task.

    Raises:
        UserError: the task has no such verb; names those that have.
    """
    if verb not in tasks[task].verbs:
        others = ", ".join(name for name, entry in tasks.items() if verb in entry.verbs)
        raise UserError(f"task {task}: there is no scripts/{verb}.py for it; tasks that have one: {others}")
    return import_module(tasks[task].verbs[verb])


def task_with_data(tasks: Tasks, kind: str | None) -> TaskEntry:
    """The first task whose ``data.kind`` can be ``kind``; the first of all where none can, or None was asked for."""
    for entry in tasks.values():
        data = unwrap(field_types(entry.schema)["data"])[0]
        kinds = unwrap(field_types(data).get("kind", str))[0]
        if isinstance(kinds, type) and issubclass(kinds, Enum) and kind in kinds.__members__:
            return entry
    return next(iter(tasks.values()))


def parse_command(tasks: Tasks, verb: str, about: str) -> tuple[Any, Any]:
    """The task's module of a verb, and its arguments from the command line: the run, or else the table, tells whose.

    The module has ``Arguments``, a dataclass whose docstring says whose they are, and ``run(arguments, schemas, say)``,
    where ``schemas`` are the root dataclasses of all tasks by name and ``say`` takes a line for the user.

    Args:
        about: what ``--help`` says first; it ends the process.

    Raises:
        UserError: the run's task has no such verb. ConfigError: wrong arguments, all together.
    """
    words = sys.argv[1:]
    path = next((word.partition("=")[2] for word in words if word.startswith(f"{RUN}=")), None)
    known = dict(sorted(having(tasks, verb), key=lambda pair: RUN in required(pair[1].Arguments)))
    task = _task_of_run(tasks, path) or next(iter(known))  # without a run: one that does without, and says what lacks
    if {"-h", "--help"} & set(words) and path is None:
        task, *others = known
        sys.stdout.write(usage(known[task].Arguments, about) + "\n")
        for schema in (known[name].Arguments for name in others):
            sys.stdout.write(f"\narguments of {schema.__doc__} (key=value)\n{argument_lines(schema)}\n")
        raise SystemExit(0)
    command = module_of(tasks, task, verb)
    return command, parse_args(command.Arguments, run=tasks[task].schema, about=about)


def _task_of_run(tasks: Tasks, path: str | None) -> str | None:
    """Which task a run is of; None: there is none, or its configuration does not tell."""
    with suppress(UserError):  # whoever reads all of it says what is wrong with it
        task = load_yaml(Path(path).expanduser() / "config.yaml").get("task") if path else None
        return task if task in tasks else None
    return None
