"""Property: however weights travel, the last format's own processor makes the tensor of a picture that we make.

Random sizes, ratios, means and fills, oblong pictures with hard edges, every pair of formats that are written and
read. The tolerance is one grey level, 1/255 before the division by std: bilinear kernels round twice (Pillow,
PyTorch), bicubic ones are the processor's own.
"""

from __future__ import annotations

import json
import math
import random
from dataclasses import replace
from itertools import product
from pathlib import Path
from typing import Any

import numpy as np
import pytest
import torch
from PIL import Image

from scripts.export import main as export
from tests.helpers.processors import PATHS, grey_levels, hfs, ours, timms
from vit.config import AugmentConfig, EvalCrop, Interpolation, ModelConfig
from vit.model.architecture import architecture
from vit.model.transformer import VisionTransformer
from vit.preprocessing import Preprocessing, enlarged, from_plain, of_run
from vit.weights.conversion import convert
from vit.weights.preprocessors import from_open_clip
from vit.weights.reading import read
from vit.weights.writing import write

LEVELS = 1.01
FORMATS = list(PATHS)


def noise(rng: random.Random) -> Image.Image:
    """Oblong, smooth on one side and of black and white pixels on the other."""
    height, width = rng.randint(9, 190), rng.randint(9, 190)
    draw = np.random.default_rng(rng.getrandbits(32))
    smooth = Image.fromarray(draw.integers(0, 256, (5, 6, 3), dtype=np.uint8)).resize((width, height))
    pixels = np.array(smooth)
    pixels[:, width // 2 :] = draw.integers(0, 2, (height, width - width // 2, 3)) * 255
    return Image.fromarray(pixels)


def drawn(rng: random.Random, mode: EvalCrop, how: Interpolation, square: bool = False) -> Preprocessing:
    """A run's preprocessing at random, of an input that may be oblong and odd."""
    size = (rng.randint(2, 7) * 7, rng.randint(2, 7) * 7)
    if square or rng.random() < 0.5:
        size = size[0], size[0]
    mean, std = ([round(rng.uniform(0.2, 0.6), 3) for _ in range(3)] for _ in range(2))
    augment = AugmentConfig(
        eval_crop=mode,
        eval_crop_ratio=rng.choice([1.0, 0.875, 0.9, 0.95, round(rng.uniform(0.5, 1), 3)]),
        eval_fill=rng.choice([mean, [0.5] * 3]),
        eval_interpolation=how,
        eval_crop_floor=rng.random() < 0.5,
    )
    return of_run(augment, mean, std, size)


def stored(told: Preprocessing, path: Path, format: str) -> list[str]:
    """A small network with that preprocessing, written; what could not be told."""
    assert told.size is not None
    model = VisionTransformer(architecture(ModelConfig(width=32, depth=1, mlp=64, heads=2, patch=7), 5, 3, told.size))
    return write(model.state_dict(), model.arch, path, format, **told.told()).notes


def sent(source: Path, told: Preprocessing, folder: Path, format: str) -> tuple[Path, list[str]]:
    """The file converted to another format, and what could not be told."""
    path = folder / PATHS[format]
    folder.mkdir()
    return path, list(convert(source, path, format))


def same(first: Preprocessing, then: Preprocessing, notes: list[str], rng: random.Random) -> None:
    """Both make the same tensors; what may differ was said, and is what was said."""
    assert first.size is not None and first.std is not None and then.size == first.size
    assert enlarged(first.size, then.crop_ratio or 0) == enlarged(first.size, first.crop_ratio or 0)
    told = "\n".join(notes)
    allowed: dict[str, Any] = {}
    if "half a pixel" in told or "grey levels" in told:
        allowed["floor"] = first.floor
    if "borders" in told:
        allowed["fill"] = first.fill
    for _ in range(3):
        picture = noise(rng)
        assert grey_levels(ours(first, picture), ours(replace(then, **allowed), picture), first.std) < 1e-3


def theirs(path: Path, format: str, found: Preprocessing, notes: list[str], rng: random.Random) -> None:
    """The format's own processor, where it has one, makes our tensors of what we read there."""
    if format not in ("timm", "hf") or any("no processor of Hugging Face" in note for note in notes):
        return
    assert found.std is not None
    for _ in range(2):
        picture = noise(rng)
        made = (timms if format == "timm" else hfs)(path, picture)
        assert grey_levels(made, ours(found, picture), found.std) <= LEVELS


@pytest.mark.parametrize(("first", "second"), list(product(FORMATS, FORMATS)))
def test_there_and_back(first: str, second: str, tmp_path: Path) -> None:
    """A run, a format, another format, and the first again."""
    rng = random.Random(f"{first} {second}")
    for number, (mode, how) in enumerate(product(EvalCrop, (Interpolation.bilinear, Interpolation.bicubic))):
        told = drawn(rng, mode, how, bool({"npz", "torchvision"} & {first, second}))  # which hold no oblong tables
        path = tmp_path / f"{number}-0" / PATHS[first]
        path.parent.mkdir()
        notes, found = stored(told, path, first), told
        for step, format in enumerate((first, second, first)):
            if step:
                path, notes = sent(path, found, tmp_path / f"{number}-{step}", format)
            before, found = found, read(path).preprocessing
            same(before, found, notes, rng)
            theirs(path, format, found, notes, rng)


@pytest.mark.parametrize("mode", [pytest.param(EvalCrop.border, marks=pytest.mark.slow), EvalCrop.squash_center])
def test_beside_onnx(mode: EvalCrop, tmp_path: Path) -> None:
    pytest.importorskip("onnx")
    pytest.importorskip("onnxruntime")
    told = drawn(random.Random(7), mode, Interpolation.bicubic)
    stored(told, tmp_path / "a.safetensors", "safetensors")
    assert told.size is not None
    out = tmp_path / "a.onnx"
    words = [f"weights={tmp_path / 'a.safetensors'}", f"out={out}", f"resolution=[{told.size[0]},{told.size[1]}]"]
    with pytest.MonkeyPatch.context() as patch:
        patch.setattr("sys.argv", ["export.py", *words])
        export()
    assert from_plain(json.loads(out.with_name("a.onnx.json").read_text())) == told


def tensors(picture: Image.Image, mean: list[float], std: list[float]) -> torch.Tensor:
    values = torch.from_numpy(np.array(picture)).permute(2, 0, 1) / 255
    return (values - torch.tensor(mean).view(-1, 1, 1)) / torch.tensor(std).view(-1, 1, 1)


def open_clips(picture: Image.Image, size: int, mode: str, fill: int) -> Image.Image:
    """OpenCLIP's evaluation of a square input, in Pillow's words: resize, then cut or fill about the centre."""
    width, height = picture.size
    if mode == "squash":
        return picture.resize((size, size), Image.Resampling.BICUBIC)
    if mode == "shortest":
        short = min(width, height)
        wide, high = (size if side == short else int(size * side / short) for side in (width, height))
        picture = picture.resize((wide, high), Image.Resampling.BICUBIC)
        left, top = round((wide - size) / 2), round((high - size) / 2)
        return picture.crop((left, top, left + size, top + size))
    scale = size / max(width, height)
    picture = picture.resize((max(1, round(width * scale)), max(1, round(height * scale))), Image.Resampling.BICUBIC)
    whole = Image.new("RGB", (size, size), (fill,) * 3)
    whole.paste(picture, ((size - picture.width) // 2, (size - picture.height) // 2))
    return whole


@pytest.mark.parametrize("mode", ["shortest", "squash", "longest"])
def test_open_clips_tensors(mode: str) -> None:
    rng = random.Random(mode)
    for _ in range(20):
        size, fill = rng.randint(9, 60), rng.choice([0, 127])
        mean, std = [0.48, 0.45, 0.4], [0.26, 0.27, 0.28]
        facts: dict[str, Any] = {"mean": mean, "std": std, "interpolation": "bicubic", "resize_mode": mode}
        found = from_open_clip(
            {"model_cfg": {"vision_cfg": {"image_size": size}}, "preprocess_cfg": {**facts, "fill_color": fill}}
        )
        picture = noise(rng)
        made = tensors(open_clips(picture, size, mode, fill), mean, std)
        assert grey_levels(made, ours(found, picture), tuple(std)) <= LEVELS


def test_torchvisions_tensors() -> None:
    """Of the references of torchvision and DeiT: resize, centre crop, of Pillow's pictures."""
    from torchvision.transforms import v2

    rng = random.Random(5)
    for how in (Interpolation.bilinear, Interpolation.bicubic):
        for _ in range(20):
            size = rng.randint(9, 60)
            told = of_run(
                AugmentConfig(eval_crop_ratio=0.875, eval_interpolation=how), [0.5] * 3, [0.5] * 3, (size, size)
            )
            chain = v2.Compose(
                [
                    v2.Resize(math.floor(size / 0.875), v2.InterpolationMode[how.name.upper()]),
                    v2.CenterCrop(size),
                ]
            )
            picture = noise(rng)
            made = tensors(chain(picture), [0.5] * 3, [0.5] * 3)
            assert grey_levels(made, ours(told, picture), (0.5,) * 3) <= LEVELS
