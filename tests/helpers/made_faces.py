"""Landmarks of a face that was never photographed: 68 points, symmetric, 2 wide, its eyes on the line y = 0."""

from __future__ import annotations

import json
from collections.abc import Iterable
from pathlib import Path

import numpy as np


def made_face(width: float = 2.0, height: float = 1.0, mouth_open: float = 0.0) -> np.ndarray:
    """(68, 2) x, y, y downward: the jaw is half an ellipse from (-width/2, 0) over (0, 1.4 height) to (width/2, 0).

    Args:
        mouth_open: by how much the lower lip and the chin hang lower.
    """
    angles = np.linspace(np.pi, 0, 17)
    jaw = np.stack([np.cos(angles), (1.4 + mouth_open) * np.sin(angles)], 1)
    brow = [(-0.8, -0.25), (-0.68, -0.35), (-0.52, -0.4), (-0.36, -0.36), (-0.22, -0.28)]
    nose = [(0, 0), (0, 0.15), (0, 0.3), (0, 0.45), (-0.2, 0.5), (-0.1, 0.54), (0, 0.57), (0.1, 0.54), (0.2, 0.5)]
    eye = [(-0.6, 0), (-0.5, -0.08), (-0.38, -0.08), (-0.26, 0), (-0.38, 0.06), (-0.5, 0.06)]
    upper = [(-0.4, 0.85), (-0.25, 0.78), (-0.1, 0.74), (0, 0.76), (0.1, 0.74), (0.25, 0.78), (0.4, 0.85)]
    lower = [(0.25, 0.95), (0.1, 1.0), (0, 1.01), (-0.1, 1.0), (-0.25, 0.95)]
    inner_upper = [(-0.33, 0.85), (-0.12, 0.83), (0, 0.84), (0.12, 0.83), (0.33, 0.85)]
    inner_lower = [(0.12, 0.88), (0, 0.89), (-0.12, 0.88)]
    other_brow = [(-x, y) for x, y in reversed(brow)]
    other_eye = [(-x, y) for x, y in (eye[3], eye[2], eye[1], eye[0], eye[5], eye[4])]
    points = np.array([*jaw, *brow, *other_brow, *nose, *eye, *other_eye, *upper, *lower, *inner_upper, *inner_lower])
    points[[*range(55, 60), 65, 66, 67], 1] += mouth_open
    return points * [width / 2, height]


def placed(face: np.ndarray, x: float, y: float, scale: float, roll: float = 0.0) -> np.ndarray:
    """A face turned by ``roll`` [rad], enlarged, its origin at (x, y)."""
    turn = np.array([[np.cos(roll), np.sin(roll)], [-np.sin(roll), np.cos(roll)]])
    return scale * face @ turn + [x, y]


def write_faces(folder: Path, faces: Iterable[np.ndarray | None]) -> None:
    """One file per frame as OpenPose writes them, 000000.json onward; None: nobody was found."""
    folder.mkdir(parents=True, exist_ok=True)
    for number, points in enumerate(faces):
        people = []
        if points is not None:
            known = ~np.isnan(points[:, 0])
            flat = np.concatenate([np.nan_to_num(points), known[:, None]], 1).ravel().tolist()
            people = [{"face_keypoints_2d": flat}]
        (folder / f"{number:06d}.json").write_text(json.dumps({"version": 1.3, "people": people}))
