"""Checkpoints of timm, Hugging Face and torchvision, in and out: the same outputs as the library's own model."""

from __future__ import annotations

import json
import resource

import pytest
import torch
from PIL import Image
from torch import nn

from trainer.errors import CheckpointError, ConfigError
from vit.config import Gelu, Pool, PosEmbed, QkNorm
from vit.model.architecture import Architecture
from vit.model.transformer import VisionTransformer
from vit.weights.conversion import compare
from vit.weights.reading import read
from vit.weights.writing import write

MEAN, STD, CLASSES = (0.1, 0.2, 0.3), (0.4, 0.5, 0.6), ["ape", "bee", "cat", "dog", "eel"]

OURS = {
    "cls": {},
    "tanh": {"gelu": Gelu.tanh},
    "no_class_position": {"class_position": False},
    "headless": {"num_classes": 0},
    "no_bias": {"qkv_bias": False},
    "sincos": {"pos_embed": PosEmbed.sincos2d},
    "sincos_mae": {"pos_embed": PosEmbed.sincos2d_mae},
    "no_positions": {"pos_embed": PosEmbed.none},
    "probe_norm": {"probe_norm": True},
    "oblong": {"image_size": (32, 48), "init_grid": (4, 6)},
    "grey": {"in_channels": 1},
    "distilled": {"distilled": True},
    "layer_scale": {"layer_scale": 0.1},
    "registers": {"registers": 2},
    "registers_no_class_position": {"registers": 2, "class_position": False},
    "dinov2": {"registers": 4, "layer_scale": 1.0, "num_classes": 0},
    "gap": {"pool": Pool.gap, "class_token": False},
    "gap_registers": {"pool": Pool.gap, "class_token": False, "registers": 2, "pool_first": True},
    "cls_gap": {"pool": Pool.cls_gap, "layer_scale": 0.1},
    "gap_class": {"pool": Pool.gap},
    "mae": {"pool": Pool.gap, "pool_first": True},
    "map": {"pool": Pool.map, "class_token": False, "gelu": Gelu.tanh},
    "qk_norm": {"qk_norm": QkNorm.layer},
    "rms": {"qk_norm": QkNorm.rms},
    "representation": {"representation": 16},
    "representation_headless": {"representation": 16, "num_classes": 0},
}
REFUSED = {  # who cannot hold what, and the word that must be in the message
    "timm": {
        **{"rms": "rms", "representation": "representation", "representation_headless": "representation"},
        "cls_gap": "pool=cls_gap",
    },
    "hf": {
        **{"representation": "representation", "gap": "class token", "gap_registers": "class token", "rms": "rms"},
        **{"mae": "pool_first", "map": "map", "qk_norm": "qk_norm"},
    },
    "torchvision": {
        **{"oblong": "oblong", "grey": "in_channels=1", "distilled": "distillation", "layer_scale": "layer scale"},
        **{"registers": "2 registers", "registers_no_class_position": "2 registers", "dinov2": "4 registers"},
        **{"gap": "pool=gap", "gap_registers": "registers", "gap_class": "pool=gap", "mae": "pool=gap"},
        "cls_gap": "pool=cls_gap",
        **{"map": "pool=map", "qk_norm": "qk_norm", "rms": "rms"},
    },
    "npz": {
        **{"no_bias": "biases", "no_positions": "pos_embed=none", "distilled": "distillation", "qk_norm": "qk_norm"},
        **{"layer_scale": "layer scale", "registers": "registers", "registers_no_class_position": "registers"},
        **{"dinov2": "registers", "gap_registers": "registers", "gap_class": "class token", "mae": "class token"},
        **{"rms": "rms", "oblong": "oblong", "cls_gap": "pool=cls_gap"},
    },
    "safetensors": {},
}
PATHS = {"npz": "a.npz", "torchvision": "a.pth", "safetensors": "a.safetensors", "timm": "a", "hf": "a"}


def randomise(model: nn.Module, seed: int = 0) -> nn.Module:
    """Every parameter away from its initial value, so that none that is misplaced goes unnoticed."""
    generator = torch.Generator().manual_seed(seed)
    with torch.no_grad():
        for name, parameter in model.named_parameters():
            parameter.normal_(1.0 if "norm" in name and name.endswith("weight") else 0.0, 0.1, generator=generator)
        for name, buffer in model.named_buffers():
            if "running" in name:
                buffer.uniform_(0.5, 1.5, generator=generator)
    return model.eval()


def our_model(name: str) -> VisionTransformer:
    sizes = {"width": 64, "depth": 2, "mlp": 128, "heads": 4, "patch": 8, "image_size": (32, 32)}
    options = {"variant": "", "in_channels": 3, "num_classes": 5, "init_grid": (4, 4), **sizes, **OURS[name]}
    model = randomise(VisionTransformer(Architecture(**options)))
    assert isinstance(model, VisionTransformer)
    return model


