"""The perceptual loss by a backbone: what it computes, whose weights it takes, and that only frames learn."""

import json
from pathlib import Path
from typing import Any

import pytest
import torch
import torch.nn.functional as F
from safetensors.torch import load_file, save_file
from torch import Tensor

from tests.helpers.made_task import configured, make_trainer, one_batch
from trainer.errors import CheckpointError, ConfigError, UserError
from vid2vid.build import build_networks
from vid2vid.config import ModelConfig, PerceptualKind, Vid2VidStage
from vid2vid.losses.backbone import Backbone, build_backbone
from vid2vid.validate import problems

timm = pytest.importorskip("timm")


def weights_of(name: str, folder: Path, seed: int = 0, **options: Any) -> Path:
    """A file with random weights of a network of timm's, its head too."""
    torch.manual_seed(seed)
    network = timm.create_model(name, num_classes=3, **options)
    with torch.no_grad():
        for parameter in network.parameters():
            parameter.add_(0.1 * torch.randn(parameter.shape))
    save_file({key: value.contiguous() for key, value in network.state_dict().items()}, folder / f"{name}.safetensors")
    return folder / f"{name}.safetensors"


def model(name: str | None, weights: Path, **more: Any) -> ModelConfig:
    return ModelConfig(
        loss_perceptual=PerceptualKind.dino, perceptual_backbone=name, perceptual_weights=str(weights), **more
    )


def images(seed: int, height: int = 32, width: int = 64) -> Tensor:
    return torch.rand(2, 3, height, width, generator=torch.Generator().manual_seed(seed)) * 2 - 1


def test_the_distance_of_a_vit_by_hand(tmp_path: Path) -> None:
    """Positions resampled for the frame by timm, its own normalisation, unit length at each place, four depths."""
    path = weights_of("test_vit", tmp_path)
    backbone = build_backbone(model("test_vit", path))
    assert backbone.layers == [1, 2, 3, 5]
    reference = timm.create_model("test_vit", num_classes=3, checkpoint_path=str(path)).eval()
    reference.set_input_size(img_size=(32, 64))
    mean = torch.tensor(reference.pretrained_cfg["mean"]).view(1, 3, 1, 1)
    std = torch.tensor(reference.pretrained_cfg["std"]).view(1, 3, 1, 1)
    a, b = images(0), images(1)
    with torch.no_grad():
        features = [
            reference.forward_intermediates((((x + 1) / 2) - mean) / std, norm=True, intermediates_only=True)
            for x in (a, b)
        ]
        expected = torch.stack(
            [
                (F.normalize(f[i], dim=1) - F.normalize(g[i], dim=1)).square().sum(1).mean()
                for f, g in [features]
                for i in backbone.layers
            ]
        ).mean()
        value = backbone.distance(a, backbone.features(b))
    assert float(value) == pytest.approx(float(expected), rel=1e-4)
    assert 0 < float(value) < 4
    assert float(backbone.distance(a, backbone.features(a))) == 0


@pytest.mark.parametrize("name", ["test_vit", "test_resnet", "test_convnext"])
def test_frames_learn_and_nothing_else_changes(tmp_path: Path, name: str) -> None:
    backbone = build_backbone(model(name, weights_of(name, tmp_path)))
    before = {key: value.clone() for key, value in backbone.state_dict().items()}
    backbone.train()
    assert not backbone.training and not backbone.network.training
    fake, real = images(0).requires_grad_(), images(1).requires_grad_()
    for _ in range(2):
        backbone.distance(fake, backbone.features(real)).backward()
    assert fake.grad is not None and float(fake.grad.abs().sum()) > 0 and real.grad is None
    assert all(p.grad is None and not p.requires_grad for p in backbone.parameters())
    assert all(torch.equal(value, before[key]) for key, value in backbone.state_dict().items())


def test_layers_by_number_and_sizes_that_patches_do_not_divide(tmp_path: Path) -> None:
    path = weights_of("test_vit", tmp_path)
    backbone = build_backbone(model("test_vit", path, perceptual_layers=[-1, 0]))
    assert backbone.layers == [0, 5]
    (first, last) = backbone(images(0, 40, 72))
    assert first.shape[-2:] == last.shape[-2:] == (2, 4)  # 40 is nearest to two patches of 16, 72 to four (64) or five
    assert torch.allclose(first.square().sum(1), torch.ones(2, 2, 4), atol=1e-4)
    with pytest.raises(ConfigError, match=r"model\.perceptual_layers has 6: .*layers 0\.\.5"):
        build_backbone(model("test_vit", path, perceptual_layers=[6]))


