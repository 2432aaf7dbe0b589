"""The keys that a user types: each can be given, and none is new or gone unless that is meant."""

from __future__ import annotations

import pytest

from tests.helpers.composed import REFERENCE
from tests.helpers.paths import ROOT
from tests.helpers.public_keys import COMMAND, FILE, public_keys
from train import SCHEMAS
from trainer.cli import compose
from trainer.config.resolve import config_diff, flatten, plain


def value_of(value: object) -> str:
    text = "null" if value is None else str(value).lower() if isinstance(value, bool) else str(value)
    return text.replace(" ", "").replace("'", "")


@pytest.mark.parametrize("model", REFERENCE.values())
def test_every_key_of_the_schema_is_reachable(model: str) -> None:
    """Given on the command line with its own value, each key is accepted and arrives."""
    config = compose([f"model={model}"], SCHEMAS)
    values = {key: value for key, value in flatten(plain(config)).items() if value not in ("", {})}
    assert len(values) > 100
    again = compose([f"model={model}", *(f"{key}={value_of(value)}" for key, value in values.items())], SCHEMAS)
    assert config_diff(config, again) == []


def test_no_key_is_new_or_gone_by_mistake() -> None:
    """Whoever means it runs the command and commits the list; commands, recipes and stored runs rest on these keys."""
    known, found = set(FILE.read_text(encoding="utf-8").splitlines()), set(public_keys())
    lines = [f"  gone: {line}" for line in sorted(known - found)]
    lines += [f"  new:  {line}" for line in sorted(found - known)]
    assert not lines, "\n".join([f"public keys changed; if that is meant: {COMMAND}", *lines])


def test_all_commands_have_keys() -> None:
    """The list sees both tasks and every script that takes arguments."""
    scripts = {f"scripts/{path.name}" for path in (ROOT / "scripts").glob("[!_]*.py")}
    owners = {line.split(" ")[0] for line in public_keys()}
    assert owners == {*SCHEMAS, *scripts} - {"scripts/compare.py", "scripts/sweep.py"}  # folders; the words of train.py
