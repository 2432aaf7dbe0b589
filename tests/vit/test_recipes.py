"""Every recipe is its paper's: its values are those of docs/recipes.md, and what it loads becomes the source's net."""

import re
from pathlib import Path
from typing import Any

import pytest
import timm
import torch
import yaml

from tests.helpers.paths import ROOT
from tests.helpers.recipes import DEMOS, OTHER_TASKS, RECIPES, SIZES, composed
from train import SCHEMAS
from trainer import build as setup
from trainer.cli import compose
from trainer.config.resolve import flatten, plain
from trainer.schedule import cadence, durations, learning_rate
from vit.model.architecture import architecture
from vit.model.transformer import VisionTransformer
from vit.task import VitTask

DOCS = ROOT / "docs" / "recipes.md"


def table() -> dict[str, dict[str, Any]]:
    """Recipe to key to value, of all tables of docs/recipes.md."""
    found: dict[str, dict[str, Any]] = {}
    columns: list[str] = []
    for line in DOCS.read_text(encoding="utf-8").splitlines():
        cells = [cell.strip() for cell in line.strip("|").split("|")] if line.startswith("|") else []
        if cells[:2] == ["key", "source"]:
            columns = [cell.strip("`") for cell in cells[2:]]
        elif len(cells) > 2 and cells[0].startswith("`"):
            for recipe, cell in zip(columns, cells[2:], strict=True):
                found.setdefault(recipe, {})[cells[0].strip("`")] = value(cell)
    return found


def value(cell: str) -> Any:
    text = re.sub(r"\s*\([^()]*\)$", "", cell)
    number = re.fullmatch(r"-?\d+(\.\d+)?(e-?\d+)?", text)
    return float(text) if number else yaml.safe_load(text)


def numbers(thing: Any) -> Any:
    if isinstance(thing, list):
        return [numbers(item) for item in thing]
    return float(thing) if isinstance(thing, int | float) and not isinstance(thing, bool) else thing


def test_every_recipe_has_its_column() -> None:
    assert set(table()) == set(RECIPES) - DEMOS - OTHER_TASKS


@pytest.mark.parametrize("name", sorted(set(RECIPES) - DEMOS - OTHER_TASKS))
def test_values_are_those_of_the_table(name: str) -> None:
    ours = flatten(plain(composed(name)))
    wrong = {
        key: (numbers(ours.get(key)), numbers(expected))
        for key, expected in table()[name].items()
        if key not in ours or numbers(ours[key]) != numbers(expected)
    }
    assert not wrong, wrong


@pytest.mark.parametrize("name", sorted(set(RECIPES) - DEMOS - OTHER_TASKS))
def test_on_cuda_blocks_are_compiled_and_all_cores_read(name: str) -> None:
    config = composed(name)
    assert config.trainer.compile is None and config.data.workers is None
    assert setup.compiles(config, torch.device("cuda")) and not setup.compiles(config, torch.device("cpu"))


def rates(name: str, *shares: float) -> list[float]:
    """Rates at shares of the run."""
    config = composed(name)
    counted = durations.in_samples(config, SIZES[config.data.kind.name][0])
    total = counted.trainer.max_samples
    return [learning_rate.rate(counted.schedule, share, total, config.optim["main"].lr) for share in shares]


def test_rates_of_the_fine_tuning_recipes() -> None:
    """vit.md A3, A5: constant after the warm-up from 1e-6, whatever the recipe inherits."""
    for name in ("deit3_finetune_b", "deit3_finetune_l", "deit3_finetune_h", "deit3_finetune_s_384"):
        assert rates(name, 0.0, 0.25, 0.5, 1.0) == pytest.approx([1e-6, 1e-5, 1e-5, 1e-5], rel=1e-6)
    assert rates("deit_b_384", 0.0, 5 / 30, 0.5, 1.0) == pytest.approx([1e-6, 5e-6, 5e-6, 5e-6], rel=1e-5)
    assert rates("deit3_b", 0.0, 1.0) == pytest.approx([1e-6, 1e-5])
    assert rates("mae_finetune_b", 0.0, 0.05, 1.0) == pytest.approx([0.0, 2e-3, 1e-6], rel=1e-5)
    assert rates("paper_i21k_b16", 1.0) == pytest.approx([1e-5])


