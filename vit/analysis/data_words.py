"""The words of a command that mean the same data: for trainings on them, and for commands to be copied."""

from __future__ import annotations

from trainer.cli import compose
from trainer.config.resolve import flatten, plain
from trainer.config.schema import show
from vit.config import VitConfig


def data_words(config: VitConfig) -> list[str]:
    """``data=KIND``, and each key in which the data differ from it; as ``train.py`` takes them."""
    group = f"data={config.data.kind.value}"
    usual = compose(["model=vit_b16", group], {"vit": VitConfig})
    before, own = flatten(plain(usual.data)), flatten(plain(config.data))
    return [group, *(f"data.{key}={show(value)}" for key, value in own.items() if before.get(key) != value)]
