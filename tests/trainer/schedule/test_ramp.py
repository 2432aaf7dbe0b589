"""Ramps: their values, what cannot be one, and that a run that crashed goes on with them bit for bit."""

from pathlib import Path
from typing import Any

import pytest
import torch

from tests.helpers.exactness import assert_same
from tests.helpers.power_cut import fit_until
from tests.helpers.small_runs import COMMON
from train import SCHEMAS, build_task
from trainer.checkpoint.contents import WEIGHTS
from trainer.checkpoint.trained import load_weights
from trainer.cli import compose
from trainer.config.fields import ScheduleConfig, ScheduleKind
from trainer.loop import Trainer
from trainer.optim.ema import EMA
from trainer.optim.scheduled import set_scheduled
from trainer.schedule.learning_rate import rate
from trainer.schedule.ramp import ramp, ramp_problems
from vid2vid.validate import problems


def test_half_a_cosine() -> None:
    assert [ramp([150, 15, 0.2], at) for at in (0, 0.2, 0.7, 1)] == [150, 15, 15, 15]
    assert ramp([150, 15, 0.2], 0.1) == pytest.approx(82.5)
    assert ramp([0.9, 0.99, 1.0], 0.25) == pytest.approx(0.9 + 0.09 * (1 - 0.5**0.5) / 2)
    assert ramp([0, 500, 0.5], 0) == 0


@pytest.mark.parametrize(
    ("values", "message"),
    [
        ([1.0, 2.0], "x=[1.0,2.0]: needs [from, to, over]"),
        ([-1.0, 2.0, 0.5], "from and to must be at least 0"),
        ([0.9, 1.0, 0.5], "must be at least 0 and below 1"),
        ([0.9, 0.99, 0.0], "above 0 and at most 1"),
    ],
)
def test_what_is_no_ramp(values: list[float], message: str) -> None:
    (found,) = ramp_problems("x", values, below=1.0)
    assert message in found
    assert ramp_problems("x", None) == [] == ramp_problems("x", [0, 0.5, 1.0], below=1.0)


@pytest.mark.parametrize(
    ("words", "message"),
    [
        (["schedule.beta2=[0.9,0.99,0.2]", "optim.g.kind=sgd"], "is of adam, adamw, lamb, but optim.g.kind=sgd"),
        (["schedule.ema_half_life=[0,500,0.2]", "trainer.ema=null"], "trainer.ema=null keeps none"),
        (["model.gamma_ramp=[1,0.1,0.2]"], "a factor of model.r1_gamma and model.r2_gamma, and both are 0"),
        (["model.gamma_ramp=[1,0.1]", "model.r1_gamma=1"], "model.gamma_ramp=[1.0,0.1]: needs [from, to, over]"),
        (["schedule=cosine", "schedule.decay_end=0.02"], "does not lie after schedule.decay_start=0.02"),
        (["schedule=constant", "schedule.decay_end=0.5"], "schedule.kind=constant does not decay to an end"),
    ],
)
def test_a_problem_names_key_and_remedy(words: list[str], message: str) -> None:
    (found,) = problems(compose(["model=vid2vid_2018", *words], SCHEMAS))
    assert message in found


WORDS = ["model=vid2vid_tiny", "schedule=r3gan", "trainer.max_samples=4", "trainer.eval_every=0", "trainer.ema=0.9"]
WORDS += ["model.r1_gamma=150", "model.r2_gamma=150", "model.gamma_ramp=[1,0.1,0.2]", "model.penalty_every=1"]
WORDS += ["schedule.decay_end=0.5", "schedule.beta2=[0.9,0.99,0.5]", "schedule.ema_half_life=[0,20,0.5]"]


def trainer_of(folder: Path) -> Any:
    config = compose([*COMMON, *WORDS, "model.gamma_ramp=[1,0.1,0.5]"], SCHEMAS)
    return Trainer(config, lambda: build_task(config), folder)


@pytest.mark.slow
def test_a_run_follows_them_and_goes_on_bit_for_bit(tmp_path: Path) -> None:
    """Four batches of two steps each; a stop by a crash in the third."""
    whole, broken, seen = trainer_of(tmp_path / "whole"), trainer_of(tmp_path / "broken"), []
    stepped = whole.train_step

    def noted(segments: Any, ctx: Any) -> None:
        group = whole.optimizers["d_image"].param_groups[0]
        seen.append((group["lr"], group["betas"], whole.ema.decay_at(ctx.step)))
        stepped(segments, ctx)

    whole.train_step = noted
    whole.fit()
    assert [row[1][1] for row in seen[::2]] == pytest.approx([ramp([0.9, 0.99, 0.5], n / 4) for n in range(4)])
    assert all(row[1][0] == 0.5 for row in seen), "the first beta stays"
    lr = seen[0][0]
    assert [row[0] for row in seen[::2]] == pytest.approx([ramp([lr, lr / 4, 0.5], n / 4) for n in range(4)])
    assert seen[0][2] == 0 and seen[-1][2] == pytest.approx(0.5 ** (1 / 20))

    fit_until(broken, 5)
    trainer_of(tmp_path / "broken").fit()
    newest = [sorted((tmp_path / name / "checkpoints").glob("step-*"))[-1] for name in ("whole", "broken")]
    for ema in (False, True):
        assert_same(*(dict(load_weights(path, ema=ema)[0]) for path in newest))
    assert (newest[0] / WEIGHTS).is_file()


