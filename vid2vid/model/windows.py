"""Windows of K frames for the video discriminators (eq. 7), at spacings 1, K, K^2...: the temporal scales.

Shapes: B clips of N frames in a buffer, K frames of a window, s a temporal scale, whose spacing is K^s, H x W pixels.
"""

from __future__ import annotations

from collections.abc import Callable
from dataclasses import dataclass
from itertools import pairwise

import torch
from torch import Tensor

from vid2vid.model.diff_augment import DiffAugment

FLOW_SCALE = 20.0  # flows are divided by this before a discriminator sees them

LongFlow = Callable[[int, int], Tensor]
"""``long_flow(current, previous)``: flow (B, 2, H, W) in pixels from one frame of the buffer to an earlier one."""


@dataclass
class TemporalWindows:
    """The windows of one temporal scale, those of one place in all B clips together, newest first; M of them.

    Attributes:
        real, fake: (M, K, 3, H, W) frames, oldest first.
        flow: (M, K-1, 2, H, W) flow in pixels of the real frames: entry i from frame i+1 back to frame i; None: D_V
            sees none.
        made_flow: likewise, of the generated frames; None: that of the real ones is seen beside both.
    """

    real: Tensor
    fake: Tensor
    flow: Tensor | None
    made_flow: Tensor | None = None

    def augmented(self, augment: DiffAugment) -> TemporalWindows:
        """The same windows as D_V sees them: frames and flow moved and cut alike."""
        flow, made = (None if x is None else augment.maps(x) for x in (self.flow, self.made_flow))
        return TemporalWindows(augment.frames(self.real), augment.frames(self.fake), flow, made)

    def real_input(self) -> Tensor:
        """(M, 3K + 2(K-1), H, W): the real frames and the flows divided by 20, as D_V takes them; 3K without flow."""
        return self._input(self.real, self.flow)

    def fake_input(self) -> Tensor:
        """The same of the generated frames, with the same flows or their own."""
        return self._input(self.fake, self.flow if self.made_flow is None else self.made_flow)

    def _input(self, frames: Tensor, flow: Tensor | None) -> Tensor:
        if flow is None:
            return frames.flatten(1, 2)
        return torch.cat((frames.flatten(1, 2), (flow / FLOW_SCALE).flatten(1, 2).to(frames.dtype)), dim=1)


def window_frames(frames: int, scale: int) -> int:
    """How many frames a window of ``frames`` frames at temporal scale ``scale`` spans, both ends included."""
    return frames**scale * (frames - 1) + 1


def buffer_frames(frames: int, scales: int) -> int:
    """How many past frames must be kept so that the next new frame completes a window at every scale."""
    return window_frames(frames, scales - 1) - 1


def window_phases(clip: int, new: int, frames: int, scale: int) -> int:
    """How many phases there are; each of them gives a clip at least one window if there is room for one at all.

    Over all of them every neighbouring pair (at this scale's spacing) is in a window, also where segments meet, and
    every frame is the newest one of a window: the paper draws windows uniformly (eq. 7).

    Args:
        clip: frames of the whole clip, context included.
        new: frames of a segment.
        frames, scale: K and s.
    """
    return max(1, min(frames, new, clip - window_frames(frames, scale) + 1))


def temporal_windows(
    real: Tensor,
    fake: Tensor,
    flow: Tensor | None,
    new: int,
    frames: int,
    scale: int,
    long_flow: LongFlow | None = None,
    phase: int = 0,
    made_flow: Tensor | None = None,
    long_made_flow: LongFlow | None = None,
) -> TemporalWindows | None:
    """Builds one temporal scale's windows from buffers of past and new frames.

    Going back from the newest frame, or from the one ``phase`` frames before it, a window ends at every K-th frame as
    long as it fits into the buffer, at most as far back as the new frames reach.

    Args:
        real, fake: (B, N, 3, H, W), oldest first; the caller detaches past generated frames.
        flow: (B, N, 2, H, W): entry i is the reference flow in pixels from real frame i to real frame i-1; None: the
            windows have none.
        new: how many frames at the end are new.
        frames: K.
        scale: temporal scale s; frames of a window are K**s apart.
        long_flow: flow between frames that are further apart than one; needed where s >= 1.
        phase: 0 as in the released code, where no window crosses from one segment of K frames into the next.
        made_flow, long_made_flow: as ``flow`` and ``long_flow``, of the generated frames; None: they have no own.

    Returns:
        The windows, or None where the buffer is too short for one.

    Raises:
        ValueError: when ``long_flow`` is missing.
    """
    spacing = frames**scale
    span = spacing * (frames - 1)
    last = real.shape[1] - 1
    ends = range(last - phase, last - min(real.shape[1] - span, new), -frames)
    if len(ends) == 0:
        return None
    if spacing > 1 and ((flow is not None and long_flow is None) or (made_flow is not None and long_made_flow is None)):
        raise ValueError(f"temporal scale {scale} needs flow over {spacing} frames, but no long_flow was given")
    windows = [list(range(end - span, end + 1, spacing)) for end in ends]

    def between(of: Tensor | None, over: LongFlow | None) -> Tensor | None:
        if of is None:
            return None
        pairs = [
            torch.stack([of[:, b] if b - a == 1 or over is None else over(b, a) for a, b in pairwise(w)], dim=1)
            for w in windows
        ]
        return torch.cat(pairs)

    return TemporalWindows(
        real=torch.cat([_frames(real, w) for w in windows]),
        fake=torch.cat([_frames(fake, w) for w in windows]),
        flow=between(flow, long_flow),
        made_flow=between(made_flow, long_made_flow),
    )


def _frames(clip: Tensor, numbers: list[int]) -> Tensor:
    """Frames of (B, N, ...) by their numbers, (B, K, ...). A list as an index would wait for the device."""
    return torch.stack([clip[:, number] for number in numbers], dim=1)
