"""Training of what the paper's sections need, on a card: numbers are those of the CPU, nothing waits, runs go on."""

from __future__ import annotations

from collections.abc import Sequence
from pathlib import Path

import pytest
import torch
from torch import Tensor

from tests.helpers.gpu_runs import (
    BOTH,
    QUIET,
    alike,
    close,
    differing,
    figures,
    make,
    moments,
    nothing_waits,
    weights,
)
from tests.helpers.made_faces import made_face, placed, write_faces
from tests.helpers.made_frames import picture, save
from train import SCHEMAS, build_task
from trainer.cli import compose
from trainer.loop import Trainer
from vid2vid.model.feedback_noise import FeedbackNoise
from vid2vid.model.regions import cut_out
from vid2vid.styles.pooling import region_sums
from vid2vid.styles.regions import numbered

STYLES = ("model.style_channels=3", "model.nef=4", "model.style_downsamplings=2")
PREDICTOR = (
    "model=label_predictor", "model.label_ids=[7,8,11,21,23,24,26]", "model.past_frames=3", "model.ngf=4",
    "model.downsamplings=2", "model.blocks=2", "resolution=[32,64]", "data.clips=4", "data.val_clips=2",
    "data.val_frames=6", "curriculum.stages.all.frames=4", "curriculum.stages.all.segment_frames=2", *QUIET,
)  # fmt: skip
VARIANTS = {
    "styles": STYLES,
    "styles by frame": (*STYLES, "model.style_pooling=frame"),
    "regions": ("model.regions=[labels]", "model.region_labels=[24,26]"),
    "augmented": ("model.diff_augment=[colour,shift,cutout]",),
    "palindrome": (
        "curriculum.stages.all.palindrome=true", "model.backprop_frames=2", "model.feedback_noise=0.05",
    ),
    "all": (
        *STYLES, "model.regions=[labels]", "model.region_labels=[24,26]", "model.diff_augment=[colour,shift,cutout]",
        "curriculum.stages.all.palindrome=true", "model.backprop_frames=2", "model.feedback_noise=0.05",
    ),
    "predictor": PREDICTOR,
}  # fmt: skip
FP32 = ("trainer.precision=fp32", "trainer.tf32=false")
FACE = (
    "data=face",
    "model.foreground=off",
    "resolution=[32,32]",
    "model.blocks=1",
    "data.flow_cache=null",
    "curriculum.stages.all.frames=4",
)


def started(folder: Path, device: str, words: Sequence[str]) -> Trainer:
    """The trainer of a variant."""
    if words[0] != "model=label_predictor":
        return make(folder, "vid2vid", device, "trainer.preflight=false", *words)
    config = compose([*words, f"trainer.device={device}", "trainer.preflight=false"], SCHEMAS)
    return Trainer(config, lambda: build_task(config), folder)


@pytest.fixture
def friend(tmp_path: Path) -> Path:
    """Footage of a face with its landmarks and a map of depth, beside pictures."""
    root = tmp_path / "friend"
    write_faces(root / "landmarks/a", [placed(made_face(), 50 + t, 40, 10) for t in range(4)])
    for t in range(4):
        save(root / f"images/a/{t:06d}.png", picture(t, 80, 120))
        save(root / f"depth/a/{t:06d}.png", picture(9 + t, 80, 120)[..., 0])
    return root


@pytest.mark.parametrize("device", BOTH)
@pytest.mark.parametrize("words", VARIANTS.values(), ids=VARIANTS)
def test_losses_and_gradients_are_the_cpus(
    tmp_path: Path, device: str, words: tuple[str, ...], monkeypatch: pytest.MonkeyPatch
) -> None:
    def drawn_by_the_host(noise: FeedbackNoise, history: Sequence[Tensor]) -> list[Tensor]:
        draw = torch.Generator().manual_seed(noise.generator.initial_seed())
        return [noise.std * torch.randn((1, *x.shape[1:]), generator=draw).to(x.device) for x in history]

    monkeypatch.setattr(FeedbackNoise, "like", drawn_by_the_host)  # a card's generator draws other numbers
    alike(*(started(tmp_path / f"{i}", place, (*words, *FP32)) for i, place in enumerate(("cpu", device))))


