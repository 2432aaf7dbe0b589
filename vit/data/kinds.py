"""The choices that data offer: whose samples, how they are decoded, how a picture becomes the run's size. No torch."""

from __future__ import annotations

from enum import Enum


class DataKind(Enum):
    """Whose samples, and what follows from where they lie; they are opened by ``vit.data.opening``."""

    shapes = "shapes"
    digits = "digits"
    cifar10 = "cifar10"
    cifar100 = "cifar100"
    flowers102 = "flowers102"
    pets = "pets"
    food101 = "food101"
    imagefolder = "imagefolder"
    imagenet = "imagenet"
    webdataset = "webdataset"
    csv = "csv"
    hf = "hf"
    clips = "clips"
    moving_shapes = "moving_shapes"

    @property
    def built_in(self) -> bool:
        """Whether it needs no files."""
        return self in (DataKind.shapes, DataKind.digits, DataKind.moving_shapes)

    @property
    def in_memory(self) -> bool:
        """Whether its pictures come as arrays, so that there is no file to be decoded."""
        return self.built_in or self in (DataKind.cifar10, DataKind.cifar100)

    @property
    def moving(self) -> bool:
        """Whether its samples are clips."""
        return self in (DataKind.clips, DataKind.moving_shapes)

    @property
    def fetched(self) -> bool:
        """Whether ``data.download=true`` fetches it."""
        return self.value in ("cifar10", "cifar100", "flowers102", "pets", "food101")

    @property
    def far(self) -> bool:
        """Whether it is also read from addresses (s3://...)."""
        return self.value in ("imagefolder", "imagenet", "webdataset", "csv")

    @property
    def tables(self) -> bool:
        """Whether labels stand in columns, several of a picture too."""
        return self in (DataKind.csv, DataKind.hf)


class ShortClip(Enum):
    """What follows where a clip has fewer frames than are looked at."""

    repeat = "repeat"  # its last frame
    loop = "loop"  # the clip again


class ClipOrder(Enum):
    """In which order the frames of a clip are shown: what motion is worth."""

    ordered = "ordered"
    shuffled = "shuffled"
    still = "still"  # the middle one of them, as often


class Motion(Enum):
    """How a shape of ``data=moving_shapes`` moves."""

    left = "left"
    right = "right"
    up = "up"
    down = "down"
    up_left = "up_left"
    up_right = "up_right"
    down_left = "down_left"
    down_right = "down_right"
    grow = "grow"
    shrink = "shrink"
    clockwise = "clockwise"
    anticlockwise = "anticlockwise"

    @property
    def turns(self) -> bool:
        """Whether its sense is hidden from networks that have not seen many clips."""
        return self in (Motion.clockwise, Motion.anticlockwise)


class ClassOrder(Enum):
    natural = "natural"  # class2 before class10
    ascii = "ascii"  # by code points, class10 before class2: torchvision's ImageFolder, DeiT, MAE, older timm


class Decode(Enum):
    """Where training pictures are decoded; those that scores depend on always are on the CPU."""

    cpu = "cpu"
    gpu = "gpu"  # JPEGs on the card (nvJPEG), which also crops, resizes and mirrors


class ShapesTarget(Enum):
    shape = "shape"
    texture = "texture"


class CropKind(Enum):
    """How a training picture becomes the run's resolution."""

    inception = "inception"  # random area and aspect ratio
    resize = "resize"  # the whole picture, squeezed
    center = "center"  # as evaluated: nothing random
    pad = "pad"  # pad all around, crop at random (CIFAR)
    simple = "simple"  # short side to the resolution, reflect-pad by 4, crop at random (DeiT-III)


class Interpolation(Enum):
    bilinear = "bilinear"
    bicubic = "bicubic"
    random = "random"  # either, drawn per picture


class EvalCrop(Enum):
    center = "center"  # short side to resolution / crop_ratio, then the centre
    squash = "squash"  # the whole picture to the resolution
    squash_center = "squash_center"  # the whole picture to resolution / crop_ratio, then the centre (DeiT on the Hub)
    border = "border"  # long side to resolution / crop_ratio, then the centre, filled up by eval_fill
