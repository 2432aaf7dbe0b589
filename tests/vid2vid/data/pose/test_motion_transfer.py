"""A run keeps the proportions of its dancer, and another one's film is drawn on them."""

from __future__ import annotations

import json
from pathlib import Path

import numpy as np
import pytest

from tests.helpers.made_faces import made_face, placed
from tests.helpers.made_frames import picture, save
from trainer.cli import compose
from trainer.errors import DataError
from vid2vid.config import Vid2VidConfig
from vid2vid.data import open_source
from vid2vid.data.augment import centre_crop
from vid2vid.data.face.source import Faces
from vid2vid.data.folders.frames import FolderSequence
from vid2vid.data.landmarks.person import Person
from vid2vid.data.pose.draw import draw_people
from vid2vid.data.pose.source import Poses
from vid2vid.data.retarget import retargeted, target_of
from vid2vid.data.run_data import RunData


def body(x: float, ground: float, trunk: float, thigh: float, shin: float) -> dict[int, tuple[float, float]]:
    """Points of BODY_25 of somebody who stands upright at x."""
    hip = ground - thigh - shin
    legs = {9: (x - 3, hip), 10: (x - 3, hip + thigh), 11: (x - 3, ground)}
    return {8: (x, hip), 1: (x, hip - trunk), **legs, 12: (x + 3, hip), 13: (x + 3, hip + thigh), 14: (x + 3, ground)}


def write(root: Path, bodies: list[dict[int, tuple[float, float]]], size: tuple[int, int]) -> Path:
    for number, points in enumerate(bodies):
        flat = [v for n in range(25) for v in ((*points[n], 0.9) if n in points else (0, 0, 0))]
        path = root / f"landmarks/a/{number:06d}.json"
        path.parent.mkdir(parents=True, exist_ok=True)
        path.write_text(json.dumps({"people": [{"pose_keypoints_2d": flat}]}))
        save(root / f"images/a/{number:06d}.png", picture(number, *size))
    return root


TARGET = (20.0, 20.0, 10.0)  # trunk, thigh, shin in a frame of 80x80
DRIVER = (20.0, 20.0, 20.0)  # in one of 160x160


@pytest.fixture(scope="module")
def roots(tmp_path_factory):
    target = [body(40 + x, 70, *TARGET) for x in (-1, 0, 1)]
    driver = [body(100 + x, 120, *DRIVER) for x in (-16, 0, 16)]
    made = tmp_path_factory.mktemp("people")
    return {"target": write(made / "target", target, (80, 80)), "driver": write(made / "driver", driver, (160, 160))}


def config(root: Path, *words: str) -> Vid2VidConfig:
    from train import SCHEMAS

    names = ["model=vid2vid_tiny", "data=pose", f"data.root={root}", "data.sources=[pose:landmarks]", "data.flow=none"]
    return compose([*names, "resolution=[80,80]", "model.video_discriminator=false", *words], SCHEMAS)


def expected(shift: float) -> np.ndarray:
    """The target's trunk, thighs and shins, where the driver has moved by so many of its own pixels.

    The trunk is 20 of 80 and 20 of 160, thighs likewise, shins 10 of 80 and 20 of 160, hips 3 of 80 and 3 of 160: in
    heights the driver's limbs are 106 / 160, the target's 86 / 80, so that one's steps are
    (86 / 80) / (106 / 160) times as long, half of it in pixels of the target's frames.
    """
    scale = (86 / 80) / (106 / 160)
    points = np.zeros((25, 3), np.float32)
    for index, xy in body(40 + shift / 2 * scale, 70, *TARGET).items():
        points[index] = (*xy, 1)
    return draw_people([Person(body=points)], (80, 80))


def test_a_driver_twice_as_large_stands_on_the_target_s_ground_with_its_limbs(roots, caplog):
    run = config(roots["target"])
    data = RunData(run)
    data.build("train", (80, 80), 3)
    stored = json.loads(json.dumps(data.state_dict(), allow_nan=False))["proportions"]
    for target in (target_of(True, stored, run), target_of(str(roots["target"]), None, run)):
        (stream,) = open_source(roots["driver"], run)
        frames = list(retargeted(stream, target))
        for frame, shift in zip(frames, (-16, 0, 16), strict=True):
            # Half a pixel's rounding apart, at the edges of strokes.
            assert np.abs(frame["source"].numpy().astype(int) - expected(shift)).max() <= 2
    assert "cannot be fitted" not in caplog.text


