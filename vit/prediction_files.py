"""Files of predictions: tables, JSON lines, a competition's ``id,label``; and of features.

Every file is written beside and renamed when it is whole.
"""

from __future__ import annotations

import csv
import json
import math
from collections.abc import Iterable, Iterator, Sequence
from contextlib import contextmanager
from enum import Enum
from pathlib import Path
from typing import TYPE_CHECKING, Any, TextIO

import numpy as np

from trainer.errors import ConfigError, DataError, UserError

if TYPE_CHECKING:
    from vit.predict import Answers, Predictor

_IDS = ("id", "image_id", "id_code", "imageid", "image", "image_name")  # what competitions call a picture's column
YES = 0.5  # probability from which on one of several labels is given


class Format(Enum):
    auto = "auto"  # by the suffix of out
    csv = "csv"  # file, then label_1, probability_1, label_2, ...
    jsonl = "jsonl"  # one JSON object a line
    kaggle = "kaggle"  # id,label; an id is a file's name without suffix; of a sample submission its ids and columns
    npz = "npz"  # features: arrays names and features
    parquet = "parquet"  # features: columns names and features


_SUFFIXES = {".csv": Format.csv, ".jsonl": Format.jsonl, ".npz": Format.npz, ".parquet": Format.parquet}
VECTORS = (Format.npz, Format.parquet)


def pick_format(out: Path, asked: Format, features: bool) -> Format:
    """The format of a file, checked against what is to be in it.

    Raises:
        ConfigError: its suffix tells no format, or the format is not for this. UserError: a package is missing.
    """
    chosen = asked
    if asked is Format.auto:
        if out.suffix.lower() not in _SUFFIXES:
            raise ConfigError(f"out={out}: its suffix tells no format; use {', '.join(_SUFFIXES)}, or give format=")
        chosen = _SUFFIXES[out.suffix.lower()]
    if features and chosen not in VECTORS:
        raise ConfigError(f"features=true gives vectors, which {chosen.name} does not hold: out={out.stem}.npz does")
    if not features and chosen in VECTORS:
        raise ConfigError(f"format {chosen.name} is for vectors: add features=true, or use out={out.stem}.csv")
    if chosen is Format.parquet:
        _pyarrow()
    return chosen


class Rows:
    """Predictions on their way into a text file: ``rows.add(answers)``.

    Args:
        file: to write to.
        form: csv, jsonl or kaggle.
        predictor: that makes the predictions.
        names: of all pictures.
        top: how many classes a picture, at most K.
        columns: of the table that named the pictures, that of their names first. With another column, or one for each
            of some classes, ``kaggle`` writes these: names as they are there, and the label or the probabilities.

    Raises:
        ConfigError: ``top`` is below 1. DataError: two pictures have one id; columns some of which are classes.
    """

    def __init__(
        self,
        file: TextIO,
        form: Format,
        predictor: Predictor,
        names: Sequence[str],
        top: int,
        columns: Sequence[str] = (),
    ) -> None:
        if top < 1:
            raise ConfigError(f"top={top}: at least 1 class a picture")
        self.columns, self.places = list(columns), list[int]()
        if form is Format.kaggle:
            self.columns, self.places = _submission(columns, predictor.classes)
            if not self.columns:
                _check_ids(names)
        self.file, self.form, self.predictor, self.names = file, form, predictor, names
        self.top = min(top, len(predictor.classes))
        self.table = csv.writer(file, lineterminator="\n")
        heading = {
            Format.csv: ["file", *(f"{what}_{n + 1}" for n in range(self.top) for what in ("label", "probability"))],
            Format.kaggle: self.columns or ["id", "label"],
        }.get(form)
        if heading is not None:
            self.table.writerow(heading)

    def add(self, answers: Answers) -> None:
        """The pictures of a batch, the likeliest classes first."""
        classes = self.predictor.classes
        order = np.argsort(-answers.values, axis=1, kind="stable")[:, : self.top]
        for index, values, best in zip(answers.indices, answers.values, order, strict=True):
            name, found = self.names[index], [(classes[k], _rounded(values[k])) for k in best]
            if self.places:
                self.table.writerow([name, *(_rounded(values[k]) for k in self.places)])
            elif self.form is Format.kaggle:
                self.table.writerow([name if self.columns else identity(name), self._label(values)])
            elif self.form is Format.csv:
                self.table.writerow([name, *(cell for pair in found for cell in pair)])
            else:
                answer = [{"label": label, "probability": probability} for label, probability in found]
                self.file.write(json.dumps({"file": name, "predictions": answer}, ensure_ascii=False) + "\n")

    def _label(self, values: np.ndarray) -> str:
        classes = self.predictor.classes
        if not self.predictor.multilabel:
            return classes[int(values.argmax())]
        return self.predictor.separator.join(classes[k] for k in np.flatnonzero(values >= YES))


