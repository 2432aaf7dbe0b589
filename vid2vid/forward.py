"""Forward passes of a segment, each made once, whichever phase asks for it first.

The phases ``g``, ``d_image``, ``d_video`` and ``d_region`` share the generator's pass, and each discriminator sees real
and generated frames in one call that serves its own loss and the generator's (``model.sharing``).

Shapes: B clips, T frames of a segment, H x W pixels, L past frames, K frames seen by D_V.
"""

from __future__ import annotations

from dataclasses import asdict
from typing import Any

import torch
from torch import Tensor

from trainer.seeding import batch_rng
from trainer.task import Segment, StepContext
from vid2vid import segments
from vid2vid.build import Networks
from vid2vid.config import FirstFrame, Region, Vid2VidConfig, VideoInput, VideoWindows, penalised
from vid2vid.encoding import images_to_float, prepend_context
from vid2vid.flow.estimate import over_several
from vid2vid.generate.clip import first_picture
from vid2vid.model import GeneratorOutput, StyleEncoder
from vid2vid.model.diff_augment import DiffAugment
from vid2vid.model.feedback_noise import FeedbackNoise
from vid2vid.model.regions import cut_out, find_boxes, weights_of
from vid2vid.model.segmenting import SegmentingDiscriminator, log_odds
from vid2vid.model.sharing import SharedDiscriminator
from vid2vid.model.windows import TemporalWindows, buffer_frames, temporal_windows, window_phases
from vid2vid.styles.pooling import pooled_maps

_NOISE, _AUGMENT, _PENALTY, _MIX = 1, 2, 3, 4  # uses of a batch's random numbers


