"""Predicted and rendered frames beside what has come: PSNR, SSIM, LPIPS and label mIoU at t+1, t+2, ...

Shapes: N predicted frames, H x W pixels.
"""

from __future__ import annotations

from collections.abc import Callable, Iterable, Iterator
from dataclasses import dataclass, field
from typing import Any

import torch
from torch import Tensor

from trainer.errors import ConfigError, DataError
from trainer.records.confusion import NONE, Confusion
from vid2vid.config import DataConfig, FirstFrame
from vid2vid.encoding import SourceEncoder
from vid2vid.evaluate import metrics
from vid2vid.evaluate.image_metrics import PerceptualSimilarity
from vid2vid.evaluate.measure import Counted, weights_of
from vid2vid.evaluate.measured_clips import measured_clips
from vid2vid.future.baselines import FlowExtrapolation, last_flow
from vid2vid.future.rollout import LabelRollout
from vid2vid.future.sequence import least_observed
from vid2vid.generate.rollout import Rollout
from vid2vid.trained import LoadedRun

# What is compared, in the order of tables and curves.
METHODS = {
    "predicted": "predicted and rendered",
    "last_frame": "last frame copied",
    "flow": "last flow going on",
    "true_labels": "true labels rendered",  # not a prediction: what the renderer's own pictures cost
}
SCORES = {"psnr": "PSNR [dB]", "ssim": "SSIM", "lpips": "LPIPS", "miou": "label mIoU"}


@dataclass(frozen=True)
class FutureEvaluation:
    """Figures of a predictor with its renderer.

    Attributes:
        observed, predict: frames of each clip that were observed, and predicted.
        clips: how many clips were predicted.
        scores: score -> method -> its mean at t+1, t+2, ...; the true labels have no mIoU.
        facts: what the figures are of, flat (`vid2vid.evaluate.provenance`).
        requested: what differs from the run's own evaluation.
    """

    observed: int
    predict: int
    clips: int
    scores: dict[str, dict[str, list[float]]]
    facts: dict[str, str | int | float] = field(default_factory=dict)
    requested: dict[str, str] = field(default_factory=dict)

    def beaten(self, score: str = "psnr", by: str = "predicted", other: str = "last_frame") -> list[int]:
        """The distances k at which ``by`` has more of a score than ``other``."""
        pairs = zip(self.scores[score][by], self.scores[score][other], strict=True)
        return [k for k, (ours, theirs) in enumerate(pairs, 1) if ours > theirs]


def evaluate_future(
    run: LoadedRun,
    labels: LabelRollout,
    *,
    predict: int,
    split: str = "val",
    clips: int | None = None,
    own: DataConfig | None = None,
    lpips: PerceptualSimilarity | None = None,
    wrap: Callable[[Any], Iterable[dict[str, Any]]] = lambda loader: loader,
) -> FutureEvaluation:
    """Observe the beginning of each clip of a split, predict and render what follows, and measure it.

    As many frames are observed as predictor and renderer need, and two at least, between which the last flow is.

    Args:
        run: the renderer.
        labels: the predictor.
        predict: N.
        split, clips, own, wrap: as `vid2vid.evaluate.run.evaluate_run`.
        lpips: measures LPIPS; None: it is not measured.

    Raises:
        ConfigError, DataError: arguments or data that cannot be used; clips that are too short.
    """
    if predict < 1:
        raise ConfigError(f"predict={predict}: must be at least 1")
    if run.style is not None:
        raise ConfigError(
            f"run= has a feature encoder (model.style_channels={run.config.model.style_channels}), whose vectors would "
            "have to be guessed for what has not come: compare with a renderer without; generate.py takes style="
        )
    observed = max(2, least_observed(run.config, labels))
    given = measured_clips(run, split, observed + predict, clips, FirstFrame.real, own)
    counted = Counted(wrap(given.loader))
    sums = _Sums(labels.run.encoder.classes, run.compute.device)
    for host_batch in counted:
        if not any(weights_of(host_batch)):
            continue
        batch = {k: v[0].to(run.compute.device) for k, v in host_batch.items() if isinstance(v, Tensor)}
        if "images" not in batch:
            raise DataError("evaluation compares with real images, but this data has none; give data with images")
        length = len(batch["images"])
        if length < observed + predict:
            raise DataError(
                f"{host_batch['name'][0]}: clips of {length} frames, but predict={predict} behind {observed} observed "
                f"frames needs {observed + predict}: give longer sequences, or "
                + (f"predict={length - observed}" if length > observed else "a predictor with fewer past_frames")
            )
        for ahead, (real, true, made) in enumerate(_clip(run, labels, batch, observed, predict)):
            for method, (image, classes) in made.items():
                sums.add(ahead, method, image, real, lpips)
                if classes is not None:
                    sums.add_labels(ahead, method, classes, true)
    if not counted.clips:
        raise DataError("no clip could be read, so there is nothing to compare")
    facts = given.facts(counted) | {"observed": observed, "predict": predict}
    requested = {key: value for key, value in given.requested.items() if key not in ("frames", "first_frame")}
    return FutureEvaluation(observed, predict, counted.clips, sums.means(), facts, requested)


