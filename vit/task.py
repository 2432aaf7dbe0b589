"""Classification as a task of the shared trainer: follow one batch from bytes to a loss.

Workers hand over uint8 pictures. On the device they become floats, are normalised, erased in places and mixed; the
network predicts, the criterion compares. Evaluation counts once and serves scores and pictures alike.

Shapes: B pictures, C channels, H x W pixels, K classes. Clips have T frames behind B (model.frames).
"""

from __future__ import annotations

from collections.abc import Iterator, Mapping, Sequence
from typing import Any

from torch import Tensor, nn

from trainer.config.fields import OptimizerKind
from trainer.device.compute import Compute
from trainer.errors import CheckpointError, ConfigError, DataError
from trainer.task import Phase, SampleDataset, Segment, Stage, StepContext, Task
from trainer.text import ends
from vit.build import build_model, head_parameters
from vit.config import Distill, VitConfig
from vit.data import build_dataset, describe
from vit.data.augment.erasing import random_erasing
from vit.data.augment.mixup import Mixer
from vit.data.checked_samples import CheckedSamples
from vit.data.class_map import ClassMap, class_map
from vit.data.clips.sampling import prepared
from vit.distill import Teacher, build_teacher, distillation_loss
from vit.encoding import normalise
from vit.evaluate.metrics import MultiLabel, SingleLabel
from vit.evaluate.plots import Gallery, confusion_picture
from vit.evaluate.run import measure
from vit.losses import Criterion, one_hot
from vit.model.timm_model import TimmClassifier
from vit.model.transformer import VisionTransformer
from vit.preprocessing import Preprocessing, answers_of, of_run
from vit.weights.classes import one_class

FEW_TOKENS = 16  # so few patches tell too little of a picture
HIGH_RATE = 1e-2  # where Adam and its kin diverge on transformers


