"""Files of predictions: tables, JSON lines, a competition's ``id,label``; and of features.

Every file is written beside and renamed when it is whole.
"""

from __future__ import annotations

import csv
import json
import math
from collections.abc import Callable, Iterable, Sequence
from pathlib import Path
from typing import TYPE_CHECKING, Any, TextIO

import numpy as np

from trainer.errors import ConfigError, DataError, UserError
from trainer.files import replace_file, write_arrays, write_table
from trainer.text import ends
from vit.data.sources.unlabelled import COLUMNS, Listed, Sheet
from vit.predict import Format
from vit.predict.interrupted import Interrupted
from vit.predict.order import likeliest

if TYPE_CHECKING:
    from vit.predict.predictor import Answers, Predictor

YES = 0.5  # probability from which on one of several labels is given


_SUFFIXES = {".csv": Format.csv, ".jsonl": Format.jsonl, ".npz": Format.npz, ".parquet": Format.parquet}
VECTORS = (Format.npz, Format.parquet)


def pick_format(out: Path, requested: Format, features: bool) -> Format:
    """The format of a file, checked against what is to be in it.

    Raises:
        ConfigError: its suffix tells no format, or the format is not for this. UserError: a package is missing.
    """
    chosen = requested
    if requested is Format.auto:
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
    """Predictions on their way into a text file: ``rows.add(answers)`` for batches, ``rows.finish(bad)`` at the end.

    In format kaggle the table that named the pictures (``listed.sheet``) says what the file looks like: its heading,
    its ids as they stand, one column for the label, or one for the probability of each of some classes. Without one it
    is ``id,label``.

    Args:
        file: to write to.
        form: csv, jsonl or kaggle.
        predictor: that makes the predictions.
        listed: all pictures.
        top: how many classes a picture, at most K.
        heading: write it; not where the file goes on.

    Raises:
        ConfigError: ``top`` is below 1. DataError: two pictures have one id, or the table's columns fit nothing.
    """

    def __init__(
        self, file: TextIO, form: Format, predictor: Predictor, listed: Listed, top: int, heading: bool = True
    ) -> None:
        if top < 1:
            raise ConfigError(f"top={top}: at least 1 class a picture")
        self.sheet = listed.sheet if form is Format.kaggle else None
        if self.sheet is not None and not _is_sample(self.sheet):
            self.sheet = None
        self.ids = listed.names if self.sheet is not None else [identity(name) for name in listed.names]
        self.file, self.form, self.predictor, self.names = file, form, predictor, listed.names
        self.top = min(top, len(predictor.classes))
        self.table = csv.writer(file, lineterminator="\n")
        if form is Format.kaggle:
            _check_ids(self.ids, self.names)
            self.columns = ["id", "label"] if self.sheet is None else self._filled(self.sheet)
            if heading:
                self.table.writerow(self.columns)
        elif form is Format.csv and heading:
            pairs = (f"{what}_{n + 1}" for n in range(self.top) for what in ("label", "probability"))
            self.table.writerow(["file", *pairs])

    def _filled(self, sheet: Sheet) -> list[str]:
        """The heading, after a look at what is to be filled in below it."""
        others = [name for place, name in enumerate(sheet.heading) if place != sheet.place]
        strange = [name for name in others if name not in self.predictor.classes]
        if len(others) > 1 and strange:
            mixed = len(strange) < len(others)
            told = f"columns {ends(strange, 8)} are no classes of the model; " if mixed else ""
            raise DataError(
                f"format=kaggle: {told}which columns are to be filled ({ends(others, 8)})? One stands for the label, "
                f"or one for each of some classes ({ends(self.predictor.classes, 8)}); leave others out of the table"
            )
        return sheet.heading

    def add(self, answers: Answers) -> None:
        """The pictures of a batch, the likeliest classes first."""
        classes = self.predictor.classes
        order = likeliest(answers.values, self.top)
        for index, values, best in zip(answers.indices, answers.values, order, strict=True):
            name, found = self.names[index], [(classes[k], _rounded(values[k])) for k in best]
            if self.form is Format.kaggle:
                self.table.writerow(self._row(index, values))
            elif self.form is Format.csv:
                self.table.writerow([name, *(cell for pair in found for cell in pair)])
            else:
                answer = [{"label": label, "probability": probability} for label, probability in found]
                odd = any("\ud800" <= sign <= "\udfff" for sign in name)  # bytes that are no text; JSON is UTF-8
                self.file.write(json.dumps({"file": name, "predictions": answer}, ensure_ascii=odd) + "\n")

    def finish(self, bad: Iterable[int]) -> int:
        """Pictures that could not be used keep the rows of their table: one that lacks any is not accepted.

        Returns:
            How many rows.
        """
        kept = [] if self.sheet is None else [self.sheet.rows[index] for index in sorted(bad)]
        self.table.writerows(kept)
        return len(kept)

    def _row(self, index: int, values: np.ndarray) -> list[Any]:
        if self.sheet is None:
            return [self.ids[index], self._label(values)]
        if len(self.columns) == 2 and not set(self.columns) & set(self.predictor.classes):
            filled: dict[str, Any] = dict.fromkeys(self.columns, self._label(values))
        else:
            shares = (_rounded(value) for value in values)
            filled = dict(zip(self.predictor.classes, shares, strict=True))
        filled[self.columns[self.sheet.place]] = self.ids[index]
        return [filled[name] for name in self.columns]

    def _label(self, values: np.ndarray) -> str:
        classes = self.predictor.classes
        if not self.predictor.multilabel:
            return classes[int(values.argmax())]
        return self.predictor.separator.join(classes[k] for k in np.flatnonzero(values >= YES))


