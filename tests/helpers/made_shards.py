"""Shards of WebDataset with pictures of one grey."""

from __future__ import annotations

import io
import tarfile
from pathlib import Path

from PIL import Image

from tests.helpers.made_pictures import folder_config
from vit.config import DataKind, VitConfig
from vit.data.sources.files import forget_scans


def picture(value: int) -> bytes:
    buffer = io.BytesIO()
    Image.new("RGB", (10, 8), (value, value, value)).save(buffer, "PNG")
    return buffer.getvalue()


def write_shard(path: Path, members: dict[str, bytes]) -> Path:
    path.parent.mkdir(parents=True, exist_ok=True)
    with tarfile.open(path, "w") as archive:
        for name, data in members.items():
            info = tarfile.TarInfo(name)
            info.size = len(data)
            archive.addfile(info, io.BytesIO(data))
    forget_scans()
    return path


def shard_config(root: Path, cache: Path) -> VitConfig:
    config = folder_config(root, DataKind.webdataset)
    config.data.cache_dir = str(cache / "cache")
    config.data.val_share = 0.5
    return config
