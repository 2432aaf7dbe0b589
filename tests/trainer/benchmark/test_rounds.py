"""Variants in turn, and ratios within a round."""

from collections import Counter
from statistics import median

from trainer.benchmark.rounds import in_turn, ratios, spread, timed


def test_every_variant_once_a_round_in_changing_order() -> None:
    names = ["a", "b", "c"]
    order = list(in_turn(names, 40))
    rounds = [order[i : i + 3] for i in range(0, 120, 3)]
    assert all(sorted(one) == names for one in rounds)
    assert min(Counter(one[0] for one in rounds).values()) > 5 and order == list(in_turn(names, 40))


def test_load_that_hits_a_whole_round_leaves_ratios_alone() -> None:
    base, own = [1.0, 10.0, 1.0], [0.5, 5.0, 0.5]
    assert ratios(base, own) == [2.0, 2.0, 2.0] and median(ratios(base, own)) == 2.0


def test_each_run_is_timed_once_a_round_after_a_first_time() -> None:
    calls: list[str] = []
    found = timed({"a": lambda: calls.append("a"), "b": lambda: calls.append("b")}, 3)
    assert calls[:2] == ["a", "b"] and Counter(calls) == {"a": 4, "b": 4}
    assert {name: len(taken) for name, taken in found.items()} == {"a": 3, "b": 3} and min(found["a"]) >= 0


def test_a_median_with_its_range() -> None:
    assert spread([3.0, 1.0, 1.254]) == "1.25 (1.00 to 3.00)"
