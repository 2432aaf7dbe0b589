"""Tables of the colours that label maps are painted with: known ones by name, and files of annotation tools.

Loads neither torch nor NumPy. A table's file is read whatever its form: CVAT's labelmap.txt (`name:r,g,b::`), lines of
numbers and a name (CamVid's label_colors.txt, RUGD's colormap), CSV with or without a heading, JSON.
"""

from __future__ import annotations

import csv
import re
from collections.abc import Iterable, Mapping
from dataclasses import dataclass
from pathlib import Path
from typing import Any

from trainer.errors import DataError
from trainer.files import is_there
from trainer.untrusted import plain_json

Colour = tuple[int, int, int]

NAMED = ("cityscapes", "cityscapes_train_ids", "camvid", "voc")
LARGEST_ID = (1 << 16) - 1
_FILES = re.compile(r"(label_?map|label_?colou?rs?|class_?dict|.*colou?r_?map|colou?rs)\.(txt|csv|json)", re.IGNORECASE)
_HEX = re.compile(r"#?([0-9a-fA-F]{2})([0-9a-fA-F]{2})([0-9a-fA-F]{2})")
_ID = ("id", "class_id", "classid", "label_id", "labelid", "index", "idx", "value")
_NAME = ("name", "readable", "title", "label", "class", "class_name", "label_name", "category")
_CHANNELS = (("r", "red"), ("g", "green"), ("b", "blue"))
_COLOUR = ("color", "colour", "rgb", "hex", "color_rgb")
# Cityscapes' ids of the classes that are evaluated, in the order of their train ids.
TRAIN_IDS = (7, 8, 11, 12, 13, 17, 19, 20, 21, 22, 23, 24, 25, 26, 27, 28, 31, 32, 33)
_VOC = (
    "background", "aeroplane", "bicycle", "bird", "boat", "bottle", "bus", "car", "cat", "chair", "cow", "diningtable",
    "dog", "horse", "motorbike", "person", "pottedplant", "sheep", "sofa", "train", "tvmonitor",
)  # fmt: skip
_CAMVID = """64 128 64 Animal, 192 0 128 Archway, 0 128 192 Bicyclist, 0 128 64 Bridge, 128 0 0 Building, 64 0 128 Car,
64 0 192 CartLuggagePram, 192 128 64 Child, 192 192 128 Column_Pole, 64 64 128 Fence, 128 0 192 LaneMkgsDriv,
192 0 64 LaneMkgsNonDriv, 128 128 64 Misc_Text, 192 0 192 MotorcycleScooter, 128 64 64 OtherMoving,
64 192 128 ParkingBlock, 64 64 0 Pedestrian, 128 64 128 Road, 128 128 192 RoadShoulder, 0 0 192 Sidewalk,
192 128 128 SignSymbol, 128 128 128 Sky, 64 128 192 SUVPickupTruck, 0 0 64 TrafficCone, 0 64 64 TrafficLight,
192 64 128 Train, 128 128 0 Tree, 192 128 192 Truck_Bus, 64 0 64 Tunnel, 192 192 0 VegetationMisc, 0 0 0 Void,
64 192 0 Wall"""


@dataclass(frozen=True)
class ColourTable:
    """Which colour stands for which id.

    Attributes:
        source: name or file, as it is given in `data.label_format=colors:...`.
        ids: colour to id.
        names: id to class name, where it is known.
    """

    source: str
    ids: Mapping[Colour, int]
    names: Mapping[int, str]

    def __hash__(self) -> int:
        return hash((self.source, *self.ids.items()))


