"""Convert weights between formats; the direction follows from what src holds.

python scripts/convert.py src=checkpoints/label2city_512 dst=city.safetensors format=vid2vid
python scripts/convert.py src=runs/demo dst=originals/demo format=vid2vid

format=vid2vid: the originals' state dicts, one .pth file per network (latest_net_G0.pth, latest_net_D.pth, ...), to one
.safetensors file under our names (start from it with model.weights=...), and back. Nothing is lost; the running
statistics of batch norm, which no output depends on, are left out. Pickled code in a .pth file is never executed.
"""

from __future__ import annotations

import logging
import os
import sys
from dataclasses import dataclass
from enum import Enum
from pathlib import Path

os.environ.setdefault("OMP_WAIT_POLICY", "PASSIVE")  # before torch: spinning threads starve each other
sys.path.insert(0, str(Path(__file__).resolve().parent.parent))

from omegaconf import MISSING

from trainer.cli import guarded, parse_args


class Format(Enum):
    vid2vid = "vid2vid"


@dataclass
class Arguments:
    src: str = MISSING  # a folder or file of the originals; or ours: a run, a checkpoint, a weights file
    dst: str = MISSING  # a .safetensors file for ours; a folder for the originals'
    format: Format = Format.vid2vid  # whose names and files


@guarded
def main() -> None:
    arguments = parse_args(Arguments)
    logging.basicConfig(format="%(message)s", level=logging.INFO)
    from vid2vid.interchange import convert

    for line in convert(arguments.src, arguments.dst):
        print(line)


if __name__ == "__main__":
    main()