class ForwardPasses:
    """What the networks make of a segment.

    Args:
        config: of the run.
        nets: its networks.

    Attributes:
        context: real frames before the first generated one.
        history: frames before a segment that D_V's windows reach back to.
        styled_context: frames before a segment that E sees, as the generator sees their labels.
    """

    def __init__(self, config: Vid2VidConfig, nets: Networks) -> None:
        self.config, self.model, self.nets = config, config.model, nets
        model = config.model
        self.context = model.past_frames if model.first_frame is FirstFrame.real else 0
        self.styled_context = 0 if nets.style is None else model.past_frames
        self.history = 0
        if nets.d_video is not None:
            self.history = buffer_frames(model.video_discriminator_frames, model.temporal_scales)

    def first_past(self, batch: dict[str, Any], scales: int | None) -> list[Tensor] | None:
        """The history of a clip's first generated frame, as ``model.first_frame`` says.

        Returns:
            (B, L, 3, Hs, Ws) in [-1, 1] for each generator scale in use, coarsest first; None: there is none.
        """
        model = self.model
        if model.past_frames == 0 or model.first_frame is FirstFrame.model:
            return None
        if model.first_frame is FirstFrame.real:
            images = images_to_float(batch["images"][:, : model.past_frames])
        else:
            is_image = model.first_frame is FirstFrame.image
            image = first_picture(batch) if is_image else torch.zeros_like(images_to_float(batch["images"][:, 0]))
            images = image[:, None].expand(-1, model.past_frames, -1, -1, -1)
        return self.nets.generator.past_from_images(images, scales=scales)

    def teachers_past(self, batch: dict[str, Any]) -> list[Tensor] | None:
        """As ``first_past``, for the teacher's video of the same clip."""
        return None if self.nets.teacher is None else self.first_past(batch, self.nets.teacher.scales)

    @torch.no_grad()
    def teach(self, segment: Segment, ctx: StepContext) -> GeneratorOutput:
        """What the teacher makes of the segment, after its own past frames."""
        teacher = self.nets.teacher
        assert teacher is not None

        def run() -> GeneratorOutput:
            with ctx.amp():
                out = teacher.generator(
                    segments.source(segment, self.nets.encoder),  # the same as its own: `vid2vid.teacher` checks that
                    past=segment["teachers_past"],
                    foreground=segments.foreground(segment, teacher.encoder),
                    scales=teacher.scales,
                    first=segment["first"],
                    features=self.nets.projections is not None,
                )
            segment.data["teachers_next"] = out.past or None
            return out

        return segment.once("taught", run)

    def teachers_carried(self, segment: Segment, ctx: StepContext) -> list[Tensor] | None:
        """The teacher's history after a segment; made now where no phase has asked for it."""
        if self.nets.teacher is not None and "teachers_next" not in segment.data:
            self.teach(segment, ctx)
            segment.forget()
        return segment.data.get("teachers_next")

    def generate(self, segment: Segment, ctx: StepContext) -> GeneratorOutput:
        """The segment's frames, eqs. 3, 4 and 9."""

        def run() -> GeneratorOutput:
            encoder = self.nets.encoder
            row, seed = segments.stage_row(ctx.stage), segment.data.get("noise_seed")
            source = segments.source(segment, encoder)
            if self.nets.style is not None:
                source = torch.cat([source, self.styles(segment, self.nets.style, ctx)], dim=2)
            with ctx.amp():
                out = self.nets.generator(
                    source,
                    past=segment["past"],
                    foreground=segments.foreground(segment, encoder),
                    scales=row.scales,
                    first=segment["first"],
                    backprop_frames=row.backprop_frames,
                    noise=None
                    if seed is None
                    else FeedbackNoise(self.model.feedback_noise, ctx.generator.manual_seed(seed)),
                    features=self.nets.projections is not None,
                )
            out.frames, out.hallucination = out.frames.float(), out.hallucination.float()
            flow = None if out.flow is None else out.flow.detach()
            segment.carried = out.past or None, out.frames.detach(), flow if self.own_flow else None
            return out

        return segment.once("generated", run)

    def styles(self, segment: Segment, style: StyleEncoder, ctx: StepContext) -> Tensor:
        """E's features of the real frames, averaged over each instance: (B, L+T, d, H, W), as the labels are."""
        batch = segments.condition(segment)
        images = images_to_float(segment["images"][:, -batch["labels"].shape[1] :])
        with ctx.amp():
            features = style(images.flatten(0, 1)).unflatten(0, images.shape[:2])
        maps = pooled_maps(features, batch, self.nets.encoder)
        return prepend_context(maps, segment["repeated"]) if segment["repeated"] else maps

    def carried(self, segment: Segment, ctx: StepContext) -> tuple[list[Tensor] | None, Tensor, Tensor | None]:
        """The history after a segment, its frames, and the generator's flow of these where D_V sees it.

        They are generated now where no phase has asked for them.
        """
        if segment.carried is None:
            self.generate(segment, ctx)
            segment.forget()
        assert segment.carried is not None
        return segment.carried

    def drawn(self, start: int, ctx: StepContext) -> dict[str, Any]:
        """Random numbers of the segment that begins at frame ``start``, as plain data, as far as any are wanted.

        They are the same for all clips of a batch, in whatever micro-batches and processes they are.
        """
        found: dict[str, Any] = {}
        if self.model.feedback_noise > 0:
            rng = batch_rng(self.config.seed, ctx.samples_seen, _NOISE, start)
            found["noise_seed"] = int(rng.integers(2**63))
        if self.model.diff_augment:
            rng = batch_rng(self.config.seed, ctx.samples_seen, _AUGMENT, start)
            found["augment"] = asdict(DiffAugment.draw(self.model.diff_augment, rng))
        if penalised(self.model):
            found["penalised"] = self._penalised(start, ctx)
        if self.mixes:
            rng = batch_rng(self.config.seed, ctx.samples_seen, _MIX, start)
            found["mix_seed"] = int(rng.integers(2**63))
        return found

    @property
    def mixes(self) -> bool:
        """Whether D_I sees frames mixed of real and generated classes."""
        return isinstance(self.nets.d_image, SegmentingDiscriminator) and self.model.label_mix > 0

    def _penalised(self, start: int, ctx: StepContext) -> dict[str, list[bool]]:
        """By phase, for each of its discriminators, whether a segment's penalties are due.

        Drawn, not counted: a fixed period may always meet the same segment of a clip, such as the first, where the
        sparser windows of D_V have no frames yet.
        """
        rng = batch_rng(self.config.seed, ctx.samples_seen, _PENALTY, start)
        counts = {"d_image": 1, "d_video": self.model.temporal_scales, "d_region": len(self.model.regions)}
        drawn = {phase: rng.random(count) * self.model.penalty_every < 1 for phase, count in counts.items()}
        return {phase: [ctx.rehearsing or bool(due) for due in row] for phase, row in drawn.items()}

    def image_discriminator(self, segment: Segment, ctx: StepContext) -> SharedDiscriminator:
        """D_I on (labels, frame): real, composed, hallucination; every frame of the segment.

        One that segments sees the frames alone.
        """
        assert self.nets.d_image is not None
        network, scales = self.nets.d_image, segments.stage_row(ctx.stage).discriminator_scales
        augment = DiffAugment(**segment.data.get("augment", {}))

        def run() -> SharedDiscriminator:
            if isinstance(network, SegmentingDiscriminator):
                with ctx.amp():
                    return SharedDiscriminator(
                        network,
                        segments.real(segment),
                        generated_images(self.generate(segment, ctx)),
                        prepare=lambda frames: augment.frames(frames).flatten(0, 1),
                        plain=lambda x: log_odds(network.forward(x)),
                    )
            patches = network
            labels = augment.maps(segments.source(segment, self.nets.encoder)[:, self.model.past_frames :])
            with ctx.amp():
                return SharedDiscriminator(
                    lambda x, condition: patches(x, scales, condition),
                    segments.real(segment),
                    generated_images(self.generate(segment, ctx)),
                    prepare=lambda frames: augment.frames(frames).flatten(0, 1),
                    condition=labels.flatten(0, 1),
                    plain=lambda x, condition: patches.forward(x, scales, condition),
                )

        return segment.once("d_image", run)

    def classes(self, segment: Segment) -> Tensor:
        """The one-hot classes of the segment's frames as D_I sees these, (B * T, C, H, W)."""
        augment, encoder = DiffAugment(**segment.data.get("augment", {})), self.nets.encoder

        def run() -> Tensor:
            source = segments.source(segment, encoder)[:, self.model.past_frames :, : len(encoder.ids)]
            return augment.maps(source).flatten(0, 1)

        return segment.once("classes", run)

    def video_discriminators(self, segment: Segment, ctx: StepContext) -> list[SharedDiscriminator | None]:
        """D_V per temporal scale on windows of K frames; None where the clip is still too short for one."""
        assert self.nets.d_video is not None
        networks, scales = self.nets.d_video, segments.stage_row(ctx.stage).discriminator_scales
        augment = DiffAugment(**segment.data.get("augment", {}))

        def run() -> list[SharedDiscriminator | None]:
            out = self.generate(segment, ctx)
            shared: list[SharedDiscriminator | None] = []
            for scale in range(self.model.temporal_scales):
                windows = self.windows(segment, out, scale)
                if windows is None:
                    shared.append(None)
                    continue
                windows = windows.augmented(augment)
                with ctx.amp():
                    shared.append(
                        SharedDiscriminator(
                            lambda x, s=scale: networks(x, s, scales),
                            windows.real_input(),
                            [windows.fake_input()],
                            plain=lambda x, s=scale: networks.forward(x, s, scales),
                            judged=networks.judged,
                        )
                    )
            return shared

        return segment.once("d_video", run)

    def region_discriminators(
        self, segment: Segment, ctx: StepContext
    ) -> dict[Region, tuple[SharedDiscriminator, Tensor]]:
        """D_region by kind on the composed frames' regions, and what each of these counts (``model.regions``)."""
        assert self.nets.d_region is not None
        networks, augment = self.nets.d_region, DiffAugment(**segment.data.get("augment", {}))

        def run() -> dict[Region, tuple[SharedDiscriminator, Tensor]]:
            real, made = segments.real(segment), self.generate(segment, ctx).frames
            found: dict[Region, tuple[SharedDiscriminator, Tensor]] = {}
            for kind, boxes in find_boxes(self.model, segment.data, segment["frames"]).items():
                with ctx.amp():
                    shared = SharedDiscriminator(
                        lambda x, k=kind: networks(x, k),
                        real,
                        [made],
                        prepare=lambda frames, b=boxes: augment.frames(cut_out(frames, b)),
                        plain=lambda x, k=kind: networks.forward(x, k),
                    )
                found[kind] = shared, weights_of(boxes, (real.shape[-2], real.shape[-1]))
            return found

        return segment.once("d_region", run)

    def window_phases(self, ctx: StepContext) -> list[int]:
        """Per temporal scale; the same for all clips of a batch, in whatever micro-batches and processes they are."""
        model, new = self.model, segments.stage_row(ctx.stage).segment_frames
        k, clip = model.video_discriminator_frames, self.context + ctx.stage.frames
        if model.video_windows is VideoWindows.aligned:
            return [0] * model.temporal_scales
        rng = batch_rng(self.config.seed, ctx.samples_seen)
        return [int(rng.integers(window_phases(clip, new, k, scale))) for scale in range(model.temporal_scales)]

    @property
    def own_flow(self) -> bool:
        """Whether D_V sees the generator's flow beside generated frames."""
        return self.nets.d_video is not None and self.model.video_discriminator_input is VideoInput.flow

    def first_buffers(self, batch: dict[str, Any]) -> tuple[Tensor | None, Tensor | None]:
        """What D_V's windows reach back to before a clip's first generated frame: real frames count as generated.

        Returns:
            (B, n, 3, H, W) frames and (B, n, 2, H, W) flow, as ``carried`` has them; None: there are none.
        """
        if not self.context:
            return None, None
        frames = images_to_float(batch["images"][:, : self.context])
        if not self.own_flow:
            return frames, None
        return frames, batch["flow"][:, : self.context].float() if "flow" in batch else torch.zeros_like(
            frames[:, :, :2]
        )

    def windows(self, segment: Segment, out: GeneratorOutput, scale: int) -> TemporalWindows | None:
        """D_V's windows of one temporal scale that end in a segment; None where the clip is still too short."""
        real, made = segments.real_buffer(segment, self.history), segment["made_buffer"]
        count = real.shape[1]
        fake = segments.with_history(made, out.frames, count)
        flow = own = None
        if self.model.video_discriminator_input is not VideoInput.frames:
            known = segments.has_flow(segment)
            flow = segments.flow(segment, self.history) if known else torch.zeros_like(real[:, :, :2])
        if self.own_flow:
            assert out.flow is not None
            own = segments.with_history(segment["made_flow"], out.flow.float(), count)
        new, k = out.frames.shape[1], self.model.video_discriminator_frames
        phases = segment.data.get("window_phases")  # a dump of an earlier version has none
        phase = phases[scale] if phases else 0
        return temporal_windows(real, fake, flow, new, k, scale, over_several(flow), phase, own, over_several(own))


def generated_images(out: GeneratorOutput) -> list[Tensor]:
    """The composed frames, and the hallucination where it is something else: each is judged."""
    return [out.frames] if out.flow is None else [out.frames, out.hallucination]