@pytest.mark.parametrize("device", BOTH)
def test_drawn_sources_are_learnt_from_as_on_the_cpu(tmp_path: Path, device: str, friend: Path) -> None:
    """A face with its region, edges on the fly and depth, side by side."""
    words = (
        *FACE,
        f"data.root={friend}",
        "data.sources=[face:landmarks,edges,depth:depth]",
        "model.regions=[face]",
        *FP32,
    )
    alike(*(started(tmp_path / f"{i}", place, words) for i, place in enumerate(("cpu", device))))


@pytest.mark.parametrize("device", BOTH)
@pytest.mark.parametrize("precision", ["bf16", "fp16"])
@pytest.mark.parametrize("words", [VARIANTS["all"], PREDICTOR], ids=["all", "predictor"])
def test_no_wait_and_halves_are_near(tmp_path: Path, device: str, precision: str, words: tuple[str, ...]) -> None:
    trainer = started(tmp_path / "half", device, (*words, f"trainer.precision={precision}"))
    nothing_waits(trainer, device)
    found = [
        figures(started(tmp_path / each, device, (*words, f"trainer.precision={each}")))[0]
        for each in ("fp32", precision)
    ]
    for name, value in found[0].items():
        if name.startswith("0/"):
            close(found[1][name], value, 0.1, 0.02)


@pytest.mark.parametrize("device", BOTH)
def test_a_pool_is_that_of_numpy(device: str) -> None:
    """Means of regions, and the boxes that are cut out; the same twice where runs are deterministic."""
    draw = torch.Generator().manual_seed(0)
    features, keys = torch.rand(3, 4096, generator=draw), torch.randint(0, 9, (4096,), generator=draw) << 40
    found = []
    torch.use_deterministic_algorithms(True, warn_only=True)
    try:
        for _ in range(2):
            numbers, given = numbered(keys.to(device)), features.to(device).requires_grad_()
            sums, counts = region_sums(given, numbers, 4096)
            means = (sums / counts.clamp(min=1)).gather(1, numbers.expand(3, -1))
            (means * features.to(device).square()).sum().backward()
            assert given.grad is not None
            found.append((means.detach().cpu(), given.grad.cpu()))
    finally:
        torch.use_deterministic_algorithms(False)
    assert all(torch.equal(a, b) for a, b in zip(*found, strict=True))
    expected = torch.empty_like(features)
    for key in keys.unique():
        expected[:, keys == key] = features[:, keys == key].double().mean(1, keepdim=True).float()
    close(found[0][0], expected, 1e-5)
    frames = torch.rand(1, 2, 3, 32, 64, generator=draw)
    boxes = torch.tensor([[[[4.0, 4.0, 12.0, 12.0]], [[torch.nan] * 4]]])
    assert torch.allclose(cut_out(frames.to(device), boxes.to(device))[0].cpu(), frames[0, 0, :, 4:12, 4:12], atol=1e-5)


@pytest.mark.parametrize("device", BOTH)
@pytest.mark.parametrize(
    "words",
    [
        (*STYLES, "model.flow=false"),
        ("model.flow=false", "model.regions=[labels]", "model.region_labels=[24,26]"),
        PREDICTOR,
    ],
    ids=["styles", "regions", "predictor"],
)
def test_a_run_that_stopped_goes_on_exactly(tmp_path: Path, device: str, words: tuple[str, ...]) -> None:
    """Averaged weights too; only near where grid_sample or roi_align have gradients, which differ from run to run."""
    words = (*words, "trainer=deterministic", *FP32, "trainer.max_samples=12", "trainer.checkpoint_every=2")
    whole = started(tmp_path / "whole", device, words)
    whole.fit()

    class Crash(Exception):
        pass

    half = started(tmp_path / "half", device, words)
    original = half.train_batch

    def crashing(batch: object) -> None:
        if half.step >= 3:
            raise Crash
        original(batch)  # type: ignore[arg-type]

    half.train_batch = crashing  # type: ignore[method-assign]
    with pytest.raises(Crash):
        half.fit()
    again = started(tmp_path / "half", device, words)
    again.fit()
    torch.use_deterministic_algorithms(False)
    assert again.step == whole.step
    one, two = (
        weights(each) | moments(each) | {f"ema/{name}": value.cpu() for name, value in each.ema.state_dict().items()}
        for each in (whole, again)
    )
    if device == "cpu" or words[0] == STYLES[0]:
        assert not differing(one, two)
    for network in whole.networks:
        found = (weights(each) for each in (again, whole))
        close(*(torch.cat([v.flatten() for n, v in each.items() if n.startswith(network)]) for each in found), 2e-2)
