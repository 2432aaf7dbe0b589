"""RandAugment and its relatives: which operation at which strength, drawn from a NumPy generator.

A policy draws operations from a table; a table gives each operation's argument for a magnitude. The tables:

======================  ==================  =====================  ===================  =============================
operation               randaugment (0..30) bv_randaugment (0..10) rand, inc1 (0..10)   rand, inc0 (0..10)
======================  ==================  =====================  ===================  =============================
f                       m / 30              m / 10                 m / 10               m / 10
shear_x, shear_y        +-0.3 f             +-0.3 f                +-0.3 f              +-0.3 f
translate_x, _y         +-150/331 f side    +-100/224 f side       +-0.45 f side        +-0.45 f side
rotate (degrees)        +-30 f              +-30 f                 +-30 f               +-30 f
brightness, contrast,   1 +- 0.9 f          0.1 + 1.8 f            1 +- 0.9 f           0.1 + 1.8 f
saturation, sharpness
posterize (bits kept)   8 - round(4 f)      int(4 f)               4 - int(4 f)         int(4 f)
solarize (threshold)    255 (1 - f)         int(256 f)             256 - int(256 f)     int(256 f)
solarize_add            -                   int(110 f)             int(110 f)           int(110 f)
cutout (half side)      -                   int(40/224 f side)     -                    -
invert                  -                   yes                    yes                  yes
autocontrast, equalize  yes                 yes                    yes                  yes
identity                yes                 -                      -                    -
fill, interpolation     black, as set       grey 128, nearest      grey 128, as set     grey 128, as set
======================  ==================  =====================  ===================  =============================

+- is a fair coin. Sources: Cubuk et al., RandAugment, 2019 (arXiv:1909.13719); torchvision's RandAugment (31 bins);
big_vision's randaug, whose colour operations go one way only and whose severity of posterize and solarize falls with
the magnitude (at 0 they give a black and an inverted picture); timm's rand-m9-... strings. `autoaugment` is the
ImageNet policy of Cubuk et al., 2018 (arXiv:1805.09501, table 9) with torchvision's strengths (10 bins, f = level / 9);
`three` is DeiT-III's (Touvron et al., 2022, arXiv:2204.07118): grey, solarize at 128, or blur with sigma 0.1..2.

Departures: big_vision shifts by 100 f and cuts out 40 f pixels whatever the size (equal here at 224 px; smaller
pictures would vanish) and its contrast turns about the number of pixels / 256 instead of the mean (its issue 109);
timm fills with the data's mean colour where it knows it.
"""

from __future__ import annotations

from collections.abc import Callable

import numpy as np

from vit.config import Interpolation
from vit.data.augment import pixels
from vit.data.augment.pixels import Picture
from vit.data.augment.policy_names import Policy

Table = Callable[[str, float, tuple[int, int]], tuple[float, bool]]

_GEOMETRY = ("rotate", "shear_x", "shear_y", "translate_x", "translate_y")
_FACTORS = ("brightness", "saturation", "contrast", "sharpness")
_PLAIN = ("autocontrast", "equalize")

RANDAUGMENT = ("identity", *_PLAIN, *_GEOMETRY, *_FACTORS, "posterize", "solarize")
RAND = (*_PLAIN, "invert", *_GEOMETRY, *_FACTORS, "posterize", "solarize", "solarize_add")
BV_RANDAUGMENT = (*RAND, "cutout")

