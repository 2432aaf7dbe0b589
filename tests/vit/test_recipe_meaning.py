"""What recipes do is what their sources do: who decays, rates by layer and by time, dropped paths, targets.

The values are compared in test_recipes.py; here is what becomes of them. The sources' formulas are written down again,
from facebookresearch/deit (with timm 0.3.2), facebookresearch/mae and google-research/big_vision.
"""

import math
from collections.abc import Callable
from typing import Any

import pytest
import torch
import torch.nn.functional as F

from tests.helpers.recipes import DEMOS, OTHER_TASKS, RECIPES, SIZES, composed
from train import SCHEMAS
from trainer.cli import compose
from trainer.optim import optimizers as optim
from trainer.schedule import durations, learning_rate
from vit.data.augment.mixup import Mixer
from vit.losses import Criterion
from vit.task import VitTask

DEPTH = 3
DEIT = [name for name in RECIPES if name.startswith("deit")]
MAE = [name for name in RECIPES if name.startswith("mae") and name not in OTHER_TASKS]
GOOGLE = [name for name in RECIPES if name.startswith(("paper", "finetune", "augreg", "better"))]
BLOCK = ["attn.qkv", "attn.proj", "mlp.fc1", "mlp.fc2"]


def small(name: str) -> VitTask:
    """A recipe's network, small, and all else as it stands."""
    patch = composed(name).model.patch
    words = ["data=shapes", "model.variant=mu", f"model.depth={DEPTH}", f"resolution={2 * patch}", "distill.mode=none"]
    config = compose([f"experiment=vit/{name}", *words, "distill.teacher=null"], SCHEMAS)
    if config.model.representation:
        config.model.representation = 32
    return VitTask(config)


def groups(task: VitTask) -> dict[str, dict[str, Any]]:
    """Every parameter's group in the optimiser that a recipe makes."""
    parameters = dict(task.model.named_parameters(prefix="model"))
    made = optim.build_optimizer(parameters, task.config.optim["main"], task.layers("main"), task.undecayed("main"))
    by_id = {id(p): group for group in made.param_groups for p in group["params"]}
    return {name.removeprefix("model."): by_id[id(p)] for name, p in parameters.items()}


def test_every_recipe_of_a_paper_is_looked_at() -> None:
    assert set(DEIT + MAE + GOOGLE) == set(RECIPES) - DEMOS - OTHER_TASKS - {"cifar10_scratch", "cifar100_scratch"}


@pytest.mark.parametrize("name", DEIT + MAE + GOOGLE)
def test_matrices_decay_and_nothing_else(name: str) -> None:
    """timm and MAE spare biases, norms, scales of layers, tokens and positions; big_vision decays ``kernel``s alone."""
    task = small(name)
    decay = task.config.optim["main"].weight_decay
    matrices = {f"blocks.{index}.{part}.weight" for index in range(DEPTH) for part in BLOCK}
    matrices |= {"patch_embed.proj.weight", "head.weight"}
    matrices |= {"head_dist.weight"} if task.config.model.distilled else set()
    matrices |= {"pre_logits.fc.weight"} if task.config.model.representation else set()
    found = groups(task)
    assert {name for name, group in found.items() if group["decays"]} == matrices
    assert {group["weight_decay"] for name, group in found.items() if name in matrices} == {decay}
    assert {group["weight_decay"] for name, group in found.items() if name not in matrices} == {0.0}


@pytest.mark.parametrize("name", [name for name in MAE if "finetune" in name])
def test_layers_have_the_rates_of_maes_layer_decay(name: str) -> None:
    """util/lr_decay.py: tokens, positions and patches are layer 0, a block is its number + 1, all else the last."""
    task = small(name)
    decay = task.config.optim["main"].layer_decay
    for parameter, group in groups(task).items():
        first, *rest = parameter.split(".")
        if first in ("cls_token", "pos_embed", "patch_embed"):
            layer = 0
        else:
            layer = int(rest[0]) + 1 if first == "blocks" else DEPTH + 1
        assert group["scale"] == pytest.approx(decay ** (DEPTH + 1 - layer), rel=1e-12), parameter


@pytest.mark.parametrize("name", DEIT + MAE + GOOGLE)
def test_paths_drop_at_the_sources_rates(name: str) -> None:
    """timm and big_vision: from 0 in the first block to the rate in the last; models_v2.py of DeiT-III: everywhere."""
    task = small(name)
    rate = task.config.model.drop_path
    wanted = [rate] * DEPTH if name.startswith("deit3") else [0.0, rate / 2, rate]
    found = [block.drop_path.rate for block in task.model.blocks]  # type: ignore[union-attr]
    assert found == pytest.approx(wanted)


