"""vid2vid as a task of the shared trainer: follow one batch from label ids to three losses.

A batch of clips is cut into segments of a few frames. The generator walks a segment frame by frame; its newest frames,
detached, are the past of the next segment. The phases ``g``, ``d_image`` and ``d_video`` share that one forward pass,
and each discriminator sees real and generated frames in one call that serves its own loss and the generator's.

Shapes: B clips, T frames of a segment, C source channels, H x W pixels, L past frames, K frames seen by D_V.
"""

from __future__ import annotations

from collections.abc import Iterator
from typing import Any

import torch
from torch import Tensor, nn

from trainer.seeding import batch_rng
from trainer.task import Phase, SampleDataset, Segment, Stage, StepContext, Task
from vid2vid import segments
from vid2vid.config import PHASES, FirstFrame, Vid2VidConfig, Vid2VidStage, VideoWindows
from vid2vid.data.run_data import RunData
from vid2vid.encoding import SourceEncoder, images_to_float
from vid2vid.evaluate.measure import Counted, evaluate_clips, first_picture
from vid2vid.evaluate.provenance import facts
from vid2vid.flow.estimate import compose
from vid2vid.generate.pictures import clip_visuals
from vid2vid.losses import terms as losses
from vid2vid.losses.perceptual import Perceptual, build_perceptual
from vid2vid.model import Generator, GeneratorOutput, MultiscaleDiscriminator, VideoDiscriminators
from vid2vid.model.sharing import SharedDiscriminator
from vid2vid.model.windows import TemporalWindows, buffer_frames, temporal_windows, window_phases
from vid2vid.validate.notes import notes
from vid2vid.validate.untrained import fed_table
from vid2vid.weights.growing import start_from


