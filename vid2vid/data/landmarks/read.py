"""Files of landmarks: OpenPose's JSON, COCO's lists of keypoints, and plain lists of points, as people.

- OpenPose: `{"people": [{"pose_keypoints_2d": [x, y, c, ...], "face_keypoints_2d": ..., "hand_left_keypoints_2d": ...,
  "hand_right_keypoints_2d": ...}]}`, with or without `_2d`. The skeleton is known by the count of its points.
- COCO: `[{"keypoints": [x, y, v, ...]}, ...]`, one such object, or the list below `annotations`; also with
  `"keypoint_scores": [c, ...]` beside `"keypoints": [[x, y], ...]`, as MMPose writes them.
- Points: `[[x, y], ...]` or `[[x, y, c], ...]` of one person, or a list of those; or lines `x,y`.

Coordinates are pixels of the frame. A point that is missing has a confidence of 0; without confidences, it is at 0,0 or
-1,-1. A frame without people is null, an empty list or an empty object.
"""

from __future__ import annotations

from pathlib import Path
from typing import Any

import numpy as np

from trainer.data.pictures.files import BadFileError
from trainer.errors import DataError
from trainer.untrusted import plain_json
from vid2vid.data.landmarks.person import Person
from vid2vid.data.landmarks.skeletons import BODIES, FACES, HAND, Points, to_body, to_face

LANDMARK_EXTENSIONS = (".json", ".txt")
_KNOWN = (
    "bodies of 25 (BODY_25), 18 (COCO-18), 17 (COCO-17) or 33 points (MediaPipe), faces of 68, 70, 468 or 478, "
    "hands of 21"
)
_NOBODY: tuple[Any, ...] = (None, [], {})  # as tools write that they found none
_LOWEST = -1.0  # confidence that is written for what is missing; what lies below is none
_FEW = 5  # points that can lie within a few pixels by chance
_SHARES = 4.0  # shares of a frame are below: points may lie outside it, and whole people within so few pixels do not


def read_people(data: bytes | bytearray, path: Path) -> list[Person]:
    """The people of one frame, in the order of the file; none for a frame in which nobody was found.

    Args:
        data: content of the file.
        path: named in errors; `.txt` is read as lines, everything else as JSON.
    Raises:
        BadFileError: it is cut off or no JSON at all.
        DataError: it holds something else than landmarks of a known skeleton in pixels.
    """
    text = _text(data, path)
    content = _lines(text, path) if path.suffix.lower() == ".txt" else _json(text, path)
    people = [_person(entry, path) for entry in _entries(content, path)]
    for person in people:
        points = np.concatenate(list(person.parts().values()))
        found = points[points[:, 2] > 0, :2]
        if len(found) > _FEW and np.abs(found).max() <= _SHARES:
            low, high = found.min(), found.max()
            raise DataError(
                f"{path}: all points of a person lie within {low:.3g}..{high:.3g}, so they are shares of the frame, "
                "not pixels. Multiply x by the frame's width and y by its height (from -1..1: first add 1, and halve)."
            )
    return people


def _text(data: bytes | bytearray, path: Path) -> str:
    try:
        return data.decode("utf-8-sig")
    except UnicodeDecodeError as error:
        raise BadFileError(f"{path}: is no text ({error.reason}), so no landmarks") from error


def _json(text: str, path: Path) -> Any:
    if not text.strip():
        raise BadFileError(
            f"{path}: is empty. Write it again (null, or no file at all, where nobody was found), or set "
            "data.on_bad_file=skip"
        )
    try:
        return plain_json.loads(text)
    except ValueError as error:
        raise BadFileError(f"{path}: is no JSON ({error}). Write it again, or set data.on_bad_file=skip") from error


def _lines(text: str, path: Path) -> list[list[float]]:
    points = []
    for number, line in enumerate(text.splitlines(), 1):
        if line.strip():
            try:
                points.append([float(word) for word in line.replace(",", " ").split()])
            except ValueError as error:
                raise DataError(f"{path}, line {number}: {line.strip()[:40]!r} is no point; lines are x,y") from error
    return points


def _entries(content: Any, path: Path) -> list[Any]:
    """What describes one person each."""
    if content in _NOBODY:
        return []
    if isinstance(content, dict):
        for key in ("people", "annotations"):
            if key in content and (content[key] in _NOBODY or isinstance(content[key], list)):
                return _people(content[key] or [], path)
        if "keypoints" in content or any(name in content for names in _OPENPOSE.values() for name in names):
            return [content]
        raise DataError(f"{path}: has the keys {', '.join(map(str, list(content)[:8])) or 'none'}, {_remedy()}")
    if not isinstance(content, list):
        raise DataError(f"{path}: holds {type(content).__name__}, {_remedy()}")
    someone = next((entry for entry in content if entry not in _NOBODY), None)
    if isinstance(someone, list) and _depth(someone) == 1:
        return [content]
    return _people(content, path)


