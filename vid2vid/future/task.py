"""The label predictor as a task of the shared trainer: follow one batch of clips from label ids to its loss.

The first L label maps of a clip are observed, the others predicted freely from them, a segment at a time; what was
predicted last, detached, is the past of the next segment.

Shapes: B clips, T frames of a segment, L past frames, C classes, H x W pixels.
"""

from __future__ import annotations

from collections.abc import Iterator
from typing import Any

import torch
from torch import Tensor, nn

from trainer.records.confusion import NONE, Confusion
from trainer.records.media import label_panel
from trainer.task import Phase, SampleDataset, Segment, Stage, StepContext, Task
from vid2vid.data.run_data import RunData
from vid2vid.encoding import SourceEncoder
from vid2vid.evaluate.measure import Counted, weights_of
from vid2vid.evaluate.provenance import facts
from vid2vid.future.config import PHASES, LabelPredictorConfig, PredictorStage, as_vid2vid
from vid2vid.future.losses import predictor_losses
from vid2vid.future.predictor import LabelPredictor, PredictedLabels
from vid2vid.future.trained import NETWORK
from vid2vid.generate.panels import condition_columns, contact_sheet


class LabelPredictorTask(Task):
    """A label predictor, trained on its own predictions.

    Args:
        config: the run's. Weights are drawn from torch's global random stream: seed it before.
    """

    def __init__(self, config: LabelPredictorConfig) -> None:
        self.config, self._footage = config, as_vid2vid(config)
        self._data = RunData(self._footage)
        self.encoder = SourceEncoder(self._footage.model, self._footage.data)
        self.predictor = LabelPredictor(config.model, self.encoder.channels)
        self._counts = torch.zeros(3, dtype=torch.long)  # clips, frames and skipped clips of the last evaluation

    def networks(self) -> dict[str, nn.Module]:
        return {NETWORK: self.predictor}

    def phases(self, stage: Stage) -> tuple[Phase, ...]:
        (name,) = PHASES
        optim = self.config.optim[name]
        return (Phase(name, (NETWORK,), optim.every, optim.clip),)

    def dataset(self, split: str, stage: Stage) -> SampleDataset:
        observed = self.config.model.past_frames
        frames = stage.frames + observed if split == "train" else self.config.data.val_frames
        return self._data.build(split, stage.resolution, frames)

    def epoch_samples(self) -> int | None:
        return self._data.epoch()

    def segments_per_batch(self, stage: Stage) -> int:
        return -(-stage.frames // _row(stage).segment_frames)

    def work(self, stage: Stage) -> tuple[float, ...]:
        height, width = stage.resolution
        return (height * width * _row(stage).segment_frames * stage.batch_size / stage.accumulate,)

    def meta(self) -> dict[str, Any]:
        return {"label_ids": self.encoder.ids, **self._data.state_dict()}

    def data_facts(self) -> dict[str, Any]:
        return self._data.facts()

    def state_dict(self) -> dict[str, Any]:
        return self._data.state_dict()

    def load_state_dict(self, state: dict[str, Any]) -> None:
        self._data.load_state_dict(state)

    def console(self) -> tuple[str, ...]:
        return "main/composed", "main/flow", "main/flow_warp", "mask_mean"

    def quicker(self) -> str:
        return "experiment=vid2vid/demo_future trains in minutes; model.ngf=8 resolution=[32,64] tries a change"

    def judged_by(self) -> dict[str, bool]:
        return {"miou": True, "accuracy": True}

    def segments(self, batch: dict[str, Any], ctx: StepContext) -> Iterator[Segment]:
        """Cuts clips into segments, each predicted from what was predicted before it.

        Args:
            batch: see ``vid2vid.data.build_dataset``, collated.
        """
        observed, step = self.config.model.past_frames, _row(ctx.stage).segment_frames
        past = self.encoder.encode({"labels": batch["labels"][:, :observed]})
        end = observed + ctx.stage.frames
        for start in range(observed, end, step):
            stop = min(start + step, end)
            known = {key: batch[key][:, start:stop] for key in ("flow", "confidence") if key in batch}
            segment = Segment(labels=batch["labels"][:, start - 1 : stop], past=past, **known)
            yield segment
            if segment.carried is None:  # no phase was due
                self._predict(segment, ctx)
                segment.forget()
            past = segment.carried

    def losses(self, phase: str, segment: Segment, ctx: StepContext) -> dict[str, Tensor]:
        out = self._predict(segment, ctx)
        true = self.encoder.encode({"labels": segment["labels"]})
        flow, confidence = (segment.data.get(key) for key in ("flow", "confidence"))
        if flow is not None and confidence is not None:
            flow, confidence = flow.float(), confidence.float()
        ctx.log("mask_mean", out.mask.detach().mean())
        return predictor_losses(self.config.model, out, true[:, 1:], true[:, :-1], flow, confidence)

    def _predict(self, segment: Segment, ctx: StepContext) -> PredictedLabels:
        def run() -> PredictedLabels:
            with ctx.amp():
                out = self.predictor(segment["past"], segment["labels"].shape[1] - 1)
            segment.carried = out.past
            return out

        return segment.once("predicted", run)

    def evaluate(self, loader: Any, ctx: StepContext) -> dict[str, tuple[float, float]]:
        """``miou`` and ``accuracy`` of all frames behind the observed ones, and the same of repeating the last observed
        map, ``miou_last_frame`` and ``accuracy_last_frame``; 0..1."""
        observed = self.config.model.past_frames
        scores = {name: Confusion(self.encoder.classes, ctx.device) for name in ("", "_last_frame")}
        counted = Counted(loader)
        for batch in counted:
            if ctx.should_stop():
                break
            labels = batch["labels"][torch.tensor(weights_of(batch)) > 0].to(ctx.device)
            if not len(labels):
                continue
            true = self.encoder.class_channels(labels).clamp(min=NONE)
            coming = true[:, observed:]
            scores[""].add(self._classes(labels, ctx), coming)
            scores["_last_frame"].add(true[:, observed - 1 : observed].expand_as(coming), coming)
        self._counts = ctx.sum(torch.tensor([counted.clips, counted.frames, counted.skipped], device=ctx.device))
        found = {}
        for name, score in scores.items():
            score.counts = ctx.sum(score.counts)
            if score.pixels and ctx.rank == 0:  # every process now knows the whole; one tells it, as the mean of one
                found |= {f"miou{name}": (score.mean_iou(), 1.0), f"accuracy{name}": (score.accuracy(), 1.0)}
        return found

    @torch.inference_mode()
    def _classes(self, labels: Tensor, ctx: StepContext) -> Tensor:
        """The classes predicted behind the observed maps of clips: (B, N, H, W) from (B, L+N, H, W) ids."""
        observed = self.config.model.past_frames
        past = self.encoder.encode({"labels": labels[:, :observed]})
        found = []
        for _ in range(labels.shape[1] - observed):
            with ctx.amp():
                out = self.predictor(past, 1)
            past = out.past
            found.append(out.composed[:, 0].argmax(1))
        return torch.stack(found, dim=1)

    def evaluation_facts(self, stage: Stage) -> dict[str, str | int | float]:
        return facts(self._footage, *self._counts.tolist(), resolution=stage.resolution)

    def evaluation_note(self, stage: Stage) -> str:
        return f"label maps predicted from {self.config.model.past_frames} observed ones"

    def visuals(self, loader: Any, ctx: StepContext) -> dict[str, Tensor]:
        """The first held-out clip behind its observed maps, true | predicted: ``video`` and ``contact_sheet``."""
        labels = next(iter(loader))["labels"][:1].to(ctx.device)
        ids = torch.tensor(self.encoder.ids, device=ctx.device)
        maps = labels[0, self.config.model.past_frames :], ids[self._classes(labels, ctx)[0]]
        panels = [condition_columns({"labels": each}, self._footage)["label"] for each in maps]
        video = label_panel(panels, ["true labels", "predicted"])
        return {"video": video, "contact_sheet": contact_sheet(video)}


def _row(stage: Stage) -> PredictorStage:
    assert isinstance(stage.config, PredictorStage)
    return stage.config
