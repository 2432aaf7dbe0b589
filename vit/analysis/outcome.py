"""What an experiment hands back, and its files: analysis.json, a table, charts and pictures."""

from __future__ import annotations

import csv
import io
from collections.abc import Mapping, Sequence
from dataclasses import dataclass, field
from pathlib import Path
from typing import Any

from torch import Tensor

from trainer.files import write_json, write_text
from trainer.records.media import write_png
from vit.analysis.charts import Chart, draw

Record = Mapping[str, Any]


@dataclass
class Outcome:
    """Results of an experiment.

    Attributes:
        records: rows of the table: what was done to the pictures, and a figure or several, as flat values.
        values: the few numbers that sum it up, by name; accuracies are shares in 0..1.
        charts: curves and bars, one picture each, by the file's name without its ending.
        pictures: (H, W, 3) uint8, likewise.
        lines: what the user should read.
        files: what the experiment has written into its folder itself, such as videos.
    """

    records: list[Record] = field(default_factory=list)
    values: dict[str, float] = field(default_factory=dict)
    charts: dict[str, Chart] = field(default_factory=dict)
    pictures: dict[str, Tensor] = field(default_factory=dict)
    lines: list[str] = field(default_factory=list)
    files: list[Path] = field(default_factory=list)


def write(folder: Path, name: str, outcome: Outcome, facts: Mapping[str, Any]) -> list[Path]:
    """Write ``analysis.json``, ``NAME.csv`` and a PNG for every chart and picture.

    Args:
        folder: made where it is missing.
        name: of the experiment.
        facts: settings, models and data, for ``analysis.json``.

    Returns:
        The files written.
    """
    folder.mkdir(parents=True, exist_ok=True)
    written = [folder / f"{name}.csv", *(folder / f"{key}.png" for key in (*outcome.charts, *outcome.pictures))]
    write_text(written[0], table(outcome.records))
    for key, chart in outcome.charts.items():
        write_png(folder / f"{key}.png", draw(chart))
    for key, picture in outcome.pictures.items():
        write_png(folder / f"{key}.png", picture)
    written += outcome.files
    files = [path.relative_to(folder).as_posix() for path in written]
    content = {"analysis": name, **facts, "values": outcome.values, "records": list(outcome.records), "files": files}
    write_json(folder / "analysis.json", content)
    return [folder / "analysis.json", *written]


def table(records: Sequence[Record]) -> str:
    """The records as CSV; columns in the order in which they first appear."""
    columns = list(dict.fromkeys(key for record in records for key in record))
    text = io.StringIO()
    writer = csv.DictWriter(text, columns, lineterminator="\n")
    writer.writeheader()
    writer.writerows(records)
    return text.getvalue()
