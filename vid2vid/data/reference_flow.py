"""Reference flow of the clips of a data set: estimated and cached, estimated anew, or read from files.

Cached flow is that of the whole frames at the size that covers the resolution, so one entry serves every crop, scale
and flip; the crop is applied after reading, and scales the vectors. Without a cache the flow is estimated on the
cropped frames themselves.
"""

from __future__ import annotations

from collections.abc import Iterable, Iterator, Sequence
from pathlib import Path

import torch
from torch import Tensor

from trainer.errors import ConfigError, DataError
from vid2vid.config import DataConfig, FlowMethod
from vid2vid.data.augment import Crop, whole_frame
from vid2vid.data.frames import RawFrame
from vid2vid.flow.cache import FlowCache, flow_settings
from vid2vid.flow.estimate import ESTIMATORS, FLOW_EXTENSIONS, estimate_clip, estimate_pair, read_flow


class ReferenceFlow:
    """Where the clips of a data set get their reference flow from.

    Args:
        data: `flow`, `flow_weights`, `flow_dir`, `flow_cache`.
        resolution: (H, W) of the samples.
        device: where RAFT runs; worker processes cannot use a GPU, see `scripts/check_data.py flow=true`.
    Raises:
        ConfigError: a method that this data cannot have.
    """

    def __init__(self, data: DataConfig, resolution: tuple[int, int], device: torch.device | str = "cpu") -> None:
        if data.flow is FlowMethod.exact:
            raise ConfigError(
                f"data.flow=exact is known for data=street only, not for {data.kind.value}; use data.flow=dis"
            )
        if data.flow is FlowMethod.precomputed and not data.flow_dir:
            raise ConfigError("data.flow=precomputed needs data.flow_dir, the folder with one file per frame")
        if data.flow is FlowMethod.precomputed and data.frame_step != 1:
            raise ConfigError(
                f"data.flow=precomputed is between neighbouring frames, data.frame_step={data.frame_step} skips "
                "some; set data.frame_step=1 or data.flow=dis"
            )
        self.data, self.resolution, self.device = data, resolution, device
        self._caches: dict[tuple[int, int], FlowCache] = {}

    @property
    def is_cached(self) -> bool:
        """Whether flow is estimated and kept."""
        return self.data.flow in ESTIMATORS and self.data.flow_cache is not None

    def cache(self, size: tuple[int, int]) -> FlowCache:
        """The cache of flow of frames of (H, W) pixels."""
        if size not in self._caches:
            self._caches[size] = FlowCache(str(self.data.flow_cache), flow_settings(self.data, size))
        return self._caches[size]

    def fill(self, frames: Iterable[RawFrame], both: bool = False) -> Iterator[None]:
        """Put the flow of neighbouring frames into the cache; one pair for each item that is taken.

        Args:
            frames: in the order of time.
            both: that of each frame to the one after it, too.
        """
        clip, before = ClipFlow(self), None
        for frame in frames:
            clip.add(frame)
            if before is not None:
                clip.pairs.clear()
                yield
            if before is not None and both:
                clip.add(before)
                clip.add(frame)  # in the cache already: from here it goes on
                clip.pairs.clear()
                yield
            before = frame

    def clip(self) -> ClipFlow | None:
        """A new clip's flow; None when data.flow=none."""
        return None if self.data.flow is FlowMethod.none else ClipFlow(self)


class ClipFlow:
    """Takes the frames of one clip in order, then gives their flow."""

    def __init__(self, owner: ReferenceFlow) -> None:
        self.owner, self.data = owner, owner.data
        self._previous: RawFrame | None = None
        self._bases: dict[str, Tensor] = {}  # whole frames at covering size, of the last pair only
        self.pairs: list[tuple[Tensor, Tensor]] = []

    def add(self, frame: RawFrame) -> None:
        """The next frame of the clip, uncropped."""
        previous, self._previous = self._previous, frame
        if previous is None:
            return
        if self.data.flow is FlowMethod.precomputed:
            self.pairs.append(read_flow(_flow_file(frame.flow_base)))
        elif self.owner.is_cached:
            self.pairs.append(self._cached(frame, previous))

    def turn(self, frames: Sequence[RawFrame]) -> None:
        """The last frames of the clip once more, backwards.

        Nothing moves where it turns. On the way back flow is that from each frame to the one that came after it, which
        is estimated as the other is; flow files have one direction, so there confidence is 0.

        Args:
            frames: in their own order; two at least.
        """
        if not self.pairs:
            return  # flow is estimated on the cropped frames, of which the whole clip is given
        flow, confidence = self.pairs[-1]
        self.pairs.append((torch.zeros_like(flow), torch.ones_like(confidence)))
        for frame in reversed(frames[:-1]):
            if self.data.flow is FlowMethod.precomputed:
                self.pairs.append((torch.zeros_like(flow), torch.zeros_like(confidence)))
            else:
                self.add(frame)

    def finish(self, images: Tensor, crop: Crop) -> tuple[Tensor, Tensor]:
        """Flow float16 (T, 2, H, W) in pixels of the sample, confidence uint8 (T, 1, H, W); entry 0 zeros.

        Args:
            images: the cropped frames, uint8 (T, 3, H, W).
            crop: what they were cropped by.
        """
        if not self.pairs:
            return estimate_clip(
                images, self.data.flow, self.data.flow_weights, self.owner.device
            )  # of one frame this is zeros whatever the method
        sizes = {tuple(flow.shape[-2:]) for flow, _ in self.pairs}
        if len(sizes) > 1:
            raise DataError(f"the flow files of one clip differ in size (H, W): {sorted(sizes)}")
        flow = torch.stack([flow.float() for flow, _ in self.pairs])
        confidence = torch.stack([confidence for _, confidence in self.pairs])
        flow, confidence = crop.flow(flow, confidence)
        flow = torch.cat([torch.zeros_like(flow[:1]), flow]).to(torch.float16)
        return flow, torch.cat([torch.zeros_like(confidence[:1]), confidence])

    def _cached(self, frame: RawFrame, previous: RawFrame) -> tuple[Tensor, Tensor]:
        size = whole_frame(frame.size, self.owner.resolution).size

        def compute() -> tuple[Tensor, Tensor]:
            current, before = self._base(frame), self._base(previous)
            self._bases = {frame.key: current}
            return estimate_pair(current, before, self.data.flow, self.data.flow_weights, self.owner.device)

        return self.owner.cache(size).get(frame.key, previous.key, size, compute)

    def _base(self, frame: RawFrame) -> Tensor:
        if frame.key not in self._bases:
            self._bases[frame.key] = whole_frame(frame.size, self.owner.resolution).image(frame.pixels())
        return self._bases[frame.key]


def _flow_file(base: Path | None) -> Path:
    """The file `base` + .flo, .png or .npz."""
    if base is None:
        raise DataError("data.flow=precomputed: this data has no place for flow files; use data.flow=dis")
    for extension in FLOW_EXTENSIONS:
        path = base.with_name(base.name + extension)
        if path.is_file():
            return path
    raise DataError(
        f"{base}{{{','.join(FLOW_EXTENSIONS)}}}: no flow file for this frame. Each frame but the first of its "
        "sequence needs one in data.flow_dir: backward flow, to the previous frame."
    )
