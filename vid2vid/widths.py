"""Which widths the layers of a generator have, by its configuration. Loads no torch."""

from __future__ import annotations

from vid2vid.config import Block, ForegroundKind, ModelConfig


def width_divisor(model: ModelConfig) -> int:
    """What ``model.ngf`` must be a multiple of: each scale has half the width of the one before, H_F half of its own
    where the encoder is deep (as in the released code)."""
    narrow = 2 if model.foreground is not ForegroundKind.off and model.downsamplings > 2 else 1
    return 2 ** max(model.scales - 1, 0) * narrow


def channels_per_group(model: ModelConfig) -> int:
    """Of the 3x3 convolutions in the generator's residual blocks; 0: all channels, as in plain ones."""
    return {Block.plain: 0, Block.grouped: model.group_width, Block.depthwise: 1}[model.block]


def block_channels(model: ModelConfig) -> list[int]:
    """Of the residual blocks in the generator, where there are any; smallest first."""
    narrow = 2 if model.foreground is not ForegroundKind.off and model.downsamplings > 2 else 1
    widths = [model.ngf * 2**model.downsamplings, *(2 * (model.ngf // 2**i) for i in range(1, model.scales))]
    return sorted({width // part for width in widths for part in (1, narrow)})
