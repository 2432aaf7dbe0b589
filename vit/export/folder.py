"""A classifier as a folder: weights, settings, a card. timm and transformers load it, and so does ``vit.load``.

What the folder itself holds is timm's form, ``config.json`` and ``model.safetensors``: `timm.create_model` reads it,
and so does transformers where timm is installed. The two libraries call tensors by different names, so a network that
is one of transformers' own is there a second time, as ``transformers/``, for who has no timm. What timm cannot express
is kept in our own form; the card names the reason.
"""

from __future__ import annotations

import json
import os
import shutil
import tempfile
from collections.abc import Callable, Mapping, Sequence
from dataclasses import dataclass, field
from pathlib import Path
from typing import Any

import torch
from torch import Tensor, nn

from trainer.cards.card import Card, render
from trainer.cards.recipe import Recipe
from trainer.errors import ConfigError, UserError
from trainer.files import write_text
from trainer.text import by
from trainer.untrusted import plain_json
from vit.export.graph import bake_positions
from vit.export.libraries import TIMM, TRANSFORMERS, WRAPPED, answers
from vit.model.timm_model import TimmClassifier
from vit.model.transformer import VisionTransformer
from vit.model.video import clip_frames, input_shape
from vit.predict.predictor import CLIPS
from vit.preprocessing import from_plain
from vit.weights import preprocessors
from vit.weights.files import HEADER
from vit.weights.formats import Export, write_folder
from vit.weights.writing import describe, refusals, write

NATIVE = "transformers"  # subfolder
TOLERANCE = 1e-4  # largest difference of a logit, in units of the largest logit where that is above 1
CARD, SAMPLE = "README.md", "sample.png"
_TOLD = ("interpolation", "crop", "crop_ratio", "fill", "floor", "span", "answers")


@dataclass
class Folder:
    """What was written.

    Attributes:
        path: of the folder. notes: what the user should know, also on the card.
        differences: way to load it -> largest difference of a logit from the model's.
    """

    path: Path
    notes: list[str] = field(default_factory=list)
    differences: dict[str, float] = field(default_factory=dict)

    def lines(self) -> list[str]:
        found = ", ".join(f"{way} {value:.2g}" for way, value in self.differences.items())
        return [*self.notes, f"largest difference from the model: {found}", f"written: {self.path}"]


def export_folder(
    model: nn.Module,
    out: Path,
    meta: Mapping[str, Any],
    recipe: Recipe,
    licence: str | None = None,
    sample: Path | None = None,
) -> Folder:
    """Writes a folder and loads it again in every way that it is for; nothing is left where an answer differs.

    Args:
        model: a ``VisionTransformer`` or ``TimmClassifier`` on the CPU, in eval mode.
        out: the folder; not there yet, or empty.
        meta: what ``vit.trained`` tells of it: ``classes``, ``mean``, ``std``, ``resolution``, preprocessing.
        recipe: how it was made.
        licence: of the weights, for the card; None: not stated.
        sample: a picture of its answers.

    Raises:
        ConfigError: there is something at ``out``. UserError: what was written answers otherwise than the model.
    """
    check_empty(out)
    out.parent.mkdir(parents=True, exist_ok=True)
    draft = Path(tempfile.mkdtemp(prefix=".export-", dir=out.parent))
    meta = {**meta, "size": list(meta["resolution"])}  # of this stage, where the run tells its last one's
    try:
        written = Folder(out)
        own = _own_facts(model, meta, recipe)
        if isinstance(model, TimmClassifier):
            _write_timm_model(model, draft, meta, own, written)
        else:
            assert isinstance(model, VisionTransformer)
            height, width = meta["resolution"]
            bake_positions(model, (height, width))
            _write_plain(model, draft, meta, own, written)
        if sample is not None:
            shutil.copyfile(sample, draft / SAMPLE)
        _compare(model, draft, meta, written)
        write_text(draft / CARD, render(_card(model, draft, meta, recipe, licence, written)))
        draft.chmod(0o755)
        os.replace(draft, out)
    finally:
        shutil.rmtree(draft, ignore_errors=True)
    return written


def check_empty(out: Path) -> None:
    """Raises ConfigError where something is at a place that a folder will be written to."""
    if out.exists() and (not out.is_dir() or any(out.iterdir())):
        raise ConfigError(f"out={out}: there is something already: give another place, or remove it first")


# --- the weights and their settings -----------------------------------------------------------------------------------


