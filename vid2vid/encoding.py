"""From stored samples to what the networks see, on the device: one-hot labels, instance edges, masks, images.

Loaders carry label maps as ids and pictures as bytes; everything that inflates them happens here, after the transfer.
Shapes: B clips, T frames, C channels, H x W pixels.
"""

from __future__ import annotations

import torch
from torch import Tensor

from trainer.config.schema import show
from trainer.data.labels.label_map import ignored_ids
from trainer.errors import ConfigError, DataError
from trainer.text import few
from vid2vid.config import DataConfig, ForegroundKind, ModelConfig
from vid2vid.data.sources.kinds import picture_channels, wants_labels

IDS = 1 << 16  # label ids have at most 16 bits, read as signed or unsigned
IGNORED, UNKNOWN = -1, -2


def images_to_float(images: Tensor) -> Tensor:
    """uint8 0..255 to float32 in [-1, 1], any shape."""
    return images.to(torch.float32).div_(127.5).sub_(1.0)


def float_to_images(images: Tensor) -> Tensor:
    """[-1, 1] to uint8 0..255, rounded to nearest, values outside clamped; any shape."""
    return images.detach().to(torch.float32).add(1.0).mul_(127.5).round_().clamp_(0, 255).to(torch.uint8)


def instance_edges(ids: Tensor) -> Tensor:
    """1 where a pixel's id differs from its left, right, upper or lower neighbour; both sides are marked.

    Args:
        ids: (..., H, W) of any integer type.

    Returns:
        (..., H, W) bool.
    """
    edges = torch.zeros_like(ids, dtype=torch.bool)
    across = ids[..., :, 1:] != ids[..., :, :-1]
    down = ids[..., 1:, :] != ids[..., :-1, :]
    edges[..., :, 1:] |= across
    edges[..., :, :-1] |= across
    edges[..., 1:, :] |= down
    edges[..., :-1, :] |= down
    return edges


def prepend_context(source: Tensor, frames: int) -> Tensor:
    """L = ``frames`` copies of the first frame before it, a sequence's context: (B, T, ...) -> (B, T+L, ...)."""
    return torch.cat([source[:, :1].expand(-1, frames, *source.shape[2:]), source], dim=1)


