"""Steps on a card: nothing waits, numbers are those of the CPU, what is not finite is found late but surely."""

from __future__ import annotations

from pathlib import Path
from typing import Any

import pytest
import torch
from torch import Tensor, nn

from tests.helpers.gpu_runs import BOTH, close, make, no_waits, weights
from tests.helpers.toys import build_toy, toy_config
from trainer.config.fields import DeviceKind, OptimizerConfig, OptimizerKind
from trainer.errors import NonFiniteError
from trainer.loop import Trainer
from trainer.optim.optimizers import build_optimizer
from vid2vid.config import ModelConfig
from vid2vid.model import Generator, warp
from vid2vid.model.subnets import FlowMask, Layers
from vit.evaluate.metrics import MultiLabel, SingleLabel
from vit.evaluate.plots import Gallery


@pytest.mark.parametrize("device", BOTH)
@pytest.mark.parametrize("precision", ["bf16", "fp16", "fp32"])
@pytest.mark.parametrize("model", ["vit", "vid2vid"])
def test_a_step_never_waits(tmp_path: Path, device: str, precision: str, model: str) -> None:
    """All of it, with backward pass, optimiser and verdict; after the first steps, in which things move for good."""
    trainer = make(tmp_path, model, device, f"trainer.precision={precision}", "trainer.preflight=false")
    with trainer.session():
        trainer.enter(trainer.curriculum.stages[0])
        for _ in range(2):
            trainer.train_batch(trainer.next_batch())
        before = weights(trainer)
        batch = trainer.next_batch()
        with no_waits(device):
            trainer.train_batch(batch)
        trainer.guard.settle()
        after = weights(trainer)
    if precision != "fp16":  # its first steps may overflow, and are then left out
        assert any(not torch.equal(before[name], after[name]) for name in before)
    assert all(bool(torch.isfinite(value).all()) for value in after.values())


@pytest.mark.parametrize("device", BOTH)
@pytest.mark.parametrize("kind", list(OptimizerKind))
def test_optimisers_compute_what_they_do_on_the_cpu(device: str, kind: OptimizerKind) -> None:
    found = []
    for place in ("cpu", device):
        torch.manual_seed(0)
        network = nn.Sequential(nn.Linear(8, 16), nn.LayerNorm(16), nn.Linear(16, 4))
        network.to(place)
        parameters = dict(network.named_parameters())
        optimizer = build_optimizer(parameters, OptimizerConfig(kind=kind, lr=0.01, weight_decay=0.1))
        draw = torch.Generator().manual_seed(1)
        for number in range(4):
            for parameter in parameters.values():
                parameter.grad = torch.randn(parameter.shape, generator=draw).to(place)
            optimizer.found_inf = torch.full((), float(number == 2), device=place)  # type: ignore[attr-defined]
            with no_waits(place if number else "cpu"):  # its state is made in the first step
                optimizer.step()
        found.append(parameters)
    for name, value in found[0].items():
        close(found[1][name], value, 5e-4 if kind is OptimizerKind.muon else 1e-5)  # Muon iterates in bf16


@pytest.mark.parametrize("device", BOTH)
def test_a_bad_loss_is_found_late_but_surely(tmp_path: Path, device: str) -> None:
    """On a card the verdict is read some steps later: until then nothing may move."""
    kind = DeviceKind[device]
    config = toy_config("rival", device=kind, eval_every=0, checkpoint_every=1000, max_samples=24)
    spoilt = Trainer(config, lambda: build_toy(config, spoil=("judge", 3)), tmp_path / "spoilt")
    with pytest.raises(NonFiniteError, match=r"step 3 .*'judge'"):
        spoilt.fit()
    short = toy_config("rival", device=kind, eval_every=0, checkpoint_every=1000, max_samples=24)
    whole = Trainer(short, lambda: build_toy(short), tmp_path / "whole")
    kept: dict[str, Tensor] = {}
    original = whole.train_step

    def watched(segments: Any, ctx: Any) -> None:
        if ctx.step == 3:
            kept.update(weights(whole))
        original(segments, ctx)

    whole.train_step = watched  # type: ignore[method-assign]
    whole.fit()
    for name, value in weights(spoilt).items():
        close(value, kept[name], 1e-9)
    again = toy_config("rival", device=kind, replay=str(tmp_path / "spoilt" / "nonfinite" / "step-3"))
    with pytest.raises(NonFiniteError, match="again"):
        Trainer(again, lambda: build_toy(again, spoil=("judge", 3)), tmp_path / "again").fit()