def colour_table(source: str, key: str = "data.label_format=colors:") -> ColourTable:
    """The table of a name (`cityscapes`, ...) or of a file.

    Args:
        source: what follows `colors:`.
        key: what the user wrote before it, for messages.

    Raises:
        DataError: no such name or file, or it holds no colours; says which forms are read.
    """
    if source in NAMED:
        return _named(source)
    path = Path(source)
    if not is_there(path):
        raise DataError(
            f"{key}{source}: no such file, and no known table ({', '.join(NAMED)}). Give a file "
            "with the colour of each class, such as CVAT's labelmap.txt."
        )
    try:
        text = path.read_text(encoding="utf-8-sig")
    except (OSError, UnicodeDecodeError) as error:
        raise DataError(f"{path}: cannot be read as text ({error}).") from error
    try:
        rows = _from_json(plain_json.loads(text)) if text.lstrip()[:1] in ("{", "[") else _from_lines(text)
        return _table(source, rows)
    except (ValueError, TypeError, KeyError, IndexError, AttributeError) as error:
        raise DataError(
            f"{path}: cannot be read as a table of colours ({error}). Give a line for each class, like "
            "'road 128 64 128' (ids are the lines' numbers from 0) or with a heading 'id,name,r,g,b'; CVAT's "
            "labelmap.txt and JSON are read too."
        ) from error


def table_of(label_format: str) -> str:
    """What follows `colors:` in `data.label_format`; empty where it has another form."""
    kind, _, source = label_format.partition(":")
    return source.strip() if kind in ("colors", "colours") else ""


def tables_near(folders: Iterable[Path]) -> list[Path]:
    """Files that annotation tools put beside label maps to say what their colours mean."""
    found = []
    for folder in dict.fromkeys(folders):
        if folder.is_dir():
            found += sorted(path for path in folder.iterdir() if _FILES.fullmatch(path.name) and path.is_file())
    return found


def _named(name: str) -> ColourTable:
    if name.startswith("cityscapes"):
        from trainer.data.labels.palette import CLASSES

        classes = {new: CLASSES[old] for new, old in enumerate(TRAIN_IDS)} if name != "cityscapes" else CLASSES
        return _table(name, [(label, text, colour) for label, (text, *colour) in classes.items()])
    if name == "camvid":
        return _table(name, _from_lines(_CAMVID.replace(", ", "\n").replace(",\n", "\n")))
    colours = [voc_colour(index) for index in range(len(_VOC))]
    rows: list[_Row] = [(index, text, colours[index]) for index, text in enumerate(_VOC)]
    return _table(name, [*rows, (255, "border", (224, 224, 192))])


def voc_colour(index: int) -> Colour:
    """The VOC development kit's colour of an id: bits 0, 1, 2, then 3, 4, 5, ... from each channel's top downward."""
    channels = [0, 0, 0]
    for place in range(7, -1, -1):
        for channel in range(3):
            channels[channel] |= (index >> channel & 1) << place
        index >>= 3
    return channels[0], channels[1], channels[2]


_Row = tuple[int | None, str, Any]  # id or None, name, colour


def _table(source: str, rows: Iterable[_Row]) -> ColourTable:
    ids: dict[Colour, int] = {}
    names: dict[int, str] = {}
    for number, (label, name, given) in enumerate(rows):
        colour = _colour(given)
        label = number if label is None else label
        if not 0 <= label <= LARGEST_ID:
            raise ValueError(f"id {label} is not in 0..{LARGEST_ID}")
        ids.setdefault(colour, label)  # classes that share a colour cannot be told apart: the first
        names.setdefault(label, name)
    if not ids:
        raise ValueError("it holds no colours")
    return ColourTable(source, ids, names)


def _colour(given: Any) -> Colour:
    """`[128,64,128]`, `#804080` or `128, 64, 128`."""
    if isinstance(given, str):
        found = _HEX.fullmatch(given.strip())
        numbers = [int(part, 16) for part in found.groups()] if found else [int(x) for x in re.findall(r"\d+", given)]
    else:
        numbers = [_whole(x) for x in given]
    if len(numbers) not in (3, 4) or not all(0 <= x <= 255 for x in numbers):
        raise ValueError(f"{given!r:.80} is no colour: three whole numbers of 0 to 255 are")
    return numbers[0], numbers[1], numbers[2]  # a fourth is alpha