def identity(name: str) -> str:
    """A picture's id: the name of its file without folder and without a suffix of pictures (0001.jpg: 0001)."""
    from vit.data.decode import picture_extensions

    path = Path(name)
    return path.stem if path.suffix.lower() in picture_extensions() else path.name


def _submission(columns: Sequence[str], classes: Sequence[str]) -> tuple[list[str], list[int]]:
    """Columns to write as a sample submission has them, and the classes of those that want probabilities.

    No columns where the table is no sample submission: its pictures are not called by ids, or it has other columns than
    one, or one for each of some classes.
    """
    known = {name: place for place, name in enumerate(classes)}
    others = list(columns[1:])
    strange = [name for name in others if name not in known]
    if others and not strange:  # probabilities
        return list(columns), [known[name] for name in others]
    if len(others) == 1 and columns[0].lower() in _IDS:
        return list(columns), []
    if len(strange) < len(others):
        raise DataError(
            f"format=kaggle: of the table's columns {', '.join(strange[:8])} are no classes of the model "
            f"({', '.join(classes[:8])}{', ...' if classes[8:] else ''}), others are; rename them, or use format=csv"
        )
    return [], []


def _check_ids(names: Sequence[str]) -> None:
    first: dict[str, str] = {}
    for name in names:
        other = first.setdefault(identity(name), name)
        if other != name:
            raise DataError(
                f"format=kaggle: {other} and {name} have one id, {identity(name)}; format=csv tells them apart"
            )


def _rounded(value: float) -> float:
    """Six significant digits."""
    return float(f"{value:.6g}") if math.isfinite(value) else float(value)


def write_features(file: Path, form: Format, names: Sequence[str], answers: Iterable[Answers]) -> dict[int, str]:
    """Writes vectors: ``names`` (N,) text and ``features`` (N, D) float32, of the pictures that could be used.

    Returns:
        Why others could not, by index.
    """
    kept: list[str] = []
    parts: list[np.ndarray] = []
    bad: dict[int, str] = {}
    for answer in answers:
        kept += [names[index] for index in answer.indices]
        parts.append(answer.values.astype(np.float32))
        bad |= answer.bad
    vectors = np.concatenate(parts)
    with _beside(file) as temporary:
        if form is Format.parquet:
            arrow, parquet = _pyarrow()
            flat = arrow.FixedSizeListArray.from_arrays(arrow.array(vectors.reshape(-1)), vectors.shape[1])
            parquet.write_table(arrow.table({"names": kept, "features": flat}), temporary)
        else:
            with temporary.open("wb") as stream:  # a name would get a second suffix
                np.savez(stream, names=np.array(kept), features=vectors)
    return bad


def write_predictions(
    file: Path,
    form: Format,
    predictor: Predictor,
    names: Sequence[str],
    answers: Iterable[Answers],
    top: int,
    columns: Sequence[str] = (),
) -> dict[int, str]:
    """Writes the likeliest classes of every picture as they come.

    Args:
        file: to write.
        form: csv, jsonl or kaggle.
        names: of all pictures, by index.
        answers: of ``vit.predict.predict``.
        top: how many classes a picture.
        columns: of the table that named the pictures (see `Rows`).

    Returns:
        Why pictures could not be used, by index.
    """
    bad: dict[int, str] = {}
    with (
        _beside(file) as temporary,
        temporary.open("w", encoding="utf-8", errors="surrogateescape", newline="") as stream,
    ):
        rows = Rows(stream, form, predictor, names, top, columns)
        for answer in answers:
            rows.add(answer)
            bad |= answer.bad
    return bad


def write_unreadable(file: Path, names: Sequence[str], bad: dict[int, str]) -> Path | None:
    """``NAME-unreadable.csv`` beside a file of predictions: file, reason. One of an earlier call goes.

    Returns:
        The file; None where every picture could be used.
    """
    path = file.with_name(f"{file.stem}-unreadable.csv")
    path.unlink(missing_ok=True)
    if not bad:
        return None
    with path.open("w", encoding="utf-8", errors="surrogateescape", newline="") as stream:
        csv.writer(stream, lineterminator="\n").writerows(
            [("file", "reason"), *((names[index], reason) for index, reason in sorted(bad.items()))]
        )
    return path


@contextmanager
def _beside(file: Path) -> Iterator[Path]:
    """A name to write to, which becomes the file's when all went well and is removed when not."""
    file.parent.mkdir(parents=True, exist_ok=True)
    temporary = file.with_name(f".{file.name}.partial")
    try:
        yield temporary
        temporary.replace(file)
    finally:
        temporary.unlink(missing_ok=True)


def _pyarrow() -> tuple[Any, Any]:
    try:
        import pyarrow  # pyright: ignore[reportMissingImports]
        import pyarrow.parquet  # pyright: ignore[reportMissingImports]
    except ImportError as error:
        raise UserError("parquet needs the extra: pip install -e '.[parquet]'; out=NAME.npz does without") from error
    return pyarrow, pyarrow.parquet
