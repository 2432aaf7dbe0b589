"""Vectors of single instances as a file: what ``generate.py save_style=FILE`` writes and ``style=file:FILE`` reads.

{"channels": 3, "classes": {"7": [0.1, -0.2, 0.4]}, "tracks": [{"class": 26, "track": 26003, "vector": [...]}]}: one for
every instance of a class, and vectors of single instances, which go before it. Both may be written by hand. How
tracks were told apart is kept too ("told_by": ids or overlap), and whose they are ("encoder", `vid2vid.styles.whose`).
"""

from __future__ import annotations

import logging
from collections.abc import Collection, Mapping, Sequence
from pathlib import Path

import numpy as np

from trainer.errors import DataError
from trainer.files import write_json
from trainer.text import few
from trainer.untrusted import plain_json
from vid2vid.config import StyleTracks
from vid2vid.styles.sources import Given, VectorSource
from vid2vid.styles.whose import Encoder, check_encoder

logger = logging.getLogger(__name__)


def write_vectors(
    path: Path,
    used: Mapping[tuple[int, int], np.ndarray],
    things: Collection[int],
    told_by: StyleTracks,
    encoder: Encoder | None = None,
) -> None:
    """Write the vectors of a video.

    Args:
        used: (class id, track) -> (d,), see `VideoStyles.used`.
        things: classes whose instances are told apart.
        told_by: how.
        encoder: E of the run, by which other runs are told that the vectors are not theirs; None: that is not kept.
    """
    # Nine digits bring every bit of a float32 back.
    rounded = {key: [float(f"{x:.9g}") for x in vector] for key, vector in used.items()}
    classes = {str(label): vector for (label, _), vector in rounded.items() if label not in things}
    tracks = [
        {"class": label, "track": track, "vector": vector}
        for (label, track), vector in sorted(rounded.items())
        if label in things
    ]
    channels = len(next(iter(used.values()))) if used else 0
    facts = {"channels": channels, "told_by": told_by.value, **({} if encoder is None else encoder.facts())}
    write_json(path, {**facts, "classes": classes, "tracks": tracks})


def read_vectors(
    path: Path, ids: Sequence[int], channels: int, others: VectorSource | None, encoder: Encoder | None = None
) -> Given:
    """The vectors of a file.

    Args:
        ids: classes of the run.
        channels: d of its E.
        others: for what the file does not name.
        encoder: E of the run; a file by hand does not tell whose it is, and need not.

    Raises:
        DataError: it is missing or no such file, or is of other classes, another number of channels or another run.
    """
    if not path.is_file():
        raise DataError(f"style=file:{path}: there is no such file; save_style=FILE writes one")
    try:
        data = plain_json.loads(path.read_text(encoding="utf-8"))
        classes = {int(label): np.array(vector, np.float32) for label, vector in data.get("classes", {}).items()}
        tracks = {
            (int(each["class"]), int(each["track"])): np.array(each["vector"], np.float32)
            for each in data.get("tracks", [])
        }
        told_by = None if data.get("told_by") is None else StyleTracks(data["told_by"])
    except (OSError, *plain_json.MISSHAPEN) as error:
        raise DataError(
            f"style=file:{path} cannot be read ({type(error).__name__}: {error}): it needs "
            "{'classes': {ID: VECTOR}, 'tracks': [{'class': ID, 'track': NUMBER, 'vector': VECTOR}]}, "
            "as save_style=FILE writes"
        ) from error
    if not classes and not tracks:
        raise DataError(f"style=file:{path} has neither classes nor tracks; save_style=FILE writes one that has")
    foreign = sorted(({*classes} | {label for label, _ in tracks}) - set(ids))
    if foreign:
        raise DataError(
            f"style=file:{path} has vectors of the classes {few(foreign)}, which this run does not know (its own: "
            f"{few(sorted(ids), 40)}): give a file of a run with the same classes"
        )
    shapes = {vector.shape for vector in (*classes.values(), *tracks.values())}
    if shapes != {(channels,)}:
        raise DataError(
            f"style=file:{path} has vectors of shape {few(sorted(shapes))}, this run has model.style_channels="
            f"{channels}: give a file of a run with as many"
        )
    if not all(np.isfinite(vector).all() for vector in (*classes.values(), *tracks.values())):
        raise DataError(f"style=file:{path} has numbers that are not finite: give vectors with values from -1 to 1")
    if encoder is not None and "encoder" in data:
        again = "give a file that save_style=FILE wrote with this run"
        if warning := check_encoder(data, encoder, f"style=file:{path}", again):
            logger.warning("%s", warning)
    return Given(classes, tracks, others, told_by)
