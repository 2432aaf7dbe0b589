"""Small data sets made on the spot: folders of frames and videos."""

from __future__ import annotations

from collections.abc import Callable
from pathlib import Path

import numpy as np
import pytest

from tests.helpers.made_frames import label_map, picture, save
from vid2vid.config import DataKind, FlowMethod, SourceKind, Vid2VidConfig


@pytest.fixture
def make_folders(tmp_path: Path) -> Callable[..., Path]:
    """make_folders({"a": 6, "b/c": 4}) writes sequences of so many frames; returns the root."""

    def make(lengths: dict[str, int], extension: str = ".png", instances: bool = False) -> Path:
        root = tmp_path / "data"
        for name, length in lengths.items():
            for i in range(length):
                save(root / "labels" / name / f"frame{i}.png", label_map(i))
                save(root / "images" / name / f"frame{i}{extension}", picture(i))
                if instances:
                    save(root / "instances" / name / f"frame{i}.png", label_map(i).astype(np.uint16) * 1000)
        return root

    return make


@pytest.fixture
def folder_config(tmp_path: Path) -> Callable[..., Vid2VidConfig]:
    """folder_config(root, key=value of data, ...): frames from folders, no flow, 16x32."""

    def make(root: Path | None, **data: object) -> Vid2VidConfig:
        config = Vid2VidConfig(resolution=[16, 32])
        config.data.kind, config.data.flow = DataKind.folders, FlowMethod.none
        config.data.root = None if root is None else str(root)
        config.data.flow_cache = str(tmp_path / "cache")
        for key, value in data.items():
            assert hasattr(config.data, key)
            setattr(config.data, key, value)
        return config

    return make


@pytest.fixture
def video_config(folder_config: Callable[..., Vid2VidConfig]) -> Callable[..., Vid2VidConfig]:
    """As folder_config, for data=video."""

    def make(root: Path, **data: object) -> Vid2VidConfig:
        config = folder_config(root, kind=DataKind.video, **data)
        config.model.source, config.model.source_channels = SourceKind.image, 1
        return config

    return make


@pytest.fixture
def make_video(tmp_path: Path) -> Callable[..., Path]:
    """make_video("a.mp4", frames=20): frame i is grey of value 5 * i; returns the file."""

    def make(
        name: str, frames: int = 20, codec: str = "libx264", gop: int = 8, size: tuple[int, int] = (40, 80)
    ) -> Path:
        import av

        path = tmp_path / "videos" / name
        path.parent.mkdir(parents=True, exist_ok=True)
        with av.open(str(path), "w") as container:
            options = {"g": str(gop), "bf": "2"} if codec == "libx264" else {}
            stream = container.add_stream(codec, rate=10, options=options)
            stream.height, stream.width, stream.pix_fmt = size[0], size[1], "yuv420p"
            for i in range(frames):
                pixels = np.full((*size, 3), 5 * i, np.uint8)
                container.mux(stream.encode(av.VideoFrame.from_ndarray(pixels, format="rgb24")))
            container.mux(stream.encode())
        return path

    return make
