"""Tables of pictures, written with the pictures that they name."""

from __future__ import annotations

from pathlib import Path

from tests.helpers.made_pictures import folder_config, write_picture
from vit.config import DataKind, VitConfig
from vit.data.sources.files import forget_scans


def table(tmp_path: Path, text: str, name: str = "labels.csv", pictures: int = 6) -> VitConfig:
    for number in range(pictures):
        write_picture(tmp_path / "pictures" / f"{number}.png", (number, 0, 0))
    (tmp_path / name).write_text(text, encoding="utf-8")
    forget_scans()
    config = folder_config(tmp_path / name, DataKind.csv)
    config.data.val_share = 0.5
    return config


def rows(*labels: str) -> str:
    return "path,label\n" + "".join(f"pictures/{number}.png,{label}\n" for number, label in enumerate(labels))
