"""The table of tasks: what ``train.py`` and the scripts know of each, and who of them answers a command.

A task's verbs are modules, named in the table and imported when they are asked for, so that a command line is judged
before torch is loaded. What such a module has to offer stands at the head of the script of that name.
"""

from __future__ import annotations

from collections.abc import Callable, Iterator, Mapping, Sequence
from dataclasses import dataclass, field
from enum import Enum
from importlib import import_module
from typing import Any

from trainer.config.fields import RunConfig
from trainer.config.schema import field_types, unwrap
from trainer.errors import UserError


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


def arguments_of(module: Any, words: Sequence[str]) -> type:
    """The dataclass of a verb's arguments; where the words decide on them, those that they ask for."""
    return module.arguments(words) if hasattr(module, "arguments") else module.Arguments


def about_of(module: Any, text: str) -> str:
    """What a verb's ``--help`` says first, after what the script says of itself."""
    return module.about(text) if hasattr(module, "about") else text


def task_with_data(tasks: Tasks, kind: str | None) -> TaskEntry:
    """The first task whose ``data.kind`` can be ``kind``; the first of all where none can, or None was asked for."""
    for entry in tasks.values():
        data = unwrap(field_types(entry.schema)["data"])[0]
        kinds = unwrap(field_types(data).get("kind", str))[0]
        if isinstance(kinds, type) and issubclass(kinds, Enum) and kind in kinds.__members__:
            return entry
    return next(iter(tasks.values()))
