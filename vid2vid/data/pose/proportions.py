"""Proportions of a body, and one person's motion on another one's body (motion transfer).

A person is as long as its limbs in the picture, each the median over the frames in which it was surely found, and
stands where its feet are most of the time. A driving person's limbs keep their directions and their foreshortening and
are scaled, each by a number of its own that is the same in all frames, from the mid hip outwards along the tree of
`vid2vid.data.landmarks.skeletons.LIMBS`; then the whole is put on the other's ground. (Chan et al. 2019 bring height
and ground together, with one scale for the whole figure; limbs of their own keep the target's build.)
"""

from __future__ import annotations

import warnings
from collections.abc import Sequence
from dataclasses import dataclass
from typing import Any

import numpy as np
from numpy.typing import NDArray

from vid2vid.data.augment import Crop
from vid2vid.data.landmarks.bridge import bridge
from vid2vid.data.landmarks.person import SEEN, Person
from vid2vid.data.landmarks.skeletons import BODY, HEAD_LIMBS, LIMBS, Points
from vid2vid.data.sources.frame_source import HeadMoves

SURE = 0.3  # confidence above which a point says how long a limb is
FARTHEST = 2.0  # a limb's scale is at most this times the body's, at least the body's by it
GAP = 5  # frames for which a point that is missing in between is put on a straight line
_FEET = [11, 14, *range(19, 25)]  # ankles, toes, heels
_PARENT = {outer: (inner, index) for index, (inner, outer) in enumerate(LIMBS)}
_INWARDS = (8, *_PARENT)  # points of the body, the mid hip first, each after what it hangs from
_WRISTS = {"left_hand": 7, "right_hand": 4}
_PALM, _EYES = ([0], [9]), ([36], [45])  # wrist to the root of the middle finger; outer corners of the eyes

Floats = NDArray[np.float64]


@dataclass(frozen=True, eq=False)
class Proportions:
    """How long a person is and where it stands in what is shown of a frame, in heights of that; NaN: not known.

    Attributes:
        limbs: (24,) lengths, in the order of `LIMBS`.
        palm: from the wrist to the root of the middle finger.
        eyes: from one outer corner to the other.
        places: (25, 2) x and y where each point of the body is most of the time.
        ground: y of the lowest point of the feet most of the time.
    """

    limbs: Floats
    palm: float
    eyes: float
    places: Floats
    ground: float

    def plain(self) -> dict[str, Any]:
        """As JSON can hold it: None for what is not known."""
        return {
            "limbs": _plain(self.limbs),
            "palm": _plain(self.palm),
            "eyes": _plain(self.eyes),
            "places": _plain(self.places),
            "ground": _plain(self.ground),
        }

    @staticmethod
    def of_plain(plain: dict[str, Any]) -> Proportions:
        """From what `plain` gave."""
        limbs, palm, eyes, places, ground = (
            np.array(plain[name], np.float64) for name in ("limbs", "palm", "eyes", "places", "ground")
        )
        return Proportions(limbs, float(palm), float(eyes), places, float(ground))


def measure(tracks: Sequence[Sequence[Person | None]], crops: Sequence[Crop]) -> Proportions:
    """The proportions of a person.

    Args:
        tracks: the same person in some frames of some sequences (`vid2vid.data.landmarks.follow`), in pixels of the
            frames.
        crops: what is shown of each sequence.
    """
    people = [
        _in_heights(person, crop) for track, crop in zip(tracks, crops, strict=True) for person in track if person
    ]
    inner, outer = (list(ends) for ends in zip(*LIMBS, strict=True))
    bodies = [_sure(person.body) for person in people]
    hands = [_sure(hand) for person in people for hand in (person.left_hand, person.right_hand)]
    faces = [_sure(person.face) for person in people]

    def lengths(parts: list[Floats], start: list[int], end: list[int]) -> Floats:
        return _median([np.hypot(*(part[end] - part[start]).T) for part in parts], (len(start),))

    lowest = [np.fmax.reduce(body[_FEET, 1]) for body in bodies]
    return Proportions(
        limbs=lengths(bodies, inner, outer),
        palm=float(lengths(hands, *_PALM)[0]),
        eyes=float(lengths(faces, *_EYES)[0]),
        places=_median(bodies, (BODY, 2)),
        ground=float(_median(lowest, ())),
    )


