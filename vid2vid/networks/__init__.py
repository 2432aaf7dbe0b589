"""vid2vid's networks: the sequential generator, the image and video discriminators, the warp."""

from vid2vid.networks.blocks import pyramid
from vid2vid.networks.discriminators import MultiscaleDiscriminator, VideoDiscriminators
from vid2vid.networks.generator import Generator, GeneratorOutput
from vid2vid.networks.warp import warp

__all__ = ["Generator", "GeneratorOutput", "MultiscaleDiscriminator", "VideoDiscriminators", "pyramid", "warp"]
