"""A network out of a checkpoint: the file tells which weights these are, and only its own architecture takes them."""

from pathlib import Path

import pytest
import torch
from torch import nn

from trainer.checkpoint.contents import EMA, WEIGHTS
from trainer.checkpoint.directory import Checkpoints
from trainer.checkpoint.trained import read_trained
from trainer.errors import CheckpointError


def saved(folder: Path, averaged: bool) -> Path:
    """A checkpoint of two networks, ``one`` with the weight 1 (averaged: 3), ``two`` with 2."""
    raw = {"one.weight": torch.full((1, 1), 1.0), "two.weight": torch.full((1, 1), 2.0)}
    ema = {**raw, "one.weight": torch.full((1, 1), 3.0)} if averaged else None
    return Checkpoints(folder).save(4, {}, raw, ema, {"samples_seen": 8})


def one_weight() -> nn.Linear:
    return nn.Linear(1, 1, bias=False)


def test_the_file_tells_which_weights_these_are(tmp_path: Path) -> None:
    path = saved(tmp_path, averaged=True)
    for source, ema, value, which in (
        (path, True, 3.0, "averaged (EMA) weights"),
        (path, False, 1.0, "raw weights"),
        (path / WEIGHTS, True, 1.0, "raw weights"),
        (path / EMA, True, 3.0, "averaged (EMA) weights"),
    ):
        trained = read_trained(source, "one", ema)
        assert trained.which == which and trained.averaged is which.startswith("averaged")
        assert trained.line == f"{which} of {source}, step 4"
        assert trained.into(one_weight(), "network").weight.item() == value


def test_a_checkpoint_without_averages_says_so(tmp_path: Path) -> None:
    trained = read_trained(saved(tmp_path, averaged=False), "two")
    assert trained.which == "raw weights, for there are no averaged (EMA) ones" and not trained.averaged
    assert trained.into(one_weight(), "network").weight.item() == 2.0


def test_of_another_run_it_is_the_newest_checkpoint_that_tells(tmp_path: Path) -> None:
    path = saved(tmp_path, averaged=True)
    assert read_trained(tmp_path, "one").line == f"averaged (EMA) weights of {path}, step 4"
    assert read_trained(tmp_path, "one", ema=False).which == "raw weights"


def test_the_module_is_ready_to_use_and_must_be_the_same(tmp_path: Path) -> None:
    trained = read_trained(saved(tmp_path, averaged=True), "one")
    module = trained.into(one_weight().train(), "network")
    assert not module.training and not module.weight.requires_grad
    with pytest.raises(CheckpointError, match=r"the judge in .* of another architecture"):
        trained.into(nn.Linear(2, 1, bias=False), "judge")