def test_the_driver_itself_stays(roots):
    run = config(roots["driver"])
    (stream,) = open_source(roots["driver"], run)
    fitted = retargeted(stream, target_of(str(roots["driver"]), None, run))
    for before, after in zip(stream, fitted, strict=True):
        assert np.abs(before["source"].numpy().astype(int) - after["source"].numpy()).max() <= 2


def test_a_face_beside_the_skeleton_goes_with_its_head(tmp_path):
    """Skeleton and face side by side, as prepare.py people writes them: nose 5 above the neck, eyes 5 or 4 apart."""
    made = {}
    like, drives = body(40, 70, *TARGET), body(100, 120, *DRIVER)
    for name, figure, size, eyes in (("like", like, 80, 4), ("drives", drives, 160, 5)):
        x, y = figure[1]
        root = made[name] = write(tmp_path / name, [figure | {0: (x, y - 5)}] * 3, (size, size))
        # The corners 36 and 45 of a made face are 1.2 apart.
        face = [v for point in placed(made_face(), x, y - 5, eyes / 1.2) for v in (*point, 1)]
        for file in (root / "landmarks/a").iterdir():
            content = json.loads(file.read_text())
            content["people"][0]["face_keypoints_2d"] = face
            file.write_text(json.dumps(content))
    run = config(made["like"], "data.sources=[face:landmarks,pose:landmarks]")
    (stream,) = open_source(made["drives"], run)
    fitted = retargeted(stream, target_of(str(made["like"]), None, run)).sequence
    assert isinstance(fitted, FolderSequence)
    (faces, poses) = fitted.sources
    assert isinstance(faces, Faces) and isinstance(poses, Poses) and poses.instead is not None
    # The driver's frames are twice as large as the target's, whose nose is at (40, 15): it gets to (80.5, 30.5), eyes
    # to 8 apart.
    np.testing.assert_allclose(faces.track[1], placed(made_face(), 80.5, 30.5, 8 / 1.2), atol=0.02)
    person = poses.instead[1]
    assert person is not None
    np.testing.assert_allclose(person.face[:, :2], faces.track[1], atol=0.02)


def test_what_is_not_fitted_is_said(roots, tmp_path, caplog):
    for name in ("images", "landmarks"):
        (tmp_path / name).symlink_to(roots["driver"] / name)
    (tmp_path / "iuv/a").mkdir(parents=True)
    for number in range(3):
        save(tmp_path / f"iuv/a/{number:06d}.png", np.zeros((160, 160, 3), np.uint8))
    run = config(tmp_path, "data.sources=[pose:landmarks,densepose:iuv]")
    (stream,) = open_source(tmp_path, run)
    retargeted(stream, target_of(str(tmp_path), None, run))
    assert "densepose:iuv cannot be fitted" in caplog.text


def test_nothing_in_common_is_an_error(roots, tmp_path):
    run = config(roots["target"])
    target = target_of(str(roots["target"]), None, run)
    write(tmp_path, [{5: (10, 10), 6: (20, 20)}] * 2, (80, 80))  # an arm alone
    (stream,) = open_source(tmp_path, run)
    with pytest.raises(DataError, match=r"000000\.json: nobody in it .* has a limb .* from head to foot"):
        retargeted(stream, target)


def test_a_crowd_is_followed_and_a_bad_file_is_a_gap(tmp_path, roots):
    files = [roots["driver"] / f"landmarks/a/{n:06d}.json" for n in range(3)]
    bad = tmp_path / "bad.json"
    bad.write_text("{")
    run = config(roots["driver"], "data.on_bad_file=skip")
    track = Poses([files[0], bad, files[2]], run).track(range(3))
    assert track[1] is None and track[0] is not None and track[2] is not None
    assert Poses(files, run).shown(lambda: (160, 160)) == centre_crop((160, 160), (80, 80))
