"""A video model as a folder: weights, settings, styles and a card, which ``vid2vid.load`` reads."""

from __future__ import annotations

import json
import os
import shutil
import tempfile
from collections.abc import Mapping, Sequence
from pathlib import Path
from typing import Any

import numpy as np
from torch import nn

from trainer.cards.card import Card, render
from trainer.cards.places import without_places
from trainer.cards.recipe import Recipe
from trainer.checkpoint.contents import META, read_meta
from trainer.checkpoint.weights import save_weights
from trainer.errors import ConfigError, UserError
from trainer.files import write_text
from trainer.untrusted import plain_json
from vid2vid.config import SourceKind
from vid2vid.loading import CONFIG, KEY, WEIGHTS, load_folder
from vid2vid.styles.class_names import class_names
from vid2vid.styles.mixtures import FILE as STYLES
from vid2vid.trained import NETWORK, STYLE, LoadedRun
from vid2vid.video_model import VideoModel

CARD = "README.md"
_TRIED = 3  # frames that are compared
_CODE = """
import vid2vid

model = vid2vid.load("DIR")
model.generate({labels}).save("video.mp4")
"""


def export_folder(
    run: LoadedRun,
    run_dir: Path,
    out: Path,
    meta: Mapping[str, Any],
    recipe: Recipe,
    licence: str | None = None,
    samples: Sequence[Path] = (),
) -> list[str]:
    """Writes a folder, loads it again and compares frames with the model's, bit for bit.

    Args:
        run: the model.
        run_dir: whose styles (``styles.json``) go along.
        out: the folder; not there yet, or empty.
        meta: of the checkpoint.
        recipe: how it was made.
        licence: of the weights, for the card; None: not stated.
        samples: pictures and videos of what it makes, the first of which the card shows.

    Returns:
        Lines for the user.

    Raises:
        ConfigError: there is something at ``out``. UserError: what was written makes other frames; nothing is left.
    """
    if out.exists() and (not out.is_dir() or any(out.iterdir())):
        raise ConfigError(f"out={out}: there is something already: give another place, or remove it first")
    out.parent.mkdir(parents=True, exist_ok=True)
    draft = Path(tempfile.mkdtemp(prefix=".export-", dir=out.parent))
    try:
        networks: dict[str, nn.Module] = {NETWORK: run.generator, **({} if run.style is None else {STYLE: run.style})}
        tensors = {
            f"{network}.{name}": tensor for network, module in networks.items() for name, tensor in
            module.state_dict().items()
        }  # fmt: skip
        save_weights(draft / WEIGHTS, tensors)
        write_text(draft / CONFIG, json.dumps({KEY: _facts(run, meta, recipe)}, indent=2) + "\n")
        styled = run.style is not None and (run_dir / STYLES).is_file()
        if styled:
            styles = plain_json.loads((run_dir / STYLES).read_text(encoding="utf-8"))
            write_text(draft / STYLES, json.dumps(without_places(styles)) + "\n")
        shown = [f"sample{sample.suffix}" for sample in samples]
        for sample, name in zip(samples, shown, strict=True):
            shutil.copyfile(sample, draft / name)
        _compare(run, run_dir, draft)
        write_text(draft / CARD, render(_card(run, recipe, licence, shown, styled)))
        draft.chmod(0o755)
        os.replace(draft, out)
    finally:
        shutil.rmtree(draft, ignore_errors=True)
    return [*_notes(run, styled), f"{_TRIED} frames of the folder are those of the run, bit for bit", f"written: {out}"]


def checkpoint_meta(source: Path) -> dict[str, Any]:
    """Meta data of the checkpoint that weights are of; empty for a file by itself."""
    folder = source if source.is_dir() else source.parent
    return read_meta(folder) if (folder / META).is_file() else {}


