"""A masked autoencoder in the shared trainer, and its encoder as a classifier's start."""

from __future__ import annotations

import json
import logging
from pathlib import Path

import pytest
import torch
from PIL import Image
from torch import Tensor

from tests.helpers.made_classifier import QUIET, mu_config
from tests.helpers.scripts import run_script
from trainer.cli import compose
from trainer.errors import DataError
from trainer.loop import Trainer
from vit.build import build_model
from vit.data import describe
from vit.mae.config import MaeConfig
from vit.mae.masking import masked_by, random_order
from vit.mae.task import MaeTask
from vit.mae.validate import problems
from vit.model.transformer import VisionTransformer

SMALL = ("model=mae", *QUIET, "resolution=[16,16]", "model.variant=mu", "model.patch=4", "mask.decoder_width=16",
         "mask.decoder_depth=1", "mask.decoder_heads=2")  # fmt: skip


def config(*words: str) -> MaeConfig:
    found = compose([*SMALL, *words], {"mae": MaeConfig})
    assert isinstance(found, MaeConfig)
    return found


@pytest.fixture(scope="module")
def run(tmp_path_factory: pytest.TempPathFactory) -> Path:
    folder = tmp_path_factory.mktemp("mae") / "run"
    asked = config("trainer.max_samples=32", "trainer.eval_every=2", "trainer.visuals_every=4")
    Trainer(asked, lambda: MaeTask(asked), folder).fit()
    return folder


def images(count: int = 3) -> Tensor:
    return torch.randn(count, 3, 16, 16, generator=torch.Generator().manual_seed(0))


@torch.inference_mode()
def test_what_is_masked_never_enters_the_encoder() -> None:
    torch.manual_seed(0)
    task = MaeTask(config())
    mask = masked_by(random_order(3, 16, torch.Generator().manual_seed(1)), 0.75)
    pictures = images()
    tokens = task.encoder.forward_features(pictures, mask.kept)
    assert tokens.shape[1] == 1 + 4
    hidden = mask.masked.view(3, 1, 4, 4).repeat_interleave(4, 2).repeat_interleave(4, 3)
    assert torch.equal(task.encoder.forward_features(pictures.masked_fill(hidden, 9.0), mask.kept), tokens)
    told = task.decoder(tokens, mask.restore, (4, 4))
    assert told.shape == (3, 16, 48)
    every = torch.arange(16).expand(3, 16)
    assert torch.allclose(task.encoder.forward_features(pictures, every), task.encoder.forward_features(pictures))


@torch.inference_mode()
def test_the_decoder_does_not_care_for_the_order_of_visible_patches() -> None:
    """The same four patches kept in another order: every patch is told the same."""
    torch.manual_seed(0)
    task = MaeTask(config())
    order = random_order(3, 16, torch.Generator().manual_seed(1))
    turned = torch.cat([order[:, :4].flip(1), order[:, 4:].flip(1)], dim=1)
    both = [masked_by(each, 0.75) for each in (order, turned)]
    one, other = (task.decoder(task.encoder.forward_features(images(), m.kept), m.restore, (4, 4)) for m in both)
    assert torch.allclose(one, other, atol=1e-5) and torch.equal(both[0].masked, both[1].masked)


def test_it_learns_and_shows_what_it_fills_in(run: Path) -> None:
    lines = [json.loads(line) for line in (run / "metrics.jsonl").read_text().splitlines()]
    losses = [line["eval"]["loss"] for line in lines if "eval" in line]
    assert len(losses) == 2 and losses[1] < losses[0] < 3
    assert list((run / "samples").glob("reconstructions-*.png"))


def test_learning_is_of_both_networks() -> None:
    torch.manual_seed(0)
    task = MaeTask(config())
    mask = masked_by(random_order(3, 16, torch.Generator().manual_seed(1)), 0.75)
    told = task.decoder(task.encoder.forward_features(images(), mask.kept), mask.restore, (4, 4))
    task._loss(told, images(), mask).mean().backward()
    still = [name for network in task.networks().values() for name, p in network.named_parameters() if p.grad is None]
    assert still == []
    layers = task.layers("main")
    names = {f"{key}.{name}" for key, network in task.networks().items() for name, _ in network.named_parameters()}
    assert set(layers) == names


