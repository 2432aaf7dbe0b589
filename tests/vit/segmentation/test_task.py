"""Segmentation in the trainer: what trains, what is kept, which weights it takes, and that it learns."""

from __future__ import annotations

import json
from pathlib import Path
from typing import Any

import pytest
import torch
from safetensors.torch import load_file

from tests.helpers.made_masks import SMALL, train_small
from train import SCHEMAS, build_task
from trainer.cli import compose
from trainer.errors import ConfigError
from trainer.loop import Trainer
from vit.build import construct
from vit.config import VitConfig
from vit.segmentation import task as module
from vit.segmentation.task import SegmentationTask

CLASSES = ("road", "sidewalk", "building", "vegetation", "sky", "person", "car")


@pytest.fixture(scope="module")
def classifier(tmp_path_factory: pytest.TempPathFactory) -> str:
    """Weights of a small classifier, with another grid and with a head."""
    folder = tmp_path_factory.mktemp("classifier")
    words = ["model=vit_mu", "model.patch=8", "model.depth=2", "resolution=[32,32]"]
    config = compose(words, SCHEMAS)
    assert isinstance(config, VitConfig)
    torch.manual_seed(5)
    model, _ = construct(config, 10, 3, [(32, 32)])
    path = folder / "classifier.pth"
    torch.save(model.state_dict(), path)
    return str(path)


def test_it_trains_and_leaves_figures_and_a_picture(tmp_path: Path) -> None:
    task = train_small(tmp_path, "loss.dice=1", "model.auxiliary=[1]", "trainer.max_samples=48", "optim.main.lr=3e-3")
    records = [json.loads(line) for line in (tmp_path / "metrics.jsonl").read_text().splitlines()]
    losses = [record["losses"]["main/class"] for record in records if "losses" in record]
    assert losses[-1] < losses[0] and {"main/dice", "main/auxiliary", "accuracy"} <= set(records[0]["losses"])
    found = json.loads((tmp_path / "eval.json").read_text())
    assert 0 < found["miou"] <= 1 and found["pictures"] == 2 and "iou_road" in found
    assert list((tmp_path / "samples").glob("predictions*.png"))
    assert task.classes.names == CLASSES


@pytest.mark.parametrize("decoder", ["naive", "mla"])
def test_every_decoder_steps(tmp_path: Path, decoder: str) -> None:
    task = train_small(tmp_path, f"model.decoder={decoder}", "model.depth=4", "trainer.max_samples=4")
    assert isinstance(task, SegmentationTask) and task.encoder.read == ([3] if decoder == "naive" else [0, 1, 2, 3])


def test_a_frozen_encoder_keeps_the_weights_that_it_was_given(tmp_path: Path, classifier: str) -> None:
    words = [f"model.weights={classifier}", "model.pos_embed=learned"]
    task = train_small(tmp_path, *words, "model.frozen=true", "model.drop_path=0.5")
    given = torch.load(classifier, weights_only=True)
    own = task.encoder.state_dict()
    assert own["pos_embed"].shape[1] == 1 + 2 * 4 and given["pos_embed"].shape[1] == 1 + 4 * 4  # another grid
    assert all(torch.equal(own[name], given[name]) for name in own if name != "pos_embed") and "head.weight" not in own
    assert not task.encoder.training
    (checkpoint,) = (tmp_path / "checkpoints").glob("step-*")
    assert any(name.startswith("encoder.") for name in load_file(checkpoint / "weights.safetensors"))


def test_a_trained_encoder_starts_from_the_weights_and_moves(tmp_path: Path, classifier: str) -> None:
    task = train_small(tmp_path, f"model.weights={classifier}", "model.pos_embed=learned")
    given, own = torch.load(classifier, weights_only=True), task.encoder.state_dict()
    name = "blocks.0.mlp.fc1.weight"
    moved = (own[name] - given[name]).abs().max()
    assert 0 < moved < 0.05


def test_layers_and_decay_name_every_parameter(tmp_path: Path) -> None:
    task = build_task(compose(SMALL, SCHEMAS))
    own = {f"{n}.{name}" for n, net in task.networks().items() for name, _ in net.named_parameters()}
    depths = task.layers("main")
    assert set(depths) == own and depths["encoder.blocks.1.attn.qkv.weight"] == 2
    assert depths["decoders.main.scores.weight"] == 3 == max(depths.values())
    assert task.undecayed("main") == {"encoder.cls_token"}


def test_weights_of_classes_that_are_not_there_are_refused() -> None:
    with pytest.raises(ConfigError, match=r"loss\.class_weights: dog is no class; there are road, sidewalk"):
        build_task(compose([*SMALL, "loss.class_weights={dog: 2}"], SCHEMAS))


def test_blocks_that_are_not_there_are_refused() -> None:
    with pytest.raises(ConfigError, match=r"model\.auxiliary=\[9\]: the network has blocks 1 to 2, there is no 9"):
        build_task(compose([*SMALL, "model.auxiliary=[9]"], SCHEMAS))


def test_recomputed_activations_give_the_same_gradients() -> None:
    """model.checkpointing goes through the features of chosen blocks as well."""
    found = []
    for word in ("model.checkpointing=false", "model.checkpointing=true"):
        torch.manual_seed(3)
        task = build_task(compose([*SMALL, word], SCHEMAS))
        assert isinstance(task, SegmentationTask)
        images = torch.linspace(-1, 1, 3 * 16 * 32).reshape(1, 3, 16, 32)
        kept: list[int] = []

        def keep(x: torch.Tensor, into: list[int] = kept) -> torch.Tensor:
            into.append(x.numel())
            return x

        with torch.autograd.graph.saved_tensors_hooks(keep, lambda x: x):
            (feature,) = task.encoder(images)
        feature.square().mean().backward()
        gradients = {name: parameter.grad for name, parameter in task.encoder.named_parameters()}
        found.append((sum(kept), gradients["blocks.0.mlp.fc1.weight"]))
    assert torch.equal(found[0][1], found[1][1]) and found[1][0] < found[0][0] / 2


def test_a_run_goes_on_where_it_stopped(tmp_path: Path) -> None:
    """Two of four steps done again from the checkpoint between them give the same weights, bit for bit."""
    words = ["trainer.max_samples=16", "trainer.checkpoint_every=2", "trainer.visuals_every=0"]
    whole = train_small(tmp_path / "whole", *words)
    begun = tmp_path / "whole" / "checkpoints" / "step-00000002"
    resumed = train_small(tmp_path / "cut", *words, f"trainer.resume={begun}")
    for network in ("encoder", "decoders"):
        own, other = (task.networks()[network].state_dict() for task in (whole, resumed))
        assert all(torch.equal(own[name], other[name]) for name in own)


@pytest.mark.parametrize("bad", [True, False])
def test_being_asked_to_stop_while_it_evaluates_is_no_error(
    tmp_path: Path, bad: bool, monkeypatch: pytest.MonkeyPatch
) -> None:
    """Also where the first pictures are ones that cannot be read: the others may be good."""
    config = compose(SMALL, SCHEMAS)
    trainer = Trainer(config, lambda: build_task(config), tmp_path)

    def measure(segmenter: Any, batches: Any, classes: Any, should_stop: Any) -> Any:
        trainer.stop.requested = True
        assert should_stop()
        counted = real(segmenter, batches, classes, should_stop)
        counted.skipped = int(bad)
        return counted

    real = module.measure
    monkeypatch.setattr(module, "measure", measure)
    with trainer.session():
        assert trainer.evaluate() is None