# (operation, probability, level 0..9) twice; the level of operations without strength is not read
AUTOAUGMENT = (
    (("posterize", 0.4, 8), ("rotate", 0.6, 9)),
    (("solarize", 0.6, 5), ("autocontrast", 0.6, 5)),
    (("equalize", 0.8, 8), ("equalize", 0.6, 3)),
    (("posterize", 0.6, 7), ("posterize", 0.6, 6)),
    (("equalize", 0.4, 7), ("solarize", 0.2, 4)),
    (("equalize", 0.4, 4), ("rotate", 0.8, 8)),
    (("solarize", 0.6, 3), ("equalize", 0.6, 7)),
    (("posterize", 0.8, 5), ("equalize", 1.0, 2)),
    (("rotate", 0.2, 3), ("solarize", 0.6, 8)),
    (("equalize", 0.6, 8), ("posterize", 0.4, 6)),
    (("rotate", 0.8, 8), ("saturation", 0.4, 0)),
    (("rotate", 0.4, 9), ("equalize", 0.6, 2)),
    (("equalize", 0.0, 7), ("equalize", 0.8, 8)),
    (("invert", 0.6, 4), ("equalize", 1.0, 8)),
    (("saturation", 0.6, 4), ("contrast", 1.0, 8)),
    (("rotate", 0.8, 8), ("saturation", 1.0, 2)),
    (("saturation", 0.8, 8), ("solarize", 0.8, 7)),
    (("sharpness", 0.4, 7), ("invert", 0.6, 8)),
    (("shear_x", 0.6, 5), ("equalize", 1.0, 9)),
    (("saturation", 0.4, 0), ("equalize", 0.6, 3)),
    (("equalize", 0.4, 7), ("solarize", 0.2, 4)),
    (("solarize", 0.6, 5), ("autocontrast", 0.6, 5)),
    (("invert", 0.6, 4), ("equalize", 1.0, 8)),
    (("saturation", 0.6, 4), ("contrast", 1.0, 8)),
    (("equalize", 0.8, 8), ("equalize", 0.6, 3)),
)


def _geometry(name: str, fraction: float, shift: float, size: tuple[int, int]) -> float | None:
    side = {"translate_x": size[1], "translate_y": size[0]}
    if name in side:
        return shift * fraction * side[name]
    return {"rotate": 30.0, "shear_x": 0.3, "shear_y": 0.3}[name] * fraction if name in _GEOMETRY else None


def torchvision_argument(name: str, fraction: float, size: tuple[int, int]) -> tuple[float, bool]:
    """Argument of an operation at a fraction 0..1 of the full strength, and whether its sign is a coin's.

    The argument of brightness, contrast, saturation and sharpness is the factor less 1.

    Args:
        size: (height, width) of the picture in pixels.
    """
    geometry = _geometry(name, fraction, 150 / 331, size)
    if geometry is not None:  # shifts are whole pixels
        return (float(int(geometry)) if name.startswith("translate") else geometry), True
    if name in _FACTORS:
        return 0.9 * fraction, True
    return {"posterize": 8.0 - round(4 * fraction), "solarize": 255 * (1 - fraction)}.get(name, 0.0), False


def big_vision_argument(name: str, fraction: float, size: tuple[int, int]) -> tuple[float, bool]:
    """As `torchvision_argument`; the fraction may exceed 1."""
    geometry = _geometry(name, fraction, 100 / 224, size)
    if geometry is not None:
        return geometry, True
    if name in _FACTORS:
        return 1.8 * fraction - 0.9, False
    falling = {"posterize": min(8, int(4 * fraction)), "solarize": int(256 * fraction)}
    rising = {"solarize_add": int(110 * fraction), "cutout": int(40 / 224 * min(size) * fraction)}
    return float((falling | rising).get(name, 0)), False


def timm_argument(name: str, fraction: float, size: tuple[int, int]) -> tuple[float, bool]:
    """As `torchvision_argument`, for timm's `inc0` operations; the fraction may exceed 1."""
    geometry = _geometry(name, fraction, 0.45, size)
    if geometry is not None:
        return geometry, True
    if name in _FACTORS:
        return 1.8 * fraction - 0.9, False
    rest = {
        "posterize": min(8, int(4 * fraction)),
        "solarize": min(256, int(256 * fraction)),
        "solarize_add": min(128, int(110 * fraction)),
    }
    return float(rest.get(name, 0)), False


def timm_increasing_argument(name: str, fraction: float, size: tuple[int, int]) -> tuple[float, bool]:
    """As `timm_argument`, for `inc1`: severity rises with the fraction for every operation."""
    if name in _FACTORS:
        return 0.9 * fraction, True
    argument, signed = timm_argument(name, fraction, size)
    if name == "posterize":
        argument = max(0.0, 4 - argument)
    elif name == "solarize":
        argument = 256 - argument
    return argument, signed


