"""Whether an attack failed for want of gradients: what masked gradients show themselves by. Loads no torch.

Athalye, Carlini and Wagner, "Obfuscated gradients give a false sense of security", 2018, section 3.1; Carlini et al.,
"On evaluating adversarial robustness", 2019.
"""

from __future__ import annotations

from collections.abc import Mapping, Sequence
from dataclasses import dataclass

Point = tuple[float, float, float]
"""Accuracy, and both ends of its interval."""

_FLAT = 0.01  # share of pictures without any gradient that is worth a word


@dataclass(frozen=True)
class Robustness:
    """What attacks did to one classifier.

    Attributes:
        curves: by attack (``fgsm``, ``pgd``, ``noise``) and eps, 0 among them.
        losses: of PGD, by eps: the mean loss at the start and after every step [nats].
        flat: by eps: share of the pictures whose gradient was zero everywhere.
        transferred: accuracy on pictures that were made against another, by its name and eps.
    """

    curves: Mapping[str, Mapping[float, Point]]
    losses: Mapping[float, Sequence[float]]
    flat: Mapping[float, float]
    transferred: Mapping[tuple[str, float], float]


def doubts(label: str, found: Robustness) -> list[str]:
    """A line for the user for everything that speaks of masked gradients; one that says so where nothing does."""
    fgsm, pgd, noise = (found.curves[attack] for attack in ("fgsm", "pgd", "noise"))
    bounds = [eps for eps in sorted(pgd) if eps > 0]
    lines = []
    for eps in bounds:
        at = f"at eps {eps:g}/255"
        if found.losses[eps][-1] <= found.losses[eps][0]:
            lines.append(f"{at} the loss does not rise over the steps of PGD")
        if pgd[eps][0] > fgsm[eps][0]:
            lines.append(
                f"{at} many steps (PGD, {_per_cent(pgd[eps])}) do less than one (FGSM, {_per_cent(fgsm[eps])})"
            )
        if noise[eps][0] < pgd[eps][0]:
            lines.append(f"{at} random noise ({_per_cent(noise[eps])}) does more than PGD ({_per_cent(pgd[eps])})")
        if found.flat[eps] > _FLAT:
            lines.append(f"{at} {100 * found.flat[eps]:.0f} % of the pictures have no gradient at all")
        stronger = [
            source for (source, bound), top1 in found.transferred.items() if bound == eps and top1 < pgd[eps][0]
        ]
        if stronger:
            lines.append(f"{at} pictures made against {', '.join(stronger)} do more than those made against itself")
    if lines:
        return [f"WARNING: {label}: {line}: its gradients may be masked, and it weaker than it looks" for line in lines]
    eps = bounds[-1]
    first, last = found.losses[eps][0], found.losses[eps][-1]
    return [
        f"{label}: its gradients are not masked as far as can be told: at eps {eps:g}/255 the loss rises from "
        f"{first:.2f} to {last:.2f} nats over the steps, PGD does no less than FGSM, and noise no more"
    ]


def _per_cent(point: Point) -> str:
    return f"{100 * point[0]:.1f} %"
