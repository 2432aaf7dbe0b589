"""Encoder and decoders out of a configuration, ready to train."""

from __future__ import annotations

from dataclasses import dataclass

from trainer.errors import ConfigError
from vit.build import resolutions, statistics
from vit.model.architecture import architecture
from vit.segmentation.config import SegmentationConfig
from vit.segmentation.decoders import Decoders, read_blocks
from vit.segmentation.encoder import Encoder
from vit.weights.load import LoadReport, load_pretrained

CHANNELS = 3


@dataclass
class Built:
    """A network, ready to train.

    Attributes:
        encoder, decoders: in training mode, on the CPU.
        report: of loading ``model.weights``; None where nothing was loaded.
        mean, std: input normalisation per channel, on a scale of 0..1: ``data.mean``, else of the weights, else 0.5.
    """

    encoder: Encoder
    decoders: Decoders
    report: LoadReport | None
    mean: list[float]
    std: list[float]


def build_network(config: SegmentationConfig, classes: int) -> Built:
    """The network of a run, with ``model.weights`` in its encoder.

    Initial weights are drawn from torch's global generator.

    Args:
        classes: K.

    Raises:
        ConfigError, CheckpointError: it cannot be built, or the weights do not fit.
    """
    model, sizes = config.model, resolutions(config)
    arch = architecture(model, 0, CHANNELS, sizes[-1], sizes[0])
    wrong = [block for block in model.auxiliary if not 1 <= block <= arch.depth]
    if wrong:
        raise ConfigError(
            f"model.auxiliary={model.auxiliary}: the network has blocks 1 to {arch.depth}, there is no {wrong[0]}"
        )
    blocks = [*read_blocks(model.decoder, arch.depth), *(block - 1 for block in model.auxiliary)]
    encoder = Encoder(arch, blocks, model.frozen)
    report = None if model.weights is None else load_pretrained(encoder, model)
    decoders = Decoders(
        model.decoder, arch.width, model.decoder_width, classes, arch.patch, len(model.auxiliary), arch.fit
    )
    mean = statistics(config.data.mean, report and report.mean, None, CHANNELS, "mean")
    std = statistics(config.data.std, report and report.std, None, CHANNELS, "std")
    return Built(encoder, decoders, report, mean, std)
