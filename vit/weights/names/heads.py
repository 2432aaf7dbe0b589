"""Heads that people put in a published one's place, or beside the network: one layer under any name, or several."""

from __future__ import annotations

import re
from collections.abc import Iterable, Mapping

import torch
from torch import Tensor

from trainer.text import few

# what people call a head that stands beside a network in a module of their own; numbers are those of a Sequential
_CALLED = re.compile(
    r"(?:.*_)?(?:heads?|classifiers?|clf|cls|fc|ffn|linear|lin|dense|logits|out|output|final|last)\d*(?:_\w*)?|\d+"
)
_PROJECTION = re.compile(r"(?:^|[._])(?:mlp2?|last_layer2?|dino\w*|ibot\w*|proj\w*|predictor)\.")  # for a loss


def take_beside(
    state: dict[str, Tensor], tensors: Mapping[str, Tensor], outside: list[str], prefix: str, pooled: bool = False
) -> tuple[list[str], str, list[str]]:
    """Makes ``head.weight`` and ``head.bias`` of a linear layer that stands beside the network, in a module with both.

    Args:
        state: under our names; a head of its own with further layers behind it is taken out.
        tensors: all of the file. outside: names of those that are not of the network.
        prefix: of the network's: ``backbone.`` has ``classifier.weight`` beside it, and so has ``model.backbone.``.
        pooled: ``pre_logits`` in ``state`` is a part that such heads often do not read (Hugging Face's pooler).

    Returns:
        Lines for the user; what the head is where it cannot be read, else empty; what remains outside.
    """
    names = [name for name in outside if stands_beside(name, prefix)]
    flat = [name for name in names if tensors[name].ndim == 2]
    own = [name for name in state if name.partition(".")[0] in ("head", "head_dist")]
    if not flat or (own and all(tensors[name].shape[1] != state["head.weight"].shape[0] for name in flat)):
        return [], "", outside
    width, notes = state["patch_embed.proj.weight"].shape[0], list[str]()
    if own:
        lost = f"its head is no single linear layer ({few([*own, *names], 4)})"
        for name in own:
            del state[name]
    elif pooled and "pre_logits.fc.weight" in state:
        lost = f"nothing tells whether its head ({few(names, 4)}) reads the pooler or the class token"
    else:
        state.update({name: tensors[name] for name in names})
        _, lost = settle(state, names, width)
        notes = [f"{flat[0].removesuffix('.weight')} beside the network is read as its head"]
    return [f"left out: {lost}"] if lost else notes, lost, [name for name in outside if name not in names]


def stands_beside(name: str, prefix: str) -> bool:
    """Whether it may be of a head in a module that holds the network under ``prefix`` too."""
    parts = prefix.split(".")[:-2]
    homes = ["".join(f"{part}." for part in parts[:count]) for count in range(len(parts), -1, -1)]
    inner = next(name.removeprefix(home) for home in homes if name.startswith(home))
    first, dot, _ = inner.partition(".")
    return bool(prefix and dot and _CALLED.fullmatch(first)) and not _PROJECTION.search(inner)


def settle(state: dict[str, Tensor], names: Iterable[str], width: int) -> tuple[list[str], str]:
    """Makes ``head.weight`` and ``head.bias`` of the tensors of a head, where they are one linear layer of ``width``.

    Args:
        state: under our names but for the head's; these are taken out of it.
        names: of all tensors of the head.

    Returns:
        Lines for the user, and what the head is where it cannot be read; empty where it can.
    """
    parts = {name: state.pop(name) for name in names}
    if not parts:
        return [], ""
    weights = [name for name, tensor in parts.items() if name.endswith(".weight") and tensor.ndim == 2]
    module = weights[0].removesuffix(".weight") if weights else ""
    rest = set(parts) - {f"{module}.weight", f"{module}.bias"}
    if len(weights) != 1 or rest or parts[weights[0]].shape[1] != width:
        return [], f"its head is no single linear layer ({few(list(parts), 4)})"
    weight = parts[weights[0]]
    state["head.weight"] = weight
    state["head.bias"] = parts.get(f"{module}.bias", torch.zeros_like(weight[:, 0]))
    last = module.rpartition(".")[2]
    if last.isdigit() and last != "0":
        return [f"{module} is read as the whole head: layers before it, if any, have no tensors (dropout)"], ""
    return [], ""
