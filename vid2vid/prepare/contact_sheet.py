"""A picture of a prepared folder: frames with their landmarks, above all that was made of them."""

from __future__ import annotations

from pathlib import Path

import cv2
import numpy as np

from trainer.data.checking import spread, write_sheet
from trainer.data.labels.colour_tables import voc_colour
from trainer.data.labels.stored import stored
from trainer.data.pictures.files import read_bytes
from vid2vid.data.folders.files import IMAGE_EXTENSIONS, list_files
from vid2vid.data.landmarks.read import read_people
from vid2vid.prepare.extractor import Prepared
from vid2vid.prepare.storage import IMAGES

_ROWS, _COLUMNS = 6, 5
_HEIGHT = 200  # pixels of a picture
_FOLDERS = ("mattes", "edges", "labels", "depth")
_COLOURS = {"body": (255, 210, 0), "left_hand": (0, 230, 255), "right_hand": (255, 90, 200), "face": (90, 255, 90)}


def write_contact_sheet(prepared: Prepared) -> Path:
    """Write `contact_sheet.png`: a row a shot, a column a frame, below each other all that the folder has of it.

    Returns:
        The file.
    """
    rows = []
    for shot in (prepared.shots[index] for index in spread(len(prepared.shots), _ROWS)):
        files = {path.stem: path for path in list_files(prepared.out / IMAGES / shot.name, IMAGE_EXTENSIONS)}
        there = [key for key in shot.keys if key in files]
        cells = [
            _cell(prepared.out, shot.name, there[index], files[there[index]]) for index in spread(len(there), _COLUMNS)
        ]
        rows.append((f"{shot.name}, {len(there)} frames", cells))
    path = prepared.out / "contact_sheet.png"
    written = write_sheet(rows, path)
    assert written is not None  # some frames were read, or an error told why not
    return path


def _file(out: Path, folder: str, shot: str, key: str, suffix: str = ".png") -> Path:
    return out / folder / shot / f"{key}{suffix}"


def _cell(out: Path, shot: str, key: str, frame: Path) -> np.ndarray:
    """Everything of one frame, uint8 (h, w, 3)."""
    image = _picture(out, frame)
    scale = _HEIGHT / image.shape[0]
    size = (max(1, round(image.shape[1] * scale)), _HEIGHT)
    small = np.ascontiguousarray(cv2.resize(image, size, interpolation=cv2.INTER_AREA))
    landmarks = _file(out, "landmarks", shot, key, ".json")
    if landmarks.is_file():
        _dot(small, landmarks, scale)
    others = [path for path in (_file(out, folder, shot, key) for folder in _FOLDERS) if path.is_file()]
    below = [cv2.resize(_picture(out, path), size, interpolation=cv2.INTER_NEAREST) for path in others]
    return np.concatenate([small, *below])


def _picture(out: Path, path: Path) -> np.ndarray:
    """A file of the folder to look at, RGB uint8 (h, w, 3): ids in colours, 16 bits reduced to 8."""
    found = stored(read_bytes(path), path)
    pixels = found.pixels
    if path.is_relative_to(out / "labels"):
        palette = np.array([voc_colour(label) for label in range(int(pixels.max()) + 1)], np.uint8)
        return palette[pixels]
    if found.deep:
        pixels = (pixels >> 8).astype(np.uint8)
    return pixels if pixels.ndim == 3 else np.repeat(pixels[..., None], 3, axis=2)


def _dot(image: np.ndarray, path: Path, scale: float) -> None:
    """Draw the landmarks of a file into a picture that is `scale` times as large as its frame."""
    for person in read_people(read_bytes(path), path):
        for name, points in person.parts().items():
            for x, y, confidence in points.tolist():
                if confidence > 0.05:
                    place = (round((x + 0.5) * scale - 0.5), round((y + 0.5) * scale - 0.5))
                    cv2.circle(image, place, 1 if name != "body" else 2, _COLOURS[name], -1, cv2.LINE_AA)