def _facts(run: LoadedRun, meta: Mapping[str, Any], recipe: Recipe) -> dict[str, Any]:
    return {
        "task": "vid2vid",
        "step": run.step,
        "samples_seen": run.samples_seen,
        "averaged": run.averaged,
        "stage": meta.get("stage"),
        "resolution": list(run.config.resolution),
        "command": recipe.command or None,
        "data": without_places(meta.get("task") or {}),
        "config": recipe.config,
    }


def _compare(run: LoadedRun, run_dir: Path, draft: Path) -> None:
    """Frames of random conditions, of the run and of what was written."""
    again, folder = load_folder(draft, overrides=[f"trainer.device={run.compute.device.type}"])
    height, width = run.config.resolution
    rng = np.random.default_rng(0)
    if run.encoder.labels:
        shape = (_TRIED, -(-height // 8), -(-width // 8))
        ids = np.asarray(run.encoder.ids)[rng.integers(0, len(run.encoder.ids), shape)]
        frames: list[dict[str, Any]] = [{"labels": part.repeat(8, 0).repeat(8, 1)[:height, :width]} for part in ids]
    else:
        frames = [{} for _ in range(_TRIED)]
    if run.encoder.pictures:
        for frame in frames:
            frame["source"] = rng.integers(0, 256, (run.encoder.pictures, height, width), dtype=np.uint8)
    mean = None if run.style is None or not (draft / STYLES).is_file() else "mean"
    if run.style is not None and mean is None:
        return  # its looks are fitted later (scripts/fit_styles.py): there is nothing to draw from yet
    one, other = (
        VideoModel(model, place).generate(frames, "model", style=mean).array()
        for model, place in ((run, run_dir), (again, folder))
    )
    if not np.array_equal(one, other):
        raise UserError("what was written makes other frames than the run: the folder was removed; please report it")


def _notes(run: LoadedRun, styled: bool) -> list[str]:
    notes = []
    if run.style is not None and not styled:
        notes.append(
            "the run has no styles.json: scripts/fit_styles.py makes it; until then give style=image:PATH or file:PATH"
        )
    if run.config.data.label_map is not None:
        notes.append(
            "the label map table of the run (data.label_map) is not in the folder: for folders of such label maps give "
            'vid2vid.load(..., overrides=["data.label_map=PATH"]); arrays of ids need none'
        )
    return notes


def _card(run: LoadedRun, recipe: Recipe, licence: str | None, samples: Sequence[str], styled: bool) -> Card:
    height, width = run.config.resolution
    model, encoder = run.config.model, run.encoder
    parameters = sum(parameter.numel() for parameter in run.generator.parameters())
    takes = "pictures" if model.source is SourceKind.image else "label maps"
    names = class_names(run.config, None)
    about = (
        f"A generator of video from {takes}, {height}x{width} pixels (height x width), frame by frame, each from the "
    )
    about += f"{model.past_frames} before it (vid2vid, arXiv 1808.06601)."
    if encoder.labels:
        classes = ", ".join(f"{label} {names[label]}" if label in names else str(label) for label in encoder.ids[:40])
        about += f" Class ids: {classes}{', ...' if len(encoder.ids) > 40 else ''}."
    argument = "labels" if encoder.labels else "pictures"
    files = [(WEIGHTS, "the weights"), (CONFIG, f"under `{KEY}` the settings of the training")]
    files += [(STYLES, "styles of the classes, to draw from")] if styled else []
    files += [(name, "what it made of a held-out clip") for name in samples]
    shape = "(T, H, W) ids" if encoder.labels else "(T, H, W, C) bytes"
    return Card(
        title=recipe.name,
        about=about,
        recipe=recipe,
        load=[(f"Python, with vivid (`{argument}`: an array {shape}, or a folder)", _CODE.format(labels=argument))],
        facts=[
            ("parameters of the generator", f"{parameters:,}"),
            ("weights", "averaged (EMA)" if run.averaged else "as trained"),
        ],
        notes=_notes(run, styled),
        sample=(samples[0], "What it made of a held-out clip") if samples else None,
        licence=licence,
        library="vivid",
        files=files,
    )
