"""One scale of the generator makes one frame: the parts of `subnets`, composed as in eqs. 4 and 9 (appendix A).

G0 is the coarsest; the finer ones are local enhancers, whose trunks start from their own encoders' features plus those
of the next coarser scale. No image and no flow is handed up.

Shapes: B clips, L past frames, Hs x Ws pixels of this scale, C channels of one frame's source, c channels of features
at h x w: ngf * 2^downsamplings at 1 / 2^downsamplings of the size for G0, ngf / 2^(s-1) at half the size for G_s.
"""

from __future__ import annotations

from dataclasses import dataclass

from torch import Tensor, nn

from vid2vid.config import ForegroundKind, ModelConfig
from vid2vid.model.subnets import Encoder, FlowMask, Foreground, Hallucination, Layers
from vid2vid.model.warp import warp


@dataclass
class EncodedLabels:
    """What one scale makes of the labels of N frames before it knows the frames before them.

    Attributes:
        labels: (N, c, h, w) features of the label encoder.
        foreground: (N, 3, Hs, Ws) the image of H_F; None without foreground network.
        region: (N, 1, Hs, Ws) foreground mask.
    """

    labels: Tensor
    foreground: Tensor | None = None
    region: Tensor | None = None

    def frame(self, index: int, frames: int) -> EncodedLabels:
        """Frame ``index`` of each clip."""

        def pick(x: Tensor | None) -> Tensor | None:
            return None if x is None else x.unflatten(0, (-1, frames))[:, index]

        labels = pick(self.labels)
        assert labels is not None
        return EncodedLabels(labels, pick(self.foreground), pick(self.region))


@dataclass
class ScaleFrame:
    """One frame of B clips as one scale made it.

    Attributes:
        composed, hallucination: (B, 3, Hs, Ws) in [-1, 1].
        flow, mask: (B, 2, Hs, Ws) pixels and (B, 1, Hs, Ws); None where nothing was warped.
        features, flow_features: (B, ngf / 2^s, Hs, Ws) of the trunks, which the next finer scale adds to its encoders'.
    """

    composed: Tensor
    hallucination: Tensor
    flow: Tensor | None
    mask: Tensor | None
    features: Tensor
    flow_features: Tensor | None


class ScaleGenerator(nn.Module):
    """One scale of the generator: G0 for index 0, a local enhancer that adds the coarser scale's features after that.

    Args:
        model: the configuration.
        inputs: channels of the stacked labels of L+1 frames.
        index: 0 for the coarsest.
    """

    def __init__(self, model: ModelConfig, inputs: int, index: int) -> None:
        super().__init__()
        width = model.ngf // 2**index
        downs = model.downsamplings if index == 0 else 1
        encoder_blocks = model.blocks - model.blocks // 2 if index == 0 else 0
        trunk_blocks = model.blocks // 2 if index == 0 else model.local_blocks
        kinds = Layers.of(model)
        self.kind = model.foreground
        self.labels = Encoder(inputs, width, downs, encoder_blocks, kinds)
        self.past = (
            Encoder(3 * model.past_frames, width, downs, encoder_blocks, kinds) if model.past_frames > 0 else None
        )
        self.hallucination = Hallucination(width, downs, trunk_blocks, kinds)
        multiplier = model.flow_multiplier * 2**index
        self.flow = FlowMask(width, downs, trunk_blocks, kinds, multiplier) if model.flow else None
        self.foreground: Foreground | None = None
        if model.foreground is not ForegroundKind.off:
            # The released networks halve the foreground's width only where the encoder is deep.
            narrow = width // 2 if model.downsamplings > 2 else width
            blocks = model.blocks if index == 0 else model.local_blocks
            self.foreground = Foreground(inputs, narrow, downs, blocks, kinds)

    def forward(
        self,
        encoded: EncodedLabels,
        past: Tensor | None,
        coarser: ScaleFrame | None,
        usable: bool,
        noise: Tensor | None = None,
    ) -> ScaleFrame:
        """One frame: eq. 4, and with a foreground network eq. 9 or the released code's form of it.

        Args:
            encoded: of this frame's labels, B of them.
            past: (B, L, 3, Hs, Ws) this scale's own newest frames, newest last, or None.
            coarser: what the next coarser scale made of the same frame; None for the coarsest.
            usable: whether the past's newest frame may be warped.
            noise: (1, L, 3, Hs, Ws) on what the encoder sees of the past. What is warped stays clean: noise copied
                into the frame would teach the mask not to warp.
        """
        x = encoded.labels
        if self.past is not None and past is not None:
            x = x + self.past((past if noise is None else past + noise).flatten(1, 2))
        image, features = self.hallucination(x if coarser is None else x + coarser.features)
        region, foreground = encoded.region, encoded.foreground
        merged = image if region is None or foreground is None else foreground * region + image * (1 - region)
        if self.flow is None or past is None or not usable:
            return ScaleFrame(merged, merged, None, None, features, None)
        if coarser is not None and coarser.flow_features is not None:
            x = x + coarser.flow_features
        flow, mask, flow_features = self.flow(x)
        warped = warp(past[:, -1], flow)
        if region is None or foreground is None:
            composed = image * mask + warped * (1 - mask)  # eq. 4
        elif self.kind is ForegroundKind.override:
            composed = foreground * region + (image * mask + warped * (1 - mask)) * (1 - region)
        else:
            composed = merged * mask + warped * (1 - mask)  # eq. 9
        return ScaleFrame(composed, merged, flow, mask, features, flow_features)
