"""vid2vid's networks (section 3, appendix A of the paper): sequential generator, discriminators, warp.

Letters in all of them: B clips, T frames, L past frames, K frames of a window of D_V, C source channels, H x W pixels.
"""

from vid2vid.model.blocks import pyramid
from vid2vid.model.discriminators import MultiscaleDiscriminator, VideoDiscriminators
from vid2vid.model.generator import Generator, GeneratorOutput
from vid2vid.model.style_encoder import StyleEncoder
from vid2vid.model.warp import warp

__all__ = [
    "Generator",
    "GeneratorOutput",
    "MultiscaleDiscriminator",
    "StyleEncoder",
    "VideoDiscriminators",
    "pyramid",
    "warp",
]
