"""All that training draws at random of its own is a function of the position: a crashed run goes on bit for bit."""

from pathlib import Path
from typing import Any

import pytest

from tests.helpers.exactness import assert_same
from tests.helpers.made_task import configured, make_trainer
from tests.helpers.power_cut import fit_until
from trainer.checkpoint.contents import WEIGHTS
from trainer.checkpoint.trained import load_weights
from vid2vid.config import Vid2VidStage

WORDS = [
    "trainer.max_samples=3",
    "trainer.checkpoint_every=2",
    "model.feedback_noise=0.1",
    "model.diff_augment=[colour,shift,cutout]",
    "model.regions=[labels]",
    "model.region_labels=[21,26]",
]


SEGMENTING = ["model.image_discriminator=segmenting", "model.segmenting_gamma=1", "model.penalty_every=3"]


def trainer_of(folder: Path, *words: str) -> Any:
    stage = Vid2VidStage(frames=4, segment_frames=2, palindrome=True, backprop_frames=2)
    return make_trainer(configured(*WORDS, *words, stages={"all": stage}), folder)[0]


def weights(folder: Path) -> dict[str, Any]:
    return dict(load_weights(sorted((folder / "checkpoints").glob("step-*"))[-1] / WEIGHTS)[0])


@pytest.mark.slow
@pytest.mark.parametrize("words", [[], SEGMENTING], ids=["patch", "segmenting"])
def test_a_run_that_crashed_goes_on_bit_for_bit(tmp_path: Path, words: list[str]) -> None:
    whole, broken = tmp_path / "whole", tmp_path / "broken"
    trainer_of(whole, *words).fit()
    fit_until(trainer_of(broken, *words), 3)
    resumed = trainer_of(broken, *words)
    resumed.fit()
    assert resumed.step == 6
    assert any(name.startswith("d_region.") for name in weights(whole))
    assert_same(weights(whole), weights(broken))
