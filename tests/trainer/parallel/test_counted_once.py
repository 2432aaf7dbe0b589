"""Any number of processes evaluates what one does, every sample once, and trains on the samples in the same order."""

import json
from collections.abc import Iterator
from pathlib import Path
from typing import Any

import pytest
import torch

from tests.helpers.ranks import Ranks, config_of
from tests.helpers.toys import LinearTask, toy_config
from trainer.config.fields import StageConfig

FEW = 3  # held-out samples: less than four processes, and never a multiple of them
MEASURED = ("frames_per_s",)


def evaluate(rank: int, folder: str, model: str) -> None:
    """One evaluation with the first weights, into ``eval.json``."""
    from train import build_task
    from trainer.loop import Trainer

    config = config_of(model)
    for stage in config.curriculum.stages.values():
        stage.batch_size, stage.accumulate = 12, 1
    config.trainer.max_samples = 24
    if model == "vit_mu":
        config.data.shapes_val_samples = FEW
    else:
        config.data.val_clips = FEW
    trainer = Trainer(config, lambda: build_task(config), Path(folder) / "run")
    with trainer.session():
        trainer.evaluate()


def found(folder: Path, world: int, model: str) -> dict[str, float]:
    ends = Ranks(folder, world, evaluate, (str(folder), model)).start().wait()
    assert all(end.code == 0 for end in ends), ends
    numbers = json.loads((folder / "run" / "eval.json").read_text())
    return {k: v for k, v in numbers.items() if isinstance(v, int | float) and k not in MEASURED}


@pytest.mark.slow
@pytest.mark.parametrize("model", ["label_predictor", "vid2vid_tiny", "vit_mu"])
def test_every_sample_counts_once(tmp_path: Path, model: str) -> None:
    one = found(tmp_path / "1", 1, model)
    for world in (2, 3, 4) if model == "vit_mu" else (4,):
        several = found(tmp_path / str(world), world, model)
        fine = [several.pop("period_2", 0.0), one.get("period_2", 0.0)]  # of a pattern as weak as rounding to bytes
        assert fine[0] == pytest.approx(fine[1], rel=1e-3), world
        without = {name: value for name, value in one.items() if name != "period_2"}
        assert several == pytest.approx(without, rel=1e-4, abs=1e-5), world  # other batches round elsewhere
    if model == "vit_mu":
        assert one["top1"] * FEW == pytest.approx(round(one["top1"] * FEW))
    else:
        assert one["clips"] == FEW


def average_precision(rank: int, folder: str) -> None:
    """The mean average precision, which is no mean over samples, of five samples spread over the processes."""
    from trainer.config.fields import Strategy
    from trainer.parallel.processes import Parallel
    from vit.evaluate.metrics import MultiLabel

    parallel = Parallel(Strategy.auto, torch.device("cpu"))
    parallel.start()
    counted = MultiLabel(2, torch.device("cpu"))
    logits = torch.tensor([[2.0, -1.0], [1.0, 3.0], [0.5, 0.0], [-1.0, 1.0], [-2.0, 2.0]])
    targets = torch.tensor([[1.0, 0.0], [0.0, 1.0], [1.0, 0.0], [0.0, 0.0], [1.0, 1.0]])
    share = slice(rank, None, parallel.world)
    weights = torch.ones(len(logits[share]))
    counted.update(logits[share], targets[share], weights, torch.zeros(len(weights)))
    counted.combine(parallel.sum, rank, parallel.world)
    Path(folder, f"map{rank}").write_text(json.dumps(counted.compute()))


def test_what_is_no_mean_is_gathered(tmp_path: Path) -> None:
    Ranks(tmp_path, 2, average_precision, (str(tmp_path),)).start().wait()
    first, second = (json.loads((tmp_path / f"map{rank}").read_text()) for rank in (0, 1))
    assert first == second
    # Ranked by score, class 0 has its positives at places 1, 3, 5; class 1 at 1 and 2.
    assert first["map"] == pytest.approx(((1 / 1 + 2 / 3 + 3 / 5) / 3 + 1.0) / 2, abs=1e-6)


def in_order(rank: int, folder: str, until: int) -> None:
    """Trains so many steps, and writes down which samples this process saw at which."""
    seen: list[list[Any]] = []

    class Noting(LinearTask):
        def segments(self, batch: dict[str, Any], ctx: Any) -> Iterator[Any]:
            seen.append([ctx.samples_seen, [int(name.split()[1]) for name in batch["name"]]])
            return super().segments(batch, ctx)

    from trainer.loop import Trainer

    config = toy_config("linear", stages={"s": StageConfig(batch_size=4)}, max_samples=None, max_steps=until)
    config.trainer.eval_every, config.trainer.checkpoint_every = "0", "1"
    Trainer(config, Noting, Path(folder) / "run").fit()
    Path(folder, f"seen{rank}-{until}").write_text(json.dumps(seen))


@pytest.mark.slow
def test_the_order_of_samples_does_not_depend_on_the_number_of_processes(tmp_path: Path) -> None:
    """One process all the way, against two, then four, then one."""

    def seen(name: str, worlds: tuple[int, ...]) -> list[list[int]]:
        folder, order = tmp_path / name, []
        for place, world in enumerate(worlds):
            until = 3 * (place + 1)
            ends = Ranks(folder, world, in_order, (str(folder), until)).start().wait()
            assert all(end.code == 0 for end in ends), ends
            shares = [json.loads((folder / f"seen{rank}-{until}").read_text()) for rank in range(world)]
            for batches in zip(*shares, strict=True):
                assert len({at for at, _ in batches}) == 1
                order.append([index for _, share in batches for index in share])
        return order

    one = seen("one", (1, 1, 1))
    assert len(one) == 9 and seen("several", (2, 4, 1)) == one
