"""Which strategy ``trainer.strategy=auto`` is, and what state a process keeps with each."""

from __future__ import annotations

from dataclasses import dataclass

from trainer.config.fields import OptimizerKind, Strategy

SHARE = 0.8  # of a card's memory that the state may take: activations need the rest
UNSHARDED = (OptimizerKind.lars, OptimizerKind.muon)  # they need matrices whole


@dataclass(frozen=True)
class StateBytes:
    """Bytes that a process keeps of a run's parameters, beside activations and what moves through the network.

    Attributes:
        weights, gradients, moments, average: in fp32. ``moments`` is what the optimisers keep.
    """

    weights: float
    gradients: float
    moments: float
    average: float

    @property
    def total(self) -> float:
        return self.weights + self.gradients + self.moments + self.average


def state_bytes(
    parameters: int,
    moments: int,
    averaged: bool,
    shards: int,
    blockwise: bool = False,
    largest: int = 0,
    kept: int = 0,
    accumulates: bool = False,
) -> StateBytes:
    """What a process keeps of so many parameters.

    Args:
        parameters: of all networks.
        moments: tensors of a parameter's size that the optimisers keep.
        averaged: whether there is an EMA.
        shards: over how many processes the state is divided; 1: not at all.
        blockwise: whether blocks are whole one at a time (``BlockShards``); otherwise weights and gradients are whole.
        largest: parameters of the largest block: two of them may be whole at a time, and their gradients.
        kept: parameters that no block has.
        accumulates: whether gradients are kept whole until the last micro-batch, to be communicated once.
    """
    share = parameters / shards
    whole = min(2 * largest + kept, parameters) if blockwise else parameters
    if shards == 1:
        weights = gradients = float(parameters)
    elif blockwise:
        weights, gradients = share + whole, share + (parameters if accumulates else whole)
    else:
        weights, gradients = float(parameters), parameters + share
    return StateBytes(4 * weights, 4 * gradients, 4 * moments * share, 4 * share if averaged else 0.0)


def choose(phases: int, one_pass: bool, need: float, card: int | None) -> tuple[Strategy, str]:
    """The strategy of several processes that leave it to the trainer, and why.

    Args:
        phases: of the task.
        one_pass: see ``Task.one_pass``.
        need: bytes of the state where every process has all of it.
        card: bytes of a card's memory; None: it is not what limits, or the optimiser cannot be sharded.
    """
    if card is not None and need > SHARE * card:
        return Strategy.fsdp2, f"auto: weights, gradients, moments and averages are {need / 2**30:.1f} GiB"
    if phases > 1:
        return Strategy.flat, f"auto: {phases} phases"
    if one_pass:
        return Strategy.ddp, "auto: one phase, one pass"
    return Strategy.flat, "auto: one phase, whose networks need not run as a whole and once"
