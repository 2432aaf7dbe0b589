"""vid2vid's networks: the sequential generator, the image and video discriminators, the warp."""

from vid2vid.model.blocks import pyramid
from vid2vid.model.discriminators import MultiscaleDiscriminator, VideoDiscriminators
from vid2vid.model.generator import Generator, GeneratorOutput
from vid2vid.model.warp import warp

__all__ = ["Generator", "GeneratorOutput", "MultiscaleDiscriminator", "VideoDiscriminators", "pyramid", "warp"]
