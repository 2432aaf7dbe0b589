"""data.label_format=auto: which of the forms of `decode.py` a data set's label maps have, found on some of them."""

from __future__ import annotations

import logging
from collections import Counter
from collections.abc import Iterable, Sequence
from dataclasses import dataclass, field
from functools import lru_cache
from pathlib import Path

import numpy as np
import torch
from torch import Tensor

from trainer.data.labels.colour_tables import NAMED, Colour, ColourTable, colour_table, table_of, tables_near
from trainer.data.labels.ids import colour_codes, colours_of, is_grey, mapped
from trainer.data.labels.label_map import LabelMap, parse_label_map
from trainer.data.labels.stored import Stored, is_lossy, stored
from trainer.data.pictures.files import BadFileError, read_bytes
from trainer.errors import DataError
from trainer.text import few
from vid2vid.config import DataConfig
from vid2vid.data.folders.files import Stamped, spread_out, stamped
from vid2vid.data.frames import tell
from vid2vid.data.labels.decode import LabelKind, LabelReading, colour_remedy, shown_colours
from vid2vid.data.labels.label_range import LabelRange, mask_remedy

logger = logging.getLogger(__name__)

_FILES = 16  # label maps looked at, spread over the data set
_PIXELS = 1 << 18  # of each, in a regular grid
_ATTRIBUTES = 15  # largest number in the green channel: flags (BDD100K), the upper byte of an instance (KITTI-STEP)
_COLOURS = 1 << 12  # that are counted
_SHOWN = 12  # classes of a table that are named


@dataclass
class _Seen:
    """What the label maps that were looked at have in common.

    Attributes:
        single, equal, coloured: a file of one channel, of several equal ones, and of several that differ, or None.
        colours: colour -> pixels, of the files of several channels.
        ids: numbers of the files of one channel.
        classes: the values of the red channels of the others.
        attributes: the largest value of their green channels.
        bare: their other channels are 0 throughout (but for alpha).
        deep: they have 16 bits.
        numbered: their fourth channel holds numbers: it is no alpha.
        palette: number -> colour, of the files that are indices of colours.
        painted: colour -> pixels of those.
        shuffled: one of them in which a number has another colour than in a file before, or None.
    """

    single: Path | None = None
    equal: Path | None = None
    coloured: Path | None = None
    colours: Counter[Colour] = field(default_factory=Counter)
    ids: set[int] = field(default_factory=set)
    classes: set[int] = field(default_factory=set)
    attributes: int = 0
    bare: bool = True
    deep: bool = False
    numbered: bool = False
    palette: dict[int, Colour] = field(default_factory=dict)
    painted: Counter[Colour] = field(default_factory=Counter)
    shuffled: Path | None = None


def label_reading(
    data: DataConfig, files: Sequence[Path], allowed: LabelRange, near: Sequence[Path] = ()
) -> LabelReading:
    """How to read the label maps of a data set; the log says once what `auto` took where it is not plain ids.

    Args:
        data: `label_format`, `label_map`.
        files: all label maps, in order.
        allowed: ids that may occur, which tells a class in the red channel from a colour.
        near: folders in which a table of colours may lie.
    Raises:
        ConfigError: `data.label_format` or `data.label_map` cannot be read.
        DataError: colours that no table explains; says which.
    """
    change = None if data.label_map is None else parse_label_map(data.label_map)
    form = data.label_format
    if form == "auto":
        stamps = tuple(map(stamped, spread_out(files, _FILES)))
        kind, table = _recognised(stamps, tuple(map(stamped, tables_near(near))), allowed, change)
        return LabelReading(kind, table, change)
    if form in (LabelKind.ids.value, LabelKind.red_channel.value):
        return LabelReading(LabelKind[form], None, change)
    return LabelReading(LabelKind.colours, colour_table(table_of(form)), change)


@lru_cache(maxsize=64)
def _recognised(
    files: tuple[Stamped, ...], tables: tuple[Stamped, ...], allowed: LabelRange, change: LabelMap | None
) -> tuple[LabelKind, ColourTable | None]:
    """Kind and table; kept per process until a file changes, so that it is said once."""
    seen = _look([path for path, _ in files])
    near = _readable([path for path, _ in tables]) if seen.colours or seen.shuffled else []
    if seen.coloured is not None and seen.single is not None:
        raise DataError(
            f"{seen.coloured} is a label map of colours, {seen.single} one of ids: a data set has one form. Sort the "
            "files by form, or convert them: scripts/convert_labels.py."
        )
    if seen.coloured is None and seen.shuffled is not None:
        return LabelKind.colours, _shuffled(seen.shuffled, seen.painted, near)
    table = next((table for table in near if _fits(seen.colours, table)), None)
    if seen.coloured is None:
        # Three equal channels are ids, unless they can be none and a table beside them has these greys.
        unknown = allowed.unknown(_ids(seen.classes, change))
        if table is not None and unknown:
            return _said(table, seen.equal)
        _tell_masks(seen, allowed, change)
        return LabelKind.ids, None
    if table is not None:
        return _said(table, seen.coloured)
    if _is_red(seen, allowed, change):
        tell(logger, seen.coloured, "the class is in the red channel: read as data.label_format=red_channel")
        _tell_masks(seen, allowed, change)
        return LabelKind.red_channel, None
    named = [table for table in map(colour_table, NAMED) if _fits(seen.colours, table)]
    named = [table for table in named if table.source != "cityscapes_train_ids"]  # the same colours, fewer of them
    if len(named) == 1 and not near:
        return _said(named[0], seen.coloured)
    raise DataError(_unexplained(seen, near, named))