def _is_sample(sheet: Sheet) -> bool:
    """Whether a table is to be filled; not one with paths, or with ids beside files, which lists pictures."""
    names = [name for name in sheet.heading if name.lower() in COLUMNS]
    return len(names) <= 1 and "path" not in sheet.heading[sheet.place].lower()


def identity(name: str) -> str:
    """A picture's id: the name of its file without folder and without a suffix of pictures (0001.jpg: 0001)."""
    from trainer.data.pictures.files import picture_extensions

    path = Path(name)
    return path.stem if path.suffix.lower() in picture_extensions() else path.name


def _check_ids(ids: Sequence[str], names: Sequence[str]) -> None:
    first: dict[str, int] = {}
    for index, own in enumerate(ids):
        other = first.setdefault(own, index)
        if other != index:
            raise DataError(
                f"format=kaggle: {names[other]} and {names[index]} have one id, {own}; format=csv tells them apart"
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
    if form is Format.parquet:
        arrow, parquet = _pyarrow()
        flat = arrow.FixedSizeListArray.from_arrays(arrow.array(vectors.reshape(-1)), vectors.shape[1])
        table = arrow.table({"names": kept, "features": flat})
        replace_file(file, lambda place: parquet.write_table(table, place))
    else:
        write_arrays(file, {"names": np.array(kept), "features": vectors})
    return bad


def write_predictions(
    file: Path,
    form: Format,
    predictor: Predictor,
    listed: Listed,
    answers: Callable[[int], Iterable[Answers]],
    top: int,
    progress: Interrupted,
) -> tuple[dict[int, str], int]:
    """Writes the likeliest classes of every picture as they come.

    What an interrupted call has written stays beside the file, and the next one with the same mark goes on from there.

    Args:
        file: to write.
        form: csv, jsonl or kaggle.
        listed: all pictures.
        answers: ``vit.predict.predictor.predict`` from a picture on.
        top: how many classes a picture.
        progress: of ``file``; where it goes on from, if ``Interrupted.find`` has found that.

    Returns:
        Why pictures could not be used, by index; and how many of these have kept their rows (``Rows.finish``).
    """
    file.parent.mkdir(parents=True, exist_ok=True)
    bad, begun = dict(progress.bad), progress.pictures
    try:
        mode = "a" if begun else "w"
        with progress.partial.open(mode, encoding="utf-8", errors="surrogateescape", newline="") as stream:
            rows = Rows(stream, form, predictor, listed, top, heading=not begun)
            for answer in answers(begun):
                rows.add(answer)
                bad |= answer.bad
                begun += len(answer.indices) + len(answer.bad)
                stream.flush()
                progress.note(begun, bad)
            kept = rows.finish(bad)
        progress.partial.replace(file)
    except Exception:
        progress.clear()
        raise
    progress.clear()
    return bad, kept


def write_unreadable(file: Path, names: Sequence[str], bad: dict[int, str]) -> Path | None:
    """``NAME-unreadable.csv`` beside a file of predictions: file, reason. One of an earlier call goes.

    Returns:
        The file; None where every picture could be used.
    """
    path = file.with_name(f"{file.stem}-unreadable.csv")
    path.unlink(missing_ok=True)
    if not bad:
        return None
    write_table(path, ("file", "reason"), [(names[index], reason) for index, reason in sorted(bad.items())])
    return path


def _pyarrow() -> tuple[Any, Any]:
    try:
        import pyarrow  # pyright: ignore[reportMissingImports]
        import pyarrow.parquet  # pyright: ignore[reportMissingImports]
    except ImportError as error:
        raise UserError("parquet needs the extra: pip install -e '.[parquet]'; out=NAME.npz does without") from error
    return pyarrow, pyarrow.parquet
