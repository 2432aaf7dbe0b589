"""`prepare.py people`: landmarks and a matte of the person in each frame, smoothed over time, gaps marked."""

from __future__ import annotations

import json
from collections.abc import Iterable, Mapping
from dataclasses import dataclass
from itertools import product
from pathlib import Path
from typing import Any

import numpy as np

from trainer.config.short_forms import shown_override
from trainer.errors import DataError
from trainer.files import write_text
from trainer.text import few
from vid2vid.prepare.contact_sheet import write_contact_sheet
from vid2vid.prepare.extractor import Extractor, Prepared, Say, Tool, Write
from vid2vid.prepare.people.detector import Detector, parts, people_python, task_files
from vid2vid.prepare.people.one_euro import smoothed
from vid2vid.prepare.shots import Shot

LANDMARKS = "landmarks"
MATTES = "mattes"
_KEYS = {
    "body": "pose_keypoints_2d",
    "left": "hand_left_keypoints_2d",
    "right": "hand_right_keypoints_2d",
    "face": "face_keypoints_2d",
}  # OpenPose's names
_JUMP = 0.1  # of a frame's height, that no part moves between two frames: farther away it is another person


@dataclass(frozen=True)
class Smoothing:
    """The one-euro filter's parameters; lengths are shares of a frame's height, so they suit every resolution.

    Attributes:
        min_cutoff: Hz, what rests is smoothed with; 0 turns smoothing off.
        beta: Hz more for each frame's height a second.
    """

    min_cutoff: float
    beta: float


class People(Extractor):
    """Finds the people in each frame.

    Args:
        python: `people_python=`; None: the environment of `make people-tools`.
        smoothing: of landmarks, over time.
        models: a folder with MediaPipe's task files; None: the networks that MediaPipe 0.10.21 has.
        people: at most so many in a frame.
    Raises:
        ConfigError: there is no MediaPipe, or no such file.
    """

    name = "people"
    pictures = (MATTES,)

    def __init__(self, python: str | None, smoothing: Smoothing, models: str | None = None, people: int = 1) -> None:
        self._files = [] if models is None else task_files(models)
        self._python, self._smoothing, self._people = people_python(python), smoothing, people
        where = None if models is None else str(Path(models).resolve())
        self.settings: Mapping[str, Any] = {"models": where, "people": people}  # smoothing is done from what is kept

    def tool(self) -> Tool:
        return _Finder(Detector(self._python, self._people, self._files))

    def finish(self, prepared: Prepared, say: Say) -> None:
        found = dict.fromkeys(_KEYS, 0)
        total, gaps, empty = 0, [], []
        for shot in prepared.shots:
            kept = prepared.kept(shot)
            points, heights, keys = kept["points"], kept["heights"], kept["keys"].tolist()
            here = {name: np.asarray((points[:, :, place, 2] > 0).any(axis=(1, 2))) for name, place in parts().items()}
            for name, present in here.items():
                found[name] += int(present.sum())
            total += len(points)
            gaps += [f"{shot.name} {keys[a]}" + (f" to {keys[b]}" if b > a else "") for a, b in _gaps(here["body"])]
            empty += [] if here["body"].any() or here["face"].any() else [shot.name]
            self._write(prepared, shot, points, float(heights[0]), keys)
        if not found["body"] and not found["face"]:
            films = few(dict.fromkeys(str(shot.film) for shot in prepared.shots))
            raise DataError(
                f"{films}: no person was found in any of its {total} frames. Give a film in which one is at least a "
                f"quarter as high as the picture; for one without people there is prepare.py edges. The frames are in "
                f"{prepared.out / 'images'}"
            )
        sheet = write_contact_sheet(prepared)
        say(
            f"{total} frames: a body in {found['body']}, a face in {found['face']}, a left hand in {found['left']}, a "
            f"right one in {found['right']}"
        )
        if gaps:
            say(f"nobody in: {few(gaps)} (marked there by confidence 0)")
        if empty:
            say(f"nobody at all in: {few(empty)}; such shots are of no use to train on: remove them from images/")
        say(f"contact sheet: {sheet}")
        say(
            f"train: python train.py experiment=vid2vid/footage {shown_override('data.root', prepared.out)} "
            "name=footage trainer.budget=1h"
        )
        rate = f"{prepared.shots[0].fps:.4g}"
        say(f"drive: python scripts/generate.py run=runs/footage source=OTHER_OUT out=driven.mp4 fps={rate}")

    def _write(self, prepared: Prepared, shot: Shot, points: np.ndarray, height: float, keys: list[str]) -> None:
        """One JSON file a frame, where they are not there yet or others were asked for."""
        folder = prepared.out / LANDMARKS / shot.name
        record = prepared.out / ".prepare" / self.name / shot.name / "smoothing.json"
        state = json.dumps({"frames": len(keys), **vars(self._smoothing)})
        there = len(list(folder.glob("*.json"))) if folder.is_dir() else 0
        if shot.name not in prepared.renewed and there == len(keys) and _text(record) == state:
            return
        smooth = smoothed_landmarks(points, height, shot.fps, self._smoothing)
        for key, frame in zip(keys, smooth, strict=True):
            write_text(folder / f"{key}.json", as_openpose(frame))
        write_text(record, state)


class _Finder:
    """A tool: a process with MediaPipe."""

    def __init__(self, detector: Detector) -> None:
        self._detector = detector

    def take(self, frames: Iterable[tuple[str, np.ndarray]], write: Write) -> Mapping[str, np.ndarray]:
        self._detector.forget()
        points, heights = [], []
        for key, pixels in frames:
            found, matte = self._detector.find(pixels, key)
            write(MATTES, key, matte)
            points.append(found)
            heights.append(pixels.shape[0])
        return {"points": np.array(points, np.float32), "heights": np.array(heights, np.int32)}

    def close(self) -> None:
        self._detector.close()


def smoothed_landmarks(points: np.ndarray, height: float, fps: float, smoothing: Smoothing) -> np.ndarray:
    """Landmarks smoothed over time, part by part; confidences as they were.

    Args:
        points: float32 (T, people, POINTS, 3), pixels and confidence; all 0 where a part was not found.
        height: of the frames, in pixels.
        fps: frames per second.
        smoothing: the filter's parameters.
    """
    out = points.astype(np.float64)
    if smoothing.min_cutoff <= 0:
        return out
    for person, place in product(range(points.shape[1]), parts().values()):
        part = points[:, person, place]
        there = np.any(part[..., 2] > 0, axis=1)
        out[:, person, place, :2] = height * smoothed(
            part[..., :2] / height, there, fps, smoothing.min_cutoff, smoothing.beta, _JUMP
        )
    return out


def as_openpose(points: np.ndarray) -> str:
    """One frame's landmarks, (people, POINTS, 3), in OpenPose's JSON; those of whom nothing was found are left out."""
    people = []
    for number, person in enumerate(points):
        lists = {_KEYS[name]: np.round(person[place], 2).ravel().tolist() for name, place in parts().items()}
        if person[:, 2].any():
            people.append({"person_id": [number], **lists})
    return json.dumps({"version": 1.3, "people": people}, separators=(",", ":"))


def _gaps(present: np.ndarray) -> list[tuple[int, int]]:
    """(first, last) frame of each stretch in which a part is missing."""
    edges = np.diff(np.concatenate([[False], ~present, [False]]).astype(int))
    return list(zip((edges == 1).nonzero()[0].tolist(), ((edges == -1).nonzero()[0] - 1).tolist(), strict=True))


def _text(path: Path) -> str | None:
    return path.read_text(encoding="utf-8") if path.is_file() else None
