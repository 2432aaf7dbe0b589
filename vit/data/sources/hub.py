"""Folders of Hugging Face's ``datasets`` library: parquet, ``save_to_disk``, pictures with a metadata file. Offline."""

from __future__ import annotations

import os
from collections.abc import Mapping, Sequence
from pathlib import Path
from typing import Any

import numpy as np

from trainer.config.suggestions import did_you_mean
from trainer.data.pictures.files import BadFileError, read_bytes
from trainer.data.pictures.not_pictures import stranger
from trainer.data.strings import Strings
from trainer.errors import DataError
from trainer.untrusted import plain_json
from trainer.untrusted.places import check_below
from vit.config import DataConfig, VitConfig
from vit.data.source import Source
from vit.data.sources.files import EncodedSource, RootedData, scan_once
from vit.data.sources.labels import Labels, check_not_one_hot, label_columns, number_rows, read_labels
from vit.data.sources.layout import check_folder, role_in
from vit.data.sources.unlabelled import UnlabelledError

_MARKS = ("bool", "int8", "uint8", "int16", "int32", "int64", "float32", "float64", "string")  # types of 0 and 1
_LABELS = ("label", "labels", "fine_label", "class", "target")


class HubTables(RootedData):
    """A folder that the ``datasets`` library reads; nothing is fetched.

    The picture's column is the one of the library's type for pictures (`data.csv_path` names another), the label's is
    `data.csv_label`: one, or several with a 0 or 1 for each class. With `data.multilabel` a cell may be a list. Labels
    of type ClassLabel have their names and numbers from there; others are numbered as those of tables.

    Raises:
        DataError: the library is missing, cannot read the folder, or a column is not there; says which there are.
    """

    def splits(self, root: Path) -> dict[str, tuple[str, str]]:
        check_folder("data.root", root)
        names = list(_splits(root, self.data))
        roles = {role_in(name) or name: (str(root), name) for name in names}
        return roles if {"train", "val"} & roles.keys() else {"all": (str(root), names[0])}

    def load(self, place: tuple[str, str], split: str, train: Source | None) -> Source:
        root, part = place
        found = _load(_splits(Path(root), self.data)[part], f"{root}/{part}", split, self.config, train)
        found.folders = None if self.config.trust.paths_outside else [root, Path(self.data.cache_dir).expanduser()]
        return found


class HfSource(EncodedSource):
    """Rows of a data set of the ``datasets`` library, which maps its files into memory.

    Args:
        rows: with columns ``image`` (a dict of bytes and path) alone.
        files: each row's file name, or its number where it has none.
        title: what names begin with.
        labels, classes, channels, notes: as for `EncodedSource`.
        folders: in which files may lie that rows name; None: anywhere (`trust.paths_outside`).
    """

    def __init__(
        self,
        rows: Any,
        files: list[str],
        title: str,
        labels: np.ndarray,
        classes: list[str],
        channels: int,
        notes: list[str],
        folders: Sequence[str | Path] | None = None,
    ) -> None:
        super().__init__(labels, classes, channels, notes)
        self.folders = folders
        self._rows, self._title, self._files = rows, title, Strings(files)

    def name(self, index: int) -> str:
        return f"{self._title}/{index}"

    def split_name(self, index: int) -> str:
        return self._files[index]

    def encoded(self, index: int) -> bytes | bytearray:
        cell = _cell(self._rows[index]["image"])
        if cell.get("bytes"):
            return cell["bytes"]
        if cell.get("path"):
            if self.folders is not None:
                check_below([str(cell["path"])], self.folders, False, self.name(index))
            return read_bytes(cell["path"])
        raise BadFileError(f"{self.name(index)}: the row has no picture. Correct it, or set data.on_bad_file=skip")

    def stamp(self, index: int) -> str:
        return f"{self._title}|{self._rows._fingerprint}|{index}"