@pytest.mark.parametrize("name", sorted(set(RECIPES) - OTHER_TASKS))
def test_evaluating_and_saving_cost_less_than_three_percent(name: str) -> None:
    config = composed(name)
    epoch, validation = SIZES[config.data.kind.name]
    counted = durations.in_samples(config, epoch)
    total = counted.trainer.max_samples
    classes = {"imagenet": 1000, "imagefolder": 21843}.get(config.data.kind.name, 100)
    arch = architecture(config.model, classes, 3, (config.resolution[0], config.resolution[1]))
    with torch.device("meta"):
        model = VisionTransformer(arch)
    count = sum(p.numel() for p in model.parameters())
    trained = sum(p.numel() for p in model.head.parameters()) / count if "probe" in name else 1.0
    costs = cadence.costs(
        config.trainer,
        total_samples=total,
        total_steps=total // config.curriculum.stages["all"].batch_size,
        epoch=epoch,
        evaluated_samples=min(validation, config.trainer.eval_samples or validation),
        trained=trained,
        checkpoint_bytes=4 * count * ((1 if config.trainer.ema is None else 2) + 2 * trained),
    )
    assert costs.total is not None and costs.total < cadence.LIMIT, costs
    told = cadence.told(config.trainer, costs, validation, 1e9, total)  # what the dry run shows
    assert told[2] == f"together: {100 * costs.total:.2g} % of the time of training" and len(told) == 3


# What fine-tuning recipes make of a file


@pytest.mark.parametrize("name", ["mae_finetune_b", "mae_finetune_l", "mae_finetune_h"])
def test_mae_becomes_the_sources_network(name: str, tmp_path: Path) -> None:
    """vit.md A1, A2. The source: timm's ViT whose patches are averaged, then normed by an fc_norm that begins anew."""
    patch = composed(name).model.patch
    torch.manual_seed(0)
    source = timm.models.VisionTransformer(
        img_size=4 * patch, patch_size=patch, embed_dim=32, depth=2, num_heads=2, num_classes=10, global_pool="avg"
    ).eval()
    file = {key: torch.randn_like(value) * 0.2 for key, value in source.state_dict().items() if "head" not in key}
    source.load_state_dict(file | {k: v for k, v in source.state_dict().items() if "head" in k or "fc_norm" in k})
    assert "fc_norm.weight" in file
    file = {key.replace("fc_norm.", "norm."): value for key, value in file.items()}  # what pre-training ends with
    torch.save({"model": file}, tmp_path / "mae.pth")
    words = ["data=shapes", "model.variant=mu", "model.depth=2", f"resolution={4 * patch}"]
    task = VitTask(compose([f"experiment=vit/{name}", *words, f"model.weights={tmp_path / 'mae.pth'}"], SCHEMAS))
    ours = task.model.eval()
    assert isinstance(ours, VisionTransformer)
    images = torch.randn(2, 3, 4 * patch, 4 * patch)
    torch.nn.init.ones_(source.fc_norm.weight)
    torch.nn.init.zeros_(source.fc_norm.bias)
    with torch.no_grad():
        wanted = source.forward_head(source.forward_features(images), pre_logits=True)
        logits = ours(images)
    assert torch.equal(ours.fc_norm.weight, torch.ones(32)) and torch.equal(ours.fc_norm.bias, torch.zeros(32))
    assert ours.cls_token is not None and torch.equal(ours.cls_token, file["cls_token"])
    assert ours.pos_embed is not None and ours.pos_embed.shape == (1, 17, 32)
    assert ours.head.weight.std().item() == pytest.approx(2e-5, rel=0.2) and not ours.head.bias.any()
    torch.testing.assert_close(logits, wanted @ ours.head.weight.T + ours.head.bias, rtol=1e-3, atol=1e-9)


def test_the_probe_keeps_the_norm_and_starts_its_head_small(tmp_path: Path) -> None:
    torch.manual_seed(0)
    source = timm.models.VisionTransformer(
        img_size=64, patch_size=16, embed_dim=32, depth=2, num_heads=2, num_classes=0
    )
    file = {key: torch.randn_like(value) * 0.2 for key, value in source.state_dict().items()}
    torch.save({"model": file}, tmp_path / "mae.pth")
    words = ["data=shapes", "model.variant=mu", "model.depth=2", "resolution=64"]
    task = VitTask(compose(["experiment=vit/mae_probe_b", *words, f"model.weights={tmp_path / 'mae.pth'}"], SCHEMAS))
    assert torch.equal(task.model.norm.weight, file["norm.weight"])
    assert task.model.head.weight.std().item() == pytest.approx(0.01, rel=0.2)