# Rates over time


def timm_cosine(epoch: float, epochs: float, warm: float, lr: float, warmup_lr: float, min_lr: float) -> float:
    if epoch < warm:
        return warmup_lr + epoch * (lr - warmup_lr) / warm
    return min_lr + 0.5 * (lr - min_lr) * (1 + math.cos(math.pi * epoch / epochs))


def mae_cosine(epoch: float, epochs: float, warm: float, lr: float, min_lr: float) -> float:
    if epoch < warm:
        return lr * epoch / warm
    return min_lr + (lr - min_lr) * 0.5 * (1 + math.cos(math.pi * (epoch - warm) / (epochs - warm)))


def google(step: float, steps: float, warm: float, lr: float, linear_end: float | None) -> float:
    progress = min(max((step - warm) / (steps - warm), 0.0), 1.0)
    rate = lr * 0.5 * (1 + math.cos(math.pi * progress))
    if linear_end is not None:
        rate = linear_end + (lr - linear_end) * (1 - progress)
    return rate * min(1.0, step / warm)


WARM_STEPS = {"finetune_pets": 100, "finetune_flowers": 100} | dict.fromkeys(
    ["finetune_imagenet", "finetune_cifar10", "finetune_cifar100", "augreg_finetune"], 500
)


def sources_rate(name: str) -> Callable[[float], float]:
    """A share of the run to the source's rate."""
    config = composed(name)
    lr, epochs = config.optim["main"].lr, config.trainer.max_epochs
    if name in DEIT:
        min_lr = 5e-6 if name == "deit_b_384" else 1e-5
        return lambda share: timm_cosine(share * epochs, epochs, 5, lr, 1e-6, min_lr)
    if name in MAE:
        warm, min_lr = (10, 0.0) if "probe" in name else (5, 1e-6)
        return lambda share: mae_cosine(share * epochs, epochs, warm, lr, min_lr)
    batch = config.curriculum.stages["all"].batch_size
    samples = config.trainer.max_samples or epochs * SIZES[config.data.kind.name][0]
    steps, end = samples / batch, 1e-5 if name.startswith("paper_i21k") else None
    return lambda share: google(share * steps, steps, WARM_STEPS.get(name, 10_000), lr, end)


@pytest.mark.parametrize("name", DEIT + MAE + GOOGLE)
def test_rates_over_time_are_the_sources(name: str) -> None:
    config = composed(name)
    counted = durations.in_samples(config, SIZES[config.data.kind.name][0])
    total, lr = counted.trainer.max_samples, config.optim["main"].lr
    wanted = sources_rate(name)
    for share in (0.0, 0.001, 0.01, 0.02, 0.05, 0.1, 0.16, 0.17, 0.25, 0.3, 0.5, 0.75, 0.9, 0.99, 1.0):
        found = learning_rate.rate(counted.schedule, share, total, lr)
        assert found == pytest.approx(wanted(share), rel=1e-4, abs=1e-9 * lr), share


# Targets and losses


def mixed_by_timm(labels: torch.Tensor, classes: int, share: float, smoothing: float) -> torch.Tensor:
    """``mixup_target`` of timm 0.3.2: smoothed one-hot rows, mixed with the batch in reverse."""
    off = smoothing / classes
    rows = torch.full((len(labels), classes), off).scatter_(1, labels[:, None], 1 - smoothing + off)
    return rows * share + rows.flip(0) * (1 - share)


@pytest.mark.parametrize("name", DEIT + MAE + GOOGLE)
def test_a_mixed_batch_has_the_sources_loss(name: str) -> None:
    config, classes = composed(name), 7
    mixer = Mixer(config.augment, classes)
    generator = torch.Generator().manual_seed(1)
    labels = torch.tensor([0, 3, 6, 2, 2, 1])
    logits = torch.randn(6, classes, generator=generator)
    _, targets = mixer(torch.randn(6, 3, 8, 8, generator=generator), F.one_hot(labels, classes).float(), generator)
    share = float(targets[0, 0])  # the first one's partner, the last, has another label
    assert share < 1 if config.augment.mixup or config.augment.cutmix else share == 1
    wanted = mixed_by_timm(labels, classes, share, config.loss.smoothing)
    found = Criterion(config.loss, [str(k) for k in range(classes)])(logits, targets).mean()
    if name.startswith("deit3_") and "finetune" not in name and "i21k" not in name:  # engine.py: --bce-loss
        expected = F.binary_cross_entropy_with_logits(logits, wanted.gt(0.0).float())
    elif name.startswith(("paper_i21k", "augreg_i")):  # sigmoid_xent: summed over the classes
        expected = F.binary_cross_entropy_with_logits(logits, wanted, reduction="none").sum(1).mean()
    else:
        expected = -(wanted * logits.log_softmax(-1)).sum(-1).mean()
    torch.testing.assert_close(found, expected)