def apply(
    picture: Picture, name: str, argument: float, rng: np.random.Generator, *, fill: int, interpolation: int
) -> Picture:
    """Apply one operation of the tables; `rng` places the cutout and serves nothing else.

    Args:
        picture: uint8 (H, W, C).
        argument: as the tables' functions give it, sign included.
    """
    match name:
        case "identity":
            return picture
        case "translate_x":
            return pixels.translate(picture, argument, 0, fill, interpolation)
        case "translate_y":
            return pixels.translate(picture, 0, argument, fill, interpolation)
        case "shear_x" | "shear_y" | "rotate":
            return getattr(pixels, name)(picture, argument, fill, interpolation)
        case "brightness" | "contrast" | "saturation" | "sharpness":
            return getattr(pixels, name)(picture, max(0.1, 1 + argument))
        case "posterize" | "solarize_add":
            return getattr(pixels, name)(picture, int(argument))
        case "solarize":
            return pixels.solarize(picture, argument)
        case "cutout":
            row, column = (int(rng.integers(side)) for side in picture.shape[:2])
            return pixels.cutout(picture, row, column, int(argument), fill)
        case "autocontrast" | "equalize" | "invert":
            return getattr(pixels, name)(picture)
        case _:
            raise ValueError(f"no operation is called {name}")


class Augmenter:
    """A policy, ready for pictures: ``augmenter(picture, rng)``, uint8 (H, W, C) in and out.

    Args:
        interpolation: of shears, shifts and rotations; `random` draws it per operation. Not read by bv_randaugment.
    """

    def __init__(self, policy: Policy, interpolation: Interpolation) -> None:
        self.policy = policy
        self._interpolation = {
            Interpolation.bilinear: (pixels.BILINEAR,),
            Interpolation.bicubic: (pixels.BICUBIC,),
            Interpolation.random: (pixels.BILINEAR, pixels.BICUBIC),
        }[interpolation]
        if policy.kind == "bv_randaugment":
            self._interpolation = (pixels.NEAREST,)
        self._fill = 0 if policy.kind in ("randaugment", "autoaugment") else 128

    def __call__(self, picture: Picture, rng: np.random.Generator) -> Picture:
        policy = self.policy
        match policy.kind:
            case "three":
                return _three(picture, rng)
            case "autoaugment":
                for name, probability, level in AUTOAUGMENT[int(rng.integers(len(AUTOAUGMENT)))]:
                    if rng.random() < probability:
                        picture = self._one(picture, name, level / 9, torchvision_argument, rng)
            case "randaugment":
                for index in rng.integers(len(RANDAUGMENT), size=policy.ops):
                    fraction = policy.magnitude / 30
                    picture = self._one(picture, RANDAUGMENT[index], fraction, torchvision_argument, rng)
            case "bv_randaugment":
                for index in rng.integers(len(BV_RANDAUGMENT), size=policy.ops):
                    fraction = policy.magnitude / 10
                    picture = self._one(picture, BV_RANDAUGMENT[index], fraction, big_vision_argument, rng)
            case "rand":
                table = timm_increasing_argument if policy.increasing else timm_argument
                for index in rng.integers(len(RAND), size=policy.ops):
                    if rng.random() < policy.probability:
                        picture = self._one(picture, RAND[index], self._magnitude(rng) / 10, table, rng)
            case _:
                raise ValueError(f"no policy is called {policy.kind}")
        return picture

    def _magnitude(self, rng: np.random.Generator) -> float:
        policy = self.policy
        if policy.std == float("inf"):
            return rng.uniform(0, policy.magnitude)
        noisy = rng.normal(policy.magnitude, policy.std) if policy.std > 0 else policy.magnitude
        return min(max(noisy, 0.0), policy.limit)

    def _one(self, picture: Picture, name: str, fraction: float, table: Table, rng: np.random.Generator) -> Picture:
        argument, signed = table(name, fraction, (picture.shape[0], picture.shape[1]))
        if signed and rng.random() < 0.5:
            argument = -argument
        choices = self._interpolation
        interpolation = choices[0] if len(choices) == 1 or name not in _GEOMETRY else choices[int(rng.integers(2))]
        return apply(picture, name, argument, rng, fill=self._fill, interpolation=interpolation)


def _three(picture: Picture, rng: np.random.Generator) -> Picture:
    match int(rng.integers(3)):
        case 0:
            return pixels.greyscale(picture)
        case 1:
            return pixels.solarize(picture, 128)
        case _:
            return pixels.gaussian_blur(picture, rng.uniform(0.1, 2.0))


def color_jitter(picture: Picture, strength: float, rng: np.random.Generator) -> Picture:
    """Brightness, contrast and saturation in random order, each by a factor uniform in 1 +- strength (at least 0)."""
    factors = rng.uniform(max(0.0, 1 - strength), 1 + strength, size=3)
    return pixels.color_jitter(picture, factors.tolist(), rng.permutation(3).tolist())
