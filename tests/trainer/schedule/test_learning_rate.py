"""Schedules: bounded, exact at both ends, monotone where promised."""

import dataclasses
import math
from itertools import pairwise

import pytest
from hypothesis import given, settings
from hypothesis import strategies as st

from trainer.config.fields import ScheduleConfig, ScheduleKind
from trainer.schedule import learning_rate

shares = st.floats(0.0, 1.0)


@st.composite
def usable(draw: st.DrawFn) -> ScheduleConfig:
    start = draw(st.none() | st.floats(0.0, 0.99))
    milestones = sorted(draw(st.lists(st.floats(0.01, 0.99), min_size=1, max_size=4)))
    return ScheduleConfig(
        kind=draw(st.sampled_from(ScheduleKind)),
        warmup=draw(st.floats(0.0, 1.0, exclude_max=True)) * (1.0 if start is None else start),
        warmup_from=draw(shares),
        timescale=draw(st.floats(0.001, 0.99)),
        decay_start=start,
        final=draw(shares),
        milestones=milestones,
        gamma=draw(shares),
    )


@settings(deadline=None)
@given(usable(), shares)
def test_is_bounded(schedule: ScheduleConfig, progress: float) -> None:
    assert learning_rate.problems(schedule) == []
    assert 0.0 <= learning_rate.factor(schedule, progress) <= 1.0 + 1e-12


@settings(deadline=None)
@given(usable(), shares, shares)
def test_rises_in_warm_up_and_falls_afterwards(schedule: ScheduleConfig, a: float, b: float) -> None:
    a, b = sorted((a, b))
    first, second = learning_rate.factor(schedule, a), learning_rate.factor(schedule, b)
    if b < schedule.warmup:
        assert first <= second
    elif a >= schedule.warmup and not (schedule.kind is ScheduleKind.linear_restarts and pieces(schedule, a, b) > 1):
        assert first >= second - 1e-12


def pieces(schedule: ScheduleConfig, a: float, b: float) -> int:
    """How many pieces between milestones two positions are in."""
    return len({sum(p >= milestone for milestone in schedule.milestones) for p in (a, b)})


@settings(deadline=None)
@given(usable())
def test_ends_are_exact(schedule: ScheduleConfig) -> None:
    end = learning_rate.factor(schedule, 1.0)
    if schedule.kind in (ScheduleKind.linear, ScheduleKind.cosine):
        assert end == schedule.final
        start = schedule.warmup if schedule.decay_start is None else schedule.decay_start
        assert learning_rate.factor(schedule, start) == 1.0
    elif schedule.kind is ScheduleKind.constant:
        assert end == 1.0
    if schedule.warmup > 0:
        assert learning_rate.factor(schedule, 0.0) == schedule.warmup_from
    assert learning_rate.factor(schedule, 7.0) == end  # a last batch may overshoot


def test_known_values() -> None:
    cosine = ScheduleConfig(kind=ScheduleKind.cosine, decay_start=0.0)
    assert learning_rate.factor(cosine, 0.25) == pytest.approx(0.5 * (1 + math.cos(math.pi / 4)))
    linear = ScheduleConfig(kind=ScheduleKind.linear, decay_start=0.5, final=0.2)
    assert learning_rate.factor(linear, 0.75) == pytest.approx(0.6)
    step = ScheduleConfig(kind=ScheduleKind.step, milestones=[0.5, 0.75], gamma=0.1)
    assert [learning_rate.factor(step, p) for p in (0.49, 0.5, 0.75)] == pytest.approx([1.0, 0.1, 0.01])


def test_restarts_are_a_linear_schedule_in_each_piece() -> None:
    """The released scripts for streets: 10 + 10 epochs from 2e-4, 10 + 10 from 1e-4, 5 + 5 from 5e-5."""
    schedule = ScheduleConfig(ScheduleKind.linear_restarts, milestones=[0.4, 0.8], gamma=0.5)
    rates = {epoch: 2e-4 * learning_rate.factor(schedule, epoch / 50) for epoch in range(51)}
    for first, constant, decaying, rate in ((0, 10, 10, 2e-4), (20, 10, 10, 1e-4), (40, 5, 5, 5e-5)):
        for epoch in range(constant + decaying):
            expected = rate * (1 - max(0, epoch - constant) / decaying)
            assert rates[first + epoch] == pytest.approx(expected), first + epoch
    assert rates[50] == 0
    floor = ScheduleConfig(ScheduleKind.linear_restarts, milestones=[0.5], gamma=0.1, decay_start=None, final=0.2)
    values = [learning_rate.factor(floor, p) for p in (0.0, 0.25, 0.499999, 0.5, 0.75, 1.0)]
    assert values == pytest.approx([1.0, 0.6, 0.2, 0.1, 0.06, 0.02], abs=1e-5)
    warm = ScheduleConfig(ScheduleKind.linear_restarts, milestones=[0.5], warmup=0.3, decay_start=0.0)
    assert [learning_rate.factor(warm, p) for p in (0.15, 0.3, 0.4)] == pytest.approx([0.5, 1.0, 0.5])


@settings(deadline=None)
@given(usable(), shares, st.integers(2, 10**9))
def test_samples_mean_the_same_as_shares(schedule: ScheduleConfig, progress: float, total: int) -> None:
    counted = dataclasses.replace(schedule)
    counted.warmup = max(1, round(schedule.warmup * total))
    counted.timescale = max(1, round(schedule.timescale * total))
    schedule.warmup, schedule.timescale = counted.warmup / total, counted.timescale / total
    assert learning_rate.problems(counted) == []
    if schedule.warmup < 1 and schedule.timescale < 1:
        assert learning_rate.factor(counted, progress, total) == learning_rate.factor(schedule, progress)


