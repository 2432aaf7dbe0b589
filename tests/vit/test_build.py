"""Classifiers out of configurations (ours and timm's), and trained ones out of runs, checkpoints and files."""

from __future__ import annotations

import json
import math
from functools import reduce
from pathlib import Path
from typing import Any

import pytest
import torch

from tests.helpers.made_classifier import make_run, mu_config
from tests.helpers.paths import FIXTURES
from trainer.checkpoint.weights import save_weights
from trainer.errors import CheckpointError, ConfigError, UserError
from vit.build import Built, build_model, initial_bias, resolutions
from vit.config import HeadPolicy, LossConfig, LossKind, ModelConfig, VitConfig, VitStage
from vit.data import DataInfo
from vit.model.timm_model import TimmClassifier
from vit.model.transformer import VisionTransformer
from vit.trained import load_run_model, load_weights_model
from vit.weights.timm_models.build import build_timm

INFO = DataInfo(classes=[f"class {i}" for i in range(5)], channels=3, multilabel=False, train_samples=10)
GREY = DataInfo(classes=["cat", "dog"], channels=1, multilabel=False, train_samples=10)


def configured(values: dict[str, Any]) -> VitConfig:
    """vit_mu at 32 px with ``values`` by key."""
    config = VitConfig(resolution=[32, 32], model=ModelConfig(variant="mu"))
    for key, value in values.items():
        *groups, name = key.split(".")
        setattr(reduce(getattr, groups, config), name, value)
    return config


def build(info: DataInfo = INFO, **values: Any) -> Built:
    """``__`` in a keyword stands for the dot of a key."""
    return build_model(configured({key.replace("__", "."): value for key, value in values.items()}), info)


def build_timm_model(info: DataInfo = INFO, **values: Any) -> Built:
    return build(info, **{"model__name": "test_vit", **values})


# --- ours -------------------------------------------------------------------------------------------------------------


def test_the_data_decide_classes_and_channels() -> None:
    built = build(GREY)
    assert (built.num_classes, built.in_channels) == (2, 1)
    assert isinstance(built.model, VisionTransformer) and built.report is None
    assert built.model(torch.zeros(1, 1, 32, 32)).shape == (1, 2)
    assert built.mean == built.std == [0.5]


def test_other_numbers_than_the_datas_are_refused_together() -> None:
    with pytest.raises(ConfigError) as caught:
        build(model__num_classes=9, model__in_channels=1, data__mean=[0.1, 0.2], data__std=[1.0, 1.0])
    text = str(caught.value)
    assert "model.num_classes=9, but the data have 5 classes (class 0, " in text
    assert "data.class_map" in text and "model.head=reset" in text
    assert "model.in_channels=1, but the data have 3 channels: data.channels=1" in text
    assert "data.mean has 2 numbers, the pictures 1 channels" in text
    assert build(model__num_classes=9, data__class_map="map.json").num_classes == 9


@pytest.mark.parametrize(
    ("kind", "expected"),
    [
        (LossKind.softmax, 0.0),
        (LossKind.focal, 0.0),
        (LossKind.sigmoid, -math.log(5)),
        (LossKind.bce, -math.log(5)),
    ],
)
def test_the_heads_bias_follows_the_loss(kind: LossKind, expected: float) -> None:
    bias = build(loss__kind=kind).model.state_dict()["head.bias"]
    torch.testing.assert_close(bias, torch.full((5,), expected))
    assert initial_bias(LossConfig(kind=kind), 5) == pytest.approx(expected)
    assert build(loss__kind=kind, model__head_bias=-10.0).model.state_dict()["head.bias"].tolist() == [-10.0] * 5


def test_positions_have_the_final_grid_and_start_at_the_coarsest() -> None:
    stages = {
        "small": VitStage(resolution=[32, 48]),
        "half": VitStage(start=0.3, downscale=2),
        "full": VitStage(start=0.6),
    }
    config = configured({"resolution": [64, 64], "model.patch": 8, "curriculum.stages": stages})
    assert resolutions(config) == [(32, 32), (32, 48), (64, 64)]
    model = build_model(config, INFO).model
    assert isinstance(model, VisionTransformer)
    assert model.arch.grid == (8, 8) and model.arch.init_grid == (4, 4)


