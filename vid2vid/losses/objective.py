"""What the networks minimise (eq. 5): every term of a segment with its weight. A new loss gets its line here."""

from __future__ import annotations

from collections.abc import Sequence

import torch
from torch import Tensor

from trainer.schedule.ramp import ramp
from trainer.task import Segment, StepContext
from vid2vid import segments
from vid2vid.config import gammas
from vid2vid.forward import ForwardPasses, generated_images
from vid2vid.losses import segmenting, terms
from vid2vid.losses.distillation import distillation
from vid2vid.losses.penalties import squared_gradient
from vid2vid.model import GeneratorOutput
from vid2vid.model.segmenting import SegmentingDiscriminator
from vid2vid.model.sharing import SharedDiscriminator


def generator_losses(passes: ForwardPasses, segment: Segment, ctx: StepContext) -> dict[str, Tensor]:
    """Eq. 5 for F, with feature matching and the perceptual loss that the paper adds to it.

    The composed frames and the hallucination get the image losses alike, as in the released code.

    Returns:
        Weighted scalars by name; the loss is their sum.
    """
    model, nets = passes.model, passes.nets
    out = passes.generate(segment, ctx)
    fakes, real = generated_images(out), segments.real(segment)
    total: dict[str, Tensor] = {}
    if nets.d_image is not None:
        shared = passes.image_discriminator(segment, ctx)
        if isinstance(nets.d_image, SegmentingDiscriminator):
            total |= _segmented(passes, shared, passes.classes(segment), len(real), ctx)
        else:
            total |= _adversarial(passes, shared, "", model.lambda_gan, model.lambda_feature, ctx)
    if nets.d_video is not None:
        for scale, shared in enumerate(passes.video_discriminators(segment, ctx)):
            name = f"_video{scale}"
            if shared is None:  # the clip is too short yet; zeros keep the record's columns
                total |= {f"gan{name}": real.new_zeros(()), f"feature{name}": real.new_zeros(())}
            else:
                total |= _adversarial(passes, shared, name, model.lambda_gan_video, model.lambda_feature_video, ctx)
    if nets.d_region is not None:
        factor = model.lambda_region
        for kind, (shared, weights) in passes.region_discriminators(segment, ctx).items():
            name = f"_region_{kind.value}"
            gan, feature = factor * model.lambda_gan, factor * model.lambda_feature
            total |= _adversarial(passes, shared, name, gan, feature, ctx, weights)
    if nets.perceptual is not None:
        with ctx.amp():
            features = nets.perceptual.features(real.flatten(0, 1))
            distances = [nets.perceptual.distance(fake.flatten(0, 1), features) for fake in fakes]
        total["perceptual"] = model.lambda_perceptual * torch.stack(distances).sum()
    if (weight := terms.l1_weight(model)) > 0:
        total["l1"] = weight * torch.stack([terms.l1(fake, real) for fake in fakes]).sum()
    if nets.teacher is not None:
        taught, scales = passes.teach(segment, ctx), segments.stage_row(ctx.stage).scales or model.scales
        total |= distillation(out, taught, nets.projections, model, scales)
    if segments.has_flow(segment):
        total |= motion_losses(passes, segment, out, ctx)
    if segments.stage_row(ctx.stage).palindrome and model.lambda_palindrome > 0:
        pair = segments.there_and_back(segment, out.frames)
        share = 0.0 if pair is None else pair[0].shape[1] / out.frames.shape[1]  # zeros keep the record's columns
        agree = real.new_zeros(()) if pair is None else terms.palindrome(*pair)
        total["palindrome"] = model.lambda_palindrome * share * agree
    with torch.no_grad():
        ctx.log("l1_pixels", (out.frames - real).abs().mean() / 2)
        if out.mask is not None:
            ctx.log("mask_mean", out.mask.float().mean())
    return total


def discriminator_losses(passes: ForwardPasses, phase: str, segment: Segment, ctx: StepContext) -> dict[str, Tensor]:
    """Eq. 6 for D_I (``phase`` ``d_image``), eq. 7 for D_V (``d_video``); none where D_V has no window yet.

    A D_I that segments minimises what ``segmenting.discriminator`` has, with ``label_mix`` beside it.
    D_region (``d_region``) minimises eq. 6 on the regions that are there. With ``model.r1_gamma`` or ``r2_gamma`` each
    discriminator's penalties come beside it, zero where they are not due; ``segmenting_gamma`` is for such a D_I alone.
    """
    shared: Sequence[SharedDiscriminator | None]
    weights: Sequence[Tensor | None]
    if phase == "d_region":
        regions = passes.region_discriminators(segment, ctx).values()
        shared, weights = [each for each, _ in regions], [each for _, each in regions]
    else:
        image = phase == "d_image"
        shared = [passes.image_discriminator(segment, ctx)] if image else passes.video_discriminators(segment, ctx)
        weights = [None] * len(shared)
    judged = [(each, weight) for each, weight in zip(shared, weights, strict=True) if each is not None]
    if phase == "d_image" and isinstance(passes.nets.d_image, SegmentingDiscriminator):
        ((one, _),) = judged
        found = segmenting.discriminator(one.real, one.fakes, passes.classes(segment), len(segments.real(segment)))
        if passes.mixes:
            found["label_mix"] = passes.model.label_mix * _mixing(passes, one, segment, ctx)
    else:
        found = terms.discriminator(
            [(each.real, each.fakes) for each, _ in judged], passes.model.gan, [weight for _, weight in judged]
        )
    return found | (_penalties(passes, phase, shared, weights, segment, ctx.progress) if found else {})


