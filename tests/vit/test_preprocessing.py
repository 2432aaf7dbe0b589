"""How a picture becomes a tensor: one object on every route, and the tensors that other libraries' processors make."""

from __future__ import annotations

import json
import random
from dataclasses import replace
from pathlib import Path

import numpy as np
import pytest
import torch
from PIL import Image

from tests.helpers.made_classifier import mu_config
from tests.helpers.processors import PATHS, grey_levels, hfs, ours, timms
from trainer.errors import CheckpointError, ConfigError
from vit.config import AugmentConfig, EvalCrop, Interpolation, ModelConfig
from vit.data import describe
from vit.data.transforms import EvalTransform
from vit.model.architecture import architecture
from vit.model.transformer import VisionTransformer
from vit.preprocessing import Preprocessing, enlarged, of_run
from vit.weights.conversion import convert
from vit.weights.preprocessors import from_hf, from_open_clip, from_timm, ratio_of, to_timm
from vit.weights.reading import read
from vit.weights.writing import write

MEAN, STD = (0.485, 0.456, 0.406), (0.229, 0.224, 0.225)


def photograph(height: int, width: int, seed: int = 0) -> Image.Image:
    """Smooth colours with edges in them: what an off-by-one of a crop, or another mode, changes visibly."""
    rng = np.random.default_rng(seed)
    small = Image.fromarray(rng.integers(0, 256, (7, 9, 3), dtype=np.uint8))
    return small.resize((width, height), Image.Resampling.BICUBIC)


def tiny(size: tuple[int, int]) -> VisionTransformer:
    config = ModelConfig(width=32, depth=1, mlp=64, heads=2, patch=8)
    return VisionTransformer(architecture(config, 5, 3, size))


def written(folder: Path, format: str, told: Preprocessing, size: tuple[int, int] = (32, 32)) -> Path:
    """A small network that is evaluated as ``told``, in a format."""
    model = tiny(size)
    path = folder / PATHS[format]
    write(model.state_dict(), model.arch, path, format, classes=list("abcde"), **told.told())
    return path


MODES = {
    "center": AugmentConfig(eval_crop_ratio=0.875),
    "whole": AugmentConfig(eval_crop_ratio=1.0),
    "squash": AugmentConfig(eval_crop=EvalCrop.squash),
    "squash_center": AugmentConfig(eval_crop=EvalCrop.squash_center, eval_crop_ratio=0.8),
    "border": AugmentConfig(eval_crop=EvalCrop.border, eval_crop_ratio=1.0, eval_fill=list(MEAN)),
}


@pytest.mark.parametrize("route", ["safetensors", "timm", "hf", "npz", "torchvision"])
@pytest.mark.parametrize("mode", MODES)
def test_every_format_gives_back_what_the_run_was_evaluated_with(route: str, mode: str, tmp_path: Path) -> None:
    told = of_run(replace(MODES[mode], eval_interpolation=Interpolation.bicubic), MEAN, STD, (32, 32))
    found = read(written(tmp_path, route, told)).preprocessing
    assert found.floor is (route == "hf" and mode != "border")  # as their processors do it
    found = replace(found, floor=False)
    if route == "timm":
        told = replace(told, fill=None)  # the mean, there
    assert replace(found, crop_ratio=told.crop_ratio) == told
    assert enlarged((32, 32), found.crop_ratio or 0) == enlarged((32, 32), told.crop_ratio or 0)


@pytest.mark.parametrize("mode", MODES)
@pytest.mark.parametrize("size", [(32, 32), (32, 48)])
def test_timms_own_transform_makes_our_tensors(mode: str, size: tuple[int, int], tmp_path: Path) -> None:
    rng = random.Random(3)
    told = of_run(MODES[mode], MEAN, STD, size)
    folder = written(tmp_path, "timm", told, size)
    for _ in range(12):
        picture = photograph(rng.randint(20, 300), rng.randint(20, 300))
        assert grey_levels(timms(folder, picture), ours(told, picture)) <= 1.01


@pytest.mark.parametrize("mode", ["center", "whole", "squash", "squash_center"])
def test_huggingfaces_own_processor_makes_our_tensors(mode: str, tmp_path: Path) -> None:
    rng = random.Random(4)
    told = of_run(MODES[mode], MEAN, STD, (32, 32))
    folder = written(tmp_path, "hf", told)
    for _ in range(12):
        picture = photograph(rng.randint(20, 300), rng.randint(20, 300))
        assert grey_levels(hfs(folder, picture), ours(read(folder).preprocessing, picture)) <= 1.01


@pytest.mark.parametrize("mode, size", [("border", (32, 32)), ("center", (32, 48))])
def test_what_no_processor_of_huggingface_does_is_said_and_not_done_otherwise(mode, size, tmp_path: Path) -> None:
    told = of_run(MODES[mode], MEAN, STD, size)
    model = tiny(size)
    notes = write(model.state_dict(), model.arch, tmp_path / "a", "hf", **told.told()).notes
    assert any("no processor of Hugging Face" in note for note in notes)
    assert hfs(tmp_path / "a", photograph(*size)).shape == (3, *size)  # as it came
    assert hfs(tmp_path / "a", photograph(90, 200)).shape == (3, 90, 200)  # refused by the network, not squashed
    assert read(tmp_path / "a").preprocessing == told