def test_the_patch_must_divide_the_resolution() -> None:
    with pytest.raises(UserError, match="does not divide"):
        build(resolution=[33, 32])


def write_weights(path: Path, **meta: Any) -> Path:
    """Weights of vit_mu as a checkpoint's file, with what travels beside it."""
    torch.manual_seed(3)
    folder = path / "step-00000001"
    folder.mkdir(parents=True)
    save_weights(folder / "weights.safetensors", build().model.state_dict())
    (folder / "meta.json").write_text(json.dumps({"task": meta}))
    return folder / "weights.safetensors"


def test_statistics_come_from_config_then_weights_then_data(tmp_path: Path) -> None:
    weights = write_weights(tmp_path, mean=[0.1, 0.2, 0.3], std=[0.4, 0.5, 0.6])
    data = DataInfo(INFO.classes, 3, False, 1, mean=[0.7] * 3, std=[0.8] * 3)
    assert build(data).mean == [0.7] * 3 and build(data).std == [0.8] * 3
    built = build(data, model__weights=str(weights))
    assert (built.mean, built.std) == ([0.1, 0.2, 0.3], [0.4, 0.5, 0.6])
    built = build(data, model__weights=str(weights), data__mean=[0.45], data__std=[0.2, 0.3, 0.4])
    assert (built.mean, built.std) == ([0.45] * 3, [0.2, 0.3, 0.4])
    assert build().mean == [0.5] * 3


def test_a_runs_head_for_classes_of_other_names_is_refused(tmp_path: Path) -> None:
    weights = write_weights(tmp_path, mean=[0.5] * 3, std=[0.5] * 3, classes=["cat", "dog", "cow", "hen", "pig"])
    with pytest.raises(CheckpointError, match=r"gone cat, dog, cow, hen, pig; new class 0, .*model\.head=reset"):
        build(model__weights=str(weights))
    again = build(model__weights=str(weights), model__head=HeadPolicy.reset)
    assert again.report is not None and not any("cat" in note for note in again.report.notes)


def test_weights_of_another_head_size_and_channels(tmp_path: Path) -> None:
    weights = write_weights(tmp_path, mean=[0.1, 0.2, 0.3], std=[0.5] * 3)
    with pytest.raises(CheckpointError, match=r"head has 5 classes, this model 2: model\.head=reset"):
        build(GREY, model__weights=str(weights))
    fresh = {"model__weights": str(weights), "model__head": HeadPolicy.reset}
    built = build(GREY, **fresh, model__patch=4, resolution=[28, 28])
    assert built.mean == pytest.approx([0.2]) and built.model(torch.zeros(1, 1, 28, 28)).shape == (1, 2)


# --- timm's -----------------------------------------------------------------------------------------------------------


def test_a_timm_model_keeps_its_names_and_methods() -> None:
    built = build_timm_model()
    model = built.model
    assert isinstance(model, TimmClassifier)
    names = {name for name, _ in model.named_parameters()}
    assert names == {name for name, _ in model.net.named_parameters()} and "blocks.0.attn.qkv.weight" in names
    assert list(model.state_dict()) == list(model.net.state_dict())
    x = torch.randn(2, 3, 32, 32)
    model.eval()
    assert not model.net.training and not any(part.training for part in model.modules())
    assert torch.equal(model(x), model.net(x))
    torch.testing.assert_close(model.net.get_classifier()(model.representation(x)), model(x))  # type: ignore[operator]
    model.double()
    assert model(x.double()).dtype == torch.float64
    model.train()
    assert model.net.training


