"""The stage table: lookup is total and monotone, fractions and run length agree, problems are all named."""

import pytest
from hypothesis import given, settings
from hypothesis import strategies as st

from tests.helpers.toys import toy_config
from trainer.config.fields import RunConfig, StageConfig
from trainer.errors import ConfigError
from trainer.schedule import curriculum
from trainer.task import Stage


def segments(stage: Stage) -> int:
    return stage.frames


@st.composite
def runs(draw: st.DrawFn) -> RunConfig:
    count = draw(st.integers(1, 4))
    starts = sorted(draw(st.sets(st.integers(1, 19), min_size=count - 1, max_size=count - 1)))
    stages = {
        f"s{i}": StageConfig(
            start=0.0 if i == 0 else starts[i - 1] / 20,
            frames=draw(st.integers(1, 5)),
            batch_size=2 * draw(st.integers(1, 4)),
            accumulate=draw(st.integers(1, 2)),
        )
        for i in range(count)
    }
    length = draw(st.integers(100, 3000))
    by_steps = draw(st.booleans())
    return toy_config(stages=stages, max_steps=length if by_steps else None, max_samples=None if by_steps else length)


def walk(config: RunConfig, table: curriculum.Curriculum) -> tuple[int, int, list[Stage]]:
    """The run batch by batch, by the rule of the interface."""
    samples = steps = 0
    visited = []
    limit = config.trainer
    while (limit.max_steps is None or steps < limit.max_steps) and (
        limit.max_samples is None or samples < limit.max_samples
    ):
        stage = table.at(samples)
        visited.append(stage)
        samples += stage.batch_size
        steps += segments(stage)
    return samples, steps, visited


@settings(deadline=None, max_examples=60)
@given(runs())
def test_the_run_ends_where_it_is_said_to(config: RunConfig) -> None:
    table = curriculum.resolve(config, 1, segments)
    samples, steps, visited = walk(config, table)
    assert (table.total_samples, table.total_steps) == (samples, steps)
    assert table.progress(samples) == 1.0
    assert table.progress(samples - 1) < 1.0
    assert [s.index for s in visited] == sorted(s.index for s in visited)
    assert table.reached == {s.index for s in visited}


@settings(deadline=None, max_examples=60)
@given(runs())
def test_fractions_are_shares_of_the_run(config: RunConfig) -> None:
    table = curriculum.resolve(config, 1, segments)
    for stage in table.stages:
        # As near as the end of the run can be known before its last batches are.
        assert abs(table.progress(stage.start) - stage.config.start) * table.total_samples <= 3 * 8
        assert table.at(stage.start) is stage
        if stage.start:
            assert table.at(stage.start - 1).index == stage.index - 1


def test_a_shorter_run_keeps_its_curriculum() -> None:
    for length in (100, 1000, 10000):
        table = curriculum.resolve(toy_config(max_steps=length), 1, segments)
        assert table.progress(table.stages[1].start) == pytest.approx(0.5, abs=0.03)


def test_whichever_limit_comes_first_ends_the_run() -> None:
    both = curriculum.resolve(toy_config(max_steps=10, max_samples=1000), 1, segments)
    assert both.total_steps in (10, 11, 12)
    both = curriculum.resolve(toy_config(max_steps=1000, max_samples=24), 1, segments)
    assert both.total_samples == 24


def test_starts_in_samples() -> None:
    stages = {"a": StageConfig(batch_size=4), "b": StageConfig(start=10, batch_size=4)}
    table = curriculum.resolve(toy_config(stages=stages, max_samples=40), 1, segments)
    assert table.stages[1].start == 10
    assert [table.at(n).name for n in (0, 8, 12)] == ["a", "a", "b"]


def test_all_problems_are_reported_together() -> None:
    stages = {
        "a": StageConfig(start=0.1, batch_size=3, accumulate=2, downscale=3),
        "b": StageConfig(start=0.1, frames=0, trainable=[]),
        "c": StageConfig(start=1.5, resolution=[4]),
    }
    config = toy_config(stages=stages, max_samples=None, eval_every=-1)
    with pytest.raises(ConfigError) as caught:
        curriculum.resolve(config, 2, segments)
    text = str(caught.value)
    for part in (
        "are all null",
        "trainer.eval_every=-1",
        "a.start=0.1: the first stage must start at 0",
        "a.batch_size=3 cannot be split over 2 process(es) times accumulate=2",
        "a.downscale=3 does not divide",
        "b.start=0.1 is not after",
        "b.frames=0",
        "b.trainable=[]",
        "c.start=1.5",
        "c.resolution=[4]",
    ):
        assert part in text, part


def test_stages_that_a_short_run_misses_are_named() -> None:
    stages = {"a": StageConfig(), "b": StageConfig(start=500, frames=9)}
    table = curriculum.resolve(toy_config(stages=stages, max_samples=100), 1, segments)
    assert table.reached == {0} and table.largest().name == "a"
    assert table.table()[2][2] == "never"
    assert curriculum.resolve(toy_config(stages=stages, max_samples=501), 1, segments).reached == {0, 1}
    assert curriculum.resolve(toy_config(max_steps=1), 1, segments).total_steps >= 1


def test_shares_and_samples_must_not_cross() -> None:
    stages = {"a": StageConfig(), "b": StageConfig(start=0.5), "c": StageConfig(start=20)}
    curriculum.resolve(toy_config(stages=stages, max_samples=40), 1, segments)
    with pytest.raises(ConfigError, match=r"c\.start=20.*before the start of 'b' \(sample 50\)"):
        curriculum.resolve(toy_config(stages=stages, max_samples=100), 1, segments)


def test_changes_are_told_and_nothing_else() -> None:
    table = curriculum.resolve(toy_config(), 1, segments)
    first, second = table.stages
    assert "resolution 2x4" in curriculum.describe_change(None, first)
    line = curriculum.describe_change(first, second)
    assert "resolution 2x4 -> 4x8" in line and "frames 2 -> 3" in line and "trainable" not in line
    assert table.largest() is second
    assert [row[0] for row in table.table()] == ["stage", "short", "long"]
