"""The recipes for classifiers, composed once, and how many pictures their data have."""

from functools import cache
from typing import Any

from train import SCHEMAS
from trainer.cli import CONFIGS, compose
from trainer.config.help import group_options

DEMOS = {
    "digits",
    "mae_shapes",
    "shape_teacher",
    "shape_token",
    "shapes",
    "shapes_to_digits",
    "stylizer",
    "moving_shapes",
    "segment_street",
}
RECIPES = [name.removeprefix("vit/") for name in group_options(CONFIGS, "experiment") if name.startswith("vit/")]
OTHER_TASKS = {"mae_b16", "mae_shapes", "segment_street", "stylizer"}  # beside classifiers
SIZES = {  # training and validation pictures
    "imagenet": (1_281_167, 50_000),
    "imagefolder": (14_146_000, 51_200),
    "cifar10": (50_000, 10_000),
    "cifar100": (50_000, 10_000),
    "pets": (3_680, 3_669),
    "flowers102": (1_020, 6_149),
    "digits": (1_347, 450),
    "shapes": (20_000, 2_000),
    "moving_shapes": (100_000, 2_000),
}


@cache
def composed(name: str) -> Any:
    return compose([f"experiment=vit/{name}"], SCHEMAS)
