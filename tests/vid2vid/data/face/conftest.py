"""A small data set of faces on disk."""

from __future__ import annotations

from collections.abc import Callable, Iterable
from pathlib import Path

import numpy as np
import pytest

from tests.helpers.made_faces import made_face, placed, write_faces
from tests.helpers.made_frames import picture, save
from vid2vid.config import CropKind, SourceKind, Vid2VidConfig


@pytest.fixture
def face_root(tmp_path: Path) -> Callable[..., Path]:
    """face_root([50, None, 60]) writes frames of 80x120 with a face 20 wide at those x, None: without one; the root."""

    def make(places: Iterable[float | None], name: str = "a", face: np.ndarray | None = None) -> Path:
        face, root = made_face() if face is None else face, tmp_path / "data"
        points = [None if x is None else placed(face, x, 40, 10) for x in places]
        write_faces(root / "landmarks" / name, points)
        for number in range(len(points)):
            save(root / "images" / name / f"{number:06d}.png", picture(number, 80, 120))
        return root

    return make


@pytest.fixture
def face_config(folder_config: Callable[..., Vid2VidConfig]) -> Callable[..., Vid2VidConfig]:
    """face_config(root, key=value of data, ...): the data group face at 32x32, without flow."""

    def make(root: Path, **data: object) -> Vid2VidConfig:
        config = folder_config(root, **{"sources": ["face:landmarks"], "crop": CropKind.face, **data})
        config.model.source, config.resolution = SourceKind.image, [32, 32]
        return config

    return make
