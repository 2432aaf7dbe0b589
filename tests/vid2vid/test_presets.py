"""The design of 2018 as a preset of its own."""

from __future__ import annotations

import yaml

from tests.helpers.made_task import configured
from train import SCHEMAS
from trainer.cli import CONFIGS, compose
from trainer.config.resolve import plain
from vid2vid.config import Gan
from vid2vid.task import Vid2VidTask


def test_the_default_differs_from_the_design_of_2018_in_three_parts() -> None:
    ours, theirs = (plain(configured(model=name)) for name in ("vid2vid", "vid2vid_2018"))
    parts = {"upsample": "nearest", "gan": "relativistic", "r1_gamma": 0.005, "r2_gamma": 0.005}
    parts |= {"image_discriminator": "segmenting", "segmenting_gamma": 0.0}
    assert ours["model"] == theirs["model"] | parts
    assert {**ours, "model": None} == {**theirs, "model": None}


def test_pictures_have_no_classes_to_tell_apart() -> None:
    """Whether the data, a recipe or the command line says that there are no label maps; and tiny models take any."""
    for words in (["data=video"], ["data=face"], ["data=folders", "model.source=image", "model.foreground=off"]):
        assert configured(*words, model="vid2vid").model.image_discriminator is True
    footage = compose(["experiment=vid2vid/footage", "data.root=PATH"], SCHEMAS).model
    assert footage.image_discriminator is True and footage.gan is Gan.relativistic
    assert configured("model.image_discriminator=patch", model="vid2vid").model.image_discriminator is True
    assert configured("data=video", model="vid2vid_2018").model.image_discriminator is True
    assert configured().model.image_discriminator is True


def test_what_is_the_papers_stands_on_it() -> None:
    for name in ("no_flow", "no_foreground", "no_video_discriminator", "paper_foreground", "face_512"):
        text = (CONFIGS / f"experiment/vid2vid/{name}.yaml").read_text(encoding="utf-8")
        assert {"override /model": "vid2vid_2018"} in yaml.safe_load(text)["defaults"], name


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


def test_it_says_where_another_loss_keeps_the_penalties() -> None:
    """Who tries ``model.gan=lsgan`` alone has changed one of two things."""

    def said(*words: str, model: str = "vid2vid_tiny") -> list[str]:
        return [note for note in Vid2VidTask(configured(*words, model=model)).notes() if "penalties" in note]

    assert said() == said(*("model.gan=lsgan", "model.r1_gamma=0", "model.r2_gamma=0")) == []
    (note,) = said("model.gan=lsgan")
    assert "model.gan=lsgan under gradient penalties, model.r1_gamma=0.005 and model.r2_gamma=0.005: 0 each" in note
    (note,) = said("model.r1_gamma=0")
    assert "without both penalties it need not converge" in note
