"""What a ViT does to one picture or clip, step by step: shapes, parameters and arithmetic in closed form.

Counted are the multiply-accumulates (MAC) of patch embedding, matrices, attention products and head; norms, softmax,
GELU and biases are not: they are under 1 % of it. One MAC is two floating-point operations (FLOP).

Shapes: those of one picture, without B: C x H x W pixels, T tokens of width D, K classes; of a clip with its frames or
steps in front.
"""

from __future__ import annotations

from collections.abc import Sequence
from dataclasses import dataclass, replace

from vit.config import Pool, PosEmbed, QkNorm, SpaceTime
from vit.model.architecture import Architecture, kept_patches, patch_grid

FORWARD_AND_BACKWARD = 3  # a backward pass costs two forward passes
FLOP_PER_MAC = 2

Size = tuple[int, int]


@dataclass(frozen=True)
class Step:
    """What is done to a picture: in words, the shape afterwards, its parameters and MACs."""

    name: str
    shape: tuple[int, ...]
    parameters: int = 0
    macs: int = 0


@dataclass(frozen=True)
class Flow:
    """A forward pass of one picture: steps before the blocks, those of one block, how many blocks, steps after them."""

    before: tuple[Step, ...]
    block: tuple[Step, ...]
    depth: int
    after: tuple[Step, ...]

    @property
    def parameters(self) -> int:
        return sum(step.parameters * times for step, times in self._all())

    @property
    def macs(self) -> int:
        return sum(step.macs * times for step, times in self._all())

    def _all(self) -> list[tuple[Step, int]]:
        return [(step, 1) for step in self.before + self.after] + [(step, self.depth) for step in self.block]


def flow(arch: Architecture, size: Size | None = None, training: bool = False) -> Flow:
    """The closed formula of everything below.

    Args:
        arch: the network.
        size: (height, width) of the picture; None: ``arch.image_size``.
        training: without the patches that patch dropout drops.
    """
    size = size or arch.image_size
    rows, columns = patch_grid(size, arch.patch, arch.fit)
    patches, width = rows * columns, arch.width
    pixels = arch.in_channels * arch.patch**2 * arch.tubelet
    frames, steps = ((arch.frames,), (arch.steps,)) if arch.frames > 1 else ((), ())
    before = [Step("clip" if frames else "image", (*frames, arch.in_channels, *size))]
    if size != (rows * arch.patch, columns * arch.patch):
        before.append(Step(arch.fit.value, (*frames, arch.in_channels, rows * arch.patch, columns * arch.patch)))
    cut = f"{rows} x {columns} patches of {arch.patch} x {arch.patch} pixels"
    if arch.tubelet > 1:
        cut = f"{rows} x {columns} tubelets of {arch.tubelet} frames, {arch.patch} x {arch.patch} pixels"
    macs = arch.steps * patches * pixels * width
    before += [
        Step(cut, (*steps, patches, pixels)),
        Step("embed each patch", (*steps, patches, width), _linear(pixels, width), macs),
    ]
    if arch.pos_embed is PosEmbed.learned:
        before.append(Step("add positions", (*steps, patches, width), (arch.position_prefix + arch.patches) * width))
    elif arch.pos_embed is not PosEmbed.none:
        before.append(Step("add positions (fixed)", (*steps, patches, width)))
    tokens = patches
    for name, count in arch.prefix_tokens.items():
        if count:
            tokens += count
            words = f"{count} {name} tokens" if count > 1 else f"the {name} token"
            before.append(Step(f"with {words}", (*steps, tokens, width), count * width))
    if training and arch.patch_dropout:
        tokens -= patches - kept_patches(patches, arch.patch_dropout)
        before.append(Step("drop patches at random", (tokens, width)))
    encoder = arch.space_time is SpaceTime.factorised_encoder
    if arch.steps > 1 and not encoder:
        before.append(Step("add positions in time", (*steps, tokens, width), arch.steps * width))
    return Flow(tuple(before), _block(arch, tokens), arch.depth, _after(arch, tokens))


def _linear(inputs: int, outputs: int, bias: bool = True) -> int:
    return inputs * outputs + outputs * bias


def _block(arch: Architecture, tokens: int) -> tuple[Step, ...]:
    width, head = arch.width, arch.width // arch.heads
    norm = 2 * width
    scale = 0 if arch.layer_scale is None else width
    head_norms = {QkNorm.none: 0, QkNorm.rms: 2 * head, QkNorm.layer: 4 * head}[arch.qk_norm]
    attention = norm + _linear(width, 3 * width, arch.qkv_bias) + head_norms + _linear(width, width) + scale
    steps, shape = arch.steps, (tokens, width) if arch.frames == 1 else (arch.steps, tokens, width)
    if steps > 1 and arch.space_time is SpaceTime.joint:
        steps, tokens = 1, steps * tokens
    attention_macs = steps * (tokens * 4 * width**2 + 2 * tokens**2 * width)  # 4 matrices; q by k, weights by values
    mlp = norm + _linear(width, arch.mlp) + _linear(arch.mlp, width) + scale
    through = ()
    if steps > 1 and arch.space_time is SpaceTime.factorised_attention:
        macs = tokens * (steps * 4 * width**2 + 2 * steps**2 * width)
        through = (Step("+ attention through time", shape, attention - scale, macs),)
    return (
        Step(f"+ attention: {arch.heads} heads of {head}", shape, attention, attention_macs),
        *through,
        Step(f"+ MLP: {width} to {arch.mlp} to {width}", shape, mlp, steps * tokens * 2 * width * arch.mlp),
    )