def fit(
    track: Sequence[Person | None], source: Proportions, target: Proportions, crop: Crop
) -> list[Person | None] | None:
    """A driving person's motion on another one's body, on the other one's ground and around its place.

    Limbs of which one of the two is not known are scaled as the body is (the sum of those that are known of both). Feet
    are as far above the other's ground as they were above their own, times that scale. In frames where no foot is
    seen, the figure is moved as between the frames in which one is, so that it does not jump; for the same reason
    points that are missing for up to `GAP` frames are bridged.

    Args:
        track: the driving person in consecutive frames, in pixels of the frames.
        source, target: of the driving and of the other person.
        crop: what is shown of the driving person's frames.

    Returns:
        The fitted person of each frame, None where nobody was found; None in place of all where no limb is known of
        both.
    """
    scale = _body_scale(source.limbs, target.limbs)
    if scale is None:
        return None
    ratios, palm, eyes = (
        _ratios(getattr(source, name), getattr(target, name), scale) for name in ("limbs", "palm", "eyes")
    )
    bodies = _bridged(track)
    hung = [_hang(body, ratios, scale) for body in bodies]
    shifts = _shifts(bodies, hung, source, target, scale, crop)
    fitted: list[Person | None] = []
    for person, old, new, shift in zip(track, bodies, hung, shifts, strict=True):
        if not (old[:, 2] > SEEN).any():
            fitted.append(None)
            continue
        new[:, :2] += shift
        person = person or Person()
        parts = {name: _attach(getattr(person, name), at, old, new, float(palm)) for name, at in _WRISTS.items()}
        fitted.append(Person(body=new, face=_attach(person.face, 0, old, new, float(eyes)), **parts))
    return fitted


def head_moves(
    track: Sequence[Person | None], fitted: Sequence[Person | None], source: Proportions, target: Proportions
) -> HeadMoves:
    """Where `fit` has put the head, for what other sources draw of it.

    Args:
        track, source, target: that it was given.
        fitted: that it returned.
    """
    scale = _body_scale(source.limbs, target.limbs) or 1.0
    places = [
        np.array([body[0, :2] if body[0, 2] > SEEN else (np.nan, np.nan) for body in bodies], np.float64)
        for bodies in (_bridged(track), [Person().body if person is None else person.body for person in fitted])
    ]
    return HeadMoves(*places, scale=float(_ratios(source.eyes, target.eyes, scale)))


def _body_scale(source: Floats, target: Floats) -> float | None:
    """How much larger the target is: by the limbs of trunk, arms and legs that are known of both, else by any."""
    known = (source > 0) & (target > 0)
    trunk = known & ~np.isin(np.arange(len(LIMBS)), [LIMBS.index(limb) for limb in HEAD_LIMBS])
    chosen = trunk if trunk.any() else known
    return float(target[chosen].sum() / source[chosen].sum()) if chosen.any() else None


def _ratios(source: Floats | float, target: Floats | float, scale: float) -> Floats:
    """What lengths are multiplied by. One that is far from the body's comes from a limb that pointed at the camera."""
    with np.errstate(divide="ignore", invalid="ignore"):
        ratios = np.asarray(target) / np.asarray(source)
    ratios = np.where(np.isfinite(ratios), ratios, scale)
    return np.clip(ratios, scale / FARTHEST, scale * FARTHEST)


def _bridged(track: Sequence[Person | None]) -> list[Points]:
    """The body of each frame, its short gaps filled; zeros where there is none."""
    bodies = np.stack([Person().body if person is None else person.body for person in track])
    seen = bodies[..., 2] > SEEN
    filled = bridge(np.where(seen[..., None], bodies[..., :2], np.nan).astype(np.float32), GAP)
    new = ~seen & ~np.isnan(filled[..., 0])
    bodies[new, :2], bodies[new, 2] = filled[new], 1.0
    return list(bodies)