def _shuffled(path: Path, colours: Counter[Colour], near: Sequence[ColourTable]) -> ColourTable:
    """The table of files whose palettes differ: what a number means in one it does not in the next, a colour may.

    Raises:
        DataError: no table has the colours, or more than one.
    """
    fitting = [table for table in near if _fits(colours, table)]
    named = [table for table in map(colour_table, NAMED) if _fits(colours, table)]
    fitting = fitting[:1] or [table for table in named if table.source != "cityscapes_train_ids"]
    if len(fitting) == 1:
        return _said(fitting[0], path)[1]
    raise DataError(
        f"{path}: its palette gives numbers other colours than those of the files before it, so the numbers are no ids "
        f"({shown_colours(colours)}). Say what the colours mean: data.label_format=colors:FILE; or, where the numbers "
        "are ids all the same, data.label_format=ids."
    )


def _tell_masks(seen: _Seen, allowed: LabelRange, change: LabelMap | None) -> None:
    """Say where the brighter of two classes would count for none: white on black, and red on black."""
    masks = mask_remedy(set(_ids(seen.ids | seen.classes, change).tolist()))
    if masks and 255 in allowed.ignored:
        where = seen.single or seen.equal or seen.coloured
        tell(logger, where, f"{masks} As it is, 255 belongs to no class (data.ignore_label)")


def _readable(paths: Sequence[Path]) -> list[ColourTable]:
    found = []
    for path in paths:
        try:
            found.append(colour_table(str(path)))
        except DataError as error:
            tell(logger, path, f"passed over as a table of label colours: {error}")
    return found


def _look(files: Sequence[Path]) -> _Seen:
    seen = _Seen()
    for path in files:
        try:
            data = read_bytes(path)
            if is_lossy(data):
                continue
            found = stored(data, path)
        except BadFileError:
            continue  # this, and what is lossy, is said where the file is read
        step = max(1, int((found.pixels.shape[0] * found.pixels.shape[1] / _PIXELS) ** 0.5))
        pixels = found.pixels[::step, ::step]
        if pixels.ndim == 2:
            seen.single = path
            seen.ids |= set(np.unique(pixels).tolist())
            if found.palette is not None:
                _see_palette(seen, path, Stored(pixels, found.palette))
        else:
            _see(seen, path, pixels)
    return seen


def _see_palette(seen: _Seen, path: Path, found: Stored) -> None:
    """Add a file of indices of colours."""
    assert found.palette is not None
    for number in np.unique(found.pixels).tolist():
        red, green, blue = found.palette[number].tolist()
        if seen.palette.setdefault(number, (red, green, blue)) != (red, green, blue):
            seen.shuffled = seen.shuffled or path
    seen.painted += colours_of(colour_codes(found))


def _see(seen: _Seen, path: Path, pixels: np.ndarray) -> None:
    """Add a file of several channels, (H, W, C)."""
    if is_grey(pixels):
        seen.equal = path
    else:
        seen.coloured = path
    if pixels.dtype == np.uint8:
        seen.colours = Counter(dict((seen.colours + colours_of(colour_codes(Stored(pixels)))).most_common(_COLOURS)))
    else:
        seen.deep = True
    seen.classes |= set(np.unique(pixels[..., 0]).tolist())
    seen.attributes = max(seen.attributes, int(pixels[..., 1].max()))
    seen.bare &= not pixels[..., 1:3].any()
    seen.numbered |= pixels.shape[2] == 4 and not set(np.unique(pixels[..., 3]).tolist()) <= {0, 255}


def _is_red(seen: _Seen, allowed: LabelRange, change: LabelMap | None) -> bool:
    """Whether the red channel holds the class: nothing is beside it (CARLA), it has 16 bits (SYNTHIA), or the rest are
    numbers and flags rather than colours (KITTI-STEP, BDD100K)."""
    if seen.bare or seen.deep:
        return True
    if seen.attributes > _ATTRIBUTES:
        return False
    ids = _ids(seen.classes, change)
    classes = set(ids.tolist()) - set(allowed.ignored)
    return seen.numbered or (not allowed.unknown(ids) and len(classes) > 1)


def _ids(classes: Iterable[int], change: LabelMap | None) -> Tensor:
    ids = np.array(sorted(classes), np.int32)
    return torch.from_numpy(ids if change is None else mapped(ids, change))


def _fits(colours: Counter[Colour], table: ColourTable) -> bool:
    return bool(colours) and all(colour in table.ids for colour in colours)


def _said(table: ColourTable, path: Path | None) -> tuple[LabelKind, ColourTable]:
    classes = few((f"{label} {name}".strip() for label, name in table.names.items()), _SHOWN)
    words = f"colours of a known table: read as data.label_format=colors:{table.source} ({classes})"
    tell(logger, path, words)
    return LabelKind.colours, table


def _unexplained(seen: _Seen, near: Sequence[ColourTable], named: Sequence[ColourTable]) -> str:
    what = f"{seen.coloured} is a label map of colours"
    if near:
        unknown = Counter({c: n for c, n in seen.colours.items() if c not in near[0].ids})
        return f"{what}, and {shown_colours(unknown)} not in {near[0].source}. {colour_remedy(unknown, near[0].source)}"
    if named:
        choices = " or ".join(f"data.label_format=colors:{table.source}" for table in named)
        return f"{what} that several known tables have: say which, {choices}, or colors:FILE."
    return (
        f"{what} that no known table has ({shown_colours(seen.colours)}). {colour_remedy(seen.colours, None)} "
        "Where the red channel is the class, set data.label_format=red_channel; to use them as pictures, "
        "data.labels=rgb and model.source=image."
    )