def test_what_does_not_fit_is_told(tmp_path: Path) -> None:
    path = weights_of("test_vit", tmp_path)
    with pytest.raises(CheckpointError, match=r"is not of model\.perceptual_backbone=test_resnet"):
        build_backbone(model("test_resnet", path))
    with pytest.raises(ConfigError, match="did you mean 'test_vit'"):
        build_backbone(model("test_vitt", path))
    (tmp_path / "empty").mkdir()
    with pytest.raises(CheckpointError, match="is no run of a classifier and no folder of timm's hub"):
        build_backbone(model(None, tmp_path / "empty"))
    config = configured("model.loss_perceptual=dino")
    (problem,) = problems(config)
    assert "vit_small_patch14_dinov2" in problem and "nothing is downloaded" in problem
    config = configured("model.perceptual_backbone=test_vit")
    (problem,) = problems(config)
    assert "with model.loss_perceptual=dino only" in problem


def test_a_folder_of_the_hub_names_its_network_and_input(tmp_path: Path) -> None:
    weights_of("test_vit2", tmp_path).rename(tmp_path / "model.safetensors")
    cfg = {"mean": [0.1, 0.2, 0.3], "std": [0.4, 0.5, 0.6]}
    (tmp_path / "config.json").write_text(json.dumps({"architecture": "test_vit2", "pretrained_cfg": cfg}))
    backbone = build_backbone(model(None, tmp_path))
    assert backbone.mean.flatten().tolist() == pytest.approx(cfg["mean"])
    assert backbone.std.flatten().tolist() == pytest.approx(cfg["std"])


def test_weights_of_the_dinov2_release_are_converted(tmp_path: Path) -> None:
    """By timm, which knows them by their mask token; a table for more patches is resampled."""
    path = weights_of("test_vit", tmp_path, img_size=320)
    torch.save(load_file(path) | {"mask_token": torch.zeros(1, 64)}, tmp_path / "release.pth")
    backbone = build_backbone(model("test_vit", tmp_path / "release.pth"))
    known, loaded = load_file(path), backbone.network.state_dict()
    assert loaded["pos_embed"].shape[1] == 101 < known.pop("pos_embed").shape[1]
    assert all(torch.equal(value, known[key]) for key, value in loaded.items() if key != "pos_embed")


def test_training_with_one(tmp_path: Path) -> None:
    """In the task: frozen, in the dry run, in no checkpoint, in the losses, and torch's random stream as without."""
    path = weights_of("test_vit", tmp_path)
    words = ["model.loss_perceptual=dino", "model.perceptual_backbone=test_vit", f"model.perceptual_weights={path}"]
    trainer, task = make_trainer(configured("trainer.max_steps=1", "seed=3", *words), tmp_path / "run")
    plain, other = make_trainer(configured("trainer.max_steps=1", "seed=3"), tmp_path / "plain")
    for key, value in other.networks()["d_video"].state_dict().items():
        assert torch.equal(value, task.networks()["d_video"].state_dict()[key])
    text = trainer.dry_run()
    assert "frozen (parameters)" in text and "perceptual loss off" not in text
    batch, ctx = one_batch(trainer)
    segment = next(task.segments(batch, ctx))
    losses = task.losses("g", segment, ctx)
    assert float(losses["perceptual"].detach()) > 0 and "l1" not in losses
    assert "perceptual" not in task.networks() and list(task.frozen()) == ["perceptual"]
    del plain


def test_it_must_take_the_frames_of_every_stage(tmp_path: Path, monkeypatch: pytest.MonkeyPatch) -> None:
    path, seen = weights_of("test_vit", tmp_path), set()
    words = ["model.loss_perceptual=dino", "model.perceptual_backbone=test_vit", f"model.perceptual_weights={path}"]
    stages = {"half": Vid2VidStage(downscale=2), "whole": Vid2VidStage(start=0.5)}
    monkeypatch.setattr("vid2vid.build.Backbone.check", lambda self, *size: seen.add(size))
    build_networks(configured(*words, stages=stages))
    assert seen == {(16, 32), (32, 64)}


def test_a_network_of_clips_is_refused_by_the_name_of_its_run() -> None:
    class OfClips(torch.nn.Module):
        blocks = torch.nn.ModuleList([torch.nn.Identity()])

        def forward_intermediates(self, *_: Any, **__: Any) -> None:
            raise UserError("this one sees 4 frames")

    backbone = Backbone(OfClips(), [0.5] * 3, [0.5] * 3, [], "model.perceptual_weights=runs/clips")
    with pytest.raises(
        ConfigError, match=r"model\.perceptual_weights=runs/clips cannot take .* \(this one sees 4 frames"
    ):
        backbone.check(32, 64)


def test_none_trains_without_and_without_a_note(tmp_path: Path) -> None:
    trainer, task = make_trainer(configured("trainer.max_steps=1", "model.loss_perceptual=none"), tmp_path)
    assert not any("perceptual" in note for note in task.notes())
    batch, ctx = one_batch(trainer)
    losses = task.losses("g", next(task.segments(batch, ctx)), ctx)
    assert "perceptual" not in losses and "l1" not in losses
