"""Networks of others for videos, from local files."""

from __future__ import annotations

import warnings
from pathlib import Path

import pytest
import torch
from torch import Tensor, nn

from trainer.errors import CheckpointError, ConfigError
from vid2vid.config import Vid2VidConfig
from vid2vid.evaluate.chosen import build_clip_metrics
from vid2vid.evaluate.video_features import WINDOW, load_video_network

CPU = torch.device("cpu")


def clip(height: int = 8, width: int = 12) -> Tensor:
    random = torch.Generator().manual_seed(0)
    return torch.randint(0, 256, (1, WINDOW, 3, height, width), generator=random, dtype=torch.uint8)


def scripted(module: nn.Module, path: Path) -> Path:
    with warnings.catch_warnings():
        warnings.simplefilter("ignore")
        torch.jit.script(module).save(str(path))
    return path


class Means(nn.Module):
    """Mean of each channel over a stretch: 3 features."""

    def forward(self, x: Tensor) -> Tensor:
        return x.mean(dim=[2, 3, 4])


class I3d(nn.Module):
    """As FVD's is called: 400 features."""

    def forward(self, x: Tensor, rescale: bool, resize: bool, return_features: bool) -> Tensor:
        assert rescale and resize and return_features
        return x.mean(dim=[2, 3, 4])[:, :1].repeat(1, 400)


class NotI3d(nn.Module):
    """Takes what FVD's takes, and has features of another number."""

    def forward(self, x: Tensor, rescale: bool, resize: bool, return_features: bool) -> Tensor:
        return x.mean(dim=[2, 3, 4])


def test_torchscript_gets_a_stretch_in_0_to_1(tmp_path: Path) -> None:
    network = load_video_network(f"torchscript:{scripted(Means(), tmp_path / 'means.pt')}", CPU)
    assert network.name == "means"
    expected = clip().float().mean((1, 3, 4)) / 255
    torch.testing.assert_close(network.features(clip()), expected)


def test_fvd_is_its_own_i3d_and_nothing_else(tmp_path: Path) -> None:
    network = load_video_network(f"fvd:{scripted(I3d(), tmp_path / 'i3d.pt')}", CPU)
    found = network.features(clip())
    assert found.shape == (1, 400) and found[0, 0].item() == pytest.approx(clip()[:, :, 0].float().mean().item())
    other = load_video_network(f"fvd:{scripted(Means(), tmp_path / 'means.pt')}", CPU)
    with pytest.raises(CheckpointError, match="takes no stretch"):
        other.features(clip())
    with pytest.raises(CheckpointError, match="not the I3D"):
        load_video_network(f"fvd:{scripted(NotI3d(), tmp_path / 'three.pt')}", CPU).features(clip())


@pytest.mark.parametrize("given", ["features.npz", "vjepa2:real.npy", "fvd:real.pkl"])
def test_features_that_were_made_elsewhere_are_told_what_is_needed(given: str) -> None:
    with pytest.raises(ConfigError, match=r"computed before, .*vjepa2:FOLDER.* for JEDi, fvd:i3d.* for FVD, r2plus1d"):
        load_video_network(given, CPU)


def test_a_file_in_place_of_a_folder_and_a_network_twice(tmp_path: Path) -> None:
    path = scripted(Means(), tmp_path / "means.pt")
    with pytest.raises(CheckpointError, match=r"is a file; give vjepa2:FOLDER \(config\.json and model\.safetensors"):
        load_video_network(f"vjepa2:{path}", CPU)
    with pytest.raises(ConfigError, match="would both be vfd_means"):
        given = f"torchscript:{path},torchscript:{path}"
        build_clip_metrics(video_features=given, config=Vid2VidConfig(), device=CPU)


@pytest.mark.slow
def test_torchvisions_networks_lose_their_head(tmp_path: Path) -> None:
    """The head of the whole network on our features gives its answer."""
    from torchvision.models.video import mc3_18

    torch.manual_seed(0)
    whole = mc3_18(weights=None, num_classes=7).eval()
    torch.save(whole.state_dict(), tmp_path / "mc3.pth")
    network = load_video_network(f"mc3_18:{tmp_path / 'mc3.pth'}", CPU)
    with torch.inference_mode():
        features = network.features(clip(112, 112))
        mean, deviation = torch.tensor([0.43216, 0.394666, 0.37645]), torch.tensor([0.22803, 0.22145, 0.216989])
        given = (clip(112, 112)[0].permute(0, 2, 3, 1).float() / 255 - mean) / deviation
        expected = whole(given.permute(3, 0, 1, 2)[None])
        assert features.shape == (1, 512)
        torch.testing.assert_close(whole.fc(features), expected, atol=1e-4, rtol=1e-3)
    with pytest.raises(CheckpointError, match="r3d_18"):
        load_video_network(f"r3d_18:{tmp_path / 'mc3.pth'}", CPU)


@pytest.mark.parametrize("classifier", [False, True])
def test_vjepa2_from_a_folder(tmp_path: Path, classifier: bool) -> None:
    transformers = pytest.importorskip("transformers", reason="the extra [prepare]")
    config = transformers.VJEPA2Config(
        patch_size=8, crop_size=16, frames_per_clip=4, hidden_size=12, num_attention_heads=2, num_hidden_layers=1,
        pred_hidden_size=12, pred_num_attention_heads=2, pred_num_hidden_layers=1, num_pooler_layers=1,
    )  # fmt: skip
    torch.manual_seed(0)
    model = (transformers.VJEPA2ForVideoClassification if classifier else transformers.VJEPA2Model)(config).eval()
    model.save_pretrained(tmp_path / "jepa")
    network = load_video_network(f"vjepa2:{tmp_path / 'jepa'}", CPU)
    mean, deviation = torch.tensor([0.485, 0.456, 0.406]), torch.tensor([0.229, 0.224, 0.225])
    given = ((clip(16, 16).permute(0, 1, 3, 4, 2).float() / 255 - mean) / deviation).permute(0, 1, 4, 2, 3)
    with torch.inference_mode():
        features = network.features(clip(16, 16))
        encoder = model.vjepa2 if classifier else model
        tokens = encoder(pixel_values_videos=given, skip_predictor=True).last_hidden_state
        expected = model.pooler(tokens) if classifier else tokens.mean(1)
    assert features.shape == (1, 12)
    torch.testing.assert_close(features, expected, atol=1e-4, rtol=1e-3)


def test_mistakes_are_named(tmp_path: Path) -> None:
    for given in ("i3d:x", "r2plus1d_18", "vjepa2:"):
        with pytest.raises(ConfigError, match="NETWORK:FILE"):
            load_video_network(given, CPU)
    with pytest.raises(CheckpointError, match="does not exist"):
        load_video_network(f"s3d:{tmp_path / 'absent.pth'}", CPU)
    torch.save({"a": torch.zeros(1)}, tmp_path / "other.pth")
    with pytest.raises(CheckpointError, match="torchvision's mc3_18"):
        load_video_network(f"mc3_18:{tmp_path / 'other.pth'}", CPU)
    (tmp_path / "x.pt").write_bytes(b"no archive")
    with pytest.raises(CheckpointError, match="TorchScript"):
        load_video_network(f"torchscript:{tmp_path / 'x.pt'}", CPU)
    with pytest.raises(CheckpointError, match="V-JEPA 2"):
        load_video_network(f"vjepa2:{tmp_path}", CPU)
