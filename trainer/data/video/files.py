"""Which files are videos, by their names. Loads no torch."""

from __future__ import annotations

import os
from pathlib import Path

VIDEO_EXTENSIONS = (
    ".mp4", ".m4v", ".mov", ".mkv", ".webm", ".avi", ".ts", ".m2ts", ".mts", ".mpg", ".mpeg", ".vob", ".m2v", ".3gp",
    ".3g2", ".wmv", ".asf", ".flv", ".f4v", ".ogv", ".mxf", ".mjpeg", ".mjpg", ".h264", ".264", ".hevc", ".h265",
    ".265", ".ivf", ".y4m", ".dv", ".divx", ".gif", ".apng", ".qt", ".mpe", ".m1v", ".mpv", ".tp", ".trp", ".nut",
    ".ogm", ".rm", ".rmvb", ".insv",
)  # fmt: skip


def video_files(folder: Path) -> list[Path]:
    """All videos at any depth below a folder, but hidden ones, in the file system's order."""
    return [
        Path(place, name)
        for place, _, names in os.walk(folder, followlinks=True)
        for name in names
        if Path(name).suffix.lower() in VIDEO_EXTENSIONS and not name.startswith(".")
    ]
