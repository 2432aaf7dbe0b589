"""The kinds of pictures that can be a condition, by the words of `data.sources`. Loads no torch.

A word is KIND:FOLDER, or KIND alone where it needs no files. Folders lie below `data.root`, as those of labels do, with
one file per frame. Channels stand side by side in the order of the list.
"""

from __future__ import annotations

from collections.abc import Callable
from dataclasses import dataclass
from pathlib import Path

from trainer.errors import ConfigError
from vid2vid.config import DataConfig, ModelConfig, SourceKind

_PICTURES: tuple[str, ...] = ()  # all extensions that pictures may have


@dataclass(frozen=True)
class Kind:
    """One kind of source.

    Attributes:
        help: what its files are.
        channels: of one frame, as the settings have it.
        opener: "module:function" that makes a `SourceSequence` (`vid2vid.data.sources.frame_source`) of
            (entry, files, config); imported when it is needed.
        extensions: of its files; empty: those of pictures.
        files: whether it needs a folder.
        endings: that the names of its files may have beside the frame's, such as _keypoints.
        proportions: "module:function" of (sequences of this kind, the `FrameSize` of each) that measures the people in
            them, as plain data, None where there is nobody; empty: the kind is not about people.
        gaps: whether a frame without a file of this kind can still be used (where nobody was found).
        people: whether its files are landmarks of people, by which faces and hands are found (`PeopleSource`).
    """

    help: str
    channels: Callable[[DataConfig], int]
    opener: str
    extensions: tuple[str, ...] = _PICTURES
    files: bool = True
    endings: tuple[str, ...] = ()
    gaps: bool = False
    proportions: str = ""
    people: bool = False


KINDS: dict[str, Kind] = {
    "image": Kind("colour pictures", lambda data: 3, "vid2vid.data.sources.pictures:open_pictures"),
    "depth": Kind("grey pictures of 8 or 16 bits", lambda data: 1, "vid2vid.data.sources.pictures:open_pictures"),
    "face": Kind(
        "facial landmarks",
        lambda data: 15 if data.face_distance else 1,
        "vid2vid.data.face.source:open_faces",
        extensions=(".json", ".txt"),
        endings=("_keypoints",),
        gaps=True,
        proportions="vid2vid.data.face.source:face_proportions",
        people=True,
    ),
    "edges": Kind("Canny edges of the frames", lambda data: 1, "vid2vid.data.sources.pictures:open_edges", files=False),
    "pose": Kind(
        "landmarks of people (OpenPose, COCO or MediaPipe)",
        lambda data: 3,
        "vid2vid.data.pose.source:open_poses",
        extensions=(".json",),
        endings=("_keypoints",),
        proportions="vid2vid.data.pose.source:pose_proportions",
        people=True,
    ),
    "densepose": Kind(
        "DensePose maps (IUV)",
        lambda data: 3,
        "vid2vid.data.pose.source:open_densepose",
        extensions=(".png",),
        endings=("_IUV",),
    ),
}


@dataclass(frozen=True)
class SourceSpec:
    """One word of `data.sources`.

    Attributes:
        word: as it was written.
        kind: its first part, of `KINDS`.
        folder: its second; empty where the kind needs none.
        channels: of one frame.
    """

    word: str
    kind: str
    folder: str
    channels: int

    @property
    def of(self) -> Kind:
        return KINDS[self.kind]


def parse_sources(data: DataConfig) -> list[SourceSpec]:
    """The sources that `data.sources` names.

    Raises:
        ConfigError: an unknown kind, a folder that is missing or not wanted, a word that stands twice.
    """
    found: list[SourceSpec] = []
    for word in data.sources:
        kind, _, folder = str(word).partition(":")
        known = KINDS.get(kind)
        if known is None:
            raise ConfigError(f"data.sources has {word}: the kinds are {', '.join(_usage(name) for name in KINDS)}")
        if known.files and not folder:
            raise ConfigError(f"data.sources has {word}: name the folder of its {known.help}, {_usage(kind)}")
        if folder and not known.files:
            raise ConfigError(f"data.sources has {word}: {kind} needs no folder, it is made of the frames: {kind}")
        if Path(folder).is_absolute():
            raise ConfigError(f"data.sources has {word}: folders lie below data.root; a link there will do")
        entry = SourceSpec(str(word), kind, folder, known.channels(data))
        if entry in found:
            raise ConfigError(f"data.sources has {word} twice: leave one out")
        found.append(entry)
    return found


def picture_channels(model: ModelConfig, data: DataConfig) -> int:
    """Channels of the pictures in one frame's condition: 0 where labels alone are it."""
    if model.source is SourceKind.labels:
        return 0
    return sum(entry.channels for entry in parse_sources(data)) if data.sources else model.source_channels


def channel_names(data: DataConfig) -> tuple[str, ...]:
    """What each channel of data.sources is: kind, which one of that kind, and which channel of it. Folders may have
    other names than where the weights were trained."""
    seen: dict[str, int] = {}
    names = []
    for entry in parse_sources(data):
        seen[entry.kind] = seen.get(entry.kind, 0) + 1
        names += [f"{entry.kind} {seen[entry.kind]} {channel}" for channel in range(entry.channels)]
    return tuple(names)


def wants_labels(model: ModelConfig) -> bool:
    """Whether class ids are in the condition."""
    return model.source is not SourceKind.image


def pictures_for_labels(model: ModelConfig, data: DataConfig) -> bool:
    """Whether `data.labels_dir` holds pictures, which are the condition (data.labels=rgb)."""
    return model.source is SourceKind.image and not data.sources


def _usage(kind: str) -> str:
    return f"{kind}:FOLDER" if KINDS[kind].files else kind
