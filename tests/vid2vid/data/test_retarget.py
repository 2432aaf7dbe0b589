"""Proportions of the people in training data, kept with the weights, and others fitted to them."""

from __future__ import annotations

import numpy as np
import pytest

from tests.helpers.made_faces import made_face, placed, write_faces
from tests.helpers.made_frames import picture, save
from trainer.cli import compose
from trainer.errors import ConfigError, DataError
from vid2vid.data import open_source
from vid2vid.data.face.proportions import neutral_face
from vid2vid.data.retarget import proportions_of, retargeted, target_of
from vid2vid.data.run_data import RunData


def wide_face() -> np.ndarray:
    face = made_face()
    face[:17] *= [1.3, 0.8]
    return face


@pytest.fixture(scope="module")
def roots(tmp_path_factory):
    """Two people, three frames each: one to be like, and one that drives; and one with half a face."""
    made = {}
    half = made_face()
    half[39:68] = np.nan
    for name, face in (("target", wide_face()), ("driver", made_face()), ("half", half)):
        root = made[name] = tmp_path_factory.mktemp(name)
        write_faces(root / "landmarks" / "a", [placed(face, x, 40, 10) for x in (50, 55, 60)])
        for number in range(3):
            save(root / "images/a" / f"{number:06d}.png", picture(number, 80, 120))
    return made


def config(root, *words: str):
    from train import SCHEMAS

    names = ["model=vid2vid_tiny", "data=face", f"data.root={root}", "resolution=[32,32]", "data.flow=none"]
    return compose([*names, "model.video_discriminator=false", *words], SCHEMAS)


def test_a_run_keeps_the_proportions_of_its_training_data(roots):
    data = RunData(config(roots["target"]))
    assert "proportions" not in data.state_dict()
    data.build("train", (32, 32), 3)
    state = data.state_dict()
    np.testing.assert_allclose(state["proportions"]["face"], neutral_face(wide_face()[None]), atol=1e-4)
    other = RunData(config(roots["driver"]))
    other.load_state_dict(state)
    other.build("train", (32, 32), 3)
    assert other.state_dict()["proportions"] == state["proportions"]  # those of the run that it goes on with


def test_a_driving_face_takes_the_proportions_that_a_run_keeps(roots):
    run = config(roots["target"])
    data = RunData(run)
    data.build("train", (32, 32), 3)
    (stream,) = open_source(roots["driver"], run)
    fitted = retargeted(stream, target_of(True, data.state_dict()["proportions"], run))
    track = fitted.sequence.sources[0].track
    np.testing.assert_allclose(track[1], placed(wide_face(), 55, 40, 10), atol=2e-3)
    assert len(list(fitted)) == 3
    assert (next(iter(fitted))["source"] != next(iter(stream))["source"]).any()


def test_a_folder_of_landmarks_can_be_the_target(roots):
    run = config(roots["driver"])
    for folder in (roots["target"], roots["target"] / "landmarks"):
        found = target_of(str(folder), None, run)
        np.testing.assert_allclose(found["face"], neutral_face(wide_face()[None]), atol=1e-4)


def test_what_cannot_be_fitted_is_told(roots):
    run = config(roots["driver"])
    with pytest.raises(ConfigError, match="retarget=true: this checkpoint does not know"):
        target_of(True, None, run)
    with pytest.raises(DataError, match=r"half.*: no face is whole in any frame"):
        target_of(str(roots["half"]), None, run)
    edges = config(roots["driver"], "data.sources=[edges]", "data.crop=none")
    with pytest.raises(ConfigError, match=r"retarget=true fits people.*face:FOLDER"):
        target_of(True, {}, edges)
    (stream,) = open_source("street", config(roots["driver"], "data=street", "data.val_clips=1", "data.sources=[]"), 2)
    with pytest.raises(ConfigError, match="has no landmarks"):
        retargeted(stream, {"face": []})


def test_sources_without_people_have_no_proportions(roots):
    assert proportions_of([], config(roots["driver"], "data.sources=[edges]", "data.crop=none")) == {}
