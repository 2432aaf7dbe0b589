"""The class is the motion: no frame tells it, and played backwards it is the opposite one."""

from __future__ import annotations

import numpy as np
import pytest

from vit.data.clips.moving_shapes import LENGTH, MovingShapes


@pytest.fixture(scope="module")
def source() -> MovingShapes:
    return MovingShapes("train", (16, 16), 6000)


def test_classes_take_turns(source: MovingShapes) -> None:
    assert np.bincount(source.labels()).tolist() == [500] * 12
    assert [source.label(index) for index in range(12, 25)] == [*range(1, 12), 0, 2]


@pytest.mark.parametrize("number", [0, LENGTH // 2, LENGTH - 1])
def test_in_any_one_frame_all_is_equally_likely_for_every_class(source: MovingShapes, number: int) -> None:
    """Place, turn and size are uniform in each class: Kolmogorov and Smirnov's distance of 500, at one in 10,000."""
    states = np.stack([source.clip(index).state(number) for index in range(6000)])
    for label in range(12):
        own = np.sort(states[source.labels() == label], axis=0)
        steps = np.arange(501) / 500
        distance = np.maximum(np.abs(own - steps[:-1, None]), np.abs(own - steps[1:, None])).max(0)
        assert (distance < 2.23 / np.sqrt(500)).all()


def test_pixels_of_one_frame_tell_no_class_and_those_of_two_do(source: MovingShapes) -> None:
    """Ridge regression on 1,800 clips, told about 600 others: of a frame chance; of a frame and its change more."""
    labels = source.labels()[:2400]
    frames = np.stack([source.frames(i, lambda count: np.array([14, 18])).numpy() for i in range(2400)])
    grey = frames.astype(np.float64).mean(2).reshape(2400, 2, -1) / 255
    centre = np.abs(np.fft.fft2(grey[:, 0].reshape(-1, 16, 16))).reshape(2400, -1)

    def accuracy(features: np.ndarray) -> float:
        features = (features - features.mean(0)) / (features.std(0) + 1e-6)
        told = np.eye(12)[labels[:1800]] - 1 / 12
        known = features[:1800]
        weights = np.linalg.solve(known.T @ known + 300 * np.eye(known.shape[1]), known.T @ told)
        return float(((features[1800:] @ weights).argmax(1) == labels[1800:]).mean())

    spread = np.sqrt(1 / 12 * 11 / 12 / 600)
    assert abs(accuracy(np.concatenate([grey[:, 0], centre], 1)) - 1 / 12) < 4 * spread
    spectra = [np.fft.fft2(grey[:, place].reshape(-1, 16, 16)) for place in range(2)]
    change = spectra[1] * spectra[0].conj()
    shift = np.stack([change.real, change.imag], 1) / (np.abs(change)[:, None] + 1e-3)
    assert accuracy(shift.reshape(2400, -1)) > 0.3


def test_one_thing_moves_in_the_sense_of_the_class(source: MovingShapes) -> None:
    for index in range(64):
        clip, motion = source.clip(index), source.classes[source.label(index)]
        circles = [("left", "right"), ("up", "down"), ("anticlockwise", "clockwise"), ("shrink", "grow")]
        parts = [motion] if "clockwise" in motion else motion.split("_")
        for step, (back, forward) in zip(clip.step, circles, strict=True):
            assert np.sign(step) == (forward in parts) - (back in parts)


def test_a_shape_that_goes_right_is_seen_farther_right() -> None:
    """Pixels: the frame is the one before, moved, where nothing lies behind and no noise is."""
    source = MovingShapes("val", (64, 64), 200)
    for motion, axis, sign in (("right", 2, 1), ("left", 2, -1), ("down", 1, 1), ("up", 1, -1)):
        right = 0
        members = [i for i in range(200) if source.classes[source.label(i)] == motion][:12]
        for index in members:
            before, behind = source.frames(index, lambda count: np.array([10, 14])).numpy().astype(float)
            before, behind = before - np.median(before), behind - np.median(behind)
            match = {s: float((np.roll(before, s * 7, axis) * behind).sum()) for s in (1, -1)}
            right += match[sign] > match[-sign]
        assert right >= 10, motion


def test_a_clip_is_the_same_wherever_it_is_drawn(source: MovingShapes) -> None:
    whole = source.frames(5, np.arange)
    assert whole.shape == (LENGTH, 3, 16, 16)
    assert source.frames(5, lambda count: np.array([7, 3])).equal(whole[[7, 3]])
    assert source.read(5)[0].equal(whole[LENGTH // 2])
    assert not MovingShapes("val", (16, 16), 10).frames(5, np.arange).equal(whole)
    assert not MovingShapes("train", (16, 16), 10, seed=1).frames(5, np.arange).equal(whole)
    tall = MovingShapes("train", (24, 16), 10).frames(5, lambda count: np.arange(2))
    assert tall.shape == (2, 3, 24, 16)
