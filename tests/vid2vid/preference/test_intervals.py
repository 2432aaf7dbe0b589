"""Binomial intervals against closed forms, tables and scipy."""

from __future__ import annotations

import pytest

from vid2vid.preference.intervals import at_least, clopper_pearson, two_sided_p, wilson


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