def _whole(value: Any) -> int:
    """A number or a text of digits; raises ValueError for fractions, as colours of shares would all be black."""
    if isinstance(value, float) and not value.is_integer():  # nor are infinity and NaN
        raise ValueError(f"{value!r:.80} is no whole number")
    return int(value)


def _from_json(data: Any) -> list[_Row]:
    """{name or id: colour}, {colour: id}, or a list of objects with a colour, as in Mapillary, COCO, CVAT."""
    if isinstance(data, dict):
        lists = [rows for rows in data.values() if isinstance(rows, list) and rows and isinstance(rows[0], dict)]
        # COCO has images and licences before its categories: the list whose rows have colours is meant.
        listed = next((rows for rows in lists if _has_colour(rows[0])), lists[0] if lists else None)
        if listed is None:
            if all(isinstance(value, int) for value in data.values()):
                return [(value, "", colour) for colour, value in data.items()]
            return [(int(key), "", value) if key.isdigit() else (None, key, value) for key, value in data.items()]
        data = listed
    return [_from_mapping({str(key).lower(): value for key, value in row.items()}) for row in data]


def _has_colour(row: Mapping[str, Any]) -> bool:
    keys = {str(key).lower() for key in row}
    return bool(keys & {*_COLOUR}) or all(keys & {*names} for names in _CHANNELS)


def _from_mapping(row: Mapping[str, Any]) -> _Row:
    label = next((row[key] for key in _ID if row.get(key) not in (None, "")), None)
    name = next((str(row[key]) for key in _NAME if row.get(key)), "")
    if label is None and name.isdigit():  # a column 'class' or 'label' of ids
        label = name
    colour = next((row[key] for key in _COLOUR if row.get(key)), None)
    if colour is None:
        colour = [row[short] if short in row else row[long] for short, long in _CHANNELS]
    return (None if label is None else _whole(label)), name, colour


def _from_lines(text: str) -> list[_Row]:
    lines = [line.strip() for line in text.splitlines()]
    lines = [line for line in lines if line and (not line.startswith("#") or _HEX.match(line))]
    if not lines:
        raise ValueError("it is empty")
    if all(re.fullmatch(r"[^:]*:\s*\d+\s*,\s*\d+\s*,\s*\d+\s*:.*", line) for line in lines):  # CVAT
        return [(None, line.split(":")[0].strip(), line.split(":")[1]) for line in lines]
    separator = next((mark for mark in ("\t", ";", ",") if all(mark in line for line in lines)), None)
    rows = list(csv.reader(lines, delimiter=separator)) if separator else [line.split() for line in lines]
    rows = [[cell.strip() for cell in row if cell.strip() or separator not in (None, "\t")] for row in rows]
    heading = [cell.lower() for cell in rows[0]]
    if set(heading) & {"r", "red", *_COLOUR}:
        return [_from_mapping(dict(zip(heading, row, strict=False))) for row in rows[1:]]
    return [_from_cells(row) for row in rows]


def _from_cells(row: list[str]) -> _Row:
    """Cells without a heading: three numbers (or #rrggbb), a name, and an id before them, or after where the name is
    first."""
    cells = [part for cell in row for part in (cell.split() if re.fullmatch(r"[\d\s]+", cell) else [cell])]
    numbers = [int(cell) for cell in cells if cell.isdigit()]
    words = [cell for cell in cells if not cell.isdigit()]
    hexes = [cell for cell in words if cell.startswith("#") and _HEX.fullmatch(cell)]
    name = " ".join(cell for cell in words if cell not in hexes)
    if hexes:
        return (numbers[0] if numbers else None), name, hexes[0]
    if len(numbers) == 3:
        return None, name, numbers
    if len(numbers) != 4:
        raise ValueError(f"'{' '.join(row)}' has {len(numbers)} numbers")
    last = not cells[0].isdigit()
    return (numbers[3], name, numbers[:3]) if last else (numbers[0], name, numbers[1:])
