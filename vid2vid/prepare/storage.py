"""A prepared folder on disk: pictures, what is done of them, what they were made with; and whether they fit.

`out/.prepare/settings.json` says from which films and with which settings the folder is made, `out/.prepare/KIND/SHOT/`
has a file for each stretch of frames that is done. Every file is there as a whole or not at all, so after a run that
was ended, however, the next one goes on with the first stretch that is not done.
"""

from __future__ import annotations

import shutil
from collections.abc import Mapping, Sequence
from pathlib import Path
from typing import Any

import cv2
import numpy as np

from trainer.config.schema import show
from trainer.data.video.cache import file_key
from trainer.errors import ConfigError, DataError
from trainer.files import replace_file, write_json
from trainer.text import few
from trainer.untrusted import plain_json
from vid2vid.prepare.extractor import Extractor
from vid2vid.prepare.shots import Shot

IMAGES = "images"
GB = 10**9  # bytes
_HIDDEN = ".prepare"
_LOOKED_AT = 4  # frames whose size as files is measured before the work begins
_MATTE_SHARE = 0.15  # of a frame's bytes, that a matte, label map or edge map of it takes; depth takes about as much
_LANDMARKS = 12_000  # bytes of a frame's landmarks


def state_folder(out: Path, kind: str) -> Path:
    """Where it is kept what is done of a kind of work."""
    return out / _HIDDEN / kind


def write_picture(path: Path, pixels: np.ndarray | bytes) -> None:
    """Write a PNG whole or not at all: uint8 or uint16 (h, w), RGB uint8 (h, w, 3), or a file's content.

    Raises:
        OSError: no space, no permission.
    """
    content = pixels if isinstance(pixels, bytes) else _encoded(pixels)
    replace_file(path, lambda place: place.write_bytes(content))


def _encoded(pixels: np.ndarray) -> bytes:
    ordered = pixels[..., ::-1] if pixels.ndim == 3 else pixels
    # The lowest level: a tenth larger than the usual one, and several times as fast.
    done, content = cv2.imencode(".png", ordered, [cv2.IMWRITE_PNG_COMPRESSION, 1])
    assert done
    return content.tobytes()


def agree_on_settings(
    out: Path, shots: Sequence[Shot], common: Mapping[str, Any], extractor: Extractor, own: bool = False
) -> None:
    """Write down from what, and with what, a folder is made; refuse to mix it with something else.

    Args:
        common: settings of frames, which all kinds of work share.
        own: the shots are the folder's own pictures: of whatever they were made, they stay as they are.
    Raises:
        ConfigError: the folder was made with other settings, or has another film of the same name.
        DataError: a film cannot be read, or the folder's record cannot.
    """
    path = out / _HIDDEN / "settings.json"
    stored = _stored(path)
    films = {shot.name: _key_of(shot) for shot in shots}
    if own and stored:
        common, films = stored["frames"], films | stored["films"]
    problems = [
        f"{key}={show(value)}: {out} was made with {key}={show(stored['frames'][key])}; give that, or another out="
        for key, value in common.items()
        if stored and stored["frames"].get(key) != value
    ]
    others = [name for name, key in films.items() if stored and stored["films"].get(name, key) != key]
    if others:
        problems.append(
            f"out={out} has frames called {few(others)} of another film, or of an earlier state of this one: "
            "give another out=, or remove that"
        )
    before = stored["kinds"].get(extractor.name) if stored else None
    problems += [
        f"{key}={show(value)}: {extractor.name} in {out} were made with {key}={show(before.get(key))}; give that, "
        f"or remove {state_folder(out, extractor.name)} to make them anew"
        for key, value in extractor.settings.items()
        if before is not None and before.get(key) != value
    ]
    if problems:
        raise ConfigError(problems)
    kinds = {**(stored["kinds"] if stored else {}), extractor.name: dict(extractor.settings)}
    known = {**(stored["films"] if stored else {}), **films}
    write_json(path, {"frames": dict(common), "films": known, "kinds": kinds})


def _stored(path: Path) -> dict[str, Any] | None:
    if not path.is_file():
        return None
    try:
        found = plain_json.loads(path.read_text(encoding="utf-8"))
        return {name: dict(found[name]) for name in ("frames", "films", "kinds")}
    except (ValueError, KeyError, TypeError) as error:
        raise DataError(f"{path}: damaged ({error}). Remove it, or give another out=.") from error


def _key_of(shot: Shot) -> str:
    return file_key(shot.film) if shot.film.is_file() else str(shot.film.resolve())


def check_space(out: Path, shots: Sequence[Shot], height: int | None, extractor: Extractor) -> tuple[float, float]:
    """How many bytes the work will write, guessed from a few of its frames, and how many are free.

    Raises:
        ConfigError: they do not fit; says how much there is.
    """
    frames = sum(map(len, shots))
    each = _bytes_of_a_frame(shots, height) * (1 + _MATTE_SHARE * len(extractor.pictures))
    if extractor.name == "people":
        each += _LANDMARKS
    place = next(folder for folder in (out, *out.resolve().parents) if folder.is_dir())
    needed, free = frames * each, shutil.disk_usage(place).free
    written = sum(1 for _ in (out / IMAGES).rglob("*.png")) if (out / IMAGES).is_dir() else 0
    left = needed * max(0, frames - written) / frames
    if left > 0.95 * free:
        raise ConfigError(
            f"out={out}: {frames} frames need about {left / GB:.1f} GB, and {free / GB:.1f} GB are free there. Give "
            f"seconds= (so much of each film), fps=, a smaller height= than {show(height)}, or a place with more room"
        )
    return needed, free


def _bytes_of_a_frame(shots: Sequence[Shot], height: int | None) -> float:
    chosen = [shots[index] for index in np.unique(np.linspace(0, len(shots) - 1, _LOOKED_AT).astype(int))]
    sizes = [
        len(_encoded(pixels))
        for shot in chosen
        for _, pixels in shot.frames(len(shot) // 2, len(shot) // 2 + 1, height)
    ]
    return sum(sizes) / max(1, len(sizes))