def test_ratios_survive_rounding() -> None:
    for crop in range(8, 600, 7):
        for edge in range(crop, crop + 100):
            assert enlarged((crop, crop), ratio_of(crop, edge)) == (edge, edge)


@pytest.mark.parametrize(
    "facts, expected",
    [
        ({"image_processor_type": "ViTImageProcessor"}, ("squash", (224, 224), (224, 224), "bilinear")),
        ({"feature_extractor_type": "ViTFeatureExtractor", "size": 384, "resample": 3},
         ("squash", (384, 384), (384, 384), "bicubic")),
        ({"image_processor_type": "DeiTImageProcessor"}, ("squash", (224, 224), (256, 256), "bicubic")),
        ({"feature_extractor_type": "DeiTFeatureExtractor", "size": 256, "crop_size": 224, "do_center_crop": True},
         ("squash", (224, 224), (256, 256), "bicubic")),
        ({"image_processor_type": "BitImageProcessor", "size": {"shortest_edge": 256},
          "crop_size": {"height": 224, "width": 224}, "do_center_crop": True},
         ("center", (224, 224), (256, 256), "bicubic")),
        ({"feature_extractor_type": "CLIPFeatureExtractor", "size": 224, "crop_size": 224},
         ("center", (224, 224), (224, 224), "bicubic")),
    ],
)  # fmt: skip
def test_huggingfaces_files_old_and_new(facts, expected) -> None:
    found = from_hf(facts)
    assert found.size is not None and found.crop_ratio is not None and not found.notes
    assert (found.crop, found.size, enlarged(found.size, found.crop_ratio), found.interpolation) == expected


def test_rescaling_and_normalisation_are_one() -> None:
    plain = from_hf({"image_processor_type": "ViTImageProcessor", "image_mean": [0.5] * 3, "image_std": [0.5] * 3})
    halves = {"rescale_factor": 1 / 127.5, "image_mean": [1.0] * 3, "image_std": [1.0] * 3}
    other = from_hf({"image_processor_type": "ViTImageProcessor", **halves})
    assert other.mean == pytest.approx(plain.mean) and other.std == pytest.approx(plain.std)
    none = from_hf({"image_processor_type": "ViTImageProcessor", "do_normalize": False})
    assert (none.mean, none.std) == ((0.0,) * 3, (1.0,) * 3)


def test_what_a_processor_does_and_we_do_not_is_noted() -> None:
    assert "lanczos" in from_hf({"image_processor_type": "ViTImageProcessor", "resample": 1}).notes[0]
    assert from_hf({"image_processor_type": "ViTImageProcessor", "size": {"longest_edge": 64}}).crop is None
    assert "crop_mode=tiles" in from_timm({"crop_mode": "tiles"}).notes[0]


def test_open_clip_tells_mode_and_fill() -> None:
    facts = {"mean": [0.5] * 3, "std": [0.5] * 3, "interpolation": "bicubic"}
    model = {"vision_cfg": {"image_size": 256}}
    for mode, crop in (("shortest", "center"), ("squash", "squash"), ("longest", "border")):
        found = from_open_clip({"model_cfg": model, "preprocess_cfg": {**facts, "resize_mode": mode}})
        assert (found.crop, found.crop_ratio, found.size, found.mean) == (crop, 1.0, (256, 256), (0.5,) * 3)
    assert found.fill == (0.0, 0.0, 0.0)


def test_older_runs_and_files_tell_their_crop_by_what_they_have(tmp_path: Path) -> None:
    """Before there was `crop`: a run's own configuration, and a ratio alone is that of a centre crop."""
    from vit.preprocessing import from_plain

    old = {"crop_ratio": 0.875, "interpolation": "bilinear", "mean": [0.5] * 3, "std": [0.5] * 3}
    assert from_plain(old, {"eval_crop": "squash"}).crop == "squash"
    assert from_plain(old, {"eval_crop": "squash"}).crop_ratio == 1.0
    assert (from_plain(old).crop, from_plain(old).crop_ratio) == ("center", 0.875)


def test_a_description_beside_another_file_is_not_believed(tmp_path: Path) -> None:
    path = written(tmp_path, "npz", of_run(MODES["squash"], MEAN, STD, (32, 32)))
    assert read(path).preprocessing.crop == "squash"
    text = path.with_name("a.npz.json")
    text.write_text(text.read_text().replace('"bytes": ', '"bytes": 1'))
    assert read(path).crop is None and read(path).mean == (0.5, 0.5, 0.5)