def _people(entries: list[Any], path: Path) -> list[Any]:
    """Entries of one picture, without those of nobody."""
    pictures = {str(entry["image_id"]) for entry in entries if isinstance(entry, dict) and "image_id" in entry}
    if len(pictures) > 1:
        raise DataError(
            f"{path}: holds keypoints of {len(pictures)} pictures (image_id); write one file per frame, named as it"
        )
    return [entry for entry in entries if entry not in _NOBODY]


_OPENPOSE = {
    "body": ("pose_keypoints_2d", "pose_keypoints"),
    "face": ("face_keypoints_2d", "face_keypoints"),
    "left_hand": ("hand_left_keypoints_2d", "hand_left_keypoints"),
    "right_hand": ("hand_right_keypoints_2d", "hand_right_keypoints"),
}


def _person(entry: Any, path: Path) -> Person:
    if isinstance(entry, list):
        points = _points(entry, path)
        part = "face" if len(points) in FACES else "body"
        return Person(**{part: _known(points, part, path)})
    if not isinstance(entry, dict):
        raise DataError(f"{path}: a person is {str(entry)[:40]!r}, {_remedy()}")
    found = {}
    names = {"body": (*_OPENPOSE["body"], "keypoints")} | {k: v for k, v in _OPENPOSE.items() if k != "body"}
    for part, keys in names.items():
        value = next((entry[key] for key in keys if entry.get(key)), None)
        if value is not None:
            scores = entry.get("keypoint_scores") if value is entry.get("keypoints") else None
            found[part] = _known(_points(value, path, scores), part, path)
    if not found and not any(key in entry for keys in names.values() for key in keys):
        raise DataError(f"{path}: a person has the keys {', '.join(map(str, list(entry)[:8])) or 'none'}, {_remedy()}")
    return Person(**found)


def _points(value: Any, path: Path, scores: Any = None) -> Points:
    """(N, 3) of triples one after the other, or of a list of pairs or triples; not a number: missing.

    Args:
        scores: confidences of pairs, where they are a list of their own.
    """
    try:
        array = np.array(value, np.float32)
        given = None if scores is None else np.array(scores, np.float32).reshape(-1, 1)
    except (ValueError, TypeError, OverflowError) as error:
        raise DataError(f"{path}: points that are no numbers, or of different lengths ({str(error)[:80]})") from error
    if array.ndim == 1 and len(array) % 3 == 0:
        array = array.reshape(-1, 3)
    if array.ndim != 2 or array.shape[1] not in (2, 3):
        shape = "x".join(map(str, array.shape))
        raise DataError(f"{path}: {shape} numbers are no points; lists are x, y, confidence, one after the other")
    if array.shape[1] == 2:
        if given is None:
            given = np.asarray(~np.isin(array, (0, -1)).all(axis=1, keepdims=True), np.float32)
        if len(given) != len(array):
            raise DataError(f"{path}: {len(array)} points, but {len(given)} keypoint_scores; each point needs one")
        array = np.concatenate([array, given], axis=1, dtype=np.float32)
    array[~np.isfinite(array).all(axis=1)] = 0.0
    if (array[:, 2] < _LOWEST).any():
        raise DataError(
            f"{path}: the third numbers of its points go from {array[:, 2].min():.4g} to {array[:, 2].max():.4g}: they "
            "are depths (z), not confidences. Write x, y alone, or a confidence of 0..1 in its place"
        )
    array[:, 2] = array[:, 2].clip(0.0, 1.0)  # COCO's flag of a visible point is 2
    return array


def _known(points: Points, part: str, path: Path) -> Points:
    if part == "body" and len(points) in BODIES:
        return to_body(points)
    if part == "face" and len(points) in FACES:
        return to_face(points)
    if part in ("left_hand", "right_hand") and len(points) == HAND:
        return points
    what = part.replace("_", " ")
    raise DataError(f"{path}: {what} of {len(points)} points, which is no skeleton that is known: {_KNOWN}")


def _depth(value: Any) -> int:
    return 1 + (_depth(value[0]) if value else 0) if isinstance(value, list) else 0


def _remedy() -> str:
    return (
        "which are no landmarks that are known: OpenPose's people, COCO's keypoints, or a list of points [x, y] "
        f"({_KNOWN}). scripts/prepare.py people finds them in a film."
    )