def test_warm_up_in_samples() -> None:
    schedule = ScheduleConfig(kind=ScheduleKind.cosine, warmup=500, decay_start=None, warmup_from=0.1)
    assert learning_rate.factor(schedule, 0.0, 10_000) == 0.1
    assert learning_rate.factor(schedule, 0.025, 10_000) == pytest.approx(0.55)
    assert learning_rate.factor(schedule, 0.05, 10_000) == 1.0
    assert learning_rate.factor(schedule, 0.525, 10_000) == pytest.approx(0.5)
    assert learning_rate.factor(schedule, 1.0, 10_000) == 0.0
    with pytest.raises(ValueError, match="total_samples"):
        learning_rate.factor(schedule, 0.5)


def test_a_run_that_ends_in_its_warm_up_is_told_so() -> None:
    schedule = ScheduleConfig(kind=ScheduleKind.cosine, warmup=500)
    assert learning_rate.notes(schedule, 10_000) == []
    assert "ends in its warm-up" in learning_rate.notes(schedule, 100)[0]
    assert learning_rate.factor(schedule, 1.0, 100) == pytest.approx(0.2)  # as far as 100 samples of 500 go


def test_decay_waits_for_the_end_of_warm_up() -> None:
    schedule = ScheduleConfig(kind=ScheduleKind.linear, warmup=600, decay_start=0.5)
    assert learning_rate.problems(schedule) == []
    assert learning_rate.factor(schedule, 0.6, 1000) == 1.0
    assert learning_rate.factor(schedule, 0.8, 1000) == pytest.approx(0.5)


def test_inverse_square_root() -> None:
    """big_vision's: 1 / sqrt(1 + (t - warm-up) / timescale), with a linear cool-down."""
    schedule = ScheduleConfig(kind=ScheduleKind.rsqrt, warmup=0.1, timescale=0.1, decay_start=0.9, final=0.2)
    assert learning_rate.factor(schedule, 0.1) == 1.0
    assert learning_rate.factor(schedule, 0.2) == pytest.approx(1 / math.sqrt(2))
    assert learning_rate.factor(schedule, 0.4) == pytest.approx(0.5)
    assert learning_rate.factor(schedule, 0.9) == pytest.approx(1 / 3)
    assert learning_rate.factor(schedule, 0.95) == pytest.approx(0.6 / math.sqrt(9.5))
    assert learning_rate.factor(schedule, 1.0) == pytest.approx(0.2 / math.sqrt(10))
    counted = ScheduleConfig(kind=ScheduleKind.rsqrt, warmup=100, timescale=300, decay_start=1.0)
    assert learning_rate.factor(counted, 1.0, 1000) == pytest.approx(0.5)  # no cool-down


@pytest.mark.parametrize("kind", [ScheduleKind.rsqrt, ScheduleKind.linear, ScheduleKind.cosine])
def test_an_absolute_end_is_reached(kind: ScheduleKind) -> None:
    """Not a share of it, whatever else lowers the rate; no step down where the decay begins."""
    schedule = ScheduleConfig(kind=kind, warmup=0.1, timescale=0.1, decay_start=0.5, min_lr=1e-5)
    rates = [learning_rate.rate(schedule, step / 100, 1000, 1e-3) for step in range(10, 101)]
    assert rates[-1] == pytest.approx(1e-5, rel=1e-12) and rates == sorted(rates, reverse=True)
    assert max(a - b for a, b in pairwise(rates)) < 1e-4


def test_an_absolute_end_of_every_piece() -> None:
    schedule = ScheduleConfig(ScheduleKind.linear_restarts, milestones=[0.5], gamma=0.5, decay_start=0.0, min_lr=1e-5)
    assert learning_rate.rate(schedule, 0.5 - 1e-12, 1000, 1e-3) == pytest.approx(1e-5, rel=1e-6)
    assert learning_rate.rate(schedule, 0.5, 1000, 1e-3) == pytest.approx(5e-4)
    assert learning_rate.rate(schedule, 1.0, 1000, 1e-3) == pytest.approx(1e-5, rel=1e-12)


@pytest.mark.parametrize(
    ("schedule", "named"),
    [
        (ScheduleConfig(warmup=1.5), "schedule.warmup=1.5: must be a share of the run (below 1) or whole samples"),
        (ScheduleConfig(warmup=-0.1), "schedule.warmup=-0.1"),
        (ScheduleConfig(warmup_from=2.0), "schedule.warmup_from=2.0"),
        (ScheduleConfig(kind=ScheduleKind.rsqrt, timescale=0), "schedule.timescale=0"),
        (ScheduleConfig(timescale=10.5), "schedule.timescale=10.5"),
        (ScheduleConfig(kind=ScheduleKind.linear, warmup=0.6, decay_start=0.5), "ends after schedule.decay_start"),
        (ScheduleConfig(kind=ScheduleKind.step), "schedule.milestones=[]"),
        (ScheduleConfig(kind=ScheduleKind.step, milestones=[0.8, 0.2]), "must be rising"),
    ],
)
def test_names_what_cannot_be_used(schedule: ScheduleConfig, named: str) -> None:
    assert any(named in line for line in learning_rate.problems(schedule))