class VitTask(Task):
    """One classifier, one phase ``main``.

    Args:
        config: the run's configuration. Weights are drawn from torch's global random stream: seed it before.

    Raises:
        ConfigError: data, model, loss or teacher do not fit each other.
        DataError, CheckpointError: files that are missing or cannot be used.
    """

    def __init__(self, config: VitConfig) -> None:
        self.config = config
        self.info = describe(config)
        one_class(self.info)
        self.built = build_model(config, self.info)
        assert isinstance(self.built.model, VisionTransformer | TimmClassifier)
        self.model: VisionTransformer | TimmClassifier = self.built.model
        self.classes = self.info.classes
        self.judge = class_map(config, self.classes, self.classes)
        if isinstance(self.judge, ClassMap) or self.built.num_classes != len(self.classes):
            raise ConfigError(_classes_differ(self.built.num_classes, self.classes))
        self.criterion = Criterion(config.loss, self.classes, self.info.counts, self.info.multilabel)
        self.mixer = Mixer(config.augment, len(self.classes))
        self.teacher: Teacher | None = None
        if config.distill.mode is not Distill.none:
            self.teacher = build_teacher(config, self.classes, self.built.mean, self.built.std)
        # The last evaluation, for the pictures that follow it: (step, counts, samples).
        self._seen: tuple[int, SingleLabel | MultiLabel, Gallery] | None = None

    # What the trainer asks for

    def networks(self) -> dict[str, nn.Module]:
        return {"model": self.model}

    def frozen(self) -> dict[str, nn.Module]:
        return {} if self.teacher is None else {"teacher": self.teacher}

    def phases(self, stage: Stage) -> tuple[Phase, ...]:
        return (Phase("main", ("model",)),)

    def dataset(self, split: str, stage: Stage) -> SampleDataset:
        samples = build_dataset(self.config, split, stage.resolution)
        return CheckedSamples(samples, self.classes, None if split == "train" else self.config.trainer.eval_samples)

    def epoch_samples(self) -> int | None:
        return self.info.train_samples or None

    def segments(self, batch: dict[str, Any], ctx: StepContext) -> Iterator[Segment]:
        """Bytes to what the network sees, with the augmentation that is done on the device.

        Args:
            batch: ``image`` (B, C, H, W) or (B, T, C, H, W) uint8; ``label`` (B,) or (B, K).
        """
        augment = self.config.augment
        images = self.prepare(batch["image"])
        targets = one_hot(batch["label"], len(self.classes))
        if augment.erasing:
            layers = images.flatten(1, -3)  # frames as channels: a clip is erased in one place
            images = random_erasing(layers, augment.erasing, ctx.generator).view_as(images)
        images, targets = self.mixer(images, targets, ctx.generator)
        yield Segment(images=images, targets=targets)

    def losses(self, phase: str, segment: Segment, ctx: StepContext) -> dict[str, Tensor]:
        images, targets = segment["images"], segment["targets"]
        with ctx.amp():
            out = self.model(images)
        # A distilled network has a head for the labels and one for the teacher.
        logits, follower = out if isinstance(out, tuple) else (out, out)
        loss = self.criterion(logits, targets).mean()
        ctx.log("top1", (logits.argmax(dim=1) == targets.argmax(dim=1)).float().mean())
        distill = self.config.distill
        if self.teacher is None:
            if follower is not logits:  # nobody to follow: both heads learn the labels
                loss = (loss + self.criterion(follower, targets).mean()) / 2
            return {"class": loss}
        with ctx.amp():
            needed = self.teacher(images)
        following = distillation_loss(distill, follower, needed).mean()
        return {"class": (1 - distill.alpha) * loss, "distill": distill.alpha * following}

    def evaluate(self, loader: Any, ctx: StepContext) -> dict[str, tuple[float, float]]:
        gallery = Gallery(self.classes)
        counted = self._measure(loader, ctx, gallery)
        counted.combine(ctx.sum, ctx.rank, ctx.world)
        if counted.skipped and not counted.samples:
            raise DataError(f"none of the {counted.skipped} validation pictures can be read: correct data.val_root")
        self._seen = (ctx.step, counted, gallery)
        # Every process now knows the whole; rank 0 tells it, so that nothing is averaged twice.
        return {name: (value, 1.0) if ctx.rank == 0 else (0.0, 0.0) for name, value in counted.compute().items()}

    def judged_by(self) -> dict[str, bool]:
        found = (MultiLabel if self.info.multilabel else SingleLabel).SCORES
        return {name: larger for name, larger in found.items() if name != "top5" or len(self.classes) > 5}

    def visuals(self, loader: Any, ctx: StepContext) -> dict[str, Tensor]:
        """``predictions``: held-out pictures, the wrong ones first (of clips as film strips, and moving, ``clips``);
        ``confusion``: the confusion matrix."""
        if self._seen is None or self._seen[0] != ctx.step:
            gallery = Gallery(self.classes)
            self._seen = (ctx.step, self._measure(loader, ctx, gallery), gallery)
        _, counted, gallery = self._seen
        found, confusion = {"predictions": gallery.picture(), "clips": gallery.video()}, counted.confusion()
        if confusion is not None:
            found["confusion"] = confusion_picture(confusion, self.classes)
        return {name: picture for name, picture in found.items() if picture is not None}

    def meta(self) -> dict[str, Any]:
        return {
            **self._preprocessing().plain(),
            "classes": list(self.classes),
            "architecture": self.config.model.name or plain_architecture(self.model),
            **({"name_options": self.model.options} if isinstance(self.model, TimmClassifier) else {}),
        }

    def console(self) -> tuple[str, ...]:
        return "main/class", "main/distill", "top1", "main/grad_norm"

    def quicker(self) -> str:
        return "experiment=vit/shapes model=vit_ti16 learns in five (README)"

    def data_facts(self) -> dict[str, Any]:
        return {"classes": list(self.classes), "pictures": self.info.train_samples, **self.info.facts()}

    def moved_rows(self, before: Mapping[str, Any]) -> tuple[dict[str, list[int]], list[str]]:
        """The head's rows by the names of their classes; a new class gets that of one that is gone."""
        trained = before.get("files")
        seen = set(self.info.held()).intersection(trained) if isinstance(trained, list) else set()
        told = f"held out now, but trained on so far: {ends(sorted(seen))} ({len(seen)}); scores flatter by them"
        lines = [f"{told}. data.val_root fixes what is held out"] if seen else []
        names, old = list(self.classes), list(before.get("classes") or self.classes)
        if len(names) != len(old):
            raise CheckpointError(
                f"the head has a row for each of {len(old)} classes, the data {len(names)}. Begin another run with "
                "its weights, model.weights=RUN model.head=reset"
            )
        if names == old:
            return {}, lines
        parameters = head_parameters(self.model, len(names))
        if not parameters:
            raise CheckpointError(
                f"classes are in another order, and the last layer of {self.config.model.name} is none whose rows are "
                "its classes. Begin another run"
            )
        free = iter([index for index, name in enumerate(old) if name not in set(names)])
        order = [old.index(name) if name in set(old) else next(free) for name in names]
        return {} if order == list(range(len(order))) else {f"model.{name}": order for name in parameters}, lines

    def notes(self) -> list[str]:
        lines = [*self.info.notes, f"classes ({len(self.classes)}): {ends(self.classes, 8)}"]
        if self.built.report is not None:
            lines += self.built.report.lines()
        if isinstance(self.model, VisionTransformer) and self.model.arch.patches * self.model.arch.steps <= FEW_TOKENS:
            arch = self.model.arch
            lines.append(
                f"warning: only {arch.patches} patches per picture ({arch.image_size[0]}x{arch.image_size[1]} pixels, "
                f"patch {arch.patch}): a smaller model.patch or a larger resolution learns far more"
            )
        row = self.config.optim.get("main")
        if row is not None and row.kind is not OptimizerKind.sgd and row.lr >= HIGH_RATE:
            lines.append(
                f"warning: optim.main.lr={row.lr:g} with {row.kind.name} is beyond what transformers stand; "
                "1e-4 to 3e-3 is usual"
            )
        return lines

    def layers(self, phase: str) -> dict[str, int]:
        return {f"model.{name}": depth for name, depth in self.model.layer_ids().items()}

    def undecayed(self, phase: str) -> set[str]:
        return {f"model.{name}" for name in self.model.no_weight_decay()}

    def tables(self, stage: Stage) -> list[tuple[str, list[list[str]]]]:
        if not isinstance(self.model, VisionTransformer):
            return []
        from vit.model.cost import data_flow

        one = "picture" if self.model.arch.frames == 1 else "clip"
        return [(f"data flow (one {one})", data_flow(self.model.arch))]

    def evaluation_note(self, stage: Stage) -> str:
        transform = prepared(self.config, stage.resolution)
        mean, std = (",".join(f"{x:.4g}" for x in values) for values in (self.built.mean, self.built.std))
        averaged = "averaged (EMA) weights" if self.config.trainer.ema is not None else "raw weights"
        return f"{transform}; mean {mean}, std {std}; {averaged}"

    def compiled(self) -> list[nn.Module]:
        """Block by block: one compilation serves all that are alike, and deep networks are not unrolled."""
        return self.shard_blocks() or super().compiled()

    def shard_blocks(self) -> list[nn.Module]:
        blocks = getattr(self.model, "blocks", None)
        return list(blocks) if isinstance(blocks, nn.ModuleList | nn.Sequential) else []

    def one_pass(self) -> bool:
        return isinstance(self.model, VisionTransformer)  # others' models may have parameters that they do not use

    # Parts

    def _preprocessing(self) -> Preprocessing:
        config, built = self.config, self.built
        answers = answers_of(config.loss.kind, self.info.multilabel)
        return of_run(config.augment, built.mean, built.std, config.resolution, config.data.range, answers)

    def prepare(self, images: Tensor) -> Tensor:
        """Bytes (B, C, H, W), of clips (B, T, C, H, W), to the network's normalised input."""
        return normalise(images, self.built.mean, self.built.std)

    def _measure(self, loader: Any, ctx: StepContext, gallery: Gallery) -> SingleLabel | MultiLabel:
        return measure(
            self.model,
            loader,
            classes=self.classes,
            criterion=self.criterion,
            prepare=self.prepare,
            compute=Compute(ctx.device, ctx.amp),
            multilabel=self.info.multilabel,
            judge=self.judge,
            gallery=gallery,
            should_stop=ctx.should_stop,
        )


def plain_architecture(model: nn.Module) -> dict[str, Any]:
    """Everything that shapes one of our ViTs, as plain data."""
    from trainer.config.resolve import plain

    return plain(model.arch) if isinstance(model, VisionTransformer) else {}


def _classes_differ(heads: int, classes: Sequence[str]) -> str:
    return (
        f"the model's head has {heads} classes, the data have {len(classes)} ({ends(classes, 8)}): to train on these "
        "leave model.num_classes out (with weights of other classes: model.head=reset); a data.class_map between them "
        "is for scripts/evaluate.py"
    )