@pytest.mark.parametrize("route", ["timm", "hf", "safetensors"])
def test_convert_hands_on_the_crop(route: str, tmp_path: Path) -> None:
    """A folder of timm's that squashes, to any format: the recipes of fine-tuning are so (case 47, 50)."""
    (tmp_path / "in").mkdir()
    source = written(tmp_path / "in", "timm", of_run(MODES["squash"], MEAN, STD, (32, 32)))
    assert json.loads((source / "config.json").read_text())["pretrained_cfg"]["crop_mode"] == "squash"
    for _ in convert(source, tmp_path / PATHS[route], route):
        pass
    found = read(tmp_path / PATHS[route]).preprocessing
    assert (found.crop, found.crop_ratio, found.interpolation) == ("squash", 1.0, "bilinear")


def test_old_and_new_hub_folders_of_timm(tmp_path: Path) -> None:
    """Before 2023 all stood at one level (case 07); labels may be a dict (case 52)."""
    source = written(tmp_path, "timm", of_run(MODES["whole"], MEAN, STD, (32, 32)))
    config = json.loads((source / "config.json").read_text())
    old = {**config["pretrained_cfg"], "architecture": config["architecture"], "model_args": config["model_args"]}
    old |= {"mean": [0.1, 0.2, 0.3], "crop_pct": 0.95, "interpolation": "bilinear", "labels": list("vwxyz")}
    for kept in ({**config, "label_names": {str(i): name for i, name in enumerate("vwxyz")}}, old):
        (source / "config.json").write_text(json.dumps(kept))
        assert read(source).classes == list("vwxyz")
    found = read(source)
    assert (found.mean, found.crop_ratio, found.interpolation) == ((0.1, 0.2, 0.3), 0.95, "bilinear")


def test_a_border_without_fill_is_the_mean() -> None:
    told = from_timm({"crop_mode": "border", "crop_pct": 1.0, "mean": list(MEAN), "std": list(STD)})
    assert told.into(AugmentConfig()).eval_fill == list(MEAN)
    border = replace(told, crop="border", fill=(0.1,) * 3, floor=True)
    keys = ["augment.eval_fill", "augment.eval_crop_floor"]
    asked = border.into(AugmentConfig(eval_fill=[1.0]), keys)
    assert asked.eval_crop is EvalCrop.border and asked.eval_fill == [1.0] and not asked.eval_crop_floor
    asked = told.into(AugmentConfig(eval_crop=EvalCrop.squash), ["augment.eval_crop"])
    assert asked.eval_crop is EvalCrop.squash


def test_an_oblong_table_is_the_users_resolution(tmp_path: Path) -> None:
    """64 positions are 8x8 or 4x16, 33 are 4x8 and a class token: the resolution decides (cases 17, 25, 53)."""
    for size in ((32, 128), (32, 64)):
        model = tiny(size)
        torch.save(model.state_dict(), tmp_path / "a.pth")
        found = read(tmp_path / "a.pth", size)
        assert found.arch["grid"] == (size[0] // 8, size[1] // 8)
        torch.save({"model": model.state_dict(), "args": {"img_size": list(size)}}, tmp_path / "b.pth")
        assert read(tmp_path / "b.pth").arch["grid"] == found.arch["grid"]
    with pytest.raises(CheckpointError, match=r"33 positions.*resolution=\[H,W\]"):
        read(tmp_path / "a.pth")


def test_half_a_pixel_that_another_library_rounds_otherwise_is_said(tmp_path: Path) -> None:
    (tmp_path / "in").mkdir()
    source = written(tmp_path / "in", "hf", of_run(MODES["center"], MEAN, STD, (32, 32)))
    assert any("half a pixel" in line for line in convert(source, tmp_path / "a", "timm"))
    assert not any("half a pixel" in line for line in convert(source, tmp_path / "b", "hf"))
    own = written(tmp_path, "safetensors", of_run(MODES["center"], MEAN, STD, (32, 32)))
    assert any("half a pixel" in line for line in convert(own, tmp_path / "c", "hf"))


def test_the_border_of_other_channels(tmp_path: Path) -> None:
    """Three numbers are no colour of one or four channels; a single one is that of all."""
    told = Preprocessing((8, 8), "border", 1.0, "bilinear", (0.5,), (0.5,), (0.1, 0.2, 0.3))
    for channels in (1, 4):
        augment = replace(told, mean=(0.5,) * channels).into(AugmentConfig())
        image = EvalTransform(augment, (8, 8))(torch.zeros(channels, 4, 16, dtype=torch.uint8))
        assert image.shape == (channels, 8, 8) and set(image[:, 0].flatten().tolist()) == {51}
    assert replace(told, mean=MEAN).into(AugmentConfig()).eval_fill == [0.1, 0.2, 0.3]
    config = mu_config("augment.eval_crop=border", "augment.eval_fill=[0.1,0.2,0.3]", "data.channels=1")
    with pytest.raises(ConfigError, match=r"augment\.eval_fill has 3 numbers, but pictures have 1 channels"):
        describe(config)
    grey = of_run(AugmentConfig(eval_crop=EvalCrop.border), (0.5,) * 3, (0.5,) * 3, (8, 8))
    assert to_timm(grey)[1] == []  # the mean, as timm fills
