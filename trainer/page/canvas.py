"""Label maps that are painted in the browser: the surface, and what travels between it and the server.

``label_canvas`` makes a ``gr.HTML`` from ``canvas.html``, ``canvas.css`` and the scripts beside this file. Its value is
what ``encode`` makes; a handler with the canvas as an input gives what it gets to ``decode``, which trusts nothing.

Ids travel as run lengths in decimal digits, ``"7 120 26 8"`` for 120 pixels of id 7 and then 8 of id 26, row by row. A
picture would pass through the browser's own canvas, whose colours are not exact where a browser guards privacy or
manages colours, and which has 8 bits.
"""

from __future__ import annotations

import re
from collections.abc import Sequence
from dataclasses import dataclass
from itertools import pairwise
from pathlib import Path
from typing import TYPE_CHECKING, Any, TypeGuard

import numpy as np

from trainer.errors import DataError
from trainer.untrusted.numbers import is_finite

if TYPE_CHECKING:
    import gradio as gr

HERE = Path(__file__).parent
SCRIPTS = ("canvas_raster.js", "canvas_drawing.js", "canvas.js", "canvas_controls.js")

MOST_OBJECTS = 64
MOST_POINTS = 512  # of one path
MOST_FRAMES = 4096
MOST_PIXELS = 1 << 23  # of one frame
IDS = (-(1 << 15), (1 << 16) - 1)  # label ids have at most 16 bits, signed or unsigned

_RUNS = re.compile(r"-?[0-9]{1,5} [0-9]{1,9}(?: -?[0-9]{1,5} [0-9]{1,9})*")
_LONGEST_RUN = len("-32768 123456789 ")


@dataclass(frozen=True)
class PaintClass:
    """A class to paint with.

    Attributes:
        id: in the label maps, of 16 bits.
        name: shown; plain text.
        colour: red, green, blue, 0..255.
    """

    id: int
    name: str
    colour: tuple[int, int, int]


@dataclass(frozen=True)
class Moved:
    """An object that moves: the region of pixels of one class that are connected by sides or corners.

    Attributes:
        label: the id of its class.
        seed: row and column of one of its pixels.
        path: times in 0..1, rows and columns [pixels] where the seed is then: (time, y, x), the first at time 0, the
            last at time 1. It may leave the picture.
    """

    label: int
    seed: tuple[int, int]
    path: tuple[tuple[float, float, float], ...]


@dataclass(frozen=True)
class Painting:
    """What a visitor painted.

    Attributes:
        labels: (T, H, W) int32, ids of classes.
        objects: that move from where the only frame has them, the last one in front; empty for a clip.
        frame: which frame is shown.
    """

    labels: np.ndarray
    objects: tuple[Moved, ...] = ()
    frame: int = 0


def label_canvas(value: dict[str, Any] | None = None, *, label: str = "Label map", **kwargs: Any) -> gr.HTML:
    """The component. It fires ``input`` after each stroke of the visitor's, ``change`` after any new value.

    Args:
        value: of ``encode``; None for a surface that waits for one, which an event handler may bring.
        label: heads the surface and names it for screen readers.
        kwargs: other arguments of ``gr.HTML``, such as ``elem_id``.
    """
    import gradio as gr

    scripts = "\n".join((HERE / name).read_text(encoding="utf-8") for name in SCRIPTS)
    return gr.HTML(
        value=value,
        label=label,
        html_template=(HERE / "canvas.html").read_text(encoding="utf-8"),
        css_template=(HERE / "canvas.css").read_text(encoding="utf-8"),
        js_on_load=scripts,
        apply_default_css=False,
        **kwargs,
    )


