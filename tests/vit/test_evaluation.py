"""What evaluation counts: each picture once, whatever the processes; several right answers; the pictures shown."""

from __future__ import annotations

import csv
import json
from collections.abc import Callable
from pathlib import Path
from typing import Any

import numpy as np
import pytest
import torch
from PIL import Image
from torch import Tensor

from tests.helpers.made_classifier import FixedPictures, mu_trainer, task_of
from trainer.data.loader import make_eval_loader
from trainer.loop import Trainer
from trainer.task import StepContext
from vit.task import VitTask

# Evaluation


def evaluated(task: VitTask, trainer: Trainer, data: Any, rank: int = 0, world: int = 1, **options: Any) -> Any:
    loader = make_eval_loader(data, batch_size=4, rank=rank, world=world)
    trainer.stage = trainer.curriculum.stages[0]
    ctx = trainer.context()
    ctx.rank, ctx.world = rank, world
    for name, value in options.items():
        setattr(ctx, name, value)
    with trainer.evaluation_mode():
        return task.evaluate(loader, ctx)


def drawn_head(task: VitTask) -> None:
    torch.manual_seed(5)
    torch.nn.init.normal_(task.model.head.weight)


def test_evaluation_counts_each_picture_once(tmp_path: Path) -> None:
    trainer = mu_trainer(tmp_path, "trainer.ema=null")
    task, data = task_of(trainer), FixedPictures([i % 10 for i in range(10)])  # the last batch is padded
    drawn_head(task)
    sums = evaluated(task, trainer, data)
    with torch.no_grad(), trainer.evaluation_mode():
        logits = task.model(task.prepare(torch.from_numpy(data.images)))
    labels = torch.tensor(data.labels)
    assert sums["top1"] == ((logits.argmax(1) == labels).double().mean().item(), 1.0)
    assert sums["nll"][0] == pytest.approx(torch.nn.functional.cross_entropy(logits, labels).item(), rel=1e-5)
    assert sums["loss"][0] == pytest.approx(sums["nll"][0])


def test_two_processes_tell_what_one_does(tmp_path: Path) -> None:
    from threading import Barrier, Thread

    trainer = mu_trainer(tmp_path, "trainer.ema=null")
    task, data = task_of(trainer), FixedPictures([i % 10 for i in range(11)])
    drawn_head(task)
    alone = evaluated(task, trainer, data)
    barrier, slots, found = Barrier(2), [torch.empty(0)] * 2, [{}, {}]

    def run(rank: int) -> None:
        def add(value: Tensor) -> Tensor:
            slots[rank] = value
            barrier.wait()
            total = slots[0] + slots[1]
            barrier.wait()
            return total

        own = VitTask.__new__(VitTask)
        own.__dict__.update(task.__dict__)
        own.model = task.model
        with torch.no_grad():
            found[rank] = VitTask.evaluate(
                own, make_eval_loader(data, batch_size=3, rank=rank, world=2), contexts[rank](add)
            )

    def context(rank: int) -> Callable[[Any], StepContext]:
        trainer.stage = trainer.curriculum.stages[0]
        ctx = trainer.context()
        ctx.rank, ctx.world = rank, 2

        def with_sum(add: Any) -> StepContext:
            ctx.sum = add
            return ctx

        return with_sum

    contexts = [context(0), context(1)]
    with trainer.evaluation_mode():
        threads = [Thread(target=run, args=(rank,)) for rank in (0, 1)]
        for thread in threads:
            thread.start()
        for thread in threads:
            thread.join()
    assert set(found[1].values()) == {(0.0, 0.0)}
    for name, (value, weight) in found[0].items():
        assert weight == 1.0 and value == pytest.approx(alone[name][0], rel=1e-6)
    assert found[0]["top1"] == alone["top1"]


def test_pictures_follow_from_the_evaluation(tmp_path: Path) -> None:
    trainer = mu_trainer(tmp_path, "trainer.ema=null")
    task, data = task_of(trainer), FixedPictures([i % 10 for i in range(20)])
    evaluated(task, trainer, data)
    calls: list[int] = []
    task.model.register_forward_hook(lambda *_: calls.append(1))
    pictures = task.visuals(make_eval_loader(data, batch_size=4), trainer.context())
    assert not calls  # nothing was predicted again
    assert pictures.keys() == {"predictions", "confusion"}
    assert all(p.dtype == torch.uint8 and p.ndim == 3 and p.shape[2] == 3 for p in pictures.values())
    trainer.step = 5
    with trainer.evaluation_mode():
        again = task.visuals(make_eval_loader(data, batch_size=4), trainer.context())
    assert calls and torch.equal(again["confusion"], pictures["confusion"])


def test_several_labels_from_a_table(tmp_path: Path) -> None:
    rows = []
    for i in range(24):
        labels = [name for bit, name in enumerate(("red", "green")) if (i >> bit) & 1] or ["blue"]
        colour = np.zeros((16, 16, 3), np.uint8)
        for name in labels:
            colour[..., ["red", "green", "blue"].index(name)] = 255
        Image.fromarray(colour).save(tmp_path / f"{i}.png")
        rows.append({"path": f"{i}.png", "label": "|".join(labels)})
    with (tmp_path / "table.csv").open("w", newline="") as file:
        writer = csv.DictWriter(file, ["path", "label"])
        writer.writeheader()
        writer.writerows(rows)
    words = ("data=csv", f"data.root={tmp_path / 'table.csv'}", "data.multilabel=true", "data.workers=0")
    words += (
        "loss.kind=sigmoid",
        "optim.main.lr=0.01",
        "schedule.warmup=0",
        "trainer.max_steps=60",
        "trainer.eval_every=null",
        "trainer.ema=null",
    )
    trainer = mu_trainer(tmp_path / "run", *words, "data.val_share=0.3", "trainer.visuals_every=null")
    metrics = trainer.fit()
    assert metrics.keys() >= {"map", "f1_micro", "f1_macro", "exact_match", "loss"}
    assert metrics["map"] > 0.9 and metrics["exact_match"] > 0.5
    assert [p.name for p in (tmp_path / "run" / "samples").iterdir()] == ["predictions-00000060.png"]


def test_any_right_answer_counts_where_a_class_map_lists_several(tmp_path: Path) -> None:
    """The form of ImageNet ReaL's file; pictures are found by the number in their name, here 0 to 5."""
    (tmp_path / "real.json").write_text(json.dumps([[1], [2, 3], [], [4], [5, 0], [0]]))
    trainer = mu_trainer(tmp_path / "run", f"data.class_map={tmp_path / 'real.json'}", "trainer.ema=null")
    task = task_of(trainer)
    data = FixedPictures([9] * 6)
    original = data.sample
    data.sample = lambda i, rng: {**original(i, rng), "name": f"val_{i + 1}.png"}  # type: ignore[method-assign]
    head = torch.zeros(10)
    head[3] = 5.0
    task.model.head.bias.data.copy_(head)
    sums = evaluated(task, trainer, data)
    assert sums["top1"][0] == pytest.approx(1 / 5)
