"""Where does it look? Attention maps of blocks and heads, rollout, how far heads look (ViT paper, section 4.5)

Dosovitskiy et al., "An Image is Worth 16x16 Words", 2021, Figures 6 and 7 (right); rollout is Abnar and Zuidema's,
"Quantifying Attention Flow in Transformers", 2020. The pictures of the data give the figures of every head, a few of
them the maps; or ``inputs`` does: a picture, a folder, a film, whose every frame is looked at then.
"""

from __future__ import annotations

import os
from collections.abc import Iterator, Mapping, Sequence
from dataclasses import dataclass, field
from itertools import chain
from pathlib import Path

import numpy as np
import torch
from torch import Tensor

from trainer.errors import ConfigError, DataError
from trainer.records.intervals import t_interval
from trainer.records.media import VideoWriter, write_png
from trainer.records.progress import followed
from vit.analysis.attention import inputs as given
from vit.analysis.attention.head_figures import head_figures
from vit.analysis.attention.heads_chart import heads_picture
from vit.analysis.attention.look import FIGURES, Look, Question
from vit.analysis.attention.measures import Fusion
from vit.analysis.attention.overlays import as_colour, framed, heat, overlay, stacked, stretched, tiles
from vit.analysis.attention.taps import Taps
from vit.analysis.charts import Chart, Curve
from vit.analysis.features.block_features import chosen_blocks
from vit.analysis.outcome import Outcome
from vit.analysis.study import Study
from vit.analysis.subjects import Subject
from vit.data.sources.unlabelled import inside

FEATURES = True  # no head is asked
_FRAMES = 16  # of a film at a time, at most
_FILM_SIDE = 256  # pixels of a picture in a film


@dataclass
class Settings:
    inputs: str | None = None  # a picture, a folder, a pattern or a film to look at, instead of the data's pictures
    blocks: list[str] = field(default_factory=lambda: ["last"])  # whose maps are drawn: all, last, last4, 9-12 or 12
    heads: str = "all"  # drawn one by one: all, none, or numbers from 0 like 0,3
    fusion: Fusion = Fusion.mean  # how heads become one map: mean, max or min
    query: str = "auto"  # whose attention: cls, dist, reg, reg0, mean (of all patches), a patch like 3x7, pool
    rollout: bool = True  # also through all blocks
    discard: float = 0.0  # share of the smallest weights that the rollout leaves out
    pictures: int = 6  # of the data, to be drawn
    nearest: bool = False  # maps in squares, not interpolated
    smooth: float = 0.0  # of a film's maps: the share of the past that each frame keeps, below 1
    side: int = 144  # of a drawn picture in pixels


@dataclass
class _Asked:
    subject: Subject
    taps: Taps
    look: Look


def fits(subject: Subject) -> None:
    """Whether it has attention between patches.

    Raises:
        ConfigError: it has not; says which models have.
    """
    Taps(subject.model, subject.label)


def run(study: Study, settings: Settings) -> Outcome:
    """Records of every head; a sheet of maps for each subject, and figures over depth; of inputs their maps."""
    _check(settings)
    heads = _heads(settings.heads)
    subjects = []
    for subject in study.subjects:
        taps = Taps(subject.model, subject.label)
        blocks = {block for text in settings.blocks for block in chosen_blocks(text, subject.model, subject.label)}
        question = Question(sorted(blocks), heads, settings.fusion, settings.query, settings.rollout, settings.discard)
        subjects.append(_Asked(subject, taps, Look(taps, subject.size, question)))
    outcome = Outcome()
    if settings.inputs is None:
        _of_the_data(study, settings, subjects, outcome)
    else:
        _of_inputs(study, settings, subjects, outcome)
    return outcome


def _check(settings: Settings) -> None:
    if settings.pictures < 1 or settings.side < 32:
        raise ConfigError(f"pictures={settings.pictures}, side={settings.side}: must be at least 1 and 32")
    for key in ("discard", "smooth"):
        if not 0 <= getattr(settings, key) < 1:
            raise ConfigError(f"{key}={getattr(settings, key):g}: a share from 0 to below 1")


def _heads(text: str) -> list[int] | None:
    """Which heads are drawn one by one; None: all."""
    if text in ("all", "none"):
        return None if text == "all" else []
    numbers = text.strip("[]").split(",")
    if not all(number.strip().isdecimal() for number in numbers):
        raise ConfigError(f"heads={text}: give all, none, or numbers from 0 like 0,3")
    return [int(number) for number in numbers]


def _of_the_data(study: Study, settings: Settings, subjects: Sequence[_Asked], outcome: Outcome) -> None:
    found = head_figures(study, {asked.subject.label: asked.taps for asked in subjects})
    panels: dict[str, dict[str, np.ndarray]] = {name: {} for name in FIGURES}
    curves = []
    for asked in subjects:
        label, depth = asked.subject.label, asked.taps.depth
        tables = found[label]
        by_head = {name: values.mean(axis=0, dtype=np.float64) for name, values in tables.items()}
        for name, values in by_head.items():
            panels[name][label] = values
        outcome.records += [
            {
                "model": label, "block": block + 1, "head": head,
                "distance_px": float(by_head["distance"][block, head]),
                "entropy_nats": float(by_head["entropy"][block, head]),
                "to_prefix": float(by_head["to_prefix"][block, head]),
                "pictures": len(tables["distance"]),
            }
            for block in range(depth) for head in range(by_head["distance"].shape[1])
        ]  # fmt: skip
        per_block = [t_interval(tables["distance"][:, block].mean(axis=1).tolist()) for block in range(depth)]
        curves.append(
            Curve(label, range(1, depth + 1), [mean for mean, _ in per_block], [half for _, half in per_block])
        )
        outcome.values |= {
            f"{label}/distance_px_block_{block}": mean for block, (mean, _) in enumerate(per_block, start=1)
        }
        outcome.pictures[f"attention-{label}"] = _sheet(study, asked, settings)
    outcome.charts["attention_distance"] = Chart("Mean attention distance", "block", "pixels", curves, share=False)
    outcome.pictures["attention_heads"] = heads_picture(panels)