class Vid2VidTask(Task):
    """The sequential generator with its image and video discriminators.

    Args:
        config: the run's configuration. Weights are drawn from torch's global random stream: seed it before.

    Raises:
        ConfigError: for a model that cannot be built.
        CheckpointError: for weights (``model.weights``, ``model.perceptual_weights``) that are missing or do not fit.
    """

    def __init__(self, config: Vid2VidConfig) -> None:
        self.config, self._data = config, RunData(config)
        model = config.model
        self.encoder = SourceEncoder(model, config.data)
        self.generator = Generator(model, self.encoder.channels)
        self._networks: dict[str, nn.Module] = {"generator": self.generator}
        sizes = (model.ndf, model.discriminator_scales, model.discriminator_layers, model.norm)
        self.d_image: MultiscaleDiscriminator | None = None
        if model.image_discriminator:
            self.d_image = MultiscaleDiscriminator(self.encoder.channels + 3, *sizes)
            self._networks["d_image"] = self.d_image
        self.d_video: VideoDiscriminators | None = None
        if model.video_discriminator:
            frames = model.video_discriminator_frames
            self.d_video = VideoDiscriminators(frames, *sizes, temporal_scales=model.temporal_scales)
            self._networks["d_video"] = self.d_video
        self.perceptual: Perceptual | None = None
        if model.lambda_perceptual > 0:
            self.perceptual = build_perceptual(model.perceptual_weights)
        self._start = None if model.weights is None else start_from(model.weights, self._networks, model)
        self._counts = torch.zeros(2, dtype=torch.long)  # clips and frames of the last evaluation
        # Real context frames before the first generated one.
        self.context = model.past_frames if model.first_frame is FirstFrame.real else 0

    # What the trainer asks for

    def networks(self) -> dict[str, nn.Module]:
        return self._networks

    def frozen(self) -> dict[str, nn.Module]:
        return {} if self.perceptual is None else {"perceptual": self.perceptual}

    def phases(self, stage: Stage) -> tuple[Phase, ...]:
        modules = {"g": "generator", "d_image": "d_image", "d_video": "d_video"}
        optim = self.config.optim
        return tuple(
            Phase(name, (module,), optim[name].every, optim[name].clip)
            for name, module in modules.items()
            if module in self._networks
        )

    def idle_phases(self) -> tuple[str, ...]:
        return tuple(name for name in PHASES[1:] if name not in self._networks)

    def dataset(self, split: str, stage: Stage) -> SampleDataset:
        frames = stage.frames + self.context if split == "train" else self.config.data.val_frames
        return self._data.build(split, stage.resolution, frames)

    def epoch_samples(self) -> int | None:
        return self._data.epoch()

    def segments_per_batch(self, stage: Stage) -> int:
        return -(-stage.frames // self._row(stage).segment_frames)

    def segments_to_peak(self, stage: Stage) -> int:
        """Until every temporal scale of D_V that the clip is long enough for has its windows."""
        row, every = self._row(stage), self.segments_per_batch(stage)
        late = self.config.model.video_discriminator_frames - 1  # frames by which a window may begin later
        return min(every, max(2, -(-(self._history() + 1 + late - self.context) // row.segment_frames)))

    def work(self, stage: Stage) -> tuple[float, ...]:
        model, row, (height, width) = self.config.model, self._row(stage), stage.resolution
        clips = stage.batch_size / stage.accumulate
        scales = row.scales or model.scales, row.discriminator_scales or model.discriminator_scales
        seen = min(stage.frames, self._history() + 1)  # by D_V
        return (height * width * row.segment_frames * clips, height * width * seen * clips, *scales)

    def frames_per_sample(self, stage: Stage) -> int:
        return stage.frames

    def meta(self) -> dict[str, Any]:
        return {"image_range": [-1.0, 1.0], "source_channels": self.encoder.channels, **self._data.state_dict()}

    def data_facts(self) -> dict[str, Any]:
        return self._data.facts()

    def state_dict(self) -> dict[str, Any]:
        return self._data.state_dict()

    def load_state_dict(self, state: dict[str, Any]) -> None:
        self._data.load_state_dict(state)

    def console(self) -> tuple[str, ...]:
        return "l1_pixels", "g/gan", "g/feature", "d_image/fake", "mask_mean"

    def quicker(self) -> str:
        return "make demo shows in ten what the model does; model=vid2vid_tiny tries a change in seconds"

    def notes(self) -> list[str]:
        found = notes(self.config, self._networks, self.perceptual is not None)
        return found if self._start is None else [*found, self._start.line(str(self.config.model.weights))]

    def compiled(self) -> list[nn.Module]:
        self.generator.by_hand = False
        return [*self.generator.parts(), *(net for net in (self.d_image, self.d_video) if net is not None)]

    def tables(self, stage: Stage) -> list[tuple[str, list[list[str]]]]:
        return [("what each stage trains", fed_table(self.config))]

    def segments(self, batch: dict[str, Any], ctx: StepContext) -> Iterator[Segment]:
        """Cuts clips into segments and carries the detached past (eq. 3) from one to the next.

        Args:
            batch: see ``vid2vid.data.build_dataset``, collated.
        """
        row = self._row(ctx.stage)
        past = self._first_past(batch, row)
        phases = self._window_phases(ctx)
        # Generated frames as the video discriminators' history; real context frames count as generated.
        made = images_to_float(batch["images"][:, : self.context]) if self.context else None
        for start in range(self.context, self.context + ctx.stage.frames, row.segment_frames):
            stop = min(start + row.segment_frames, self.context + ctx.stage.frames)
            segment = segments.cut(
                batch,
                start,
                stop,
                past_frames=self.config.model.past_frames,
                history=self._history(),
                past=past,
                made_buffer=made,
                window_phases=phases,
                first=start == 0 and self.config.model.first_frame is not FirstFrame.image,
            )
            yield segment
            past, newest = self._carried(segment, ctx)
            if self.d_video is not None:
                made = newest if made is None else torch.cat([made, newest], dim=1)
                made = made[:, -self._history() :]

    def losses(self, phase: str, segment: Segment, ctx: StepContext) -> dict[str, Tensor]:
        if phase == "g":
            return self._generator_losses(segment, ctx)
        if phase == "d_image":
            shared = [self._judge_frames(segment, ctx)]
        else:
            shared = [judged for judged in self._judge_windows(segment, ctx) if judged is not None]
        return losses.discriminator([(judged.real, judged.fakes) for judged in shared], self.config.model.gan)

    def evaluate(self, loader: Any, ctx: StepContext) -> dict[str, tuple[float, float]]:
        counted = Counted(loader)
        pairs = evaluate_clips(
            self.generator,
            self.encoder,
            counted,
            device=ctx.device,
            amp=ctx.amp,
            first_frame=self.config.model.first_frame,
            scales=self._row(ctx.stage).scales,
            should_stop=ctx.should_stop,
        )
        self._counts = ctx.sum(torch.tensor([counted.clips, counted.frames], device=ctx.device))
        return pairs

    def evaluation_facts(self, stage: Stage) -> dict[str, str | int | float]:
        return facts(self.config, *self._counts.tolist(), resolution=stage.resolution)

    def judged_by(self) -> dict[str, bool]:
        return {"psnr": True, "ssim": True, "l1": False, "warp_error": False}

    def visuals(self, loader: Any, ctx: StepContext) -> dict[str, Tensor]:
        return clip_visuals(self.generator, self.encoder, loader, ctx, self.config, self._row(ctx.stage).scales)

    # From a clip to a segment

    def _row(self, stage: Stage) -> Vid2VidStage:
        assert isinstance(stage.config, Vid2VidStage)
        return stage.config

    def _history(self) -> int:
        model = self.config.model
        if self.d_video is None:
            return 0
        return buffer_frames(model.video_discriminator_frames, model.temporal_scales)

    def _first_past(self, batch: dict[str, Any], row: Vid2VidStage) -> list[Tensor] | None:
        """The history of a clip's first generated frame (spec 2)."""
        model = self.config.model
        if model.past_frames == 0 or model.first_frame is FirstFrame.model:
            return None
        if model.first_frame is FirstFrame.real:
            images = images_to_float(batch["images"][:, : model.past_frames])
        else:
            is_image = model.first_frame is FirstFrame.image
            image = first_picture(batch) if is_image else torch.zeros_like(images_to_float(batch["images"][:, 0]))
            images = image[:, None].expand(-1, model.past_frames, -1, -1, -1)
        return self.generator.past_from_images(images, scales=row.scales)

    # Forward passes, each made once a segment

    def _generate(self, segment: Segment, ctx: StepContext) -> GeneratorOutput:
        def run() -> GeneratorOutput:
            with ctx.amp():
                out = self.generator(
                    segments.source(segment, self.encoder),
                    past=segment["past"],
                    foreground=segments.foreground(segment, self.encoder),
                    scales=self._row(ctx.stage).scales,
                    first=segment["first"],
                )
            out.frames, out.hallucination = out.frames.float(), out.hallucination.float()
            segment.carried = out.past or None, out.frames.detach()
            return out

        return segment.once("generated", run)

    def _carried(self, segment: Segment, ctx: StepContext) -> tuple[list[Tensor] | None, Tensor]:
        """The history after a segment, and its frames; generated now where no phase has asked for them."""
        if segment.carried is None:
            self._generate(segment, ctx)
            segment.forget()
        past, newest = segment.carried or (None, None)
        assert newest is not None
        return past, newest

    def _fakes(self, out: GeneratorOutput) -> list[Tensor]:
        """The composed frames, and the hallucination where it is something else."""
        return [out.frames] if out.flow is None else [out.frames, out.hallucination]

    def _judge_frames(self, segment: Segment, ctx: StepContext) -> SharedDiscriminator:
        """D_I on (labels, frame): real, composed, hallucination; every frame of the segment."""
        assert self.d_image is not None
        judge, scales = self.d_image, self._row(ctx.stage).discriminator_scales

        def run() -> SharedDiscriminator:
            labels = segments.source(segment, self.encoder)[:, self.config.model.past_frames :]
            with ctx.amp():
                return SharedDiscriminator(
                    lambda x, condition: judge(x, scales, condition),
                    segments.real(segment),
                    self._fakes(self._generate(segment, ctx)),
                    prepare=lambda frames: frames.flatten(0, 1),
                    condition=labels.flatten(0, 1),
                )

        return segment.once("d_image", run)

    def _judge_windows(self, segment: Segment, ctx: StepContext) -> list[SharedDiscriminator | None]:
        """D_V per temporal scale on windows of K frames; None where the clip is still too short for one."""
        assert self.d_video is not None
        judges, scales = self.d_video, self._row(ctx.stage).discriminator_scales

        def run() -> list[SharedDiscriminator | None]:
            out = self._generate(segment, ctx)
            judged: list[SharedDiscriminator | None] = []
            for scale in range(self.config.model.temporal_scales):
                windows = self._windows(segment, out.frames, scale)
                if windows is None:
                    judged.append(None)
                    continue
                with ctx.amp():
                    judged.append(
                        SharedDiscriminator(
                            lambda x, s=scale: judges(x, s, scales), windows.real_input(), [windows.fake_input()]
                        )
                    )
            return judged

        return segment.once("d_video", run)

    def _window_phases(self, ctx: StepContext) -> list[int]:
        """Per temporal scale; the same for all clips of a batch, in whatever micro-batches and processes they are."""
        model, new = self.config.model, self._row(ctx.stage).segment_frames
        k, clip = model.video_discriminator_frames, self.context + ctx.stage.frames
        if model.video_windows is VideoWindows.aligned:
            return [0] * model.temporal_scales
        rng = batch_rng(self.config.seed, ctx.samples_seen)
        return [int(rng.integers(window_phases(clip, new, k, scale))) for scale in range(model.temporal_scales)]

    def _windows(self, segment: Segment, frames: Tensor, scale: int) -> TemporalWindows | None:
        real, made = segments.real_buffer(segment, self._history()), segment["made_buffer"]
        fake = frames if made is None else torch.cat([made, frames], dim=1)[:, -real.shape[1] :]
        if segments.has_flow(segment):
            flow = segments.flow(segment, self._history())
        else:
            flow = torch.zeros_like(real[:, :, :2])

        def long_flow(current: int, previous: int) -> Tensor:
            total = flow[:, current]
            for t in range(current - 1, previous, -1):
                total = compose(total, flow[:, t])
            return total

        model = self.config.model
        new, k = frames.shape[1], model.video_discriminator_frames
        phases = segment.data.get("window_phases")  # a dump of an earlier version has none
        return temporal_windows(real, fake, flow, new, k, scale, long_flow, phases[scale] if phases else 0)

    # Losses

    def _generator_losses(self, segment: Segment, ctx: StepContext) -> dict[str, Tensor]:
        """Eq. 5 for F with the terms of spec 4.2, each with its weight."""
        model = self.config.model
        out = self._generate(segment, ctx)
        fakes, real = self._fakes(out), segments.real(segment)
        total: dict[str, Tensor] = {}
        if self.d_image is not None:
            judged = self._judge_frames(segment, ctx)
            total |= self._fool(judged, "", model.lambda_gan, model.lambda_feature, ctx)
        if self.d_video is not None:
            for scale, judged in enumerate(self._judge_windows(segment, ctx)):
                name = f"_video{scale}"
                if judged is None:  # the clip is too short yet; zeros keep the record's columns
                    total |= {f"gan{name}": real.new_zeros(()), f"feature{name}": real.new_zeros(())}
                else:
                    total |= self._fool(judged, name, model.lambda_gan_video, model.lambda_feature_video, ctx)
        if self.perceptual is not None:
            with ctx.amp():
                features = self.perceptual.features(real.flatten(0, 1))
                terms = [self.perceptual.distance(fake.flatten(0, 1), features) for fake in fakes]
            total["perceptual"] = model.lambda_perceptual * torch.stack(terms).sum()
        if (weight := losses.l1_weight(model)) > 0:
            total["l1"] = weight * torch.stack([losses.l1(fake, real) for fake in fakes]).sum()
        if segments.has_flow(segment):
            total |= self._motion_losses(segment, out, ctx)
        with torch.no_grad():
            ctx.log("l1_pixels", (out.frames - real).abs().mean() / 2)
            if out.mask is not None:
                ctx.log("mask_mean", out.mask.float().mean())
        return total

    def _fool(
        self, judged: SharedDiscriminator, name: str, gan: float, feature: float, ctx: StepContext
    ) -> dict[str, Tensor]:
        kind = self.config.model.gan

        def objective(real: losses.Features, fakes: list[losses.Features]) -> dict[str, Tensor]:
            return {
                f"gan{name}": gan * torch.stack([losses.gan_generator(fake, kind) for fake in fakes]).sum(),
                f"feature{name}": feature * torch.stack([losses.feature_matching(fake, real) for fake in fakes]).sum(),
            }

        return judged.generator_losses(objective, ctx.loss_scale)

    def _motion_losses(self, segment: Segment, out: GeneratorOutput, ctx: StepContext) -> dict[str, Tensor]:
        """Eq. 8 and the released code's further terms on flow, warp and mask."""
        model = self.config.model
        reference, confidence = segments.flow(segment), segments.confidence(segment)
        terms: dict[str, Tensor] = {}
        if out.flow is not None and out.mask is not None:
            predicted = out.flow.float()
            scales = self._row(ctx.stage).scales or model.scales
            terms["flow"] = model.lambda_flow * losses.flow(predicted, reference, confidence, scales)
            real, previous = segments.real(segment), segments.real_previous(segment)
            terms["flow_warp"] = model.lambda_flow_warp * losses.flow_warp(predicted, previous, real, confidence)
            terms["mask"] = model.lambda_mask * losses.mask(out.mask, confidence)
        if model.lambda_output_warp > 0 and model.past_frames > 0:
            past = segment["past"]
            before = torch.zeros_like(out.frames[:, :1]) if past is None else past[-1][:, -1:].float()
            previous = torch.cat([before, out.frames[:, :-1].detach()], dim=1)
            terms["output_warp"] = model.lambda_output_warp * losses.output_warp(
                out.frames, previous, reference, confidence
            )
        return terms
