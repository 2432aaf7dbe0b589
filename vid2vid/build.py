"""Networks out of a configuration: the generator, its discriminators, and what the perceptual loss compares by."""

from __future__ import annotations

from dataclasses import dataclass

from torch import nn

from trainer.schedule.stage_table import stage_size
from vid2vid.config import ImageDiscriminator, PerceptualKind, Vid2VidConfig, image_discriminator
from vid2vid.encoding import SourceEncoder
from vid2vid.losses.backbone import Backbone, RunReader, build_backbone
from vid2vid.losses.distillation import Projections
from vid2vid.losses.perceptual import Perceptual, build_perceptual
from vid2vid.model import Generator, MultiscaleDiscriminator, StyleEncoder, VideoDiscriminators
from vid2vid.model.regions import RegionDiscriminators
from vid2vid.model.segmenting import SegmentingDiscriminator, halvings
from vid2vid.teacher import Teacher, build_teacher
from vid2vid.validate.untrained_parts import stages_of


@dataclass
class Networks:
    """The networks of a run.

    Attributes:
        encoder: makes the networks' input of label maps or pictures; it has no weights.
        generator: F of eq. 3.
        style: E, which encodes how things look; None with model.style_channels=0.
        d_image, d_video: D_I and D_V of eqs. 6 and 7; None where the model has none.
        d_region: of faces and hands; None where no regions are wanted.
        teacher: what the generator learns from, frozen; None without model.teacher.
        projections: from the generator's features to the teacher's; None where they are not followed.
        perceptual: VGG-19 or another backbone, frozen; None where no perceptual loss is wanted, or it has no weights.
    """

    encoder: SourceEncoder
    generator: Generator
    d_image: MultiscaleDiscriminator | SegmentingDiscriminator | None
    d_video: VideoDiscriminators | None
    d_region: RegionDiscriminators | None
    perceptual: Perceptual | Backbone | None
    style: StyleEncoder | None = None
    teacher: Teacher | None = None
    projections: Projections | None = None

    def trained(self) -> dict[str, nn.Module]:
        """By the names that their weights begin with."""
        nets = {
            "generator": self.generator,
            "style": self.style,
            "d_image": self.d_image,
            "d_video": self.d_video,
            "d_region": self.d_region,
            "projections": self.projections,
        }
        return {name: net for name, net in nets.items() if net is not None}


def build_networks(config: Vid2VidConfig, run: RunReader | None = None) -> Networks:
    """Networks with freshly drawn weights, from torch's global random stream.

    Args:
        run: reads a run of a classifier, for ``model.loss_perceptual=dino``.

    Raises:
        ConfigError: for a model that cannot be built.
        CheckpointError: for ``model.perceptual_weights`` that are missing or do not fit.
    """
    model = config.model
    encoder = SourceEncoder(model, config.data)
    generator = Generator(model, encoder.generator_channels)
    sizes = (model.ndf, model.discriminator_scales, model.discriminator_layers, model.norm)
    d_image: MultiscaleDiscriminator | SegmentingDiscriminator | None = None
    if image_discriminator(model) is ImageDiscriminator.segmenting:
        d_image = SegmentingDiscriminator(len(encoder.ids), model.ndf, halvings(model), model.norm)
    elif image_discriminator(model) is ImageDiscriminator.patch:
        d_image = MultiscaleDiscriminator(encoder.channels + 3, *sizes)
    d_video: VideoDiscriminators | None = None
    if model.video_discriminator:
        frames = model.video_discriminator_frames
        d_video = VideoDiscriminators(
            frames, *sizes, temporal_scales=model.temporal_scales, sees=model.video_discriminator_input
        )
    perceptual = _perceptual(config, run)
    style = StyleEncoder(model) if model.style_channels else None
    d_region = RegionDiscriminators(model) if model.regions else None
    teacher, projections = build_teacher(config), None
    if teacher is not None and model.lambda_teacher_features > 0:
        projections = Projections(model.ngf // 2 ** (model.scales - 1), teacher.width, model.flow)
    return Networks(encoder, generator, d_image, d_video, d_region, perceptual, style, teacher, projections)


def _perceptual(config: Vid2VidConfig, run: RunReader | None) -> Perceptual | Backbone | None:
    model = config.model
    if model.lambda_perceptual == 0 or model.loss_perceptual is PerceptualKind.none:
        return None
    if model.loss_perceptual is PerceptualKind.vgg:
        return build_perceptual(model.perceptual_weights)
    backbone = build_backbone(model, run)
    for stage in stages_of(config).values():
        backbone.check(*stage_size(config, stage))
    return backbone
