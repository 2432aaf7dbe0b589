"""vid2vid as a task of the shared trainer: follow one batch from label ids to three losses.

``segments`` cuts a batch of clips into segments of a few frames (``segments.py``). The generator walks a segment frame
by frame (``forward.py``); its newest frames, detached, are the past of the next segment. ``losses`` weighs what comes
of it (``losses/objective.py``).

Shapes: B clips, T frames of a segment, C source channels, H x W pixels, L past frames, K frames seen by D_V.
"""

from __future__ import annotations

from collections.abc import Iterator
from functools import partial
from typing import Any

import torch
from torch import Tensor, nn

from trainer.device.compute import Compute
from trainer.task import Phase, SampleDataset, Segment, Stage, StepContext, Task
from vid2vid import segments
from vid2vid.build import build_networks
from vid2vid.config import PHASES, FirstFrame, Vid2VidConfig
from vid2vid.data.run_data import RunData
from vid2vid.evaluate.measure import Counted, evaluate_clips
from vid2vid.evaluate.metrics import METRICS
from vid2vid.evaluate.provenance import facts
from vid2vid.forward import ForwardPasses
from vid2vid.generate.panels import clip_visuals
from vid2vid.losses.backbone import RunReader
from vid2vid.losses.objective import discriminator_losses, generator_losses
from vid2vid.segments import stage_row
from vid2vid.styles.pooling import Styling, own_styles
from vid2vid.validate.notes import notes
from vid2vid.validate.untrained_parts import fed_table
from vid2vid.weights.growing import start_from

# Networks that a phase trains, as far as there are. E learns with the generator: its gradients come through it alone.
NETWORKS = {
    "g": ("generator", "style", "projections"),
    "d_image": ("d_image",),
    "d_video": ("d_video",),
    "d_region": ("d_region",),
}