def save(model: VisionTransformer, path, format, **options):
    travels = {"mean": MEAN[: model.arch.in_channels], "std": STD[: model.arch.in_channels]}
    travels |= {"classes": CLASSES[: model.arch.num_classes], "interpolation": "bicubic", "crop_ratio": 0.8, **options}
    return write(model.state_dict(), model.arch, path / PATHS[format], format, **travels)


def build(found) -> VisionTransformer:
    model = VisionTransformer(found.architecture()).eval()
    model.load_state_dict(found.state, strict=True)
    return model


def images(channels=3, height=32, width=32):
    return torch.randn(2, channels, height, width, generator=torch.Generator().manual_seed(1))


def difference(a, b):
    assert a.shape == b.shape
    return (a - b).abs().max().item()


@pytest.fixture(autouse=True)
def no_gradients():
    with torch.no_grad():
        yield


# out


def load_theirs(format, path, model):
    """The library's own model of what was written, as a function of pictures."""
    if format == "timm":
        timm = pytest.importorskip("timm")
        return timm.create_model(f"local-dir:{path}", pretrained=True).eval()
    if format == "hf":
        transformers = pytest.importorskip("transformers")
        if model.arch.num_classes == 0:
            loaded, info = transformers.AutoModel.from_pretrained(path, output_loading_info=True)
            assert not info["missing_keys"] - {"pooler.dense.weight", "pooler.dense.bias"}
            part = "pooler_output" if model.arch.representation else "last_hidden_state"
            return lambda x: out if (out := loaded.eval()(x)[part]).ndim == 2 else out[:, 0]
        loaded, info = transformers.AutoModelForImageClassification.from_pretrained(path, output_loading_info=True)
        assert not info["missing_keys"] and not info["unexpected_keys"]
        if model.arch.distilled:  # the auto class takes the head of the class token alone
            loaded = transformers.DeiTForImageClassificationWithTeacher.from_pretrained(path)
        return lambda x: loaded.eval()(x).logits
    from torchvision.models import VisionTransformer as Torchvision

    size, options = model.arch.image_size[0], {"representation_size": model.arch.representation or None}
    theirs = Torchvision(size, 8, 2, 4, 64, 128, num_classes=model.arch.num_classes or 1, **options)
    if model.arch.num_classes == 0:
        del theirs.heads.head
    theirs.load_state_dict(torch.load(path, weights_only=True), strict=True)
    return theirs.eval()


@pytest.mark.filterwarnings("ignore")  # of the libraries
@pytest.mark.parametrize("name", OURS)
@pytest.mark.parametrize("format", ["timm", "hf", "torchvision"])
def test_libraries_load_what_is_written_and_compute_the_same(format, name, tmp_path):
    model = our_model(name)
    if name in REFUSED[format]:
        with pytest.raises(CheckpointError, match=f"format={format} cannot hold .*{REFUSED[format][name]}"):
            save(model, tmp_path, format)
        return
    if format == "torchvision" and name == "tanh":
        assert "GELU" in save(model, tmp_path, format).notes[0]
        return
    if format == "hf" and name == "distilled":
        pytest.importorskip("transformers")
    save(model, tmp_path, format)
    pictures = images(model.arch.in_channels, *model.arch.image_size)
    assert difference(load_theirs(format, tmp_path / PATHS[format], model)(pictures), model(pictures)) < 1e-5


@pytest.mark.parametrize("name", OURS)
@pytest.mark.parametrize("format", PATHS)
def test_what_is_written_reads_back_bit_by_bit(format, name, tmp_path):
    model = our_model(name)
    if name in REFUSED[format]:
        with pytest.raises(CheckpointError, match=REFUSED[format][name]):
            save(model, tmp_path, format)
        assert not (tmp_path / PATHS[format]).exists()
        return
    written = save(model, tmp_path, format)
    found = read(tmp_path / PATHS[format])
    compare(written.state, found.state, "what was read")
    if format == "torchvision":
        found.arch["heads"] = 4
    if format in ("npz", "torchvision"):
        found.arch["gelu"] = model.arch.gelu.value
    pictures = images(model.arch.in_channels, *model.arch.image_size)
    assert difference(build(found)(pictures), model(pictures)) < 1e-5
    if format not in ("npz", "torchvision"):
        assert found.mean == pytest.approx(MEAN[: model.arch.in_channels])
        assert found.crop_ratio == pytest.approx(0.8) and found.interpolation == "bicubic"
        assert (found.classes or []) == CLASSES[: model.arch.num_classes]


