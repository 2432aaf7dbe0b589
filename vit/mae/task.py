"""Masked autoencoding as a task of the shared trainer: follow one batch from bytes to its loss (He et al., 2021).

Most patches of a picture are masked; the encoder, a ViT, sees the others alone, and a small decoder tells the pixels
that are missing. The encoder is what is wanted: ``model.weights=RUN`` makes a classifier of it.

Shapes: B pictures, C channels, H x W pixels, N patches of p x p pixels.
"""

from __future__ import annotations

from collections.abc import Iterator
from typing import Any

import torch
from torch import Tensor, nn

from trainer.records.media import as_rgb, label_panel
from trainer.task import Phase, SampleDataset, Segment, Stage, StepContext, Task
from vit.analysis.chance import permutation
from vit.build import construct, resolutions, statistics
from vit.data import build_dataset, describe
from vit.data.checked_samples import CheckedSamples
from vit.data.transforms import EvalTransform
from vit.encoding import normalise
from vit.mae.config import PHASES, MaeConfig, as_vit
from vit.mae.decoder import Decoder
from vit.mae.masking import Mask, masked_by, patches, pictures, random_order, reconstruction_loss, spread_of
from vit.model.architecture import patch_grid
from vit.model.layers import fit_images
from vit.model.transformer import VisionTransformer
from vit.preprocessing import of_run
from vit.task import plain_architecture

ENCODER, DECODER = "model", "decoder"  # the encoder has the name of a classifier, which others read
HELD_OUT_SEED = 0  # of the masks of held-out pictures, which are the same at every evaluation
SHOWN = 6  # pictures
LEGIBLE = 160  # pixels of a picture's width that a caption fits
GREY = 128  # where pixels are masked


