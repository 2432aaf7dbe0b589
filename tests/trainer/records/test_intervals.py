"""Binomial intervals against closed forms, tables and scipy."""

from __future__ import annotations

import math

import pytest

from trainer.records.intervals import (
    at_least,
    clopper_pearson,
    mean_of_shares,
    t_interval,
    t_quantile,
    two_sided_p,
    wilson,
)


def test_known_values() -> None:
    """All of n: the lower end is 0.025^(1/n). 8 of 10: Clopper-Pearson 0.4439 to 0.9748, Wilson 0.4902 to 0.9433."""
    assert clopper_pearson(10, 10) == (pytest.approx(0.025 ** (1 / 10)), 1.0)
    assert clopper_pearson(0, 10) == (0.0, pytest.approx(1 - 0.025 ** (1 / 10)))
    assert clopper_pearson(8, 10) == (pytest.approx(0.4439, abs=1e-4), pytest.approx(0.9748, abs=1e-4))
    assert wilson(8, 10) == (pytest.approx(0.4902, abs=1e-4), pytest.approx(0.9433, abs=1e-4))


@pytest.mark.parametrize(("successes", "trials"), [(1, 3), (26, 30), (50, 100), (870, 1000)])
def test_they_are_those_of_scipy(successes: int, trials: int) -> None:
    stats = pytest.importorskip("scipy.stats", reason="the extra [dev]")
    result = stats.binomtest(successes, trials)
    for method, ours in (("exact", clopper_pearson), ("wilson", wilson)):
        expected = result.proportion_ci(0.95, method=method)
        assert ours(successes, trials) == (pytest.approx(expected.low), pytest.approx(expected.high))
    assert two_sided_p(successes, trials) == pytest.approx(result.pvalue)


def test_tails_by_hand() -> None:
    assert at_least(2, 3, 0.5) == pytest.approx(4 / 8)
    assert at_least(3, 3, 0.2) == pytest.approx(0.008)
    assert at_least(0, 3, 0.0) == 1 and at_least(1, 3, 0.0) == 0 and at_least(3, 3, 1.0) == 1
    assert two_sided_p(3, 3) == pytest.approx(2 / 8) and two_sided_p(2, 4) == 1
    for wrong in ((4, 3), (0, 0)):
        with pytest.raises(ValueError, match="trial"):
            wilson(*wrong)


def test_the_mean_of_shares() -> None:
    """0 of 4 and 3 of 4: Wilson's ends are 0 and 0.48989, 0.30064 and 0.95441; their distances are added as squares."""
    mean, low, high = mean_of_shares([(0, 4), (3, 4)])
    assert mean == 3 / 8
    assert low == pytest.approx(mean - math.hypot(0, 0.75 - 0.300642) / 2, abs=1e-5)
    assert high == pytest.approx(mean + math.hypot(0.489891, 0.954413 - 0.75) / 2, abs=1e-5)
    assert mean_of_shares([(7, 9)]) == pytest.approx((7 / 9, *wilson(7, 9)))
    for wrong, what in (([], "no shares"), ([(0, 0)], "trial")):
        with pytest.raises(ValueError, match=what):
            mean_of_shares(wrong)


def test_the_interval_of_three_seeds() -> None:
    """1, 2, 3: deviation 1, half width 4.30265 / sqrt(3)."""
    mean, half = t_interval([1.0, 2.0, 3.0])
    assert mean == 2 and half == pytest.approx(4.302653 / math.sqrt(3))
    assert t_interval([5.0]) == (5.0, None)
    assert t_interval([0.0, 2.0])[1] == pytest.approx(12.706205), "sqrt(2) / sqrt(2)"
    assert t_interval([0.0, 1.0] * 40)[1] == pytest.approx(1.990450 * 0.5 * math.sqrt(80 / 79) / math.sqrt(80))


# 0.975 quantiles as tables of Student's t print them.
PRINTED = {
    **{1: 12.7062, 2: 4.3027, 3: 3.1824, 4: 2.7764, 5: 2.5706, 9: 2.2622, 10: 2.2281, 29: 2.0452, 30: 2.0423},
    **{31: 2.0395, 40: 2.0211, 60: 2.0003, 120: 1.9799, 1000: 1.9623, 10**5: 1.9600},
}


def test_quantiles_of_any_count_of_seeds() -> None:
    found = {freedom: t_quantile(freedom) for freedom in PRINTED}
    assert found == pytest.approx(PRINTED, abs=6e-5)
