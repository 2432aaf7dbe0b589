"""Segmentation as a task of the shared trainer: follow one batch from bytes to a loss.

Workers hand over uint8 pictures and masks of classes, cropped alike. On the device pictures are normalised; the encoder
gives features, the decoders scores, and cross-entropy compares them pixel by pixel.

Shapes: B pictures of H x W pixels, K classes.
"""

from __future__ import annotations

from typing import Any

import torch
from torch import Tensor, nn

from trainer.config.fields import OnBadFile
from trainer.config.resolve import plain
from trainer.device.compute import Compute
from trainer.errors import ConfigError, DataError
from trainer.records.confusion import NONE
from trainer.task import Phase, SampleDataset, Segment, Stage, StepContext, Task
from trainer.text import by, ends, few
from vit.encoding import normalise
from vit.model.cost import data_flow
from vit.segmentation.config import SegmentationConfig
from vit.segmentation.dataset import MaskDataset
from vit.segmentation.inference import Segmenter
from vit.segmentation.losses import cross_entropy, dice
from vit.segmentation.measure import SCORES, Measured, measure
from vit.segmentation.network import build_network
from vit.segmentation.opening import open_masks
from vit.segmentation.picture import sheet
from vit.segmentation.transforms import EvalTransform, TrainTransform

ENCODER, DECODERS = "encoder", "decoders"  # names of the networks