def _own_facts(model: nn.Module, meta: Mapping[str, Any], recipe: Recipe) -> dict[str, Any]:
    """What ``config.json`` says in our words, which other libraries pass over."""
    facts: dict[str, Any] = {
        "task": "vit",
        "network": "timm" if isinstance(model, TimmClassifier) else "vivid",
        "step": meta.get("step"),
        "samples_seen": meta.get("samples_seen"),
        "command": recipe.command or None,
        "config": recipe.config,
    }
    if clip_frames(model) > 1:
        facts["clips"] = {name: value for name, value in recipe.config.get("data", {}).items() if name in CLIPS}
    return facts


def _write_plain(
    model: VisionTransformer, draft: Path, meta: Mapping[str, Any], own: Mapping[str, Any], written: Folder
) -> None:
    state = {name: tensor.detach().clone() for name, tensor in model.state_dict().items()}
    told = {key: meta.get(key) for key in _TOLD}
    common: dict[str, Any] = {"mean": meta["mean"], "std": meta["std"], "classes": meta["classes"], **told}
    reasons = refusals(Export(dict(state), describe(model.arch), "timm"))
    if reasons:
        written.notes.append(f"timm cannot express {'; '.join(reasons)}: the folder is for vit.load alone")
        header = {"architecture": describe(model.arch), **from_plain(meta).plain(), "classes": meta["classes"]}
        write_folder(draft, state, {"config.json": {HEADER: dict(own)}}, header)
    else:
        done = write(state, model.arch, draft, "timm", described=True, **common)
        written.notes += [f"in timm's form: {note}" for note in done.notes]
        _add_own(draft, own)
    reasons = refusals(Export(dict(state), describe(model.arch), "hf"))
    if reasons:
        written.notes.append(f"transformers has no network of its own with {'; '.join(reasons)}: no {NATIVE}/")
    else:
        done = write(state, model.arch, draft / NATIVE, "hf", **common)
        written.notes += [f"in {NATIVE}/: {note}" for note in done.notes]


def _write_timm_model(
    model: TimmClassifier, draft: Path, meta: Mapping[str, Any], own: Mapping[str, Any], written: Folder
) -> None:
    net: Any = model.net
    classes, name = meta["classes"], str(meta["architecture"])
    prepared = from_plain(meta)
    entries, notes = preprocessors.to_timm(prepared)
    usual = {key: net.pretrained_cfg.get(key) for key in ("first_conv", "classifier", "pool_size", "fixed_input_size")}
    height, width = meta["resolution"]
    options = dict(model.options)
    if (own_size := getattr(getattr(net, "patch_embed", None), "img_size", None)) is not None:
        options["img_size"] = list(own_size)  # of its table; a stage of another size needs dynamic_img_size
    config = {
        "architecture": name,
        "num_classes": int(net.num_classes),
        "num_features": int(net.num_features),
        "model_args": options,
        "pretrained_cfg": {
            **{key: value for key, value in usual.items() if value is not None},
            "input_size": [len(meta["mean"]), height, width],
            "num_classes": int(net.num_classes),
            **entries,
        },
        "label_names": list(classes or [str(index) for index in range(int(net.num_classes))]),
        HEADER: dict(own),
    }
    header = {"architecture": name, "name_options": dict(model.options), **prepared.plain(), "classes": classes}
    write_folder(draft, model.state_dict(), {"config.json": config}, header)
    written.notes += [f"in timm's form: {note}" for note in notes]
    written.notes.append(f"{name} is a network of timm: transformers loads it where timm is installed; no {NATIVE}/")


def _add_own(draft: Path, own: Mapping[str, Any]) -> None:
    file = draft / "config.json"
    config = plain_json.loads(file.read_text())
    write_text(file, json.dumps({**config, HEADER: dict(own)}, indent=2) + "\n")


# --- looked at again --------------------------------------------------------------------------------------------------


def _compare(model: nn.Module, draft: Path, meta: Mapping[str, Any], written: Folder) -> None:
    """Answers to random pictures, of the model and of what was written."""
    height, width = meta["resolution"]
    shape = input_shape(model, (len(meta["mean"]), height, width))
    images = torch.randn(2, *shape, generator=torch.Generator().manual_seed(0))
    with torch.inference_mode():
        expected = model(images)
    for way, answer in _ways(draft, written).items():
        found = answer(images)
        if found.shape != expected.shape:
            raise UserError(f"{way} answers {by(found.shape)}, the model {by(expected.shape)}: the folder was removed")
        difference = float((found - expected).abs().max())
        if not difference <= TOLERANCE * max(1.0, float(expected.abs().max())):
            raise UserError(
                f"loaded by {way} its answers differ from the model's by {difference:.2g}; the folder was removed. "
                "scripts/convert.py writes single formats"
            )
        written.differences[way] = difference