def test_own_format_says_everything_once_in_the_file_and_once_beside_it(tmp_path):
    model = our_model("registers")
    save(model, tmp_path, "safetensors")
    found = read(tmp_path / "a.safetensors")
    assert found.architecture() == Architecture(**{**vars(model.arch), "layer_scale": None})
    beside = json.loads((tmp_path / "a.json").read_text())
    assert beside["classes"] == CLASSES and beside["architecture"]["registers"] == 2


def test_the_hf_preprocessor_normalises_as_said(tmp_path):
    transformers = pytest.importorskip("transformers")
    for name, ratio in (("bit", 0.8), ("squash", 1.0)):
        save(our_model("cls"), tmp_path / name, "hf", crop_ratio=ratio)
        prepare = transformers.AutoImageProcessor.from_pretrained(tmp_path / name / "a")
        side = 40 if ratio == 0.8 else 32
        got = prepare(Image.new("RGB", (side, side), (255, 0, 51)), return_tensors="pt")["pixel_values"][0]
        assert got.shape == (3, 32, 32)
        for channel, value in enumerate((1.0, 0.0, 0.2)):
            assert got[channel].mean().item() == pytest.approx((value - MEAN[channel]) / STD[channel], abs=1e-3)


@pytest.mark.parametrize(
    "format, path, message",
    [
        ("npz", "a.pth", r"name it \*\.npz"),
        ("torchvision", "a", r"name it \*\.pth"),
        ("safetensors", "a.npz", r"name it \*\.safetensors"),
        ("timm", "a.safetensors", "writes a folder"),
        ("onnx", "a.onnx", "give one of npz, timm"),
    ],
)
def test_a_path_or_format_that_does_not_suit(format, path, message, tmp_path):
    model = our_model("cls")
    with pytest.raises(ConfigError, match=message):
        write(model.state_dict(), model.arch, tmp_path / path, format)


# in

TIMM = {
    "plain": {},
    "registers": {"reg_tokens": 2, "no_embed_class": True, "init_values": 0.1},
    "registers_with_positions": {"reg_tokens": 2},
    "gap": {"global_pool": "avg", "class_token": False},
    "gap_class": {"global_pool": "avg"},
    "gap_norm_first": {"global_pool": "avg", "fc_norm": False},
    "map": {"global_pool": "map", "class_token": False},
    "qk_norm": {"qk_norm": True},
    "oblong": {"img_size": (32, 48)},
    "oblong_registers": {"img_size": (32, 48), "reg_tokens": 1},
    "tanh": {"act_layer": "gelu_tanh"},
    "no_positions": {"pos_embed": "none"},
    "headless": {"num_classes": 0},
    "no_bias": {"qkv_bias": False},
    "four_channels": {"in_chans": 4},
}
TIMM_NAMES = {"deit3": "deit3_small_patch16_224", "distilled": "deit_base_distilled_patch16_224"}


@pytest.mark.parametrize("case", [*TIMM, *TIMM_NAMES])
def test_timm_models_compute_the_same_here(case, tmp_path):
    timm = pytest.importorskip("timm")
    from timm.models._hub import save_for_hf

    sizes = {"img_size": 32, "patch_size": 8, "embed_dim": 64, "depth": 2, "num_heads": 4, "num_classes": 5}
    options = {**sizes, **TIMM.get(case, {})}
    theirs = randomise(timm.create_model(TIMM_NAMES.get(case, "vit_base_patch16_224"), **options))
    channels = options.get("in_chans", 3)
    mean, std = (MEAN + MEAN)[:channels], (STD + STD)[:channels]
    config = {"mean": mean, "std": std, "interpolation": "bilinear", "crop_pct": 0.75}
    theirs.pretrained_cfg = {**theirs.pretrained_cfg, **config, "input_size": (channels, 32, 32)}
    save_for_hf(theirs, tmp_path / "a", model_args=options, safe_serialization=True)
    found = read(tmp_path / "a")
    size = options["img_size"] if isinstance(options["img_size"], tuple) else (32, 32)
    pictures = images(channels, *size)
    assert difference(theirs(pictures), build(found)(pictures)) < 1e-5
    assert (found.mean, found.std, found.interpolation, found.crop_ratio) == (mean, std, "bilinear", 0.75)


@pytest.mark.parametrize(
    "name, options",
    [
        ("swin_tiny_patch4_window7_224", {"embed_dim": 24, "num_heads": (1, 1, 1, 1), "depths": (1, 1, 1, 1)}),
        ("vit_base_patch16_clip_224", {"embed_dim": 64, "depth": 1, "num_heads": 4}),
        ("vit_giant_patch14_dinov2", {"img_size": 28, "embed_dim": 48, "depth": 1, "num_heads": 4}),
        ("vit_base_patch16_224", {"embed_dim": 64, "depth": 1, "num_heads": 4, "global_pool": "avgmax"}),
    ],
)
def test_timm_models_that_are_no_plain_vit_are_refused(name, options, tmp_path):
    timm = pytest.importorskip("timm")
    from timm.models._hub import save_for_hf

    save_for_hf(timm.create_model(name, num_classes=2, **options), tmp_path / "a", safe_serialization=True)
    with pytest.raises(CheckpointError, match=r"model=timm model\.name="):
        read(tmp_path / "a")