class Vid2VidTask(Task):
    """The sequential generator with its image and video discriminators.

    Args:
        config: the run's configuration. Weights are drawn from torch's global random stream: seed it before.
        classifier: reads a run of a classifier of this project, whose features a perceptual loss may compare by.

    Raises:
        ConfigError: for a model that cannot be built.
        CheckpointError: for weights (``model.weights``, ``model.perceptual_weights``) that are missing or do not fit.
    """

    def __init__(self, config: Vid2VidConfig, classifier: RunReader | None = None) -> None:
        self.config, self._data = config, RunData(config)
        self.nets = build_networks(config, classifier)
        self.passes = ForwardPasses(config, self.nets)
        self._networks = self.nets.trained()
        weights = config.model.weights
        self._start = None if weights is None else start_from(weights, self._networks, config.model, config.data)
        self._counts = torch.zeros(3, dtype=torch.long)  # clips, frames and skipped clips of the last evaluation

    def networks(self) -> dict[str, nn.Module]:
        return self._networks

    def frozen(self) -> dict[str, nn.Module]:
        frozen = {"perceptual": self.nets.perceptual, "teacher": self.nets.teacher}
        return {name: network for name, network in frozen.items() if network is not None}

    def phases(self, stage: Stage) -> tuple[Phase, ...]:
        optim = self.config.optim
        present = {
            name: tuple(module for module in modules if module in self._networks) for name, modules in NETWORKS.items()
        }
        return tuple(
            Phase(name, modules, optim[name].every, optim[name].clip) for name, modules in present.items() if modules
        )

    def idle_phases(self) -> tuple[str, ...]:
        return tuple(name for name in PHASES[1:] if name not in self._networks)

    def dataset(self, split: str, stage: Stage) -> SampleDataset:
        if split != "train":
            return self._data.build(split, stage.resolution, self.config.data.val_frames)
        back = stage.frames // 2 if stage_row(stage).palindrome else 0
        return self._data.build(split, stage.resolution, stage.frames - back + self.passes.context, back)

    def epoch_samples(self) -> int | None:
        return self._data.epoch()

    def segments_per_batch(self, stage: Stage) -> int:
        return -(-stage.frames // stage_row(stage).segment_frames)

    def segments_to_peak(self, stage: Stage) -> int:
        """Until every temporal scale of D_V that the clip is long enough for has its windows."""
        row, every = stage_row(stage), self.segments_per_batch(stage)
        late = self.config.model.video_discriminator_frames - 1  # frames by which a window may begin later
        return min(every, max(2, -(-(self.passes.history + 1 + late - self.passes.context) // row.segment_frames)))

    def work(self, stage: Stage) -> tuple[float, ...]:
        model, row, (height, width) = self.config.model, stage_row(stage), stage.resolution
        clips = stage.batch_size / stage.accumulate
        scales = row.scales or model.scales, row.discriminator_scales or model.discriminator_scales
        seen = min(stage.frames, self.passes.history + 1)  # by D_V
        kept = stage.frames // 2 if row.palindrome else 0
        pixels = height * width * clips
        return (pixels * row.segment_frames, pixels * seen, pixels * kept, *scales)

    def frames_per_sample(self, stage: Stage) -> int:
        return stage.frames

    def meta(self) -> dict[str, Any]:
        return {"image_range": [-1.0, 1.0], "source_channels": self.nets.encoder.channels, **self._data.state_dict()}

    def data_facts(self) -> dict[str, Any]:
        return self._data.facts()

    def state_dict(self) -> dict[str, Any]:
        teacher = self.nets.teacher
        return {**self._data.state_dict(), **({} if teacher is None else {"teacher": teacher.identity()})}

    def load_state_dict(self, state: dict[str, Any]) -> None:
        if self.nets.teacher is not None:
            self.nets.teacher.check_same(state.get("teacher", {}), self.config.model.teacher)
        self._data.load_state_dict(state)

    def console(self) -> tuple[str, ...]:
        return "l1_pixels", "g/gan", "g/feature", "d_image/fake", "mask_mean"

    def quicker(self) -> str:
        return "make demo shows in ten what the model does; model=vid2vid_tiny tries a change in seconds"

    def notes(self) -> list[str]:
        found = notes(self.config, self._networks, self.nets.perceptual is not None)
        found += [] if self.nets.teacher is None else [self.nets.teacher.line]
        return found if self._start is None else [*found, self._start.line(str(self.config.model.weights))]

    def compiled(self) -> list[nn.Module]:
        nets = self.nets
        nets.generator.by_hand = False
        others = (nets.style, nets.d_image, nets.d_video, nets.d_region)
        return [*nets.generator.parts(), *(net for net in others if net is not None)]

    def tables(self, stage: Stage) -> list[tuple[str, list[list[str]]]]:
        return [("what each stage trains", fed_table(self.config))]

    def segments(self, batch: dict[str, Any], ctx: StepContext) -> Iterator[Segment]:
        """Cuts clips into segments and carries the detached past (eq. 3) from one to the next.

        Args:
            batch: see ``vid2vid.data.build_dataset``, collated.
        """
        model, passes, row = self.config.model, self.passes, stage_row(ctx.stage)
        past, taught = passes.first_past(batch, row.scales), passes.teachers_past(batch)
        phases = passes.window_phases(ctx)
        # Generated frames as the video discriminators' history; real context frames count as generated.
        made, moved = passes.first_buffers(batch)
        end = passes.context + ctx.stage.frames
        back = segments.WayBack(ctx.stage.frames) if row.palindrome else None
        for start in range(passes.context, end, row.segment_frames):
            stop = min(start + row.segment_frames, end)
            segment = segments.cut(
                batch,
                start,
                stop,
                past_frames=model.past_frames,
                history=max(passes.history, passes.styled_context),
                past=past,
                made_buffer=made,
                made_flow=moved,
                window_phases=phases,
                first=start == 0 and model.first_frame is not FirstFrame.image,
                **passes.drawn(start, ctx),
                **({} if self.nets.teacher is None else {"teachers_past": taught}),
                **(back.of(start - passes.context, stop - passes.context) if back else {}),
            )
            yield segment
            past, newest, flow = passes.carried(segment, ctx)
            taught = passes.teachers_carried(segment, ctx)
            if back:
                back.keep(newest)
            if self.nets.d_video is not None:
                made = segments.with_history(made, newest, passes.history)
                moved = None if flow is None else segments.with_history(moved, flow, passes.history)

    def losses(self, phase: str, segment: Segment, ctx: StepContext) -> dict[str, Tensor]:
        if phase == "g":
            return generator_losses(self.passes, segment, ctx)
        return discriminator_losses(self.passes, phase, segment, ctx)

    def evaluate(self, loader: Any, ctx: StepContext) -> dict[str, tuple[float, float]]:
        counted = Counted(loader)
        pairs = evaluate_clips(
            self.nets.generator,
            self.nets.encoder,
            counted,
            compute=Compute(ctx.device, ctx.amp),
            first_frame=self.config.model.first_frame,
            scales=stage_row(ctx.stage).scales,
            styles=self._own_styles(ctx),
            should_stop=ctx.should_stop,
        )
        self._counts = ctx.sum(torch.tensor([counted.clips, counted.frames, counted.skipped], device=ctx.device))
        return pairs

    def _own_styles(self, ctx: StepContext) -> Styling | None:
        """Clips are evaluated with E's own view of their real frames: mixtures to draw from are fitted later."""
        if self.nets.style is None:
            return None
        return partial(own_styles, self.nets.style, self.nets.encoder, amp=ctx.amp)

    def evaluation_facts(self, stage: Stage) -> dict[str, str | int | float]:
        return facts(self.config, *self._counts.tolist(), resolution=stage.resolution)

    def judged_by(self) -> dict[str, bool]:
        return {name: metric.larger for name, metric in METRICS.items() if metric.larger is not None}

    def visuals(self, loader: Any, ctx: StepContext) -> dict[str, Tensor]:
        return clip_visuals(
            self.nets.generator,
            self.nets.encoder,
            loader,
            ctx,
            self.config,
            stage_row(ctx.stage).scales,
            self._own_styles(ctx),
        )