@pytest.mark.parametrize("name", ["test_vit", "test_resnet", "test_convnext", "test_mambaout"])
def test_layers_cover_every_parameter_in_order(name: str) -> None:
    model, _ = build_timm(ModelConfig(name=name), 5, 3, (64, 64))
    ids = model.layer_ids()
    assert set(ids) == {name for name, _ in model.named_parameters()}
    assert sorted(set(ids.values())) == list(range(max(ids.values()) + 1))
    heads = [depth for name, depth in ids.items() if name.startswith(("head", "fc.", "classifier"))]
    assert heads and max(heads) == max(ids.values())
    assert model.no_weight_decay() <= set(ids)


def test_spared_from_decay_as_timm_lists_them() -> None:
    model, _ = build_timm(ModelConfig(name="test_vit"), 5, 3, (64, 64))
    assert {"pos_embed", "cls_token"} <= model.no_weight_decay()


@pytest.mark.parametrize("name", ["test_vit", "test_resnet"])
def test_a_file_goes_into_a_timm_model_as_timm_would_load_it(name: str, tmp_path: Path) -> None:
    """Another grid, one channel, other classes: every tensor but the head's as timm itself makes it."""
    import timm

    sized = name == "test_vit"
    torch.manual_seed(1)
    source = timm.create_model(name, num_classes=5, **({"img_size": 64} if sized else {}))
    path = tmp_path / "weights.pth"
    torch.save(source.state_dict(), path)
    fresh = {"model__weights": str(path), "model__head": HeadPolicy.reset}
    built = build_timm_model(GREY, **fresh, resolution=[96, 64], model__name=name)
    overlay = {"file": str(path), "num_classes": 5}
    options = {"img_size": (96, 64)} if sized else {}
    theirs = timm.create_model(
        name, pretrained=True, num_classes=2, in_chans=1, pretrained_cfg_overlay=overlay, **options
    ).state_dict()
    head = source.pretrained_cfg["classifier"]
    for key, value in built.model.state_dict().items():
        if not key.startswith(f"{head}."):
            assert torch.equal(value, theirs[key]), key
    assert built.report is not None
    assert sorted(built.report.new) == [f"{head}.bias", f"{head}.weight"] == sorted(built.report.dropped)
    assert {item[0] for item in built.report.resized} == (
        {"pos_embed", "patch_embed.proj.weight"} if sized else {"conv1.0.weight"}
    )
    assert len(built.mean) == 1


def test_a_timm_head_is_kept_when_the_classes_agree(tmp_path: Path) -> None:
    import timm

    source = timm.create_model("test_resnet", num_classes=5).eval()
    path = tmp_path / "weights.pth"
    torch.save({"state_dict": source.state_dict()}, path)
    model = build_timm_model(model__weights=str(path), model__name="test_resnet").model.eval()
    x = torch.randn(1, 3, 32, 32)
    assert torch.equal(model(x), source(x))
    with pytest.raises(CheckpointError, match=r"head has 5 classes, this model 2: model\.head=reset"):
        build_timm_model(GREY, model__weights=str(path), model__name="test_resnet")


def test_filling_draws_no_more_random_numbers_than_building(tmp_path: Path) -> None:
    import timm

    path = tmp_path / "weights.pth"
    torch.save(timm.create_model("test_vit", num_classes=5, img_size=32).state_dict(), path)
    after = []
    for weights in (None, str(path)):
        torch.manual_seed(0)
        build_timm_model(model__weights=weights)
        after.append(torch.rand(3))
    assert torch.equal(*after)


def test_options_reach_timm() -> None:
    model = build_timm_model(model__name_options={"depth": 2.0, "drop_path_rate": 0.5}).model
    assert isinstance(model, TimmClassifier) and len(model.net.blocks) == 2  # type: ignore[arg-type]
    with pytest.raises(ConfigError, match=r"model\.name_options=.*deepth.*test_vit does not take them"):
        build_timm_model(model__name_options={"deepth": 2.0})


FIXED = {"model__name": "vit_tiny_patch16_224", "model__name_options": {"depth": 1.0}}