def encode(
    labels: np.ndarray,
    classes: Sequence[PaintClass],
    *,
    void: int | None = None,
    paths: bool = False,
    objects: Sequence[Moved] = (),
    frame: int = 0,
) -> dict[str, Any]:
    """The value of a canvas that shows label maps.

    Args:
        labels: (H, W), or (T, H, W) for a clip, of which one frame at a time is edited.
        classes: to paint with. Every id of the label maps is one of them.
        void: the id of the class that clearing leaves; None: the class that is chosen then.
        paths: whether objects can be moved along paths; of one frame only.
        objects: those that move already.
        frame: the one to show.

    Raises:
        DataError: ids without a class, two classes of one id, a colour or a shape that is none, paths on a clip.
    """
    maps = np.asarray(labels)
    maps = maps[None] if maps.ndim == 2 else maps
    if maps.ndim != 3 or not maps.size or not np.issubdtype(maps.dtype, np.integer):
        raise DataError(f"{maps.dtype} {np.shape(labels)} are no label maps: give integers (H, W) or (T, H, W)")
    if len(maps) > MOST_FRAMES:
        raise DataError(f"a clip of {len(maps)} frames: at most {MOST_FRAMES} can be painted on")
    if maps[0].size > MOST_PIXELS:
        raise DataError(f"a label map of {maps[0].size} pixels: at most {MOST_PIXELS} can be painted on")
    known = _ids(classes)
    if void is not None and void not in known:
        raise DataError(f"void id {void} is none of the classes: {_listed(known)}")
    _check_ids(np.unique(maps), known)
    if (paths or objects) and len(maps) > 1:
        raise DataError(f"paths move the objects of one label map; this is a clip of {len(maps)} frames")
    return {
        "size": [int(side) for side in maps.shape[1:]],
        "frames": [_to_runs(one) for one in maps],
        "frame": _frame(frame, len(maps)),
        "objects": [_as_json(one) for one in objects],
        "classes": [{"id": int(c.id), "name": c.name, "colour": _hex(c.colour)} for c in classes],
        "void": void,
        "paths": paths,
    }


def decode(value: Any, classes: Sequence[PaintClass], size: tuple[int, int], *, frames: int = MOST_FRAMES) -> Painting:
    """What came back from the browser, held against what the server knows; the sender may be anybody.

    Args:
        value: of the component.
        classes: those that it was given.
        size: height and width that it was given.
        frames: the most that it may have.

    Raises:
        DataError: what is wrong with it, in words.
    """
    if not isinstance(value, dict):
        raise DataError("there is no painting yet: choose or load a label map first")
    known, (height, width) = _ids(classes), size
    if value.get("size") != [height, width]:
        sent = str(value.get("size"))[:40]
        raise DataError(f"the painting has size {sent}, not {height} by {width}: load the label map again")
    texts = value.get("frames")
    if not isinstance(texts, list) or not 1 <= len(texts) <= min(frames, MOST_FRAMES):
        count = len(texts) if isinstance(texts, list) else "no list of"
        raise DataError(f"the painting has {count} frames: between 1 and {min(frames, MOST_FRAMES)} are possible")
    labels = np.stack([_from_runs(text, number, known, size) for number, text in enumerate(texts)])
    sent = value.get("objects", [])
    if not isinstance(sent, list) or len(sent) > MOST_OBJECTS:
        count = len(sent) if isinstance(sent, list) else "no list of"
        raise DataError(f"the painting has {count} moving objects: at most {MOST_OBJECTS} are possible")
    if sent and len(labels) > 1:
        raise DataError(f"objects move on one label map; this painting is a clip of {len(labels)} frames")
    objects = tuple(_object(one, number, labels[0]) for number, one in enumerate(sent, 1))
    return Painting(labels, objects, _frame(value.get("frame", 0), len(labels)))


def _hex(colour: tuple[int, int, int]) -> str:
    return "#" + "".join(f"{int(part):02x}" for part in colour)


def _ids(classes: Sequence[PaintClass]) -> set[int]:
    for one in classes:
        if not IDS[0] <= one.id <= IDS[1]:
            raise DataError(f"class {one.name!r}: id {one.id} has more than 16 bits")
        if len(one.colour) != 3 or not all(0 <= part <= 255 for part in one.colour):
            raise DataError(f"class {one.name!r}: colour {one.colour} is not three numbers in 0..255")
    known = {one.id for one in classes}
    if not classes or len(known) < len(classes):
        raise DataError(f"{len(classes)} classes with {len(known)} ids: a canvas needs classes of different ids")
    return known