def _after(arch: Architecture, tokens: int) -> tuple[Step, ...]:
    width = arch.width
    norm, found = 2 * width, []
    if not arch.pool_first:
        found.append(Step("norm", (tokens, width), norm))
    lead: tuple[int, ...] = ()  # what the features' shape begins with
    if arch.pool is Pool.map:
        parameters = width + 4 * _linear(width, width) + norm + _linear(width, arch.mlp) + _linear(arch.mlp, width)
        seen = tokens - arch.prefix
        macs = arch.steps * (seen * 2 * width**2 + 2 * seen * width + 2 * width**2 + 2 * width * arch.mlp)
        found.append(Step("one query attends to the patches, MLP", (width,), parameters, macs))
    elif arch.pool is Pool.gap:
        found.append(Step("mean of the patch tokens", (width,)))
    elif arch.pool is Pool.cls_gap:
        found.append(Step("class token and mean of the patch tokens", (2 * width,)))
    elif arch.distilled and not arch.num_classes:
        found.append(Step("mean of class and distillation token", (width,)))
    elif arch.distilled:
        lead = (2,)
        found.append(Step("take class and distillation token", (2, width)))
    elif arch.pool is Pool.cls:
        found.append(Step("take the class token", (width,)))
    else:
        lead = (tokens,)
    if arch.pool_first:
        found.append(Step("norm", (width,), norm))
    found += _over_time(arch)
    outputs = lead[0] if lead else 1
    if arch.representation:
        size, seen = arch.representation, arch.pooled_width
        found.append(Step("representation, tanh", (*lead, size), _linear(seen, size), outputs * seen * size))
    if not arch.num_classes:
        return tuple(found)
    if arch.probe_norm:
        found.append(Step("batch norm", (*lead, arch.head_width)))
    shape = (arch.num_classes,) if arch.distilled else (*lead, arch.num_classes)
    name = "two heads, averaged: logits" if arch.distilled else "head: logits"
    parameters = _linear(arch.head_width, arch.num_classes) * (1 + arch.distilled)
    found.append(Step(name, shape, parameters, outputs * arch.head_width * arch.num_classes))
    return tuple(found)


def _over_time(arch: Architecture) -> list[Step]:
    """From the features of a clip's steps to those of the clip."""
    found = []
    if arch.steps > 1 and arch.space_time is SpaceTime.factorised_encoder:
        shape = (arch.steps, arch.width)
        found.append(Step("add positions in time", shape, arch.steps * arch.width))
        if arch.temporal_depth:
            of_steps = _block(replace(arch, frames=1, tubelet=1), arch.steps)
            parameters, macs = (
                arch.temporal_depth * sum(getattr(step, what) for step in of_steps) for what in ("parameters", "macs")
            )
            found.append(Step(f"{arch.temporal_depth} blocks through time", shape, parameters, macs))
    if arch.steps > 1:
        found.append(Step("mean over the steps", (arch.pooled_width,)))
    return found


def data_flow(arch: Architecture, size: Size | None = None) -> list[list[str]]:
    """A forward pass as a table for people: step, shape, parameters, MFLOPs for one picture.

    The heading comes first. One block's two steps are shown, then the sum of all blocks; the last row sums up.
    """
    found = flow(arch, size)
    parameters, macs = sum(step.parameters for step in found.block), sum(step.macs for step in found.block)
    blocks = f"= {arch.depth} such blocks" if arch.depth > 1 else "= the only block"
    rows = [
        *found.before,
        *(Step(f"  {step.name}", step.shape, step.parameters, step.macs) for step in found.block),
        Step(blocks, found.block[-1].shape, parameters * arch.depth, macs * arch.depth),
        *found.after,
        Step("total", (), found.parameters, found.macs),
    ]
    return [["step", "shape", "parameters", "MFLOPs"], *map(_row, rows)]


def _row(step: Step) -> list[str]:
    parameters = f"{step.parameters:,}" if step.parameters else ""
    mflops = f"{FLOP_PER_MAC * step.macs / 1e6:,.1f}" if step.macs else ""
    return [step.name, _shape(step.shape), parameters, mflops]


def _shape(shape: Sequence[int]) -> str:
    return " x ".join(map(str, shape))


def parameter_count(arch: Architecture) -> int:
    """Learned numbers of the whole network."""
    return flow(arch).parameters


def gmacs(arch: Architecture, size: Size | None = None) -> float:
    """Multiply-accumulates of a forward pass of one picture in evaluation, in 10^9."""
    return flow(arch, size).macs / 1e9


def training_flops(arch: Architecture, size: Size | None = None) -> float:
    """FLOP of one picture's training step, forward and backward: 6 per MAC. The numerator of MFU.

    Only kept tokens count where patch dropout drops some; recomputation (checkpointing) does not count, and what
    stochastic depth saves is not taken off.
    """
    return FORWARD_AND_BACKWARD * FLOP_PER_MAC * float(flow(arch, size, training=True).macs)
