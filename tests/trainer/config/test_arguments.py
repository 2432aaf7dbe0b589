"""Arguments of scripts: words of the form key=value, their types, their help."""

from __future__ import annotations

import re
from dataclasses import dataclass, field
from enum import Enum

import pytest
from omegaconf import MISSING

from trainer.config.arguments import number_or, parse_args, usage
from trainer.config.help import field_comments
from trainer.errors import ConfigError


class Format(Enum):
    mp4 = "mp4"
    png = "png"


@dataclass
class Arguments:
    """Make something."""

    run: str = MISSING  # the run's folder
    frames: int | None = None  # how many
    remap: str | None = None  # pairs like 11:21,26:33
    format: Format = Format.mp4  # of the output
    compare: bool = False
    sizes: list[int] = field(default_factory=lambda: [1, 2])
    overrides: list[str] = field(default_factory=list)


def test_arguments() -> None:
    given = parse_args(
        Arguments, ["run=runs/a=b", "frames=3", "remap=11:21", "format=png", "compare=true", "sizes=[4]"]
    )
    assert given == Arguments("runs/a=b", 3, "11:21", Format.png, True, [4], [])
    assert parse_args(Arguments, ["run=1", "remap=null", "frames=null"]).run == "1"
    assert parse_args(Arguments, ["run=a", "data=folders", "data.root=/x"]).overrides == [
        "data=folders",
        "data.root=/x",
    ]


@pytest.mark.parametrize(
    ("words", "message"),
    [
        ([], "run=... is missing: the run's folder"),
        (["rum=x"], "unknown key 'rum'; did you mean 'run'?"),
        (["run=x", "frames=many"], "frames=many: must be a whole number or null"),
        (["run=x", "format=gif"], "format=gif is not one of: mp4, png"),
        (["run=x", "compare=perhaps"], "compare=perhaps: must be true or false"),
        (["run=x", "--compare"], "'--compare' is not of the form key=value; try compare=..."),
        (["run=x", "--max-frames=3"], "try max_frames=3"),
    ],
)
def test_wrong_arguments(words: list[str], message: str) -> None:
    with pytest.raises(ConfigError, match=re.escape(message)):
        parse_args(Arguments, words)


def test_arguments_help(capsys: pytest.CaptureFixture[str]) -> None:
    with pytest.raises(SystemExit) as stop:
        parse_args(Arguments, ["--help"])
    text = capsys.readouterr().out
    assert stop.value.code == 0 and text.strip() == usage(Arguments)
    assert re.search(r"run=\.\.\. \(required\)\s+the run's folder", text)
    assert re.search(r"format=mp4\s+of the output \(mp4 \| png\)", text)
    assert field_comments(Arguments)["remap"] == "pairs like 11:21,26:33"


@pytest.mark.parametrize("text", ["0", "-3", "1.5", "\u00b2", "", "dynamic"])
def test_a_number_or_a_word(text: str) -> None:
    assert number_or("auto", "auto", "batch", "pictures") is None and number_or("auto", "12", "batch", "pictures") == 12
    with pytest.raises(ConfigError, match=f"batch={text}: must be a number of pictures of at least 1, or auto"):
        number_or("auto", text, "batch", "pictures")
