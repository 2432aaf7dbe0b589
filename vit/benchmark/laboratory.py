"""What an experiment of the laboratory costs beside the bare forward passes that it needs.

Patchdrop over ten ratios and five runs asks for 46 passes over the pictures: the whole picture once, nine ratios five
times. Bare is the network alone, that often, on pictures that are normalised already. The experiment does the rest too:
reads pictures, draws masks, fills cells, normalises, judges, correlates features, writes the answers down; its sheet of
examples is left out. Both in the same process and in turn.
"""

from __future__ import annotations

import statistics
import tempfile
from collections.abc import Iterator
from pathlib import Path

import torch
from torch import Tensor

from trainer.benchmark.machine import machine
from trainer.benchmark.rounds import in_turn, ratios
from trainer.cli import compose
from trainer.device.clock import Clock
from trainer.device.compute import choose_compute
from vit.analysis.experiments import patchdrop
from vit.analysis.study import Study
from vit.analysis.subjects import Subject
from vit.build import build_model
from vit.config import VitConfig
from vit.data import describe
from vit.evaluate.loaded import Loaded
from vit.evaluate.run import own_batch

PICTURES = 128
PASSES = 1 + 9 * 5
SIDE = 64


def suite(repeats: int = 5, batch: int | None = None, command: str = "", pictures: int = PICTURES) -> Iterator[str]:
    """The lines of ``scripts/benchmark.py suite=analysis``.

    Args:
        repeats: measured rounds after one that is not.
        batch: pictures at a time; None: as an analysis takes.
        command: what was typed.
        pictures: of the built-in shapes.
    """
    subject = _subject(pictures)
    compute = subject.loaded.compute
    size = batch or own_batch(subject.loaded)
    found: dict[str, list[float]] = {"bare": [], "patchdrop": []}
    with tempfile.TemporaryDirectory() as folder:
        inputs = _inputs(_study(subject, size, Path(folder)))
        for number, name in enumerate(in_turn(list(found), repeats + 1)):
            clock = Clock(compute.device)
            if name == "bare":
                _bare(subject, inputs)
            else:
                patchdrop.run(_study(subject, size, Path(folder) / str(number)), patchdrop.Settings(examples=0))
            found[name].append(clock.mark())
    counted = {name: seconds[1:] for name, seconds in found.items()}
    factor = ratios(counted["patchdrop"], counted["bare"])
    yield "## Laboratory: patchdrop beside its bare forward passes"
    yield ""
    yield f"`{command}`: {machine(compute.device)}."
    yield f"Ti/16 at {SIDE} px, {pictures} pictures in batches of {size}, {PASSES} passes; medians of {repeats} rounds."
    yield ""
    yield "| | seconds | times bare (least to most) |"
    yield "|---|---|---|"
    yield f"| bare forward passes | {statistics.median(counted['bare']):.2f} | 1 |"
    low, middle, high = min(factor), statistics.median(factor), max(factor)
    seconds = statistics.median(counted["patchdrop"])
    yield f"| `analysis=patchdrop` | {seconds:.2f} | **{middle:.3f}** ({low:.3f} to {high:.3f}) |"


def _study(subject: Subject, size: int, folder: Path) -> Study:
    return Study([subject], "val", None, size, 0, folder, lambda line: None)


def _inputs(study: Study) -> list[Tensor]:
    subject = study.first
    batches = study.pictures.batches(subject)
    return [subject.loaded.prepare(batch["image"][: places.stop - places.start]) for places, batch in batches]


def _subject(pictures: int) -> Subject:
    """A network with new weights: what it says costs the same."""
    words = ["model=vit_ti16", f"resolution=[{SIDE},{SIDE}]", f"data.shapes_val_samples={pictures}", "data.workers=0"]
    config = compose(words, {"vit": VitConfig})
    assert isinstance(config, VitConfig)
    info = describe(config)
    built = build_model(config, info)
    compute = choose_compute(config.trainer)
    model = built.model.eval().requires_grad_(False).to(compute.device)
    loaded = Loaded(model, config, info, info.classes, built.mean, built.std, built.num_classes, compute, "new weights")
    return Subject("vit", loaded, None, [])


@torch.inference_mode()
def _bare(subject: Subject, inputs: list[Tensor]) -> None:
    for part in inputs:
        for _ in range(PASSES):
            with subject.loaded.compute.amp():
                subject.model(part)
