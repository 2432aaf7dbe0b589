"""Whose vectors the instances have in an evaluation: E's of the real frames, means of classes, or drawn ones."""

from __future__ import annotations

from dataclasses import dataclass, field
from functools import partial
from pathlib import Path

from vid2vid.config import EvaluatedStyle
from vid2vid.evaluate.provenance import OWN_STYLE
from vid2vid.styles.assigned import AssignedStyles
from vid2vid.styles.of_run import styles_of_run
from vid2vid.styles.pooling import Styling, own_styles
from vid2vid.styles.sources import Drawn, Means
from vid2vid.trained import LoadedRun


@dataclass(frozen=True)
class Styled:
    """How an evaluation chooses styles.

    Attributes:
        styling: gives clips their vectors; None: the run has no feature encoder.
        fact: in words, for ``eval.json``.
        requested: what differs from the run's own evaluation.
        pair: two draws, whose difference is measured (`vid2vid.evaluate.style_contrast`); None: nothing is drawn.
    """

    styling: Styling | None = None
    fact: str = ""
    requested: dict[str, str] = field(default_factory=dict)
    pair: tuple[AssignedStyles, AssignedStyles] | None = None


def styled(
    run: LoadedRun, kind: EvaluatedStyle = EvaluatedStyle.own, run_dir: Path | None = None, seed: int = 0
) -> Styled:
    """The styles of an evaluation.

    Args:
        run: the networks.
        kind: which styles; without a feature encoder it is not looked at.
        run_dir: where ``styles.json`` is; ``own`` does without.
        seed: of what is drawn; the second of a pair has the next one.

    Raises:
        DataError: there is no ``styles.json``, or it does not fit the run.
    """
    if run.style is None:
        return Styled()
    if kind is EvaluatedStyle.own:
        return Styled(partial(own_styles, run.style, run.encoder, amp=run.compute.amp), OWN_STYLE)
    assert run_dir is not None
    fitted = styles_of_run(run_dir, run)
    if kind is EvaluatedStyle.mean:
        means = AssignedStyles(Means(fitted), run.encoder, fitted.things)
        return Styled(means, "mean (of each class)", {"style": kind.value})

    def drawn(number: int) -> AssignedStyles:
        return AssignedStyles(Drawn(fitted, number), run.encoder, fitted.things)

    requested = {"style": kind.value} | ({"seed": str(seed)} if seed else {})
    return Styled(drawn(seed), f"sample (drawn with seed {seed})", requested, (drawn(seed), drawn(seed + 1)))