HF = {
    "ViTForImageClassification": ("ViTConfig", {}),
    "ViTModel": ("ViTConfig", {}),
    "DeiTForImageClassificationWithTeacher": ("DeiTConfig", {"hidden_act": "gelu_new"}),
    "DeiTForImageClassification": ("DeiTConfig", {"layer_norm_eps": 1e-3}),
    "ViTMAEModel": ("ViTMAEConfig", {"mask_ratio": 0.0}),
    "Dinov2ForImageClassification": ("Dinov2Config", {"mlp_ratio": 2}),
    "Dinov2Model": ("Dinov2Config", {"mlp_ratio": 2}),
    "Dinov2WithRegistersModel": ("Dinov2WithRegistersConfig", {"mlp_ratio": 2, "qkv_bias": False}),
}


@pytest.mark.parametrize("name", HF)
def test_hugging_face_models_compute_the_same_here(name, tmp_path):
    transformers = pytest.importorskip("transformers")
    kind, options = HF[name]
    sizes = {"hidden_size": 64, "num_hidden_layers": 2, "num_attention_heads": 4, "image_size": 32, "patch_size": 8}
    if "Dinov2" not in name:
        sizes["intermediate_size"] = 128
    labels = {"id2label": dict(enumerate(CLASSES)), "label2id": {label: i for i, label in enumerate(CLASSES)}}
    config = getattr(transformers, kind)(**sizes, **options, **labels)
    theirs = randomise(getattr(transformers, name)(config))
    theirs.save_pretrained(tmp_path / "a")
    found = read(tmp_path / "a")
    outputs = theirs(images())
    if "ImageClassification" in name:
        assert found.classes == CLASSES
        expected = outputs.logits
    else:
        expected = outputs.pooler_output if name == "ViTModel" else outputs.last_hidden_state[:, 0]
    assert difference(expected, build(found)(images())) < 1e-5


def test_hugging_face_names_in_memory_read_like_those_on_disk(tmp_path):
    transformers = pytest.importorskip("transformers")
    sizes = {"hidden_size": 64, "num_hidden_layers": 2, "num_attention_heads": 4, "image_size": 32, "patch_size": 8}
    theirs = randomise(transformers.ViTForImageClassification(transformers.ViTConfig(**sizes)))
    theirs.save_pretrained(tmp_path / "a")
    torch.save(theirs.state_dict(), tmp_path / "memory.pth")
    compare(read(tmp_path / "a").state, read(tmp_path / "memory.pth").state, "memory.pth")


@pytest.mark.parametrize("old", [False, True])
def test_torchvisions_model_computes_the_same_here(old, tmp_path):
    from torchvision.models import VisionTransformer as Torchvision

    theirs = randomise(Torchvision(32, 8, 2, 4, 64, 128, num_classes=5, representation_size=16 if old else None))
    state = theirs.state_dict()
    if old:
        state = {k.replace("mlp.0", "mlp.linear_1").replace("mlp.3", "mlp.linear_2"): v for k, v in state.items()}
    torch.save(state, tmp_path / "a.pth")
    found = read(tmp_path / "a.pth")
    assert found.arch["heads"] is None and any("heads" in note for note in found.notes)
    found.arch["heads"] = 4
    assert difference(theirs(images()), build(found)(images())) < 1e-5
    assert found.mean == pytest.approx((0.485, 0.456, 0.406))


@pytest.mark.parametrize("format", PATHS)
def test_a_full_disk_leaves_what_was_there(format, tmp_path):
    model = our_model("cls")
    path = tmp_path / PATHS[format]
    save(model, tmp_path, format)
    before = {file.name: file.read_bytes() for file in tmp_path.rglob("*") if file.is_file()}
    soft, hard = resource.getrlimit(resource.RLIMIT_FSIZE)
    resource.setrlimit(resource.RLIMIT_FSIZE, (4096, hard))  # bytes that a file may have
    try:
        with pytest.raises(Exception, match=r"(?i)file too large|unexpected pos|write"):
            save(randomise(model, seed=1), tmp_path, format)
    finally:
        resource.setrlimit(resource.RLIMIT_FSIZE, (soft, hard))
    assert {file.name: file.read_bytes() for file in tmp_path.rglob("*") if file.is_file()} == before and path.exists()