@pytest.mark.parametrize("device", BOTH)
@pytest.mark.parametrize("foreground", ["off", "override"])
def test_networks_compute_what_they_do_on_the_cpu(device: str, foreground: str) -> None:
    """A card encodes the labels of all frames at once; values and gradients stay the same in fp32."""
    from vid2vid.config import ForegroundKind

    tf32 = torch.backends.cudnn.allow_tf32
    model = ModelConfig(ngf=8, downsamplings=2, blocks=2, scales=2, num_labels=5, foreground=ForegroundKind(foreground))
    found = []
    try:
        torch.backends.cudnn.allow_tf32 = False
        for place in ("cpu", device):
            torch.manual_seed(0)
            network = Generator(model, 6).to(place)
            draw = torch.Generator().manual_seed(1)
            source = (torch.rand(1, 5, 6, 32, 64, generator=draw) > 0.8).float().to(place)
            mask = (torch.rand(1, 3, 1, 32, 64, generator=draw) > 0.5).float().to(place)
            out = network(source, foreground=mask if foreground != "off" else None)
            weight = torch.randn(out.frames.shape, generator=draw).to(place)
            assert out.flow is not None
            ((out.frames * weight).sum() + out.flow.square().mean()).backward()
            grads = {name: p.grad for name, p in network.named_parameters() if p.grad is not None}
            found.append((out, grads))
    finally:
        torch.backends.cudnn.allow_tf32 = tf32
    (expected, own), (made, theirs) = found
    close(made.frames, expected.frames, 1e-3)
    close(made.flow, expected.flow, 1e-3)
    assert own.keys() == theirs.keys()
    for name, grad in own.items():
        if not name.endswith("bias"):
            close(theirs[name], grad, 2e-2, 1e-4)


@pytest.mark.parametrize("device", BOTH)
def test_a_warp_is_exact_under_autocast(device: str) -> None:
    """Against float64 on the CPU: half precision would be off by pixels at these coordinates."""
    draw = torch.Generator().manual_seed(0)
    image = torch.rand(1, 3, 40, 1000, generator=draw)
    flow = 30 * torch.randn(1, 2, 40, 1000, generator=draw)
    expected = warp(image.double(), flow.double())
    with torch.autocast(device, torch.bfloat16):
        made = warp(image.to(device), flow.to(device))
    assert made.dtype is torch.float32
    assert float((made.cpu().double() - expected).abs().max()) < 2e-3


@pytest.mark.parametrize("device", BOTH)
def test_flow_has_no_grid_under_autocast(device: str) -> None:
    """bf16 has eight bits: at 30 pixels steps of 0.16. The heads compute in fp32."""
    torch.manual_seed(0)
    network = FlowMask(16, 1, 1, Layers.of(ModelConfig()), 20.0).to(device)
    with torch.autocast(device, torch.bfloat16):
        flow, mask, _ = network(torch.randn(1, 32, 16, 32, device=device))
    assert flow.dtype is mask.dtype is torch.float32
    unit = flow / 20.0
    assert not torch.equal(unit.bfloat16().float(), unit)


@pytest.mark.parametrize("device", BOTH)
def test_what_is_measured_arrives(device: str) -> None:
    """Scores travel to the CPU without anybody waiting; none is read before it is there."""
    draw = torch.Generator().manual_seed(0)
    logits = torch.randn(60, 32, 7, generator=draw)
    labels = (torch.rand(60, 32, 7, generator=draw) > 0.7).float()
    counts = (torch.rand(60, 32, generator=draw) > 0.2).float()
    images = torch.randint(0, 256, (60, 32, 3, 8, 8), generator=draw, dtype=torch.uint8)
    found = []
    for place in ("cpu", device):
        several, one = MultiLabel(7, place), SingleLabel(7, place)
        gallery = Gallery([str(i) for i in range(7)])
        heavy = torch.randn(2000, 2000, device=place) if place == "cuda" else None
        for i in range(60):
            row = [x[i].to(place) for x in (logits, labels, counts, images)]
            if heavy is not None:
                heavy = (heavy @ heavy).clamp(-1, 1)  # so that copies have something to wait for
            several.update(*row[:3])
            probabilities = one.update(*row[:3])
            gallery.add(row[3], row[1], probabilities, row[2])
        shown = [(s.truth, s.predicted, s.right, s.image.sum().item()) for s in gallery.shown()]
        found.append((several.compute(), one.compute(), shown))
    assert found[0][2] == found[1][2] and len(found[0][2]) == 16
    for own, expected in zip(found[1][:2], found[0][:2], strict=True):
        assert own == pytest.approx(expected, rel=1e-5)
