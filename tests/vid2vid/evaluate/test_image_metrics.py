"""FID, KID and LPIPS: with the files that define them, or not at all."""

from __future__ import annotations

import importlib.util
import math
import warnings
from pathlib import Path

import pytest
import torch
from torch import Tensor, nn

from trainer.device.compute import CPU
from trainer.errors import CheckpointError
from vid2vid.encoding import images_to_float
from vid2vid.evaluate.image_metrics import KernelInception, build_image_metrics


def test_absent_metrics_are_told_and_named_files_must_exist(tmp_path: Path, monkeypatch: pytest.MonkeyPatch):
    found, lines = build_image_metrics(None, None, CPU.device)
    assert found == [] and [line.split()[0] for line in lines] == ["FID", "LPIPS"]
    monkeypatch.setattr(importlib.util, "find_spec", lambda name: None)
    found, lines = build_image_metrics(str(tmp_path / "a"), str(tmp_path / "b"), CPU.device)
    assert found == [] and all("[eval]" in line for line in lines)


def test_lpips_with_a_local_file_is_that_of_torchmetrics(tmp_path: Path):
    lpips = pytest.importorskip("torchmetrics.functional.image.lpips", reason="the extra [eval]")
    from torchvision.models import alexnet

    torch.manual_seed(0)
    backbone = alexnet(weights=None)
    torch.save(backbone.state_dict(), tmp_path / "alexnet.pth")
    metric = build_image_metrics(None, str(tmp_path / "alexnet.pth"), CPU.device)[0][0]
    real = torch.randint(0, 256, (3, 3, 64, 64), dtype=torch.uint8)
    generated = torch.randint(0, 256, (3, 3, 64, 64), dtype=torch.uint8)
    metric.update(generated, real)
    reference = lpips._LPIPS(pretrained=True, net="alex", pnet_rand=True)
    features = {f"features.{name}": value for name, value in backbone.features.state_dict().items()}
    for name, parameter in reference.net.named_parameters():
        parameter.data.copy_(features["features." + name.partition(".")[2]])
    expected = reference(images_to_float(generated), images_to_float(real)).mean().item()
    assert metric.compute() == pytest.approx(expected, rel=1e-5)
    torch.save({"x": torch.zeros(1)}, tmp_path / "other.pth")
    with pytest.raises(CheckpointError, match=r"other\.pth"):
        build_image_metrics(None, str(tmp_path / "other.pth"), CPU.device)
    with pytest.raises(CheckpointError, match="alexnet-owt"):
        build_image_metrics(None, str(tmp_path / "absent.pth"), CPU.device)


def test_kid_takes_the_features_that_fid_computes():
    """Real frames come first in every part; known means give the closed form."""

    class Network(nn.Module):
        def forward(self, frames: Tensor) -> Tensor:
            return frames.float().mean((2, 3))

    class Fid:
        network = Network()

    kid = KernelInception(Fid())  # type: ignore[arg-type]
    real, generated = (torch.full((2, 3, 4, 4), value, dtype=torch.uint8) for value in (1, 2))
    for part in (0, 1):
        assert math.isnan(kid.compute()), "no variance of fewer than two frames"
        Fid.network(real[part : part + 1])
        Fid.network(generated[part : part + 1])
    assert kid.compute() == pytest.approx((4 + 1) ** 3 + (1 + 1) ** 3 - 2 * (2 + 1) ** 3)


def test_kid_of_inception_is_that_of_torchmetrics(tmp_path: Path):
    image = pytest.importorskip("torchmetrics.image.kid", reason="the extra [eval]")
    pytest.importorskip("torch_fidelity", reason="the extra [eval]")

    class Small(nn.Module):
        """Features of its size by a network that is there at once: Inception's file is nobody's to make."""

        num_features = 2048

        def forward(self, frames: Tensor) -> Tensor:
            random = torch.Generator().manual_seed(0)
            return frames.float().flatten(1) @ torch.randn(frames[0].numel(), 2048, generator=random) / 255

    class Fid:
        network = Small()

    kid = KernelInception(Fid())  # type: ignore[arg-type]
    with warnings.catch_warnings():  # that it keeps all features
        warnings.simplefilter("ignore")
        reference = image.KernelInceptionDistance(feature=Small(), subsets=1, subset_size=6)
    real, generated = torch.randint(0, 256, (2, 6, 3, 8, 8), dtype=torch.uint8)
    for frames, is_real in ((real, True), (generated, False)):
        Fid.network(frames)
        reference.update(frames, real=is_real)
    assert kid.compute() == pytest.approx(reference.compute()[0].item(), rel=1e-3)


def test_fid_needs_its_own_network(tmp_path: Path):
    pytest.importorskip("torchmetrics", reason="the extra [eval]")
    pytest.importorskip("torch_fidelity", reason="the extra [eval]")
    torch.save({"x": torch.zeros(1)}, tmp_path / "other.pth")
    with pytest.raises(CheckpointError, match="pt_inception"):
        build_image_metrics(str(tmp_path / "other.pth"), None, CPU.device)