def _penalties(
    passes: ForwardPasses,
    phase: str,
    shared: Sequence[SharedDiscriminator | None],
    weights: Sequence[Tensor | None],
    segment: Segment,
    progress: float,
) -> dict[str, Tensor]:
    """R1 and R2 of a phase's discriminators, with their weights: gamma / 2, and the period at which they are due.

    As the hallucination is judged beside the composed frames, R2 is the mean of both.
    """
    model, due = passes.model, segment.data.get("penalised", {}).get(phase)
    scheduled = 1.0 if model.gamma_ramp is None else ramp(model.gamma_ramp, progress)
    weighed = gammas(model, phase)
    out = {name: torch.zeros((), device=segments.real(segment).device) for name in weighed}
    for each, weight, now in zip(shared, weights, due or (), strict=bool(due)):
        if each is not None and now:
            real, *fakes = each.inputs
            for name, inputs in (("r1", [real]), ("r2", fakes)):
                if name in weighed:
                    squares = torch.stack(
                        [squared_gradient(each.predict, x, weight, each.judged) for x in inputs]
                    ).mean()
                    out[name] = out[name] + 0.5 * scheduled * weighed[name] * model.penalty_every * squares
    return out


def motion_losses(passes: ForwardPasses, segment: Segment, out: GeneratorOutput, ctx: StepContext) -> dict[str, Tensor]:
    """Eq. 8 and the released code's further terms on flow, warp and mask, for data with reference flow."""
    model = passes.model
    reference, confidence = segments.flow(segment), segments.confidence(segment)
    total: dict[str, Tensor] = {}
    if out.flow is not None and out.mask is not None:
        predicted = out.flow.float()
        scales = segments.stage_row(ctx.stage).scales or model.scales
        total["flow"] = model.lambda_flow * terms.flow(predicted, reference, confidence, scales)
        real, previous = segments.real(segment), segments.real_previous(segment)
        total["flow_warp"] = model.lambda_flow_warp * terms.flow_warp(predicted, previous, real, confidence)
        total["mask"] = model.lambda_mask * terms.mask(out.mask, confidence)
    if model.lambda_output_warp > 0 and model.past_frames > 0:
        past = segment["past"]
        before = torch.zeros_like(out.frames[:, :1]) if past is None else past[-1][:, -1:].float()
        previous = torch.cat([before, out.frames[:, :-1].detach()], dim=1)
        warped = terms.output_warp(out.frames, previous, reference, confidence)
        total["output_warp"] = model.lambda_output_warp * warped
    return total


def _segmented(
    passes: ForwardPasses, shared: SharedDiscriminator, classes: Tensor, clips: int, ctx: StepContext
) -> dict[str, Tensor]:
    """The generator's side of a D_I that segments; feature matching where it is asked for."""
    model = passes.model

    def objective(real: terms.Features, fakes: list[terms.Features]) -> dict[str, Tensor]:
        found = {"gan": model.lambda_gan * segmenting.generator(fakes, classes, clips)}
        if model.segmenting_feature_matching:
            distances = [terms.feature_matching(fake, real) for fake in fakes]
            found["feature"] = model.lambda_feature * torch.stack(distances).sum()
        return found

    return shared.generator_losses(objective, ctx.loss_scale)


def _mixing(passes: ForwardPasses, shared: SharedDiscriminator, segment: Segment, ctx: StepContext) -> Tensor:
    """What D_I says of frames mixed of real and composed ones, against the mix of what it says of both."""
    classes, network = passes.classes(segment), passes.nets.d_image
    assert isinstance(network, SegmentingDiscriminator)
    mask = segmenting.mixing_mask(classes, ctx.generator.manual_seed(segment["mix_seed"]))
    with ctx.amp():
        (features,) = network(segmenting.mixed(mask, shared.inputs[0], shared.inputs[1]))
    clips = len(segments.real(segment))
    return segmenting.consistency(features[-1], shared.real[-1][-1], shared.fakes[0][-1][-1], mask, classes, clips)


def _adversarial(
    passes: ForwardPasses,
    shared: SharedDiscriminator,
    name: str,
    gan: float,
    feature: float,
    ctx: StepContext,
    weights: Tensor | None = None,
) -> dict[str, Tensor]:
    """The generator's side of eqs. 6 and 7, and feature matching, by what one discriminator sees."""
    kind = passes.model.gan

    def objective(real: terms.Features, fakes: list[terms.Features]) -> dict[str, Tensor]:
        return {
            f"gan{name}": gan * torch.stack([terms.gan_generator(fake, kind, weights, real) for fake in fakes]).sum(),
            f"feature{name}": feature
            * torch.stack([terms.feature_matching(fake, real, weights) for fake in fakes]).sum(),
        }

    return shared.generator_losses(objective, ctx.loss_scale)
