"""The design of 2018 as a preset of its own."""

from __future__ import annotations

import json
from pathlib import Path

import yaml

from tests.helpers.made_task import configured, make_trainer
from trainer.cli import CONFIGS
from trainer.config.resolve import plain

SMALL = ["resolution=[16,32]", "model.ngf=4", "model.blocks=2", "model.ndf=4", "data.workers=0", "data.clips=2"]
ONE_CLIP = ["curriculum=single", "curriculum.stages.all.frames=6", "trainer.max_samples=1", "trainer.micro_batch=null"]


def losses(model: str, folder: Path) -> list[dict[str, float]]:
    trainer, _ = make_trainer(configured(*SMALL, *ONE_CLIP, model=model), folder)
    trainer.fit()
    records = map(json.loads, (folder / "metrics.jsonl").read_text(encoding="utf-8").splitlines())
    return [record["losses"] for record in records if "losses" in record]


def test_the_default_is_the_design_of_2018(tmp_path: Path) -> None:
    """The same configuration, and the same losses to the last bit."""
    assert plain(configured(model="vid2vid")) == plain(configured(model="vid2vid_2018"))
    found = losses("vid2vid", tmp_path / "default")
    assert len(found) == 2 and found[0] != found[1]
    assert found == losses("vid2vid_2018", tmp_path / "2018")


def test_it_says_what_later_parts_are_off() -> None:
    """In the file, so that another default in the schema changes nothing of it; the paper's presets build on it."""
    text = (CONFIGS / "model/vid2vid_2018.yaml").read_text(encoding="utf-8")
    said = yaml.safe_load(text)["model"]
    assert said == {
        **{"foreground": "override", "upsample": "transposed", "downsample": "strided", "block": "plain"},
        **{"zero_init": False, "image_discriminator": True, "gan": "lsgan", "r1_gamma": 0, "r2_gamma": 0},
        **{"diff_augment": [], "loss_perceptual": "vgg", "gamma_ramp": None},
        **{"video_discriminator_input": "frames_and_flow"},
    }
    for name in ("vid2vid_paper", "pix2pixhd"):
        assert "vid2vid_2018" in yaml.safe_load((CONFIGS / f"model/{name}.yaml").read_text())["defaults"]
