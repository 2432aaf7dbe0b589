"""Features of a split's pictures, computed once and kept: a file of rows for each vector of a picture.

Rows are written as they come, so an interruption loses nothing and what is asked for later is added. What uses them
sees them in the order of the data set, whatever the order of the pass, the batch and the workers were.
"""

from __future__ import annotations

import time
from collections.abc import Mapping, Sequence
from dataclasses import dataclass
from pathlib import Path
from typing import Any

import numpy as np
import torch
from torch import Tensor

from trainer.errors import DataError, UserError
from trainer.files import write_json
from trainer.records.progress import Progress
from trainer.untrusted import plain_json
from trainer.untrusted.arrays import read_npy
from vit.analysis.features.block_features import Piece, features
from vit.analysis.passes import Pass
from vit.analysis.study import Study
from vit.analysis.subjects import Subject
from vit.evaluate.linear import Features
from vit.evaluate.loaded import NO_NUMBERS

SAVE_EVERY_S = 20.0
ABOUT = "about.json"
PLAIN = ("label", "index", "readable")  # besides vectors: one whole number of each picture


@dataclass
class Bank:
    """What is kept of a split for one subject; pictures that could not be read are left out.

    Attributes:
        y: (N,) int64: class of the data.
        index: (N,) int64, rising: of each picture in the data set.
        places: (N,) int64: of each picture in the pass.
        identity: what tells it from that of other weights or data.
    """

    y: Tensor
    index: Tensor
    places: Tensor
    identity: str
    _rows: dict[Piece, np.ndarray]

    def features(self, pieces: Sequence[Piece]) -> Features:
        """Vectors side by side: (N, sum of their widths), fp32."""
        order = self.places.numpy()
        return Features(torch.cat([torch.from_numpy(self._rows[piece][order]) for piece in pieces], dim=1), self.y)


def pass_over(study: Study, split: str) -> Pass:
    """Its own pictures where it is the study's split, else all of them."""
    if split == study.split:
        return study.pictures
    return Pass(study.subjects, split, None, study.pictures.batch, study.pictures.folder)


def banks(study: Study, split: str, wanted: Mapping[str, Sequence[Piece]]) -> dict[str, Bank]:
    """Features of a split; those that are kept already are read.

    Args:
        split: ``study.split`` with the study's choice of pictures; another one whole.
        wanted: of each subject, by its label.

    Raises:
        DataError: several labels per picture. UserError: features are no numbers.
    """
    shown = pass_over(study, split)
    kept = {
        subject.label: _Kept(
            study.folder / "features" / f"{subject.label}-{split}", shown.identity(subject, ""), shown.count
        )
        for subject in study.subjects
    }
    for group in shown.groups():
        _fill(shown, group, kept, wanted)
    return {label: one.bank(wanted[label]) for label, one in kept.items()}


def _fill(
    shown: Pass, group: Sequence[Subject], kept: Mapping[str, _Kept], wanted: Mapping[str, Sequence[Piece]]
) -> None:
    def complete(places: slice) -> bool:
        return all(not kept[subject.label].lacking(wanted[subject.label], places.stop) for subject in group)

    total = sum(not complete(slice(start, min(start + shown.batch, shown.count))) 
                for start in range(0, shown.count, shown.batch))  # fmt: skip
    saved = time.monotonic()
    try:
        with torch.inference_mode(), Progress("batch", total, f"features of {shown.split}") as progress:
            for done, (places, batch) in enumerate(shown.batches(group[0], complete), 1):
                count = places.stop - places.start
                for subject in group:
                    lacking = kept[subject.label].lacking(wanted[subject.label], places.stop)
                    kept[subject.label].add(places, _vectors(subject, batch["image"][:count], lacking), batch, count)
                progress.show(done)
                if time.monotonic() - saved > SAVE_EVERY_S:
                    for subject in group:
                        kept[subject.label].save()
                    saved = time.monotonic()
    finally:
        for subject in group:
            kept[subject.label].save()