Made = dict[str, tuple[Tensor, Tensor | None]]  # method: frame (3, H, W) uint8, class numbers (H, W)


def _clip(
    run: LoadedRun, labels: LabelRollout, batch: dict[str, Tensor], observed: int, predict: int
) -> Iterator[tuple[Tensor, Tensor, Made]]:
    """Of each predicted frame the real one, its class numbers, and what each method makes of it."""
    keys = [key for key in ("labels", "instances") if key in batch]
    frames = [{key: batch[key][t] for key in keys} | {"image": batch["images"][t]} for t in range(observed + predict)]
    labels.reset()
    predicted, known = (_begin(run, frames[:observed], observed) for _ in range(2))
    for frame in frames[:observed]:
        labels.observe(frame)
    last = frames[observed - 1]
    constant = FlowExtrapolation(last["image"], last["labels"], last_flow(batch["images"][:observed], run.config.data))
    encoder = labels.run.encoder
    for frame in frames[observed:]:
        coming = labels.step()
        warped, warped_labels = constant.step()
        yield (
            frame["image"],
            _classes(encoder, frame["labels"]),
            {
                "predicted": (predicted.step(coming)[0], _classes(encoder, coming["labels"])),
                "last_frame": (last["image"], _classes(encoder, last["labels"])),
                "flow": (warped, _classes(encoder, warped_labels)),
                "true_labels": (known.step(frame)[0], None),
            },
        )


def _begin(run: LoadedRun, frames: list[dict[str, Tensor]], observed: int) -> Rollout:
    """The renderer behind the observed frames."""
    rollout = Rollout(run.generator, run.encoder, run.compute, FirstFrame.real, scales=run.scales, real_frames=observed)
    for frame in frames:
        rollout.step(frame)
    return rollout


def _classes(encoder: SourceEncoder, labels: Tensor) -> Tensor:
    """Class numbers (H, W) of ids."""
    return encoder.class_channels(labels).clamp(min=NONE)


class _Sums:
    """Sums of all scores, by distance and method."""

    def __init__(self, classes: int, device: torch.device) -> None:
        self._classes, self._device = classes, device
        self._pairs: dict[tuple[str, str, int], Tensor] = {}
        self._labels: dict[tuple[str, int], Confusion] = {}

    def add(self, ahead: int, method: str, image: Tensor, real: Tensor, lpips: PerceptualSimilarity | None) -> None:
        """A frame and the real one, (3, H, W) uint8."""
        made, come = (x[None].float() / 255 for x in (image, real))
        found = {"psnr": metrics.psnr(made, come), "ssim": metrics.ssim(made, come)}
        if lpips is not None:
            distance = lpips.distance(image[None], real[None]).double().sum()
            found["lpips"] = (distance, torch.ones_like(distance))
        for score, pair in found.items():
            key = score, method, ahead
            self._pairs[key] = self._pairs.get(key, 0) + torch.stack(pair)

    def add_labels(self, ahead: int, method: str, classes: Tensor, true: Tensor) -> None:
        """Class numbers (H, W), and the true ones."""
        key = method, ahead
        if key not in self._labels:
            self._labels[key] = Confusion(self._classes, self._device)
        self._labels[key].add(classes, true)

    def means(self) -> dict[str, dict[str, list[float]]]:
        """score -> method -> mean at t+1, t+2, ..."""
        found: dict[str, dict[str, list[float]]] = {}
        for (score, method, _), pair in sorted(self._pairs.items(), key=lambda item: item[0][2]):
            total, weight = pair.tolist()
            found.setdefault(score, {}).setdefault(method, []).append(total / weight)
        for (method, _), counts in sorted(self._labels.items(), key=lambda item: item[0][1]):
            found.setdefault("miou", {}).setdefault(method, []).append(counts.mean_iou())
        return found
