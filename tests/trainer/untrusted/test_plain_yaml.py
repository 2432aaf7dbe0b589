"""YAML of strangers: plain values come out, and whatever else is in it is a short error, at once."""

from __future__ import annotations

import time
from pathlib import Path

import pytest

from trainer.config.resolve import load_yaml
from trainer.errors import UserError
from trainer.untrusted import plain_json

LAUGHS = "a: &a [x,x,x,x,x,x,x,x,x]\n" + "".join(
    f"{new}: &{new} [{','.join([f'*{old}'] * 9)}]\n" for old, new in zip("abcdefgh", "bcdefghi", strict=True)
)
MERGES = "a: &a {x: 1}\n" + "".join(
    f"{new}: &{new} {{<<: [{','.join([f'*{old}'] * 30)}]}}\n" for old, new in zip("abcde", "bcdef", strict=True)
)


def test_plain_values_are_as_omegaconf_has_them(tmp_path: Path) -> None:
    path = tmp_path / "config.yaml"
    path.write_text("a: &a {lr: 1e-4, day: 2020-01-01, none: ~}\nb: [*a, '${oc.env:HOME}', '???', yes]\n1: ü\n")
    a = {"lr": 0.0001, "day": "2020-01-01", "none": None}
    assert load_yaml(path) == {"a": a, "b": [a, "${oc.env:HOME}", "???", True], "1": "ü"}


@pytest.mark.parametrize(
    ("text", "why"),
    [
        ("a: !!python/object/apply:os.system ['touch owned']", "tag"),
        ("a: !!python/object/apply:pathlib.PosixPath ['/etc']", "tag"),
        ("a: !!python/name:os.system", "tag"),
        ("!!set {a, b}", "tag"),
        (LAUGHS, "more than 100,000 values"),
        (MERGES, "more than 100,000 values"),
        ("a: &a [*a]", "alias stands within"),
        ("a: " + "{b: " * 60 + "}" * 60, "nested more than 50 deep"),
        ("[" * 100_000, "nest|flow level"),
        ("a: " + "9" * 5000, "3,500 digits"),
        ("a: 0x" + "f" * 5000, "3,500 digits"),
        ("a: -0b" + "1" * 5000, "3,500 digits"),
        ("a: 1" + ":59" * 2000, "3,500 digits"),
        ("a: 1\na: 2", "duplicate key"),
        ("a: '" + "x" * 2**22 + "'", "more than 4,194,304 bytes"),
        ("- a", "no configuration"),
        ("a: \x00", "unacceptable character"),
        ("a: [", "YAML"),
    ],
)
def test_refused_at_once(tmp_path: Path, text: str, why: str) -> None:
    path = tmp_path / "config.yaml"
    path.write_text(text)
    before = time.process_time()
    with pytest.raises(UserError, match=why) as caught:
        load_yaml(path)
    assert time.process_time() - before < 2 and str(path) in str(caught.value)
    assert list(tmp_path.iterdir()) == [path] and not Path("owned").exists()


@pytest.mark.parametrize(
    "text", ["[" * 100_000, "[" * 200 + "]" * 200, '{"a":' * 101 + "1" + "}" * 101, "9" * 5000, "{"]
)
def test_json_that_is_too_deep_or_none(text: str) -> None:
    with pytest.raises(ValueError, match=r"deep|digits|Expecting"):
        plain_json.loads(text)
    assert plain_json.loads("[" * 100 + "]" * 100) and plain_json.loads('{"a": [1, NaN]}')["a"][0] == 1