class MaeTask(Task):
    """An encoder and its decoder, one phase ``main``.

    Args:
        config: the run's configuration. Weights are drawn from torch's global random stream: seed it before.

    Raises:
        ConfigError: data and model do not fit each other. DataError, CheckpointError: files that cannot be used.
    """

    def __init__(self, config: MaeConfig) -> None:
        self.config, self._vit = config, as_vit(config)
        self.info = describe(self._vit)
        channels = config.model.in_channels or self.info.channels
        model, self.report = construct(self._vit, 0, channels, resolutions(self._vit))
        assert isinstance(model, VisionTransformer)
        self.encoder = model
        self.decoder = Decoder(model.arch, config.mask)
        told = self.report
        self.mean = statistics(config.data.mean, told and told.mean, self.info.mean, channels, "mean")
        self.std = statistics(config.data.std, told and told.std, self.info.std, channels, "std")

    def networks(self) -> dict[str, nn.Module]:
        return {ENCODER: self.encoder, DECODER: self.decoder}

    def phases(self, stage: Stage) -> tuple[Phase, ...]:
        (name,) = PHASES
        return (Phase(name, (ENCODER, DECODER)),)

    def dataset(self, split: str, stage: Stage) -> SampleDataset:
        samples, limit = build_dataset(self._vit, split, stage.resolution), self.config.trainer.eval_samples
        return CheckedSamples(samples, self.info.classes, None if split == "train" else limit)

    def epoch_samples(self) -> int | None:
        return self.info.train_samples or None

    def frames_per_sample(self, stage: Stage) -> int:
        return 1

    def segments(self, batch: dict[str, Any], ctx: StepContext) -> Iterator[Segment]:
        """Bytes to what the networks see, and an order of the patches for each picture.

        Args:
            batch: ``image`` (B, C, H, W) uint8.
        """
        images = self._prepare(batch["image"])
        rows, columns = self._grid(images)
        yield Segment(images=images, order=random_order(len(images), rows * columns, ctx.generator))

    def losses(self, phase: str, segment: Segment, ctx: StepContext) -> dict[str, Tensor]:
        mask = masked_by(segment["order"], self.config.mask.ratio)
        told = self._told(segment["images"], mask, ctx)
        return {"pixels": self._loss(told, segment["images"], mask).mean()}

    def evaluate(self, loader: Any, ctx: StepContext) -> dict[str, tuple[float, float]]:
        """``loss``: of held-out pictures, the same patches of each masked every time."""
        total = torch.zeros(2, dtype=torch.float64, device=ctx.device)
        for batch in loader:
            if ctx.should_stop():
                break
            images = self._prepare(batch["image"])
            weights = batch["weight"].double() if "weight" in batch else torch.ones(len(images), device=ctx.device)
            weights = weights * (batch["readable"] > 0) if "readable" in batch else weights
            mask = self._held_out(images, batch["index"])
            with torch.inference_mode():
                losses = self._loss(self._told(images, mask, ctx), images, mask).double()
            total += torch.stack([(losses * weights).sum(), weights.sum().double()])
        loss, count = total.tolist()
        return {"loss": (loss, count)}

    def judged_by(self) -> dict[str, bool]:
        return {"loss": False}

    @torch.inference_mode()
    def visuals(self, loader: Any, ctx: StepContext) -> dict[str, Tensor]:
        """``reconstructions``: held-out pictures, masked | reconstructed | original.

        What is reconstructed stands in the masked places. With ``mask.normalise`` the decoder tells no patch's mean and
        deviation: they are the original's.
        """
        batch = next(iter(loader))
        images = self._prepare(batch["image"][:SHOWN])
        mask, grid, side = self._held_out(images, batch["index"][:SHOWN]), self._grid(images), self.encoder.arch.patch
        told, parts = self._told(images, mask, ctx).float(), patches(images, side)
        if self.config.mask.normalise:
            mean, deviation = spread_of(parts)
            told = told * deviation + mean
        hidden = mask.masked[..., None]
        bytes_of = [self._bytes(pictures(x, side, grid)) for x in (torch.where(hidden, told, parts), parts)]
        grey = pictures(hidden.expand_as(parts).float(), side, grid)[:, :1].permute(0, 2, 3, 1) > 0
        columns = [torch.where(grey, GREY, bytes_of[1]).byte(), *bytes_of]
        larger = max(1, LEGIBLE // columns[0].shape[2])
        rows = [torch.cat(list(column.cpu()), dim=0) for column in columns]
        rows = [row.repeat_interleave(larger, 0).repeat_interleave(larger, 1) for row in rows]
        return {"reconstructions": label_panel(rows, ["masked", "rebuilt", "original"])}

    def meta(self) -> dict[str, Any]:
        config = self.config
        how = of_run(config.augment, self.mean, self.std, config.resolution, config.data.range)
        return {**how.plain(), "architecture": plain_architecture(self.encoder)}

    def console(self) -> tuple[str, ...]:
        return "main/pixels", "main/grad_norm"

    def quicker(self) -> str:
        return "experiment=vit/mae_shapes learns in minutes"

    def data_facts(self) -> dict[str, Any]:
        return {"pictures": self.info.train_samples, **self.info.facts()}

    def notes(self) -> list[str]:
        rows, columns = self.encoder.arch.grid
        visible = masked_by(torch.arange(rows * columns)[None], self.config.mask.ratio).kept.shape[1]
        lines = [
            *self.info.notes,
            f"{visible} of {rows * columns} patches are visible to the encoder; labels are not read",
        ]
        return lines + (self.report.lines() if self.report is not None else [])

    def layers(self, phase: str) -> dict[str, int]:
        depths = self.encoder.layer_ids()
        own = {f"{ENCODER}.{name}": depth for name, depth in depths.items()}
        return own | {f"{DECODER}.{name}": self.encoder.arch.depth + 1 for name, _ in self.decoder.named_parameters()}

    def undecayed(self, phase: str) -> set[str]:
        return {f"{ENCODER}.{name}" for name in self.encoder.no_weight_decay()} | {f"{DECODER}.mask_token"}

    def evaluation_note(self, stage: Stage) -> str:
        how = EvalTransform(self.config.augment, stage.resolution).describe()
        return f"{how}; {100 * self.config.mask.ratio:.0f} % of the patches masked, the same every time"

    def compiled(self) -> list[nn.Module]:
        return self.shard_blocks()

    def shard_blocks(self) -> list[nn.Module]:
        return [*self.encoder.blocks, *self.decoder.blocks]

    # Parts

    def _prepare(self, images: Tensor) -> Tensor:
        """Bytes to normalised pictures of whole patches, as the encoder itself would fit them (``model.fit``)."""
        arch = self.encoder.arch
        return fit_images(normalise(images, self.mean, self.std), arch.patch, arch.fit)

    def _grid(self, images: Tensor) -> tuple[int, int]:
        arch = self.encoder.arch
        return patch_grid((images.shape[-2], images.shape[-1]), arch.patch, arch.fit)

    def _held_out(self, images: Tensor, index: Tensor) -> Mask:
        rows, columns = self._grid(images)
        return masked_by(permutation(HELD_OUT_SEED, index, rows * columns), self.config.mask.ratio)

    def _told(self, images: Tensor, mask: Mask, ctx: StepContext) -> Tensor:
        """What the decoder says of all patches, (B, N, p p C)."""
        with ctx.amp():
            tokens = self.encoder.forward_features(images, mask.kept)
            return self.decoder(tokens, mask.restore, self._grid(images))

    def _loss(self, told: Tensor, images: Tensor, mask: Mask) -> Tensor:
        parts = patches(images, self.encoder.arch.patch)
        return reconstruction_loss(told, parts, mask.masked, self.config.mask.normalise)

    def _bytes(self, images: Tensor) -> Tensor:
        """Normalised pictures (B, C, H, W) as (B, H, W, 3) uint8."""
        shape = (1, -1, 1, 1)
        mean, std = (torch.tensor(values, device=images.device).view(shape) for values in (self.mean, self.std))
        shown = (255 * (images * std + mean)).round().clamp(0, 255).byte()
        return as_rgb(shown).permute(0, 2, 3, 1)
