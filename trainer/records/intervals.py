"""Confidence intervals: of a share that was counted, of a mean over repetitions. Loads no torch."""

from __future__ import annotations

import math
import statistics
from collections.abc import Callable, Sequence

CONFIDENCE = 0.95
_NORMAL = 1.959963984540054  # two-sided quantile of the normal distribution at CONFIDENCE


def clopper_pearson(successes: int, trials: int, confidence: float = CONFIDENCE) -> tuple[float, float]:
    """Exact binomial interval (Clopper and Pearson 1934): the shares that the count does not contradict.

    The lower end is the share at which as many successes or more have the probability (1 - confidence) / 2, the upper
    end the one at which as many or fewer have it. Covers at least as often as it says.

    Raises:
        ValueError: no trials, or counts that cannot be.
    """
    _check(successes, trials)
    tail = (1 - confidence) / 2
    low = 0.0 if successes == 0 else _solve(lambda p: at_least(successes, trials, p) - tail)
    high = 1.0 if successes == trials else _solve(lambda p: tail - (1 - at_least(successes + 1, trials, p)))
    return low, high


def wilson(successes: int, trials: int) -> tuple[float, float]:
    """Score interval (Wilson 1927) at 95 %: shorter, right on average over shares.

    Raises:
        ValueError: no trials, or counts that cannot be.
    """
    _check(successes, trials)
    share, squared = successes / trials, _NORMAL**2
    centre = (share + squared / (2 * trials)) / (1 + squared / trials)
    half = _NORMAL * math.sqrt(share * (1 - share) / trials + squared / (4 * trials**2)) / (1 + squared / trials)
    return max(0.0, centre - half), min(1.0, centre + half)


def mean_of_shares(counts: Sequence[tuple[int, int]]) -> tuple[float, float, float]:
    """Mean of independent shares, each weighing the same, and its 95 % interval (low, high).

    The distances of the shares' Wilson intervals are added as squares (MOVER, Zou and Donner 2008): where all shares
    are 0 or 1 the interval has a width too.

    Args:
        counts: (successes, trials) of each.

    Raises:
        ValueError: no shares, one without trials, or counts that cannot be.
    """
    if not counts:
        raise ValueError("the mean of no shares")
    shares = [successes / trials if trials else 0.0 for successes, trials in counts]
    ends = [wilson(successes, trials) for successes, trials in counts]
    mean = statistics.fmean(shares)
    below = math.hypot(*(share - low for share, (low, _) in zip(shares, ends, strict=True))) / len(shares)
    above = math.hypot(*(high - share for share, (_, high) in zip(shares, ends, strict=True))) / len(shares)
    return mean, mean - below, mean + above


def t_interval(values: Sequence[float]) -> tuple[float, float | None]:
    """Mean, and half the width of its 95 % t-interval; None of a single value."""
    mean = statistics.fmean(values)
    if len(values) < 2:
        return mean, None
    return mean, t_quantile(len(values) - 1) * statistics.stdev(values) / math.sqrt(len(values))


def t_quantile(freedom: int) -> float:
    """What Student's t of some degrees of freedom stays within, on both sides, with a probability of 95 %."""
    angle = math.pi / 2 * _solve(lambda share: _within(math.pi / 2 * share, freedom) - CONFIDENCE)
    return math.sqrt(freedom) * math.tan(angle)


def _within(angle: float, freedom: int) -> float:
    """The probability of abs(t) < sqrt(freedom) tan(angle): Abramowitz and Stegun, 26.7.3 and 26.7.4, whose sums end
    after freedom / 2 terms."""
    odd = freedom % 2
    cosine = math.cos(angle)
    term = total = cosine if odd else 1.0
    for power in range(2 + odd, freedom, 2):
        term *= cosine**2 * (power - 1) / power
        total += term
    total *= math.sin(angle)
    if not odd:
        return total
    return 2 / math.pi * (angle + (total if freedom > 1 else 0.0))


def two_sided_p(successes: int, trials: int) -> float:
    """Probability of a count at least as far from one half, if both were preferred alike (exact binomial test)."""
    _check(successes, trials)
    return min(1.0, 2 * at_least(max(successes, trials - successes), trials, 0.5))


def at_least(successes: int, trials: int, share: float) -> float:
    """Probability of so many successes or more."""
    if successes <= 0:
        return 1.0
    if share <= 0 or share >= 1:
        return float(share >= 1)
    logs = (
        math.lgamma(trials + 1)
        - math.lgamma(k + 1)
        - math.lgamma(trials - k + 1)
        + k * math.log(share)
        + (trials - k) * math.log1p(-share)
        for k in range(successes, trials + 1)
    )
    return min(1.0, math.fsum(math.exp(log) for log in logs))


def _solve(rising: Callable[[float], float]) -> float:
    """Where a function that rises on 0..1 is zero."""
    low, high = 0.0, 1.0
    for _ in range(60):
        middle = (low + high) / 2
        low, high = (middle, high) if rising(middle) < 0 else (low, middle)
    return (low + high) / 2


def _check(successes: int, trials: int) -> None:
    if not 0 <= successes <= trials or trials < 1:
        raise ValueError(f"{successes} of {trials}: needs 0 <= successes <= trials and at least one trial")