@torch.inference_mode()
def test_pictures_that_patches_do_not_divide_are_fitted_as_the_encoder_would() -> None:
    torch.manual_seed(0)
    task = MaeTask(config("resolution=[18,14]", "model.fit=pad"))
    shown = task._prepare(torch.full((2, 3, 18, 14), 255, dtype=torch.uint8))
    assert shown.shape == (2, 3, 20, 16) and not shown[..., 18:, :].any() and not shown[..., 14:].any()
    mask = masked_by(random_order(2, 20, torch.Generator().manual_seed(1)), 0.75)
    told = task.decoder(task.encoder.forward_features(shown, mask.kept), mask.restore, task._grid(shown))
    assert torch.isfinite(task._loss(told, shown, mask)).all()


def test_its_encoder_begins_a_classifier(run: Path) -> None:
    words = ("model.pos_embed=learned", "model.class_token=true", "model.pool=gap", "model.pool_first=true")
    asked = mu_config("model.patch=4", f"model.weights={run}", "model.head=reset", "model.last_norm=reset", *words)
    built = build_model(asked, describe(asked))
    assert isinstance(built.model, VisionTransformer) and built.report is not None
    told = "\n".join(built.report.lines())
    assert "new: " in told and "head.weight" in told and "sincos2d_mae) begin the learned ones" in told, told
    from safetensors.torch import load_file

    kept = next(iter(sorted((run / "checkpoints").glob("step-*"))[-1:]))
    weights = load_file(kept / "weights.safetensors")
    assert torch.equal(built.model.blocks[0].attn.qkv.weight, weights["model.blocks.0.attn.qkv.weight"])  # type: ignore[union-attr]
    from vit.config import PosEmbed
    from vit.model.positions import sincos2d

    assert built.model.pos_embed is not None
    table = sincos2d((4, 4), built.model.arch.width, PosEmbed.sincos2d_mae)
    assert torch.allclose(built.model.pos_embed[:, 1:], table, atol=1e-6) and not built.model.pos_embed[:, 0].any()


def test_a_linear_probe_reads_it(run: Path, tmp_path: Path, caplog: pytest.LogCaptureFixture) -> None:
    caplog.set_level(logging.INFO)
    words = ("data=shapes", "probe=true", "data.shapes_samples=60", "data.shapes_val_samples=20", "data.workers=0")
    assert run_script("evaluate", f"weights={run}", *words, f"out={tmp_path}") == 0
    assert 0 <= json.loads((tmp_path / "eval.json").read_text())["probe"] <= 1


@pytest.mark.parametrize(
    ("words", "named"),
    [
        (("mask.ratio=1",), "mask.ratio=1.0"),
        (("mask.decoder_heads=3",), "mask.decoder_heads=3 does not divide"),
        (("mask.decoder_width=18", "mask.decoder_heads=2"), "divisible by 4"),
        (("augment.mixup=0.8",), "augment.mixup=0.8"),
        (("model.pool=gap", "model.pool_first=true"), "pool_first"),
        (("model.pos_embed=none",), "sincos2d_mae"),
        (("model.patch=5",), "patches of 5 pixels"),
        (("model.name=resnet50",), "model.name=resnet50"),
    ],
)
def test_problems(words: tuple[str, ...], named: str) -> None:
    assert any(named in problem for problem in problems(config(*words)))
    assert problems(config()) == []


def test_pictures_without_labels_need_one_folder(tmp_path: Path) -> None:
    """The remedy that the message gives works."""
    rng = torch.Generator().manual_seed(0)
    (tmp_path / "all").mkdir()
    for number in range(6):
        pixels = torch.randint(0, 255, (16, 16, 3), generator=rng, dtype=torch.uint8).numpy()
        Image.fromarray(pixels).save(tmp_path / "all" / f"{number}.png")
    flat, below = (config("data=imagefolder", f"data.root={place}") for place in (tmp_path / "all", tmp_path))
    with pytest.raises(DataError, match="one for all is enough where labels are not read: model=mae"):
        MaeTask(flat)
    assert MaeTask(below).info.train_samples in (4, 5)