@pytest.mark.parametrize(
    ("values", "error", "message"),
    [
        ({"model__name": "resnet51"}, ConfigError, "timm [0-9.]+ has no such model; did you mean 'resnet5"),
        ({"resolution": [40, 32]}, ConfigError, r"has patches of 16 pixels, .*nearest: \[32,32\]"),
        ({"model__weights": "timm:resnet18"}, CheckpointError, "another architecture than model.name=test_vit"),
        (
            {**FIXED, "curriculum__stages": {"small": VitStage(resolution=[16, 16])}},
            ConfigError,
            r"resolution=\[16,16\]: model.name=vit_tiny_patch16_224 cannot take .*its own is \[224,224\]",
        ),
    ],
)
def test_what_timm_cannot_do_is_said(values: dict[str, Any], error: type[UserError], message: str) -> None:
    with pytest.raises(error, match=message):
        build_timm_model(**values)


def test_a_download_that_fails_says_so(monkeypatch: pytest.MonkeyPatch) -> None:
    import timm

    def offline(*args: Any, **options: Any) -> None:
        raise OSError("no route to the hub")

    real = timm.create_model
    monkeypatch.setattr(timm, "create_model", lambda *a, **o: offline() if o.get("pretrained") else real(*a, **o))
    with pytest.raises(
        CheckpointError, match=r"timm:test_vit.r160_in1k cannot be had \(OSError: no route.*give its path"
    ):
        build_timm_model(model__weights="timm:test_vit.r160_in1k")


def test_published_weights_come_with_their_statistics(monkeypatch: pytest.MonkeyPatch) -> None:
    """``timm:NAME`` with the download replaced by random weights."""
    import timm

    real = timm.create_model
    torch.manual_seed(5)
    published = real("test_vit")
    first = {"pretrained": True}
    monkeypatch.setattr(timm, "create_model", lambda *a, **o: published if o == first else real(*a, **o))
    weights = "timm:test_vit.r160_in1k"
    built = build_timm_model(GREY, model__weights=weights, model__head=HeadPolicy.reset, resolution=[64, 64])
    assert torch.equal(
        built.model.state_dict()["blocks.0.mlp.fc1.weight"], published.state_dict()["blocks.0.mlp.fc1.weight"]
    )
    assert built.mean == pytest.approx([sum(published.pretrained_cfg["mean"]) / 3])
    model, meta = load_weights_model(weights)
    assert isinstance(model, TimmClassifier) and meta["resolution"] == [160, 160] and len(meta["mean"]) == 3


@pytest.mark.parametrize(
    ("tensors", "message"),
    [
        ({"layers.0.conv.weight": torch.zeros(3, 3)}, "nothing in it fits model.name=test_vit; it holds layers"),
        ({"blocks.0.attn.qkv.weight": torch.zeros(192, 64)}, "(does not fit|lacks parts of) model.name=test_vit"),
    ],
)
def test_a_strange_file_is_refused(tensors: dict[str, torch.Tensor], message: str, tmp_path: Path) -> None:
    path = tmp_path / "weights.safetensors"
    save_weights(path, tensors)
    with pytest.raises(CheckpointError, match=message):
        build_timm_model(model__weights=str(path))


# --- trained ones -----------------------------------------------------------------------------------------------------


@pytest.mark.parametrize("model", ["vit_mu", "timm"])
def test_a_run_gives_its_averaged_weights_in_eval_mode(model: str, tmp_path: Path) -> None:
    words = ["model.name=test_resnet"] if model == "timm" else []
    config = mu_config(*words, model=model)
    task = make_run(tmp_path / "run", config)
    before = torch.random.get_rng_state()
    loaded, found, meta = load_run_model(tmp_path / "run")
    assert torch.equal(before, torch.random.get_rng_state())
    assert found == config and not loaded.training
    assert not any(parameter.requires_grad for parameter in loaded.parameters())
    x = torch.randn(1, 3, 16, 16)
    assert torch.equal(loaded(x), task.model.eval()(x))
    assert meta["classes"] == list(task.classes) and meta["mean"] == task.built.mean and meta["step"] == 7
    assert meta["weights"].endswith("step-00000007")
    by_name, _, _ = load_run_model(tmp_path / "run", "step-00000007")
    direct, again, _ = load_run_model(tmp_path / "run" / "checkpoints" / "step-00000007")
    assert again == config
    for other in (by_name, direct):
        assert torch.equal(other(x), loaded(x))


