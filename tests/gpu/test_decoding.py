"""JPEGs decoded on the card, beside the CPU's decoder."""

from __future__ import annotations

import io
import json
import subprocess
import sys
from pathlib import Path
from typing import Any

import numpy as np
import pytest
import torch
from PIL import Image

from tests.helpers.paths import ROOT
from trainer.cli import compose
from trainer.data.collate import collate
from trainer.data.loader import to_device
from vit.config import Decode, VitConfig
from vit.data import build_dataset
from vit.data.decoding import on_device

pytestmark = pytest.mark.gpu
CARD = torch.device("cuda")


def photo(height: int, width: int, seed: int) -> Image.Image:
    """Edges between all colours: where colour of half the resolution differs most."""
    rng = np.random.default_rng(seed)
    coarse = Image.fromarray(rng.integers(0, 256, (height // 24 + 2, width // 24 + 2, 3), dtype=np.uint8))
    return coarse.resize((width, height), Image.Resampling.BICUBIC)


def write(path: Path, image: Image.Image, **options: Any) -> None:
    path.parent.mkdir(parents=True, exist_ok=True)
    image.save(path, **options)


def write_data(root: Path) -> Path:
    exif = Image.Exif()
    exif[0x0112] = 6
    for number in range(6):
        image = photo(120 + 11 * number, 190 - 7 * number, number)
        write(root / "a" / f"full{number}.jpg", image, quality=95, subsampling=0)
        write(root / "b" / f"half{number}.jpg", image, quality=95, subsampling=2, progressive=number == 3)
    write(root / "a" / "grey.jpg", photo(80, 90, 7).convert("L"))
    write(root / "a" / "turned.jpg", photo(80, 90, 8), exif=exif)
    write(root / "b" / "cmyk.jpg", photo(80, 90, 9).convert("CMYK"))
    write(root / "b" / "other.png", photo(80, 90, 10))
    return root


def configured(root: Path, *words: str) -> VitConfig:
    common = ("model=vit_mu", "data=imagefolder", f"data.root={root}", f"data.val_root={root}", "resolution=64")
    config = compose([*common, *words], {"vit": VitConfig})
    assert isinstance(config, VitConfig)
    return config


@pytest.mark.parametrize("interpolation", ["bilinear", "bicubic"])
def test_pictures_are_the_cpus_but_for_halved_colour(interpolation: str, tmp_path: Path) -> None:
    config = configured(write_data(tmp_path / "data"), f"augment.interpolation={interpolation}")

    def samples() -> list[dict[str, Any]]:
        dataset = build_dataset(config, "train", (64, 64))
        return [dataset.sample(index, np.random.default_rng(index)) for index in range(len(dataset))]

    wanted = samples()
    config.data.decode = Decode.gpu
    waiting = collate(samples())
    assert waiting["image"].is_file.count(True) == 13
    found = to_device(waiting, CARD)["image"].cpu()
    source = build_dataset(config, "val", (64, 64))
    names = [Path(source.sample(index, np.random.default_rng(0))["name"]).stem for index in range(16)]
    assert found.shape == (16, 3, 64, 64) and found.dtype == torch.uint8
    for name, picture, sample in zip(names, found, wanted, strict=True):
        differences = (picture.int() - sample["image"].int()).abs().float()
        if name.startswith("half"):  # 4:2:0: nvJPEG repeats colour where libjpeg interpolates it
            assert float(differences.mean()) < 3 and float(differences.max()) < 40, name
        elif name in ("turned", "cmyk", "other"):  # by the CPU
            assert float(differences.max()) == 0, name
        else:
            assert float(differences.mean()) < 0.7 and float(differences.max()) <= 4, name


def test_a_file_that_fails_takes_no_other_with_it(tmp_path: Path, monkeypatch: pytest.MonkeyPatch) -> None:
    """Of those that were tried only such as no worker lets through fail there, so one is made to."""
    root = write_data(tmp_path / "data")
    config = configured(root, "data.decode=gpu")
    dataset = build_dataset(config, "train", (64, 64))
    waiting = collate([dataset.sample(index, np.random.default_rng(index)) for index in range(8)])["image"]
    wanted = waiting.arrive(CARD)
    buffer = io.BytesIO()
    photo(64, 64, 0).convert("CMYK").save(buffer, "JPEG")
    cmyk = torch.frombuffer(bytearray(buffer.getvalue()), dtype=torch.uint8)
    real = on_device._decode

    def fussy(files: Any, channels: int, device: torch.device) -> list[torch.Tensor]:
        files = list(files)
        if any(file.data_ptr() == waiting._file(3).data_ptr() for file in files):
            files.append(cmyk)  # nvJPEG itself refuses the call
        return real(files, channels, device)

    monkeypatch.setattr(on_device, "_decode", fussy)
    found = waiting.arrive(CARD)
    same = [torch.equal(one, two) for one, two in zip(found, wanted, strict=True)]
    assert same.count(False) <= 1 and (found[3].int() - wanted[3].int()).abs().float().mean() < 3


def test_a_run_learns_from_the_cards_pictures(tmp_path: Path) -> None:
    for label, colour in (("red", (200, 40, 40)), ("green", (40, 200, 40))):
        for number in range(24):
            tint = tuple(value + number for value in colour)
            write(tmp_path / "data" / label / f"{number}.jpg", Image.new("RGB", (90, 70), tint))
    words = [
        "model=vit_mu", "data=imagefolder", "data.root=data", "data.decode=gpu", "data.workers=2", "resolution=32",
        "curriculum.stages.all.batch_size=16", "trainer.max_steps=60", "schedule.warmup=0", "name=x",
        "trainer.device=cuda", "trainer.micro_batch=auto", "logger.tensorboard=false", "logger.curves=false",
    ]  # fmt: skip
    done = subprocess.run(
        [sys.executable, str(ROOT / "train.py"), *words], cwd=tmp_path, capture_output=True, text=True, check=False
    )
    assert done.returncode == 0, done.stderr[-2000:]
    assert json.loads((tmp_path / "runs" / "x" / "eval.json").read_text())["top1"] == 1.0