class SourceEncoder:
    """Encodes a batch's condition for the generator and the discriminators.

    Labels become one channel per class, in the order of ``model.label_ids`` (default 0..num_labels-1), then one channel
    of instance edges when ``model.instance_edges``. Where a data set has no instance ids, the edges are those of the
    label map itself. ``data.ignore_label`` (one id or several) belongs to no class: all its class channels are 0.
    Pictures (``data.sources``) follow, in the order of their list.

    Args:
        model: sizes and the choice of source.
        data: the ignore label.

    Attributes:
        channels: of one encoded frame.
        generator_channels: of one frame as the generator sees it: E's features follow the condition. Discriminators do
            not see these (as in pix2pixHD): what E saw of the real frame fits no other one, and would give it away.

    Raises:
        ConfigError: a foreground mask is asked for where the source has no labels.
    """

    def __init__(self, model: ModelConfig, data: DataConfig) -> None:
        self.model, self.data = model, data
        self.labels, self.pictures = wants_labels(model), picture_channels(model, data)
        if not self.labels and model.foreground is not ForegroundKind.off:
            raise ConfigError(
                f"model.foreground={model.foreground.value} needs label maps, but model.source=image has none; "
                "set model.foreground=off"
            )
        self.ids = list(model.label_ids) if model.label_ids is not None else list(range(model.num_labels))
        self.edges = self.labels and model.instance_edges
        self.classes = len(self.ids) + int(self.edges) if self.labels else 0
        self.channels = self.classes + self.pictures
        self.generator_channels = self.channels + model.style_channels
        self._tables: dict[torch.device, tuple[Tensor, Tensor]] = {}
        self._checked = False

    def encode(self, batch: dict[str, Tensor]) -> Tensor:
        """The condition as float32.

        Args:
            batch: ``labels`` (B, T, H, W) ids and optionally ``instances`` (B, T, H, W); or, for ``source=image``,
                ``source`` (B, T, C, H, W) uint8; for ``source=both`` all of them.

        Returns:
            (B, T, channels, H, W): 0 or 1 for labels and edges; [-1, 1] for images.

        Raises:
            DataError: the batch has not the kind of source that the model takes; or an id has no channel and is not the
                ignore label, which is looked for in every batch on a CPU, on other devices in the first only, where it
                costs one wait for the device.
        """
        for needed, wanted, other in (("labels", self.labels, "pictures"), ("source", self.pictures, "label maps")):
            if wanted and needed not in batch:
                raise DataError(f"the model has model.source={self.model.source.value}, but this source gives {other}")
        pictures = self._encode_pictures(batch["source"]) if self.pictures else None
        if not self.labels:
            assert pictures is not None
            return pictures
        labels = batch["labels"]
        channel = self._lookup(labels.device)[0][labels.long() & (IDS - 1)]
        if labels.device.type == "cpu" or not self._checked:
            self._check(labels, channel)
        encoded = torch.zeros(
            (*labels.shape[:2], self.channels, *labels.shape[2:]), dtype=torch.float32, device=labels.device
        )
        known = (channel >= 0).to(torch.float32)
        encoded.scatter_(2, channel.clamp(min=0).unsqueeze(2), known.unsqueeze(2))
        if self.edges:
            encoded[:, :, self.classes - 1] = instance_edges(batch.get("instances", labels))
        if pictures is not None:
            encoded[:, :, self.classes :] = pictures
        return encoded

    def class_channels(self, labels: Tensor) -> Tensor:
        """The channel of each pixel's class, negative for ids of no class; int64 in the shape of ``labels``."""
        return self._lookup(labels.device)[0][labels.long() & (IDS - 1)]

    def _encode_pictures(self, source: Tensor) -> Tensor:
        channels = source.shape[2]
        if channels == self.pictures:
            return images_to_float(source)
        if self.data.sources:
            raise DataError(
                f"the source has {channels} channels, but data.sources={show(self.data.sources)} have {self.pictures}"
            )
        raise DataError(
            f"the source has {channels} channels but model.source_channels={self.pictures}; "
            f"set model.source_channels={channels} or supply other pictures"
        )

    def foreground_mask(self, batch: dict[str, Tensor]) -> Tensor | None:
        """1 inside ``model.foreground_labels``: (B, T, 1, H, W) float32, or None when ``model.foreground=off``."""
        if self.model.foreground is ForegroundKind.off:
            return None
        labels = batch["labels"]
        return self._lookup(labels.device)[1][labels.long() & (IDS - 1)].unsqueeze(2)

    def _lookup(self, device: torch.device) -> tuple[Tensor, Tensor]:
        """Per 16-bit id: its channel (or IGNORED, UNKNOWN), and 1.0 where it is foreground."""
        if device not in self._tables:
            with torch.inference_mode(False):  # kept for training too, whoever asks first
                channel, foreground = self._build_tables()
                self._tables[device] = (channel.to(device), foreground.to(device))
        return self._tables[device]

    def _build_tables(self) -> tuple[Tensor, Tensor]:
        channel = torch.full((IDS,), UNKNOWN, dtype=torch.int64)
        foreground = torch.zeros(IDS)
        for position, label in enumerate(self.ids):
            channel[label & (IDS - 1)] = position
        for label in self.model.foreground_labels:
            foreground[label & (IDS - 1)] = 1.0
        for label in ignored_ids(self.data.ignore_label):
            channel[label & (IDS - 1)] = IGNORED
            foreground[label & (IDS - 1)] = 0.0
        return channel, foreground

    def _check(self, labels: Tensor, channel: Tensor) -> None:
        self._checked = True
        unknown = channel == UNKNOWN
        if not bool(unknown.any()):
            return
        found = few(labels[unknown].unique().tolist(), 10)
        if self.model.label_ids is not None:
            raise DataError(
                f"label ids {found} are in the data but not in model.label_ids={self.ids}; add them there, "
                "or change them (data.label_map), or add them to data.ignore_label"
            )
        raise DataError(
            f"label ids {found} are in the data, but model.num_labels={self.model.num_labels} allows "
            f"0..{self.model.num_labels - 1} (and data.ignore_label={show(self.data.ignore_label)}); "
            "raise model.num_labels"
        )
