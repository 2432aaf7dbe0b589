"""``scripts/prepare.py``: its arguments, and what it says."""

from __future__ import annotations

import math
from collections.abc import Callable
from dataclasses import dataclass, field, replace
from enum import Enum
from pathlib import Path
from typing import TYPE_CHECKING, Any

from trainer.cli import compose
from trainer.config.schema import Schemas, show
from trainer.errors import refuse
from trainer.files import check_folder
from trainer.records.console_lines import format_time
from vid2vid.config import Vid2VidConfig

if TYPE_CHECKING:
    from vid2vid.prepare.extractor import Extractor
    from vid2vid.prepare.shots import Shot


class What(Enum):
    people = "people"
    edges = "edges"
    labels = "labels"
    depth = "depth"


@dataclass
class Arguments:
    """clips of frames"""

    what: What  # the word people, edges, labels or depth
    source: str  # a video, a folder of videos, or a folder of pictures
    out: str  # the folder to write, which is data.root= of training; what is done there is not done again
    height: int | None = 512  # frames higher than this are reduced to it; null: as they are
    fps: float | None = None  # resample films to so many frames a second; null: their own
    seconds: float | None = None  # only so much of each film, from its beginning; null: all of it
    workers: int | None = None  # stretches of 64 frames at a time; null: all cores
    model: str | None = None  # labels, depth: a folder of transformers; labels: or a file of torchvision's DeepLab
    people_python: str | None = None  # people: a Python with MediaPipe; null: what `make people-tools` made
    models: str | None = None  # people: a folder with MediaPipe's .task files; null: MediaPipe 0.10.21's own networks
    people: int = 1  # people: at most so many in a frame; more than 1 with models=
    min_cutoff: float = 1.0  # people: Hz that resting landmarks are smoothed with (one-euro filter); 0: not at all
    beta: float = 20.0  # people: Hz more for landmarks that move by the frame's height in a second
    overrides: list[str] = field(default_factory=list)


_ONLY = {"model": (What.labels, What.depth)} | dict.fromkeys(
    ("people_python", "models", "people", "min_cutoff", "beta"), (What.people,)
)
_LOWEST = 16  # pixels


def run(arguments: Arguments, schemas: Schemas, say: Callable[[str], None]) -> None:
    """Make a data set of footage, or go on with one.

    Args:
        schemas: of all tasks.
        say: takes a line for the user.
    Raises:
        UserError: arguments, films, tools or networks that cannot be used.
    """
    refuse(_problems(arguments))
    check_folder("out", arguments.out, Path(arguments.out))
    config: Vid2VidConfig = compose(["model=vid2vid", "data=video", *arguments.overrides], schemas)
    config = replace(config, data=replace(config.data, fps=arguments.fps or config.data.fps))

    import torch

    from trainer.data.workers import usable_cores
    from vid2vid.prepare.shots import open_footage
    from vid2vid.prepare.storage import agree_on_settings, check_space
    from vid2vid.prepare.work import prepare

    torch.set_num_threads(1)  # stretches share the cores
    out = Path(arguments.out)
    extractor = _extractor(arguments, config)
    source, height = Path(arguments.source), arguments.height
    shots = open_footage(source, config, arguments.seconds)
    own = _is_of(source, out)
    if own:  # what is made lies beside them, as large as they are
        height = None
        shots = [replace(shot, name=".") if shot.name == source.resolve().name else shot for shot in shots]
    common = {"height": height, "fps": config.data.fps, "data.cut_threshold": config.data.cut_threshold}
    needed, free = check_space(out, shots, height, extractor)
    agree_on_settings(out, shots, common, extractor, own)
    say(f"{_footage(shots)}: about {needed / 1e9:.2g} GB in {out}, {free / 1e9:.0f} GB are free")
    extractor.begin(out, shots, height)
    workers = arguments.workers or usable_cores()
    prepared = prepare(shots, out, extractor, height, workers, say, images=not own)
    extractor.finish(prepared, say)


def _extractor(arguments: Arguments, config: Vid2VidConfig) -> Extractor:
    """What is asked for, ready for the first frame: what it needs is looked for before films are."""
    if arguments.what is What.people:
        from vid2vid.prepare.people.extractor import People, Smoothing

        smoothing = Smoothing(arguments.min_cutoff, arguments.beta)
        return People(arguments.people_python, smoothing, arguments.models, arguments.people)
    if arguments.what is What.edges:
        from vid2vid.prepare.edges import Edges

        return Edges(config.data)
    import torch

    device = torch.device("cuda" if torch.cuda.is_available() else "cpu")
    if arguments.what is What.labels:
        from vid2vid.prepare.labels import Labels

        return Labels(arguments.model, device)
    from vid2vid.prepare.depth import Depth

    return Depth(arguments.model, device)


def _footage(shots: list[Shot]) -> str:
    frames = sum(map(len, shots))
    films = len({shot.film for shot in shots})
    seconds = sum(len(shot) / shot.fps for shot in shots)
    lasting = format_time(seconds) if seconds >= 60 else f"{seconds:.3g} s"
    cut = f" in {len(shots)} shots" if len(shots) > films else ""
    return f"{films} film{'s' if films > 1 else ''} of {lasting}, {frames} frames{cut}"


def _problems(arguments: Arguments) -> list[str]:
    found = []
    defaults: dict[str, Any] = {name: Arguments.__dataclass_fields__[name].default for name in _ONLY}
    for key, kinds in _ONLY.items():
        value = getattr(arguments, key)
        if arguments.what not in kinds and value != defaults[key]:
            those = " and ".join(kind.value for kind in kinds)
            found.append(f"{key}={show(value)}: is for {those}, not {arguments.what.value}; leave it out")
    if arguments.height is not None and arguments.height < _LOWEST:
        found.append(f"height={arguments.height}: needs at least {_LOWEST} pixels, or null")
    for key in ("fps", "seconds", "workers"):
        value = getattr(arguments, key)
        if value is not None and not (math.isfinite(value) and value > 0):
            found.append(f"{key}={show(value)}: must be above 0, or null")
    if arguments.people < 1 or (arguments.people > 1 and arguments.models is None):
        found.append(
            f"people={arguments.people}: MediaPipe 0.10.21's own networks find one person; give models= for more"
        )
    for key in ("min_cutoff", "beta"):
        if not (math.isfinite(getattr(arguments, key)) and getattr(arguments, key) >= 0):
            found.append(f"{key}={show(getattr(arguments, key))}: must be 0 or more")
    out, source = Path(arguments.out), Path(arguments.source)
    if out.exists() and not out.is_dir():
        found.append(f"out={out}: is a file; give a folder")
    elif out.is_dir() and any(out.iterdir()) and not (out / ".prepare").is_dir() and not _is_of(source, out):
        found.append(f"out={out}: has other things in it; give a new folder")
    elif not _is_of(source, out) and _among_pictures(source, out):
        found.append(
            f"out={out}: lies among the pictures of source={source}, so that the next run would take what this one "
            "makes for footage; give a folder outside of it"
        )
    return found


def _among_pictures(source: Path, out: Path) -> bool:
    """Whether pictures below ``out`` would be found as those of a source; films are found by their endings."""
    folder = source / "images" if (source / "images").is_dir() else source
    if not (folder.is_dir() and out.resolve().is_relative_to(folder.resolve())):
        return False
    from vid2vid.data.video.files import named_videos

    return named_videos(source) is None


def _is_of(source: Path, out: Path) -> bool:
    """Whether a data set's own pictures are the source: something is added to it."""
    return source.resolve() == (out / "images").resolve()