def _listed(ids: set[int]) -> str:
    shown = ", ".join(map(str, sorted(ids)[:20]))
    return shown + (", ..." if len(ids) > 20 else "")


def _check_ids(found: np.ndarray, known: set[int], where: str = "the label maps") -> None:
    strange = sorted(set(found.tolist()) - known)
    if strange:
        raise DataError(f"{where}: id {strange[0]} is none of the classes, whose ids are {_listed(known)}")


def _to_runs(labels: np.ndarray) -> str:
    flat = labels.reshape(-1)
    starts = np.concatenate([[0], np.flatnonzero(flat[1:] != flat[:-1]) + 1])
    counts = np.diff(starts, append=flat.size)
    return " ".join(map(str, np.stack([flat[starts], counts], axis=1).reshape(-1).tolist()))


def _from_runs(text: Any, number: int, known: set[int], size: tuple[int, int]) -> np.ndarray:
    """(H, W) int32."""
    height, width = size
    where = f"frame {number} of the painting"
    # the length first: nothing is done with a text of gigabytes
    if not isinstance(text, str) or len(text) > height * width * _LONGEST_RUN or not _RUNS.fullmatch(text):
        raise DataError(f"{where} is no list of run lengths of {height} by {width} pixels: reload the page")
    ids, counts = np.array(text.split(" "), dtype=np.int64).reshape(-1, 2).T
    # a sum of so many numbers below 1e9 fits 64 bits
    if counts.sum() != height * width:
        raise DataError(f"{where} has {counts.sum()} pixels, not {height} by {width}: reload the page")
    _check_ids(np.unique(ids), known, where)
    return np.repeat(ids, counts).astype(np.int32).reshape(height, width)


def _frame(sent: Any, count: int) -> int:
    if not isinstance(sent, int) or isinstance(sent, bool) or not 0 <= sent < count:
        raise DataError(f"frame {str(sent)[:20]}: the painting has frames 0 to {count - 1}")
    return sent


def _as_json(moved: Moved) -> dict[str, Any]:
    return {"class": moved.label, "seed": [*moved.seed], "path": [[*point] for point in moved.path]}


def _object(sent: Any, number: int, labels: np.ndarray) -> Moved:
    where, (height, width) = f"moving object {number}", labels.shape
    table: dict[str, Any] = sent if isinstance(sent, dict) else {}
    label, seed, path = table.get("class"), table.get("seed"), table.get("path")
    if not _are_numbers(seed, 2) or not all(isinstance(part, int) for part in seed):
        raise DataError(f"{where}: seed {str(seed)[:40]} is not a row and a column")
    if not (0 <= seed[0] < height and 0 <= seed[1] < width):
        raise DataError(f"{where}: seed {seed} lies outside of the label map of {height} by {width}")
    if isinstance(label, bool) or not isinstance(label, int) or labels[seed[0], seed[1]] != label:
        raise DataError(f"{where}: class {str(label)[:20]} is not what the label map has at {seed}")
    if not isinstance(path, list) or not 2 <= len(path) <= MOST_POINTS or not all(_are_numbers(p, 3) for p in path):
        raise DataError(f"{where}: a path is 2 to {MOST_POINTS} points, each a time, a row and a column")
    times = [point[0] for point in path]
    if times[0] != 0 or times[-1] != 1 or any(a >= b for a, b in pairwise(times)):
        raise DataError(f"{where}: the times of its path do not rise from 0 to 1")
    if any(not -height <= y <= 2 * height or not -width <= x <= 2 * width for _, y, x in path):
        raise DataError(f"{where}: its path goes more than the picture's own size out of it")
    return Moved(label, (seed[0], seed[1]), tuple((float(t), float(y), float(x)) for t, y, x in path))


def _are_numbers(sent: Any, count: int) -> TypeGuard[list[Any]]:
    return isinstance(sent, list) and len(sent) == count and all(map(is_finite, sent))