class SegmentationTask(Task):
    """A decoder on a ViT, one phase ``main``.

    Args:
        config: the run's. Weights are drawn from torch's global random stream: seed it before.

    Raises:
        ConfigError: data, model or loss do not fit each other.
        DataError, CheckpointError: files that are missing or cannot be used.
    """

    def __init__(self, config: SegmentationConfig) -> None:
        self.config = config
        self.data = open_masks(config.data)
        self.classes = self.data.classes
        self.built = build_network(config, len(self.classes))
        self.encoder, self.decoders = self.built.encoder, self.built.decoders
        self._weights = _class_weights(config.loss.class_weights, self.classes.names)
        self._measured: tuple[int, Measured] | None = None  # the last evaluation: (step, what was counted)

    # What the trainer asks for

    def networks(self) -> dict[str, nn.Module]:
        return {ENCODER: self.encoder, DECODERS: self.decoders}

    def phases(self, stage: Stage) -> tuple[Phase, ...]:
        trained = (DECODERS,) if self.config.model.frozen else (ENCODER, DECODERS)
        return (Phase("main", trained),)

    def dataset(self, split: str, stage: Stage) -> SampleDataset:
        data = self.config.data
        if split == "train":
            fill = tuple(round(255 * value) for value in self.built.mean)
            transform: Any = TrainTransform(self.config.augment, stage.resolution, data.short_side, fill)
        else:
            transform = self._eval_transform()
        return MaskDataset(
            self.data.pairs(split, stage.resolution), transform, data.on_bad_file is OnBadFile["skip"]
        )  # fmt: skip

    def epoch_samples(self) -> int | None:
        return self.data.facts()["pictures"] or None

    def frames_per_sample(self, stage: Stage) -> int:
        return 1

    def losses(self, phase: str, segment: Segment, ctx: StepContext) -> dict[str, Tensor]:
        """``class``, ``dice`` where it has a weight, and ``auxiliary`` where there are such decoders.

        The segment: ``image`` (B, 3, H, W) uint8; ``mask`` (B, H, W) int16.
        """
        images, true = segment["image"], segment["mask"].long()
        with ctx.amp():
            features = self.encoder(normalise(images, self.built.mean, self.built.std))
            scores, *others = self.decoders(features, (images.shape[-2], images.shape[-1]))
        known = (true != NONE).sum().clamp(min=1)
        ctx.log("accuracy", ((scores.argmax(dim=1) == true) & (true != NONE)).sum() / known)
        weights, loss = self._weights, self.config.loss
        weights = None if weights is None else weights.to(scores.device, non_blocking=True)
        total = {"class": cross_entropy(scores, true, weights)}
        if loss.dice:
            total["dice"] = loss.dice * dice(scores, true)
        if others and loss.auxiliary:
            total["auxiliary"] = loss.auxiliary * torch.stack([cross_entropy(x, true, weights) for x in others]).sum()
        return total

    def evaluate(self, loader: Any, ctx: StepContext) -> dict[str, tuple[float, float]]:
        """``miou``, ``accuracy``, ``mean_accuracy`` and ``iou_CLASS`` of one confusion matrix over all pictures."""
        counted = measure(self._segmenter(ctx), loader, self.classes, ctx.should_stop)
        counted.confusion.counts = ctx.sum(counted.confusion.counts)
        totals = torch.tensor([counted.pictures, counted.skipped], device=ctx.device)
        counted.pictures, counted.skipped = ctx.sum(totals).tolist()
        if counted.skipped and not counted.pictures and not ctx.should_stop():  # of all, not of those before a signal
            raise DataError(f"none of the {counted.skipped} validation pictures can be read: correct data.val_root")
        self._measured = (ctx.step, counted)
        # Every process now knows the whole; rank 0 tells it, so that nothing is averaged twice.
        return {name: (value, 1.0) if ctx.rank == 0 else (0.0, 0.0) for name, value in counted.values().items()}

    def judged_by(self) -> dict[str, bool]:
        return dict.fromkeys(SCORES, True)

    def visuals(self, loader: Any, ctx: StepContext) -> dict[str, Tensor]:
        """``predictions``: held-out pictures with their truth, what is predicted, and the legend of the classes."""
        if self._measured is None or self._measured[0] != ctx.step:
            self._measured = (ctx.step, measure(self._segmenter(ctx), loader, self.classes, ctx.should_stop))
        counted = self._measured[1]
        return {"predictions": sheet(counted.seen, self.classes, counted.confusion.ious())} if counted.seen else {}

    def meta(self) -> dict[str, Any]:
        return {
            "mean": self.built.mean,
            "std": self.built.std,
            "classes": list(self.classes.names),
            "colours": [list(colour) for colour in self.classes.colours],
            "architecture": plain(self.encoder.arch),
        }

    def data_facts(self) -> dict[str, Any]:
        return self.data.facts()

    def console(self) -> tuple[str, ...]:
        return "main/class", "main/dice", "main/auxiliary", "accuracy", "main/grad_norm"

    def quicker(self) -> str:
        return "experiment=vit/segment_street learns in eight"

    def notes(self) -> list[str]:
        lines = [*self.data.notes, f"classes ({len(self.classes)}): {ends(self.classes.names, 8)}"]
        if self.built.report is not None:
            lines += self.built.report.lines()
        arch = self.encoder.arch
        count = sum(parameter.numel() for parameter in self.decoders.parameters())
        kept = ", which is kept as it is" if self.config.model.frozen else ""
        decoder = f"decoder {self.config.model.decoder.value}, {count:,} parameters"
        lines.append(f"{decoder}, on {by(arch.grid)} patches of a ViT{kept}")
        return lines

    def layers(self, phase: str) -> dict[str, int]:
        depths = {f"{ENCODER}.{name}": depth for name, depth in self.encoder.layer_ids().items()}
        last = self.encoder.arch.depth + 1
        return depths | {f"{DECODERS}.{name}": last for name, _ in self.decoders.named_parameters()}

    def undecayed(self, phase: str) -> set[str]:
        return {f"{ENCODER}.{name}" for name in self.encoder.no_weight_decay()}

    def tables(self, stage: Stage) -> list[tuple[str, list[list[str]]]]:
        return [("data flow of the encoder (one picture)", data_flow(self.encoder.arch))]

    def evaluation_note(self, stage: Stage) -> str:
        averaged = "averaged (EMA) weights" if self.config.trainer.ema is not None else "raw weights"
        absent = "" if self._measured is None else self._measured[1].note()
        return "; ".join(filter(None, [self._eval_transform().describe(), averaged, absent]))

    def evaluation_facts(self, stage: Stage) -> dict[str, str | int | float]:
        if self._measured is None:
            return {}
        return {"pictures": self._measured[1].pictures, "skipped": self._measured[1].skipped}

    def compiled(self) -> list[nn.Module]:
        return [*self.encoder.blocks, self.decoders]

    def shard_blocks(self) -> list[nn.Module]:
        return list(self.encoder.blocks)

    # Parts

    def _eval_transform(self) -> EvalTransform:
        return EvalTransform(self.config.inference.mode, self.encoder.arch.patch, self.config.data.short_side)

    def _segmenter(self, ctx: StepContext) -> Segmenter:
        return Segmenter(
            self.encoder,
            self.decoders,
            self.built.mean,
            self.built.std,
            ctx.stage.resolution,
            self.config.inference,
            Compute(ctx.device, ctx.amp),
        )


def _class_weights(given: dict[str, float], names: tuple[str, ...]) -> Tensor | None:
    """``loss.class_weights`` by class, (K,); None where none is given."""
    wrong = [name for name in given if name not in names]
    if wrong:
        raise ConfigError(f"loss.class_weights: {few(wrong)} is no class; there are {few(names, 20)}")
    return torch.tensor([given.get(name, 1.0) for name in names]) if given else None
