"""A blind sheet on disk: pairs of videos under names that tell nothing, a page that shows them, the key apart.

``OUT/index.html`` and ``OUT/videos/`` can be handed to anybody; ``OUT-key.json`` beside the folder says which side is
whose. Loads no torch.
"""

from __future__ import annotations

import hashlib
import json
import random
import shutil
from collections.abc import Mapping, Sequence
from dataclasses import asdict, dataclass
from pathlib import Path
from typing import Any

from trainer.errors import ConfigError, DataError
from trainer.files import check_folder, write_json, write_text
from trainer.text import few
from trainer.untrusted import plain_json
from vid2vid.preference.page import page

SIDES = ("left", "right")
PLAYED = (".mp4", ".m4v", ".webm", ".mov")  # by browsers


@dataclass(frozen=True)
class Trial:
    """One pair as it is shown.

    Attributes:
        name: that votes call it by.
        clip: the name of the pair.
        left, right: "a" or "b".
    """

    name: str
    clip: str
    left: str
    right: str


@dataclass(frozen=True)
class Key:
    """What only the evaluator may see.

    Attributes:
        sheet: the sheet's own name, which its votes repeat; another one for another question or other videos.
        a, b: whose videos they are.
        seed: that drew order and sides.
        trials: in the order of the page.
    """

    sheet: str
    a: str
    b: str
    seed: int
    trials: tuple[Trial, ...]


def key_path(out: Path) -> Path:
    """Where the key of the sheet in the folder ``out`` is kept: beside it, not in it."""
    return out.with_name(f"{out.name}-key.json")


def votes_path(out: Path) -> Path:
    """Where the little server writes the votes on the sheet in the folder ``out``."""
    return out.with_name(f"{out.name}-votes.json")


def draw_trials(clips: Sequence[str], repeats: int, seed: int) -> list[Trial]:
    """Every clip ``repeats`` times in a random order, "a" as often on the left as on the right (but for an odd one).

    From one showing of a clip to the next the sides are exchanged.
    """
    drawn = random.Random(seed)
    first = [i % 2 for i in range(len(clips))]
    drawn.shuffle(first)
    shown = [(clip, (side + turn) % 2) for turn in range(repeats) for clip, side in zip(clips, first, strict=True)]
    drawn.shuffle(shown)
    sides = (("a", "b"), ("b", "a"))
    return [Trial(f"t{i:03d}", clip, *sides[side]) for i, (clip, side) in enumerate(shown, 1)]


def write_sheet(
    out: Path,
    videos: Mapping[str, Mapping[str, Path]],
    names: Mapping[str, str],
    *,
    seed: int,
    repeats: int = 1,
    question: str,
) -> Key:
    """Write page, videos and key. The folder gets its name when it is whole.

    Args:
        out: the folder to be; must not exist.
        videos: "a" and "b" -> clip -> file; the same clips on both sides.
        names: "a" and "b" -> whose they are.
        seed: draws order, sides and the videos' names.
        repeats: how often each pair is shown to one voter.
        question: above each pair.

    Raises:
        ConfigError: something is there already.
    """
    check_new(out)
    trials = draw_trials(list(videos["a"]), repeats, seed)
    shown_by = {side: {clip: _content(path) for clip, path in files.items()} for side, files in videos.items()}
    sheet = _digest(seed, names, question, shown_by, [asdict(trial) for trial in trials])
    key = Key(sheet, names["a"], names["b"], seed, tuple(trials))
    building = out.with_name(f".{out.name}.tmp")
    shutil.rmtree(building, ignore_errors=True)
    try:
        (building / "videos").mkdir(parents=True)
        shown = []
        for trial in trials:
            files = {}
            for side in SIDES:
                source = videos[getattr(trial, side)][trial.clip]
                name = f"videos/{_digest(sheet, trial.name, side)}{source.suffix.lower()}"
                shutil.copyfile(source, building / name)
                files[side] = name
            shown.append({"trial": trial.name, **files})
        write_text(building / "index.html", page(sheet, question, shown))
        write_json(key_path(out), asdict(key))
        building.rename(out)
    except BaseException:
        shutil.rmtree(building, ignore_errors=True)
        raise
    return key


def check_new(out: Path) -> None:
    """Raise ConfigError where a sheet, its key or its votes are already, or where nothing can be written."""
    for path in (out, key_path(out), votes_path(out)):
        if path.exists():
            raise ConfigError(f"out={out}: {path} is there already; remove it, or give another out=")
    check_folder("out", out, out.parent)


def read_key(path: Path) -> Key:
    """The key of a sheet.

    Raises:
        DataError: the file is missing, or no key.
    """
    try:
        told: dict[str, Any] = plain_json.loads(path.read_text(encoding="utf-8"))
        trials = tuple(Trial(**row) for row in told.pop("trials"))
        return Key(**told, trials=trials)
    except FileNotFoundError as error:
        raise DataError(
            f"{path}: no such file; give key=FILE: it was written beside the sheet, OUT-key.json"
        ) from error
    except (OSError, ValueError, TypeError, KeyError, AttributeError) as error:
        raise DataError(f"{path}: is no key of a sheet of scripts/ab_sheet.py; give key=OUT-key.json") from error


def match(a: Mapping[str, Path], b: Mapping[str, Path]) -> dict[str, dict[str, Path]]:
    """Videos of both sides by clip.

    Raises:
        ConfigError: clips that only one side has, or kinds of files that tell the sides apart.
    """
    if len(a) == len(b) == 1:  # two single files are a pair, whatever they are called
        return {"a": dict(a), "b": {next(iter(a)): next(iter(b.values()))}}
    alone = {"a": sorted(a.keys() - b.keys()), "b": sorted(b.keys() - a.keys())}
    for side, clips in alone.items():
        if clips:
            other = "b" if side == "a" else "a"
            raise ConfigError(
                f"{side}=... has videos that {other}=... has not ({few(clips, 4)}): pairs have the same file name "
                "in both folders"
            )
    endings = {side: {path.suffix.lower() for path in files.values()} for side, files in (("a", a), ("b", b))}
    if endings["a"] != endings["b"]:
        told = " and ".join("/".join(sorted(endings[side])) for side in ("a", "b"))
        raise ConfigError(f"the videos of a and b are of different kinds ({told}), which tells them apart: convert one")
    return {"a": {clip: a[clip] for clip in a}, "b": {clip: b[clip] for clip in a}}


def _content(path: Path) -> str:
    """Of a video: a sheet made anew of a run that was trained further is another one, with votes of its own."""
    with path.open("rb") as file:
        return hashlib.file_digest(file, "blake2b").hexdigest()


def _digest(*parts: Any) -> str:
    return hashlib.blake2b(json.dumps(parts, sort_keys=True).encode(), digest_size=8).hexdigest()
