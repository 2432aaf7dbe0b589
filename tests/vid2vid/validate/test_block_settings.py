"""Settings of blocks that do not go together are refused, and the remedies that are named help."""

import re

import pytest

from train import SCHEMAS
from trainer.cli import compose
from vid2vid.validate import problems

REFUSED = [
    (["model.zero_init=true", "model.norm=instance_plain"], "no norm has a scale"),
    (["model.block=grouped", "model.ngf=6", "model.group_width=16"], "does not divide the 24 channels"),
    (["model.block=grouped", "model.scales=2", "model.group_width=16"], "does not divide the 4 and 16 channels"),
    (["model.block=grouped", "model.group_width=1"], "groups of one channel are model.block=depthwise"),
]


@pytest.mark.parametrize(("words", "message"), REFUSED)
def test_what_cannot_be_is_refused(words: list[str], message: str) -> None:
    base = ["model=vid2vid_tiny", "model.foreground=off", *words]
    (found,) = problems(compose(base, SCHEMAS))
    assert message in found
    remedy = re.findall(r"set (model\.\w+=\w+)", found) or ["model.block=depthwise"]
    assert problems(compose([*base, remedy[0]], SCHEMAS)) == []