def _sheet(study: Study, asked: _Asked, settings: Settings) -> Tensor:
    """A row for each of a few pictures of the data, spread over them."""
    count = min(settings.pictures, study.pictures.count)
    places = [index * study.pictures.count // count for index in range(count)]
    shown = study.pictures.show(asked.subject, places)
    maps = _maps(asked, shown.to(asked.subject.loaded.compute.device))
    rows = []
    for index, picture in enumerate(shown):
        own = {name: values[index] for name, values in maps.items()}
        rows.append(tiles(_cells(asked, f"picture {places[index]}", picture, own, settings), settings.side))
    return stacked(rows)


@torch.inference_mode()
def _maps(asked: _Asked, pixels: Tensor) -> dict[str, Tensor]:
    return asked.look.maps(lambda: asked.subject.logits(pixels))


def _cells(
    asked: _Asked, name: str, picture: Tensor, maps: Mapping[str, Tensor], settings: Settings
) -> list[tuple[str, Tensor]]:
    """The picture, its first map alone, and all maps over it."""
    size = (picture.shape[-2], picture.shape[-1])
    values = {key: stretched(one, size, settings.nearest) for key, one in maps.items()}
    first = next(iter(values))
    overlays = [(key, overlay(picture, one)) for key, one in values.items()]
    shown, place = as_colour(picture), asked.look.place
    if place is not None:
        shown = framed(shown, place, asked.look.tokens.patch)
    return [(name, shown), (first, heat(values[first])), *overlays]


def _of_inputs(study: Study, settings: Settings, subjects: Sequence[_Asked], outcome: Outcome) -> None:
    pictures, films = given.named(str(settings.inputs))
    outcome.lines += pictures.notes
    for asked in subjects:
        folder = study.folder / f"attention-{asked.subject.label}"
        names = dict(zip(pictures.files, pictures.names, strict=True))
        batches = given.batches(asked.subject, pictures.files, study.pictures.batch)
        sheet = []
        for files, pixels in followed(batches, len(names), unit="picture", what="attention", count=lambda b: len(b[0])):
            maps = _maps(asked, pixels)
            for index, file in enumerate(files):
                own = {name: values[index] for name, values in maps.items()}
                row = tiles(_cells(asked, file.name, pixels[index], own, settings), settings.side)
                path = folder / inside(names[file] if names[file].endswith(".png") else f"{names[file]}.png")
                write_png(path, row)
                outcome.files.append(path)
                outcome.records += _peaks(asked.subject.label, names[file], own)
                sheet += [row] if len(sheet) < settings.pictures else []
        if sheet:
            outcome.pictures[f"attention-{asked.subject.label}-sheet"] = stacked(sheet)
        for film, name in zip(films, _apart(films), strict=True):
            path, count = _film(asked, film, folder / f"{name}.mp4", settings, study.pictures.batch)
            outcome.files.append(path)
            shown = film.name if name == film.stem else name
            outcome.records.append({"model": asked.subject.label, "film": shown, "frames": count})


def _peaks(label: str, name: str, maps: Mapping[str, Tensor]) -> list[dict[str, object]]:
    """For each map of a picture: which patch has the most, and how much of all."""
    rows = []
    for key, values in maps.items():
        best = int(values.argmax())
        row, column = divmod(best, values.shape[1])
        share = float(values.flatten()[best] / values.sum())
        rows.append({"model": label, "picture": name, "map": key, "most": f"{row}x{column}", "share": share})
    return rows


def _apart(films: Sequence[Path]) -> list[str]:
    """Their names without ending; of those called alike the whole names, below the folder that all lie in."""
    stems = [film.stem for film in films]
    root = Path(os.path.commonpath([film.parent for film in films])) if films else Path()
    return [
        stem if stems.count(stem) == 1 else film.relative_to(root).as_posix()
        for film, stem in zip(films, stems, strict=True)
    ]


def _film(asked: _Asked, film: Path, path: Path, settings: Settings, batch: int) -> tuple[Path, int]:
    """Writes a film beside those of its maps that are no single head's; the file, and how many frames."""
    drawn = followed(_frames(asked, film, settings, batch), unit="frame", what=film.name)
    first = next(drawn, None)
    if first is None:
        raise DataError(f"inputs={settings.inputs}: {film.name} has no frame that can be decoded; replace it")
    with VideoWriter(path, given.rate(film), (first.shape[0], first.shape[1])) as writer:
        for frame in chain([first], drawn):
            writer.write(frame)
    return path, writer.frames


def _frames(asked: _Asked, film: Path, settings: Settings, batch: int) -> Iterator[Tensor]:
    kept = settings.smooth
    past: dict[str, Tensor] = {}
    for pixels in given.frames(asked.subject, film, min(batch, _FRAMES)):
        maps = {name: values for name, values in _maps(asked, pixels).items() if "head" not in name}
        for index, picture in enumerate(pixels):
            past = {
                name: values[index] if name not in past else kept * past[name] + (1 - kept) * values[index]
                for name, values in maps.items()
            }
            yield tiles(_cells(asked, film.name, picture, past, settings), _FILM_SIDE)