@pytest.mark.parametrize("name", ["deit_b_384", "deit3_finetune_b", "deit3_finetune_s_384"])
def test_deit_keeps_all_of_the_network(name: str, tmp_path: Path) -> None:
    """The head, tokens and the last norm come over; only the table of positions is resampled."""
    words = ["data=shapes", "model.variant=mu", "model.depth=2", "trainer.max_samples=64"]
    config = compose([f"experiment=vit/{name}", *words, "resolution=32"], SCHEMAS)
    torch.manual_seed(1)
    before = VitTask(config).model
    torch.save({"model": before.state_dict()}, tmp_path / "deit.pth")
    torch.manual_seed(2)
    config = compose(
        [f"experiment=vit/{name}", *words, "resolution=64", f"model.weights={tmp_path / 'deit.pth'}"], SCHEMAS
    )
    after = VitTask(config).model.state_dict()
    for key, tensor in before.state_dict().items():
        assert key == "pos_embed" or torch.equal(after[key], tensor), key
    torch.testing.assert_close(after["pos_embed"], plain_bicubic(before.state_dict()["pos_embed"], 2, 4))


def plain_bicubic(table: torch.Tensor, old: int, new: int) -> torch.Tensor:
    """A square table of positions as DeiT's ``main.py`` resamples it; what is more than the patches' stays."""
    prefix = table.shape[1] - old * old
    grid = table[:, prefix:].reshape(1, old, old, -1).permute(0, 3, 1, 2)
    grid = torch.nn.functional.interpolate(grid, (new, new), mode="bicubic", align_corners=False)
    return torch.cat([table[:, :prefix], grid.permute(0, 2, 3, 1).flatten(1, 2)], dim=1)


@pytest.mark.parametrize("name", ["deit3_i21k_finetune_b", "deit3_i21k_finetune_h"])
def test_deit3_of_imagenet21k_gets_a_new_head_alone(name: str, tmp_path: Path) -> None:
    """The source drops a head of another size and draws its own with 0.02; H's positions grow, as 9 to 16 a side."""
    patch = composed(name).model.patch
    words = ["data=shapes", "model.variant=mu", "model.depth=2", "trainer.max_samples=64"]
    torch.manual_seed(1)
    before = VitTask(compose([f"experiment=vit/{name}", *words, f"resolution={3 * patch}"], SCHEMAS)).model.state_dict()
    before |= {"head.weight": torch.randn(40, before["head.weight"].shape[1]), "head.bias": torch.randn(40)}
    torch.save({"model": before}, tmp_path / "deit3.pth")
    file, size = f"model.weights={tmp_path / 'deit3.pth'}", f"resolution={5 * patch}"
    after = VitTask(compose([f"experiment=vit/{name}", *words, size, file], SCHEMAS)).model.state_dict()
    same = {key for key, tensor in after.items() if tensor.shape == before[key].shape and tensor.equal(before[key])}
    assert set(after) - same == {"head.weight", "head.bias", "pos_embed"}
    assert after["head.weight"].shape[0] == 10 and not after["head.bias"].any()
    assert after["head.weight"].std().item() == pytest.approx(0.02, rel=0.2)
    torch.testing.assert_close(after["pos_embed"], plain_bicubic(before["pos_embed"], 3, 5))


@pytest.mark.parametrize("name", ["finetune_imagenet", "finetune_pets", "augreg_finetune"])
def test_googles_heads_begin_at_zero(name: str, tmp_path: Path) -> None:
    words = ["data=shapes", "model.variant=mu", "model.depth=2", "resolution=64"]
    config = compose([f"experiment=vit/{name}", *words], SCHEMAS)
    before = VitTask(config).model
    torch.nn.init.ones_(before.head.weight)
    torch.save({"model": before.state_dict()}, tmp_path / "vit.pth")
    config = compose([f"experiment=vit/{name}", *words, f"model.weights={tmp_path / 'vit.pth'}"], SCHEMAS)
    after = VitTask(config).model
    assert not after.head.weight.any() and torch.equal(after.norm.weight, before.norm.weight)