def _vectors(subject: Subject, pixels: Tensor, lacking: Sequence[Piece]) -> dict[Piece, Tensor]:
    if not lacking:
        return {}
    with subject.loaded.compute.amp():
        found = features(subject.model, subject.loaded.prepare(pixels), lacking)
    vectors = {piece: vector.float().cpu() for piece, vector in found.items()}
    if not all(bool(torch.isfinite(vector).all()) for vector in vectors.values()):
        raise UserError(f"{subject.label}: {NO_NUMBERS}")
    return vectors


class _Kept:
    """The files of one subject and split; those of other weights or data are written anew.

    Args:
        identity: what the rows hold for.
        count: pictures of the pass.
    """

    def __init__(self, folder: Path, identity: str, count: int) -> None:
        self.folder, self.identity, self.count = folder, identity, count
        self._done: dict[str, int] = {}  # how many rows of each file are written, from the first on
        self._files: dict[str, np.memmap[Any, Any]] = {}
        self._told = False  # whether ABOUT says that the files are of this identity
        about = folder / ABOUT
        if about.is_file():
            try:
                told = plain_json.loads(about.read_text(encoding="utf-8"))
                if told["identity"] == identity:
                    self._done = {name: int(rows) for name, rows in told["rows"].items()}
                    self._told = True
            except (OSError, ValueError, KeyError, AttributeError) as error:
                raise UserError(
                    f"{about}: cannot be read ({error}); delete {folder}, and it is computed anew"
                ) from error

    def lacking(self, pieces: Sequence[Piece], rows: int) -> list[Piece]:
        """Those of which fewer than so many rows are written."""
        return [piece for piece in dict.fromkeys(pieces) if self._done.get(piece.name, 0) < rows]

    def add(self, places: slice, vectors: Mapping[Piece, Tensor], batch: Mapping[str, Any], count: int) -> None:
        """Rows of a batch.

        Args:
            vectors: (count, D) of each piece that lacks them.
            batch: with ``label``, ``index`` and, where pictures may be unreadable, ``readable``.
        """
        readable = batch["readable"] > 0 if "readable" in batch else torch.ones(count)
        plain = {"label": batch["label"], "index": batch["index"], "readable": readable}
        columns = {name: values[:count].long().cpu() for name, values in plain.items()}
        for name, rows in (columns | {piece.name: vector for piece, vector in vectors.items()}).items():
            file = self._open(name, rows)
            file[places] = rows.numpy()
            self._done[name] = max(self._done.get(name, 0), places.stop)

    def save(self) -> None:
        """Brings what is written to the disk, then tells how much there is."""
        if not self._files:
            return
        for file in self._files.values():
            file.flush()
        write_json(self.folder / ABOUT, {"identity": self.identity, "rows": self._done})

    def bank(self, pieces: Sequence[Piece]) -> Bank:
        rows = {piece: self._read(piece.name) for piece in dict.fromkeys(pieces)}
        label, index, readable = (torch.from_numpy(np.array(self._read(name))) for name in PLAIN)
        places = torch.argsort(index, stable=True)
        places = places[readable[places] > 0]
        if not len(places):
            raise DataError(f"{self.folder.name}: none of the {self.count} pictures can be read")
        return Bank(label[places], index[places], places, self.identity, rows)

    def _open(self, name: str, rows: Tensor) -> np.memmap[Any, Any]:
        if name not in self._files:
            path = self.folder / f"{name}.npy"
            self.folder.mkdir(parents=True, exist_ok=True)
            if self._done.get(name):
                self._files[name] = self._read(name, "r+")
            else:
                if not self._told:  # before rows of others are lost, which nobody shall take for theirs any more
                    write_json(self.folder / ABOUT, {"identity": self.identity, "rows": {}})
                    self._told = True
                shape = (self.count, *rows.shape[1:])
                self._files[name] = np.lib.format.open_memmap(path, "w+", rows.numpy().dtype, shape)
        return self._files[name]

    def _read(self, name: str, mode: str = "r") -> Any:
        path = self.folder / f"{name}.npy"
        try:
            return read_npy(path, mode)
        except (OSError, ValueError, EOFError) as error:
            raise UserError(
                f"{path}: cannot be read ({error}); delete {self.folder}, and it is computed anew"
            ) from error
