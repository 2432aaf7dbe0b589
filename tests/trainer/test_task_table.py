"""The table of tasks: whose data, whose verb."""

from __future__ import annotations

from dataclasses import replace

import pytest

from train import TASKS
from trainer.errors import UserError
from trainer.task_table import having, module_of, task_with_data


@pytest.mark.parametrize(("kind", "task"), [("digits", "vit"), ("imagefolder", "vit"), ("video", "vid2vid")])
def test_a_kind_of_data_tells_the_task(kind: str, task: str) -> None:
    assert task_with_data(TASKS, kind) is TASKS[task]
    two = {name: TASKS[name] for name in ("vit", "vid2vid")}  # wherever it stands
    assert task_with_data(two, kind) is task_with_data(dict(reversed(two.items())), kind) is TASKS[task]


def test_the_first_task_answers_for_unknown_data() -> None:
    assert task_with_data(TASKS, None) is task_with_data(TASKS, "nonsense") is next(iter(TASKS.values()))


def test_a_verb_that_a_task_lacks_names_those_that_have_it() -> None:
    with pytest.raises(UserError, match=r"task vit: there is no scripts/generate\.py for it.*have one: vid2vid$"):
        module_of(TASKS, "vit", "generate")
    assert module_of(TASKS, "vid2vid", "generate").__name__ == "vid2vid.generate.command"


def test_modules_of_a_verb_come_in_the_order_of_the_table() -> None:
    few = {**TASKS, "silent": replace(TASKS["vit"], verbs={})}
    assert [name for name, _ in having(few, "convert")] == ["vid2vid", "vit"]
    assert next(module.FORMATS for _, module in having(few, "convert")) == ("vid2vid",)
