"""An auto-encoder of styles as a task of the shared trainer: follow one batch of pictures from bytes to its loss.

Every step trains one level, in turn: its decoder, and the encoder up to it. No step sees a style from outside.

Shapes: B pictures, H x W pixels, L levels.
"""

from __future__ import annotations

from collections.abc import Iterator
from typing import Any

import torch
import torch.nn.functional as F
from torch import Tensor, nn

from trainer.records.media import label_panel
from trainer.task import Phase, SampleDataset, Segment, Stage, StepContext, Task
from vit.data import build_dataset, describe
from vit.stylize.config import PHASES, StylizerConfig, as_vit
from vit.stylize.content import to_bytes
from vit.stylize.levels import Stylizer
from vit.stylize.losses import held_fixed, relative_error, style_error, swapped
from vit.stylize.network import AutoEncoder
from vit.stylize.trained import NETWORK, build_network

_SHOWN = 6  # pictures
_UNIT = 1 / 255


class StylizerTask(Task):
    """An auto-encoder, one phase ``main``.

    Args:
        config: the run's. Weights are drawn from torch's global random stream: seed it before.

    Raises:
        ConfigError, DataError: data that cannot be used.
    """

    def __init__(self, config: StylizerConfig) -> None:
        self.config, self._pictures = config, as_vit(config)
        self.info = describe(self._pictures)
        self.network: AutoEncoder = build_network(config)

    def networks(self) -> dict[str, nn.Module]:
        return {NETWORK: self.network}

    def phases(self, stage: Stage) -> tuple[Phase, ...]:
        (name,) = PHASES
        optim = self.config.optim[name]
        return (Phase(name, (NETWORK,), optim.every, optim.clip),)

    def dataset(self, split: str, stage: Stage) -> SampleDataset:
        return build_dataset(self._pictures, split, stage.resolution)

    def epoch_samples(self) -> int | None:
        return self.info.train_samples or None

    def frames_per_sample(self, stage: Stage) -> int:
        return 1

    def data_facts(self) -> dict[str, Any]:
        return {"pictures": self.info.train_samples, **self.info.facts()}

    def console(self) -> tuple[str, ...]:
        return "main/pixel", "main/feature", "main/swap", "main/grad_norm"

    def quicker(self) -> str:
        return "experiment=vit/stylizer learns in minutes (docs/robustness.md)"

    def judged_by(self) -> dict[str, bool]:
        return {"psnr": True}

    def notes(self) -> list[str]:
        return list(self.info.notes)

    def compiled(self) -> list[nn.Module]:
        return [self.network.encoder, *self.network.decoders.values()]

    def segments(self, batch: dict[str, Any], ctx: StepContext) -> Iterator[Segment]:
        """Bytes to pictures in 0..1.

        Args:
            batch: ``image`` (B, 3, H, W) uint8.
        """
        yield Segment(images=batch["image"].float() * _UNIT)

    def losses(self, phase: str, segment: Segment, ctx: StepContext) -> dict[str, Tensor]:
        model, images = self.config.model, segment["images"]
        level = self.network.levels[ctx.step % len(self.network.levels)]
        encoder = self.network.encoder
        with ctx.amp():
            features = encoder(images, level)
            drawn = self.network.decode(features[-1], level)
        found = {"pixel": model.lambda_pixel * relative_error(drawn, images)}
        if model.lambda_feature:
            with ctx.amp():
                again = held_fixed(encoder, drawn, level)[-1]
            found["feature"] = model.lambda_feature * relative_error(again, features[-1])
        if model.lambda_swap and len(images) > 1:
            wanted = swapped(features[-1].detach())
            with ctx.amp():
                redrawn = held_fixed(encoder, self.network.decode(wanted, level), level)
            error = relative_error(redrawn[-1], wanted)
            error = error + style_error(redrawn, [each.roll(1, 0) for each in features])
            found["swap"] = model.lambda_swap * error
        return found

    @torch.inference_mode()
    def evaluate(self, loader: Any, ctx: StepContext) -> dict[str, tuple[float, float]]:
        """``psnr`` [dB] of held-out pictures decoded, the mean over levels, and ``psnr_1``.. of each."""
        levels = self.network.levels
        totals = torch.zeros(len(levels) + 1, dtype=torch.float64, device=ctx.device)
        for batch in loader:
            if ctx.should_stop():
                break
            images = batch["image"].to(ctx.device).float() * _UNIT
            weights = batch["weight"].to(ctx.device).double() * batch.get("readable", torch.ones(())).to(ctx.device)
            with ctx.amp():
                features = self.network.encoder(images, levels[-1])
                drawn = [self.network.decode(features[level - 1], level) for level in levels]
            for place, each in enumerate(drawn):
                error = F.mse_loss(each.float().clamp(0, 1), images, reduction="none").mean(dim=(1, 2, 3))
                totals[place] += (-10 * error.clamp(min=1e-10).log10().double() * weights).sum()
            totals[-1] += weights.sum()
        *sums, count = totals.tolist()
        if not count:
            return {}
        by_level = {f"psnr_{level}": (total, count) for level, total in zip(levels, sums, strict=True)}
        return {"psnr": (sum(sums) / len(sums), count), **by_level}

    def evaluation_note(self, stage: Stage) -> str:
        return "held-out pictures encoded and decoded"

    def visuals(self, loader: Any, ctx: StepContext) -> dict[str, Tensor]:
        """``decoded``: pictures and what each level draws; ``stylized``: in the style of the picture beside, by WCT."""
        images = next(iter(loader))["image"][:_SHOWN].to(ctx.device).float() * _UNIT
        levels = self.network.levels
        plain = Stylizer(self.network, "wct", levels[::-1], 1.0)
        columns = [
            ("picture", images),
            *((f"level {k}", torch.stack([plain.redraw(each, k, lambda f: f) for each in images])) for k in levels),
        ]
        styles = [plain.style(each) for each in images.roll(1, 0)]
        stylised = torch.stack([plain(each, style) for each, style in zip(images, styles, strict=True)])
        swaps = [("content", images), ("style", images.roll(1, 0)), ("stylised", stylised)]
        return {"decoded": _sheet(columns), "stylized": _sheet(swaps)}


def _sheet(columns: list[tuple[str, Tensor]]) -> Tensor:
    """Pictures of each column, (B, 3, H, W) in 0..1, below its caption: uint8 (h, w, 3)."""
    stacked = [to_bytes(torch.cat(list(images), dim=1).permute(1, 2, 0)) for _, images in columns]
    return label_panel(stacked, [name for name, _ in columns])
