"""Schedules: bounded, exact at both ends, monotone where promised."""

import math

import pytest
from hypothesis import given, settings
from hypothesis import strategies as st

from trainer import schedules
from trainer.config import ScheduleConfig, ScheduleKind

shares = st.floats(0.0, 1.0)


@st.composite
def usable(draw: st.DrawFn) -> ScheduleConfig:
    start = draw(st.floats(0.0, 0.99))
    milestones = sorted(draw(st.lists(st.floats(0.01, 0.99), min_size=1, max_size=4)))
    return ScheduleConfig(
        kind=draw(st.sampled_from(ScheduleKind)),
        warmup=draw(st.floats(0.0, 1.0)) * start,
        decay_start=start,
        final=draw(shares),
        milestones=milestones,
        gamma=draw(shares),
    )


@settings(deadline=None)
@given(usable(), shares)
def test_is_bounded(schedule: ScheduleConfig, progress: float) -> None:
    assert schedules.problems(schedule) == []
    assert 0.0 <= schedules.factor(schedule, progress) <= 1.0 + 1e-12


@settings(deadline=None)
@given(usable(), shares, shares)
def test_rises_in_warm_up_and_falls_afterwards(schedule: ScheduleConfig, a: float, b: float) -> None:
    a, b = sorted((a, b))
    first, second = schedules.factor(schedule, a), schedules.factor(schedule, b)
    if b < schedule.warmup:
        assert first <= second
    elif a >= schedule.warmup:
        assert first >= second - 1e-12


@settings(deadline=None)
@given(usable())
def test_ends_are_exact(schedule: ScheduleConfig) -> None:
    end = schedules.factor(schedule, 1.0)
    if schedule.kind in (ScheduleKind.linear, ScheduleKind.cosine):
        assert end == schedule.final
        assert schedules.factor(schedule, schedule.decay_start) == 1.0
    elif schedule.kind is ScheduleKind.constant:
        assert end == 1.0
    if schedule.warmup > 0:
        assert schedules.factor(schedule, 0.0) == 0.0
    assert schedules.factor(schedule, 7.0) == end  # a last batch may overshoot


def test_known_values() -> None:
    cosine = ScheduleConfig(kind=ScheduleKind.cosine, decay_start=0.0)
    assert schedules.factor(cosine, 0.25) == pytest.approx(0.5 * (1 + math.cos(math.pi / 4)))
    linear = ScheduleConfig(kind=ScheduleKind.linear, decay_start=0.5, final=0.2)
    assert schedules.factor(linear, 0.75) == pytest.approx(0.6)
    step = ScheduleConfig(kind=ScheduleKind.step, milestones=[0.5, 0.75], gamma=0.1)
    assert [schedules.factor(step, p) for p in (0.49, 0.5, 0.75)] == pytest.approx([1.0, 0.1, 0.01])


@pytest.mark.parametrize(
    ("schedule", "named"),
    [
        (ScheduleConfig(warmup=1.5), "schedule.warmup=1.5"),
        (ScheduleConfig(kind=ScheduleKind.linear, warmup=0.6, decay_start=0.5), "ends after schedule.decay_start"),
        (ScheduleConfig(kind=ScheduleKind.step), "schedule.milestones=[]"),
        (ScheduleConfig(kind=ScheduleKind.step, milestones=[0.8, 0.2]), "must be rising"),
    ],
)
def test_names_what_cannot_be_used(schedule: ScheduleConfig, named: str) -> None:
    assert any(named in line for line in schedules.problems(schedule))