def _hang(body: Points, ratios: Floats, scale: float) -> Points:
    """The figure with limbs of other lengths, hanging from where its root is.

    What has none of its inner ends is placed from the root, scaled as the body is.
    """
    new, root = body.copy(), _root(body)
    if root is None:
        return new
    for outer, (inner, limb) in _PARENT.items():  # from the inside outwards
        if outer == root or body[outer, 2] <= SEEN:
            continue
        ratio = ratios[limb]
        while body[inner, 2] <= SEEN and inner in _PARENT:
            inner, ratio = _PARENT[inner][0], scale
        if body[inner, 2] <= SEEN:
            inner, ratio = root, scale
        new[outer, :2] = new[inner, :2] + (body[outer, :2] - body[inner, :2]) * ratio
    return new


def _root(body: Points) -> int | None:
    """The mid hip, or what is the next to it of what was found."""
    return next((point for point in _INWARDS if body[point, 2] > SEEN), None)


def _shifts(
    bodies: list[Points], hung: list[Points], source: Proportions, target: Proportions, scale: float, crop: Crop
) -> Floats:
    """(T, 2) pixels by which each hung figure is moved to the target's place and ground."""
    common = ~np.isnan(source.places[:, 0]) & ~np.isnan(target.places[:, 0])
    anchor = next((point for point in _INWARDS if common[point]), 8)
    here, there = (who.places[anchor] * crop.height + _corner(crop) for who in (source, target))
    ground, wanted = (who.ground * crop.height + _corner(crop)[1] for who in (source, target))
    shifts, grounded = np.zeros((len(bodies), 2)), np.full(len(bodies), np.nan)
    for number, (old, new) in enumerate(zip(bodies, hung, strict=True)):
        root = _root(old)
        if root is None:
            continue
        shifts[number] = there + (old[root, :2] - here) * scale - new[root, :2]
        feet = [point for point in _FEET if old[point, 2] > SEEN]
        if feet:
            above = ground - old[feet, 1].max()
            grounded[number] = wanted - above * scale - new[feet, 1].max()
    known = np.flatnonzero(~np.isnan(grounded))
    if len(known):
        shifts[:, 1] = np.interp(np.arange(len(bodies)), known, grounded[known])
    return shifts


def _attach(points: Points, anchor: int, old: Points, new: Points, ratio: float) -> Points:
    """A hand or a face, scaled about the point of the body that it belongs to; missing where that is."""
    moved = points.copy()
    if old[anchor, 2] <= SEEN:
        moved[:] = 0.0
    else:
        moved[:, :2] = new[anchor, :2] + (points[:, :2] - old[anchor, :2]) * ratio
    return moved


def _corner(crop: Crop) -> Floats:
    """x and y of the corner of what is shown, half a pixel before the centre of its first pixel."""
    return np.array([crop.left, crop.top]) - 0.5


def _in_heights(person: Person, crop: Crop) -> Person:
    def moved(points: Points) -> Points:
        points = points.copy()
        points[:, :2] = (points[:, :2] - _corner(crop)) / crop.height
        return points

    return Person(**{name: moved(points) for name, points in person.parts().items()})


def _sure(points: Points) -> Floats:
    """(N, 2), NaN where it is not sure."""
    return np.where(points[:, 2:] > SURE, points[:, :2], np.nan)


def _median(values: Sequence[Floats], shape: tuple[int, ...]) -> Floats:
    """Of each number over the frames in which it is known; NaN where it never is."""
    stacked = np.stack([*values, np.full(shape, np.nan)])
    with warnings.catch_warnings():
        warnings.simplefilter("ignore", RuntimeWarning)  # of what is never known
        return np.asarray(np.nanmedian(stacked, axis=0))


def _plain(values: Floats | float) -> Any:
    if isinstance(values, np.ndarray) and values.ndim:
        return [_plain(value) for value in values]
    return None if np.isnan(values) else float(values)
