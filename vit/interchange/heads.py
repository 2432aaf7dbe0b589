"""Heads that people put in a published one's place: a linear layer under another name, or several layers."""

from __future__ import annotations

from collections.abc import Iterable

import torch
from torch import Tensor


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
        shown = ", ".join(list(parts)[:4]) + (", ..." if len(parts) > 4 else "")
        return [], f"its head is no single linear layer ({shown})"
    weight = parts[weights[0]]
    state["head.weight"] = weight
    state["head.bias"] = parts.get(f"{module}.bias", torch.zeros_like(weight[:, 0]))
    last = module.rpartition(".")[2]
    if last.isdigit() and last != "0":
        return [f"{module} is read as the whole head: layers before it, if any, have no tensors (dropout)"], ""
    return [], ""
