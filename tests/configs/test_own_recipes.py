"""A recipe of one's own may begin with any recipe, also with one that itself begins with another."""

import shutil
from pathlib import Path

import pytest
import yaml

from train import SCHEMAS
from trainer import cli
from trainer.cli import CONFIGS, compose
from trainer.config.resolve import flatten, plain

FILES = sorted((CONFIGS / "experiment").glob("*/*.yaml"))


def parents(file: Path) -> list[str]:
    """The experiments that a recipe begins with, as its file names them."""
    defaults = yaml.safe_load(file.read_text(encoding="utf-8")).get("defaults", [])
    return [entry for entry in defaults if isinstance(entry, str) and entry != "_self_"]


CHILDREN = [f"{file.parent.name}/{file.stem}" for file in FILES if parents(file)]


def test_there_are_such_recipes() -> None:
    assert "vit/deit3_i21k_finetune_b" in CHILDREN and "vid2vid/overfit" in CHILDREN


@pytest.mark.parametrize("name", CHILDREN)
def test_a_recipe_that_begins_with_this_one_is_this_one(
    name: str, tmp_path: Path, monkeypatch: pytest.MonkeyPatch
) -> None:
    copy = tmp_path / "configs"
    shutil.copytree(CONFIGS, copy)
    text = f"# @package _global_\ndefaults:\n  - /experiment/{name}\n  - _self_\n\nseed: 7\n"
    (copy / "experiment" / "mine.yaml").write_text(text, encoding="utf-8")
    monkeypatch.setattr(cli, "CONFIGS", copy)
    mine, begun = (flatten(plain(compose([f"experiment={word}"], SCHEMAS))) for word in ("mine", name))
    assert mine.pop("seed") == 7 and begun.pop("seed") == 0
    assert mine == begun