def test_a_run_is_found_without_the_weights_it_started_from(tmp_path: Path) -> None:
    """``model.weights`` of a run may be gone; its checkpoints hold everything."""
    weights = write_weights(tmp_path, mean=[0.5] * 3, std=[0.5] * 3)
    config = mu_config("resolution=[32,32]", f"model.weights={weights}", "model.head=reset")
    make_run(tmp_path / "run", config)
    weights.unlink()
    load_run_model(tmp_path / "run")


def test_a_run_is_gone_on_from_at_another_resolution_with_other_data(tmp_path: Path) -> None:
    """From a run in colour at 16 px to grey pictures of 28x28 with other classes, by its folder alone."""
    task = make_run(tmp_path / "run", mu_config("model.patch=4"))
    fresh = {"model__weights": str(tmp_path / "run"), "model__head": HeadPolicy.reset, "model__patch": 4}
    built = build(GREY, **fresh, resolution=[28, 28])
    assert built.report is not None and len(built.mean) == 1
    assert {name for name, *_ in built.report.resized} == {"pos_embed", "patch_embed.proj.weight"}
    theirs, ours = task.model.state_dict(), built.model.state_dict()
    assert torch.equal(ours["blocks.0.attn.qkv.weight"], theirs["blocks.0.attn.qkv.weight"])
    assert built.model(torch.zeros(1, 1, 28, 28)).shape == (1, 2)


def test_missing_runs_and_checkpoints_are_said(tmp_path: Path) -> None:
    make_run(tmp_path / "digits", mu_config())
    with pytest.raises(UserError, match="digits"):
        load_run_model(tmp_path / "digit")
    with pytest.raises(CheckpointError, match=r"checkpoint=step-9 does not exist; .* has: step-00000007"):
        load_run_model(tmp_path / "digits", "step-9")
    (tmp_path / "digits" / "checkpoints" / "step-00000007" / "meta.json").unlink()
    with pytest.raises(CheckpointError, match="no finished checkpoint"):
        load_run_model(tmp_path / "digits")


def test_weights_of_another_network_are_refused(tmp_path: Path) -> None:
    make_run(tmp_path / "run", mu_config())
    text = (tmp_path / "run" / "config.yaml").read_text()
    (tmp_path / "run" / "config.yaml").write_text(text.replace("depth: null", "depth: 2"))
    with pytest.raises(CheckpointError, match=r"another architecture.*\n.*missing.*blocks\.1"):
        load_run_model(tmp_path / "run")


def test_a_file_alone_becomes_the_model_it_was(tmp_path: Path) -> None:
    fixture = FIXTURES / "vit" / "vt_token.npz"
    model, meta = load_weights_model(str(fixture))
    assert isinstance(model, VisionTransformer) and not model.training
    assert meta["mean"] == meta["std"] == [0.5] * 3 and meta["weights"] == str(fixture)
    height, width = meta["resolution"]
    assert model(torch.zeros(1, 3, height, width)).shape == (1, model.arch.num_classes)


def test_a_timm_file_alone_needs_its_name(tmp_path: Path) -> None:
    import timm

    source = timm.create_model("test_resnet", num_classes=5, in_chans=2).eval()
    path = tmp_path / "weights.pth"
    torch.save(source.state_dict(), path)
    model, meta = load_weights_model(str(path), "test_resnet")
    x = torch.randn(1, 2, 32, 32)
    assert torch.equal(model(x), source(x)) and meta["classes"] is None
