"""timm's models at another size than their weights were trained at."""

from __future__ import annotations

from pathlib import Path

import pytest
import timm
import torch
from safetensors.torch import save_file
from timm.layers import resample_abs_pos_embed

from trainer.errors import ConfigError
from vit.weights.timm_models import build

NAME = "vit_tiny_patch16_224"


@pytest.fixture(params=["file", "published"])
def source(request: pytest.FixtureRequest, tmp_path: Path, monkeypatch: pytest.MonkeyPatch) -> tuple[str, torch.Tensor]:
    """Weights as they can be given, and their table of positions."""
    torch.manual_seed(0)
    net = timm.create_model(NAME, num_classes=3).eval()
    if request.param == "file":
        save_file(net.state_dict(), tmp_path / "tiny.safetensors")
        return str(tmp_path / "tiny.safetensors"), net.pos_embed.detach().clone()
    monkeypatch.setattr(build, "pretrained", lambda name: net)
    return f"timm:{NAME}", net.pos_embed.detach().clone()


def test_positions_are_resampled_to_the_size_asked_for(source: tuple[str, torch.Tensor]) -> None:
    path, positions = source
    model, told = build.load_timm(path, None if path.startswith("timm:") else NAME, (64, 32))
    expected = resample_abs_pos_embed(positions, [4, 2], [14, 14], num_prefix_tokens=1)
    torch.testing.assert_close(model.net.pos_embed, expected)
    assert model(torch.zeros(1, 3, 64, 32)).shape == (1, 3) and told["resolution"] == [224, 224]


def test_a_size_that_patches_do_not_divide(source: tuple[str, torch.Tensor]) -> None:
    path, _ = source
    with pytest.raises(ConfigError, match=r"resolution=\[60,64\].* nearest: \[64,64\]"):
        build.load_timm(path, None if path.startswith("timm:") else NAME, (60, 64))


def test_trying_a_size_leaves_nothing_in_the_model() -> None:
    """ConViT keeps the relative positions of its first pass."""
    net = timm.create_model("convit_tiny", depth=2, embed_dim=32, num_heads=2, num_classes=3, img_size=32).train()
    parameters = dict(net.named_parameters())
    build._try(net, "convit_tiny", (1, 3, 32, 32))
    assert net.training and all(parameter is parameters[name] for name, parameter in net.named_parameters())
    assert type(net(torch.zeros(2, 3, 32, 32)).detach().sum().item()) is float