def _ways(draft: Path, written: Folder) -> dict[str, Callable[[Tensor], Tensor]]:
    found = answers(draft, timm=_for_timm(draft), native=(draft / NATIVE).is_dir())
    if found.untried:
        written.notes.append(f"not tried, for transformers is not installed here: {', '.join(found.untried)}")
    return found.ways


def _for_timm(draft: Path) -> bool:
    return "architecture" in plain_json.loads((draft / "config.json").read_text())


# --- the card ---------------------------------------------------------------------------------------------------------


def _card(
    model: nn.Module,
    draft: Path,
    meta: Mapping[str, Any],
    recipe: Recipe,
    licence: str | None,
    written: Folder,
) -> Card:
    height, width = meta["resolution"]
    parameters = sum(parameter.numel() for parameter in model.parameters())
    frames, classes = clip_frames(model), list(meta["classes"] or [])
    what = f"clips of {frames} frames" if frames > 1 else "pictures"
    shown = ", ".join(classes[:20]) + (f", ... {classes[-1]}" if len(classes) > 20 else "")
    about = f"A classifier of {what} of {height}x{width} pixels (height x width)"
    about += f", {len(classes)} classes: {shown}." if classes else "."
    timm, native = _for_timm(draft), (draft / NATIVE).is_dir()
    load = [
        ("Python, with vivid", 'import vit\n\nclassifier = vit.load("DIR")\nprint(classifier("picture.jpg")[0].top(5))')
    ]
    load += [(way, code) for way, code in ((TIMM, _TIMM_CODE), (WRAPPED, _WRAPPED_CODE)) if timm]
    load += [(TRANSFORMERS, _NATIVE_CODE)] if native else []
    files = [
        ("model.safetensors", "the weights" + (", by timm's names" if timm else "")),
        (
            "config.json",
            "settings" + (" as timm has them" if timm else "") + f"; under `{HEADER}` those of the training",
        ),
        *(
            [(f"{NATIVE}/", "the same by the names of transformers, with its settings; timm does without it")]
            if native
            else []
        ),
        *([(SAMPLE, "held-out pictures and answers")] if (draft / SAMPLE).exists() else []),
    ]
    facts = [("parameters", f"{parameters:,}"), ("mean", _numbers(meta["mean"])), ("std", _numbers(meta["std"]))]
    facts += [("how pictures are prepared", _prepared(meta))]
    return Card(
        title=recipe.name,
        about=about,
        recipe=recipe,
        load=load,
        facts=facts,
        notes=written.notes,
        sample=(SAMPLE, "Held-out pictures and what it says of them") if (draft / SAMPLE).exists() else None,
        licence=licence,
        library="timm" if timm else "vivid",
        pipeline="video-classification" if frames > 1 else "image-classification",
        files=files,
    )


def _numbers(values: Sequence[float]) -> str:
    return ", ".join(f"{value:.4g}" for value in values)


def _prepared(meta: Mapping[str, Any]) -> str:
    prepared = from_plain(meta)
    ratio = "" if prepared.crop_ratio in (None, 1.0) else f", crop ratio {prepared.crop_ratio:.4g}"
    return f"{prepared.crop or 'center'} crop{ratio}, {prepared.interpolation or 'bilinear'}"


_OWN_CODE = """
import vit

classifier = vit.load("DIR")
print(classifier("picture.jpg")[0].top(5))
"""
_TIMM_CODE = """
import timm

model = timm.create_model("local-dir:DIR", pretrained=True).eval()
transform = timm.data.create_transform(**timm.data.resolve_data_config(model=model))
"""
_WRAPPED_CODE = """
from transformers import AutoImageProcessor, AutoModelForImageClassification

model = AutoModelForImageClassification.from_pretrained("DIR").eval()
processor = AutoImageProcessor.from_pretrained("DIR")
"""
_NATIVE_CODE = """
from transformers import AutoImageProcessor, AutoModelForImageClassification

model = AutoModelForImageClassification.from_pretrained("DIR/transformers").eval()
processor = AutoImageProcessor.from_pretrained("DIR/transformers")
"""