def test_a_point_of_the_run_is_all_that_is_needed() -> None:
    network = torch.nn.Linear(2, 2)
    optimizer = torch.optim.Adam(network.parameters(), lr=1.0, betas=(0.5, 0.999), fused=True)
    optimizer.param_groups[0]["scale"] = 0.5
    schedule = ScheduleConfig(kind=ScheduleKind.cosine, decay_start=0.0, decay_end=0.2, final=0.25)
    schedule.beta2, schedule.ema_half_life = [0.9, 0.99, 0.2], [0, 20, 0.4]
    ema, found = EMA({"network": network}, 0.9), []
    for progress in (0.0, 0.1, 0.2, 1.0, 0.1):
        set_scheduled(schedule, progress, 10, {"main": optimizer}, {"main": 0.02}, ema)
        group = optimizer.param_groups[0]
        assert group["betas"][0] == 0.5
        found.append((group["lr"], group["betas"][1], ema.half_life))
    assert found[0] == (0.01, 0.9, 0) and found[3] == (0.0025, 0.99, 20) and found[4] == found[1]
    assert found[1] == pytest.approx((0.01 * 0.625, 0.945, 10 * (1 - 0.5**0.5)))
    assert found[2][:2] == (0.0025, 0.99)
    optimizer.zero_grad()
    network(torch.ones(1, 2)).sum().backward()
    optimizer.step()  # the fused kernel takes what was set
    squares = optimizer.state[network.weight]["exp_avg_sq"]
    torch.testing.assert_close(squares, torch.full((2, 2), 1 - 0.945), rtol=1e-4, atol=0)


def test_at_half_life_zero_averages_are_the_weights(tmp_path: Path) -> None:
    trainer = trainer_of(tmp_path)
    trainer.ema.half_life = 0.0
    with torch.no_grad():
        for p in trainer.networks["generator"].parameters():
            p.add_(torch.randn_like(p))
    trainer.ema.update(100)
    average = trainer.ema.state_dict()
    assert all(torch.equal(average[f"generator.{n}"], p) for n, p in trainer.networks["generator"].named_parameters())
    trainer.ema.half_life = 3.0
    before = next(iter(average.values())).clone()
    trainer.networks["generator"].requires_grad_(False)
    name, parameter = next(trainer.networks["generator"].named_parameters())
    parameter.add_(1.0)
    for _ in range(3):
        trainer.ema.update(100)
    torch.testing.assert_close(trainer.ema.state_dict()[f"generator.{name}"], before + 0.5)


def test_penalties_weigh_what_the_ramp_says(tmp_path: Path) -> None:
    trainer = trainer_of(tmp_path)
    with trainer.session():
        trainer.enter(trainer.curriculum.stages[0])
        batch, ctx = trainer.next_batch(), trainer.context()
        found = []
        for ctx.progress in (0.0, 0.25, 1.0):
            segment = next(trainer.task.segments(batch, ctx))
            trainer.task.losses("g", segment, ctx)
            found.append({k: float(v.detach()) for k, v in trainer.task.losses("d_image", segment, ctx).items()})
    for name in ("r1", "r2"):
        assert found[0][name] > 0
        assert [each[name] / found[0][name] for each in found] == pytest.approx([1, 0.55, 0.1], rel=1e-4)
    assert found[0]["real"] == pytest.approx(found[2]["real"], rel=1e-5)


@pytest.mark.parametrize("kind", [ScheduleKind.linear, ScheduleKind.cosine, ScheduleKind.rsqrt])
def test_what_a_decay_reaches_at_its_end_stays(kind: ScheduleKind) -> None:
    """Also where it falls by the square root besides."""
    schedule = ScheduleConfig(kind=kind, decay_start=0.0, decay_end=0.5, final=0.25, timescale=0.1)
    reached, later, last = (rate(schedule, progress, 100, 2.0) for progress in (0.5, 0.7, 1.0))
    assert reached == later == last == pytest.approx(0.5 / (6**0.5 if kind is ScheduleKind.rsqrt else 1))
