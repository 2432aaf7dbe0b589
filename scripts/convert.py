"""Convert weights between formats, and check what was written by reading it back.

python scripts/convert.py src=B_16.npz dst=b16 format=timm                              # any ViT that is known
python scripts/convert.py src=runs/digits dst=digits.npz format=npz
python scripts/convert.py src=timm:vit_small_patch16_224.augreg_in21k dst=s16.safetensors format=safetensors
python scripts/convert.py src=checkpoints/label2city_512 dst=city.safetensors format=vid2vid
python scripts/convert.py src=runs/demo dst=originals/demo format=vid2vid

format=npz|timm|hf|torchvision|safetensors: a plain ViT. src is told by its content: Google's .npz, files and folders of
timm, Hugging Face and torchvision, DeiT, MAE, DINO and DINOv2, timm:NAME (downloaded by timm), or ours: a run, a
checkpoint, a file. dst is what the other library reads: .npz in the layout of Google's vision_transformer, a folder for
timm.create_model("local-dir:DST") or AutoModelForImageClassification.from_pretrained("DST"), torchvision's state dict
(.pth), or our own names (.safetensors). Input normalisation and class names go along where the format has a place.

format=vid2vid: the originals' state dicts, one .pth file per network (latest_net_G0.pth, latest_net_D.pth, ...), to one
.safetensors file under our names (start from it with model.weights=...), and back. Nothing is lost; the running
statistics of batch norm, which no output depends on, are left out. Pickled code in a .pth file is never executed.
"""

# pyright: reportInvalidTypeForm=false
# The choices come from the table of tasks, when this runs.

from __future__ import annotations

import _setup  # noqa: F401  # first: passive OpenMP threads, the repository on the path

import logging
from dataclasses import dataclass
from enum import Enum
from typing import Any

from omegaconf import MISSING

from train import TASKS
from trainer.cli import guarded
from trainer.config.arguments import parse_args, size_of
from trainer.task_table import having

CONVERTERS = {name: module for _, module in having(TASKS, "convert") for name in module.FORMATS}
Format: Any = Enum("Format", {name: name for name in CONVERTERS})


class Layout(Enum):
    auto = "auto"  # published, or big_vision for attention pooling and sine-cosine positions
    published = "published"  # layers numbered through a block, as in the published files
    linen = "linen"  # numbered per kind, as vision_transformer writes today
    big_vision = "big_vision"
    source = "source"  # as the .npz that src is


@dataclass
class Arguments:
    src: str = MISSING  # anything that is known: see above
    dst: str = MISSING  # npz, torchvision, safetensors: a file; timm, hf: a folder; vid2vid: see above
    format: Format = MISSING  # whose names and files
    layout: Layout = Layout.auto  # npz only
    heads: int | None = None  # attention heads of a ViT, where src does not tell
    resolution: list[int] | None = None  # [H,W] of the pictures of a ViT, where src does not tell (oblong ones)
    mean: list[float] | None = None  # of a ViT's input, 0..1, one or one per channel; null: as src tells
    std: list[float] | None = None  # likewise


@guarded
def main() -> None:
    arguments = parse_args(Arguments)
    logging.basicConfig(format="%(message)s", level=logging.INFO)
    size_of(arguments.resolution)  # whatever the format
    for line in CONVERTERS[arguments.format.value].run(arguments):
        print(line)


if __name__ == "__main__":
    main()