def _cell(value: Any) -> Mapping[str, Any]:
    return value if isinstance(value, Mapping) else {"bytes": value} if isinstance(value, bytes) else {"path": value}


def _splits(root: Path, data: DataConfig) -> dict[str, Any]:
    """The library's data sets by split name."""
    return scan_once(f"hf {root.absolute()} {data.cache_dir}", lambda: _read(root, data))


def _read(root: Path, data: DataConfig) -> dict[str, Any]:
    os.environ.update(HF_HUB_OFFLINE="1", HF_DATASETS_OFFLINE="1")
    try:
        import datasets  # pyright: ignore[reportMissingImports]
    except ImportError as error:
        raise DataError(
            'data=hf needs the datasets library: pip install "vivid[hf]", or pip install datasets'
        ) from error
    datasets.disable_progress_bars()
    try:
        if (root / "dataset_dict.json").is_file() or (root / "state.json").is_file():
            return _saved(root, datasets)
        cache = Path(data.cache_dir).expanduser() / "hf"
        return dict(datasets.load_dataset(str(root), cache_dir=str(cache)))
    except DataError:
        raise
    except Exception as error:  # the library and its readers raise dozens of types
        for file in sorted(path for path in root.rglob("*") if path.suffix in (".parquet", ".arrow"))[:16]:
            with open(file, "rb") as opened:
                known = stranger(opened.read(256))
            if known is not None:
                raise DataError(f"{file}: is {known[0]}: {known[1]}") from error
        reason = (str(error).splitlines() or [type(error).__name__])[0][:300]
        raise DataError(
            f"{root}: the datasets library cannot read this folder ({type(error).__name__}: {reason}). Expected are "
            "parquet files, what save_to_disk wrote, or pictures with a metadata.csv; it writes to data.cache_dir"
        ) from error


def _saved(root: Path, datasets: Any) -> dict[str, Any]:
    """What ``save_to_disk`` wrote; where its own notes are incomplete, the tables that they name."""
    try:
        found = datasets.load_from_disk(str(root))
        return dict(found) if isinstance(found, Mapping) else {"all": found}
    except KeyError:
        pass
    summary = (
        plain_json.loads((root / "dataset_dict.json").read_text()) if (root / "dataset_dict.json").is_file() else None
    )
    found = {}
    for name in summary["splits"] if summary else ["all"]:
        folder = root / name if summary else root
        state = plain_json.loads((folder / "state.json").read_text())
        if state.get("_indices_data_files") or state.get("_indices_files"):
            raise DataError(f"{folder}: rows are chosen by an index of an old version; write it anew with save_to_disk")
        files = [folder / row["filename"] for row in state["_data_files"]]
        check_below(files, [root], False, folder / "state.json")
        found[name] = datasets.concatenate_datasets([datasets.Dataset.from_file(str(file)) for file in files])
    return found


def _load(rows: Any, title: str, split: str, config: VitConfig, train: Source | None) -> HfSource:
    import datasets  # pyright: ignore[reportMissingImports]

    data, features = config.data, rows.features
    pictures = [name for name, kind in features.items() if isinstance(kind, datasets.Image) or _holds(kind)]
    if data.csv_path in features:
        image = data.csv_path
    elif len(pictures) == 1:
        image = pictures[0]
    else:
        raise DataError(
            f"{title}: {len(pictures)} columns hold pictures; name one with data.csv_path. Its columns are: "
            f"{', '.join(features)}"
        )
    label_names = _label_columns(title, features, data)
    kinds = [_class_label(features[name]) for name in label_names]
    listed = (list(kinds[0].names), f"column {label_names[0]}") if len(kinds) == 1 and kinds[0] is not None else None
    table = rows.select_columns(label_names)[:]
    columns = [table[name] for name in label_names]
    if split != "train" and not data.multilabel and all(_empty(value) for column in columns for value in column):
        raise UnlabelledError(f"{title}: column '{label_names[0]}' is empty (or -1), so its pictures have no labels")
    labels, numbering = number_rows(_told(columns, title, rows, data), title, config, train, listed)
    if isinstance(features[image], datasets.Image):
        rows = rows.cast_column(image, datasets.Image(decode=False))
    rows = rows.select_columns([image])
    rows = rows if image == "image" else rows.rename_column(image, "image")
    source = HfSource(rows, _files(rows), title, labels, numbering.classes, data.channels or 3, list(numbering.notes))
    source.order, source.indexed = numbering.order, numbering.indexed
    return source