def test_the_probe_norms_what_its_head_reads_as_the_source_does() -> None:
    """main_linprobe.py: ``BatchNorm1d(affine=False, eps=1e-6)`` before the head, which alone trains."""
    task = small("mae_probe_b")
    norm = task.model.probe_norm
    assert isinstance(norm, torch.nn.BatchNorm1d)
    assert (norm.affine, norm.eps, norm.momentum) == (False, 1e-6, 0.1)
    names = [f"model.{name}" for name, _ in task.model.named_parameters()]
    patterns = task.config.curriculum.stages["all"].trainable
    assert optim.trainable_names(names, patterns) == {"model.head.weight", "model.head.bias"}


def test_the_probes_lars_is_maes() -> None:
    """util/lars.py, step by step: only what has two dimensions is adapted."""
    task = small("mae_probe_b")
    torch.manual_seed(0)
    head = task.model.head
    torch.nn.init.normal_(head.bias)  # type: ignore[union-attr]
    parameters = {"model.head.weight": head.weight, "model.head.bias": head.bias}  # type: ignore[union-attr]
    made = optim.build_optimizer(parameters, task.config.optim["main"], task.layers("main"), task.undecayed("main"))
    theirs = {name: p.detach().clone() for name, p in parameters.items()}
    momentum = {name: torch.zeros_like(p) for name, p in theirs.items()}
    for rate in (0.5, 6.4, 3.0):
        optim.set_rate(made, rate)
        for name, parameter in parameters.items():
            parameter.grad = change = torch.randn_like(parameter)
            if change.ndim > 1:
                change = change * 0.001 * theirs[name].norm() / change.norm()
            momentum[name].mul_(0.9).add_(change)
            theirs[name].sub_(momentum[name], alpha=rate)
        made.step()
        for name, parameter in parameters.items():
            torch.testing.assert_close(parameter.detach(), theirs[name], rtol=1e-5, atol=1e-6)


def test_deit3s_lamb_is_apexs() -> None:
    """FusedLAMB as DeiT-III calls it: one clip at norm 1 over all, eps 1e-8 outside the root, tensors without weight
    decay are not adapted."""
    task = small("deit3_s")
    config = task.config.optim["main"]
    parameters = dict(task.model.named_parameters(prefix="model"))
    made = optim.build_optimizer(parameters, config, task.layers("main"), task.undecayed("main"))
    theirs = {name: p.detach().clone() for name, p in parameters.items()}
    first, second = ({name: torch.zeros_like(p) for name, p in theirs.items()} for _ in range(2))
    decays = {f"model.{name}": group["weight_decay"] for name, group in groups(task).items()}
    torch.manual_seed(0)
    for step in (1, 2, 3):
        grads = {name: torch.randn_like(p) * 1e-3 for name, p in theirs.items()}
        norm = math.sqrt(sum(float(g.square().sum()) for g in grads.values()))
        assert norm > 0.1
        for name, parameter in parameters.items():
            parameter.grad = grads[name] / max(norm / config.clip, 1.0)
            g = parameter.grad
            first[name].mul_(0.9).add_(g, alpha=0.1)
            second[name].mul_(0.999).addcmul_(g, g, value=0.001)
            root = (second[name] / (1 - 0.999**step)).sqrt() + 1e-8
            update = first[name] / (1 - 0.9**step) / root + decays[name] * theirs[name]
            sizes = theirs[name].norm(), update.norm()
            ratio = sizes[0] / sizes[1] if decays[name] and all(sizes) else 1.0
            theirs[name] -= config.lr * ratio * update
        made.step()
    for name, parameter in parameters.items():
        torch.testing.assert_close(parameter.detach(), theirs[name], rtol=2e-4, atol=2e-6)