def _label_columns(title: str, features: Mapping[str, Any], data: DataConfig) -> list[str]:
    """Columns of the labels: `data.csv_label`, or the first that is called as labels are.

    Raises:
        DataError: there is no such column; says which there are.
    """
    label_names = label_columns(data)
    if label_names == ["label"] and "label" not in features:
        label_names = [next((name for name in _LABELS if name in features), "label")]
    for name in label_names:
        if name not in features:
            raise DataError(
                f"{title}: no column '{name}'{did_you_mean(name, features)} (data.csv_label); it has: "
                f"{', '.join(features)}"
            )
    return label_names


def _class_label(kind: Any) -> Any:
    """The library's type of class numbers, of a column or of the items of its lists; None for any other."""
    kind = getattr(kind, "feature", kind)
    kind = kind[0] if isinstance(kind, list) and kind else kind
    return kind if hasattr(kind, "names") and hasattr(kind, "int2str") else None


def _told(columns: list[list[Any]], title: str, rows: Any, data: DataConfig) -> Labels:
    """Labels of the rows, as of a table."""
    if len(columns) == 1 and any(isinstance(value, list) for value in columns[0]):
        if data.multilabel:
            return Labels([list(dict.fromkeys(str(item) for item in value or ())) for value in columns[0]])
        wrong = next((at for at, value in enumerate(columns[0]) if isinstance(value, list) and len(value) != 1), None)
        if wrong is not None:
            raise DataError(
                f"{title}, row {wrong}: {columns[0][wrong]} is not one class; for several labels set "
                "data.multilabel=true"
            )
        columns = [[_single(value) for value in columns[0]]]
    cells = [["" if _empty(value) else str(value).strip() for value in row] for row in zip(*columns, strict=True)]
    if data.multilabel and isinstance(data.csv_label, str):
        plain = [name for name, kind in rows.features.items() if getattr(kind, "dtype", "") in _MARKS]
        marks = rows.select_columns(plain)[:] if plain else {}
        others = {name: ["" if value is None else str(value) for value in column] for name, column in marks.items()}
        check_not_one_hot(others, data.csv_label, title)
    return read_labels(list(enumerate(cells)), data, f"{title}, row")


def _single(value: Any) -> Any:
    """The item of a list of one."""
    return value[0] if isinstance(value, list) and len(value) == 1 else value


def _empty(value: Any) -> bool:
    """Whether a cell says that there is no label: nothing, NaN, or -1 as test sets of the Hub have it."""
    return value is None or value == "" or value == -1 or value != value


def _files(rows: Any) -> list[str]:
    """File names of the rows, without touching a picture; their numbers where there are none."""
    numbers = [str(number) for number in range(len(rows))]
    column = rows.data.column("image")
    has_paths = str(column.type).startswith("struct") and "path" in [field.name for field in column.type]
    if rows._indices is not None or not has_paths:
        return numbers
    import pyarrow.compute as pc  # pyright: ignore[reportMissingImports]

    paths = pc.struct_field(column, "path").to_pylist()
    return [os.path.basename(path) if path else number for path, number in zip(paths, numbers, strict=True)]


def _holds(kind: Any) -> bool:
    """Whether a column without the library's type for pictures has the form of one."""
    return isinstance(kind, Mapping) and {"bytes", "path"} <= set(kind)
