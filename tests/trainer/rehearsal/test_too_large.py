"""Memory that runs out, in a step, in evaluation, while saving: what is told can be followed, and then the run ends."""

import errno
import re
from pathlib import Path
from typing import Any

import numpy as np
import pytest
import torch
from torch import Tensor

from tests.helpers.exactness import outcome
from tests.helpers.toys import LinearTask, ToyData64, toy_config
from trainer.checkpoint import tensors
from trainer.config.fields import StageConfig
from trainer.data.batches import Loader
from trainer.device.free_memory import is_of_main_memory, is_out_of_memory
from trainer.errors import ConfigError
from trainer.loop import Trainer
from trainer.task import Segment, StepContext

CARD = torch.OutOfMemoryError("CUDA out of memory. Tried to allocate 2.00 GiB")
MAIN = RuntimeError("[enforce fail] DefaultCPUAllocator: can't allocate memory: you tried to allocate 8 bytes")
STAGES = {
    "low": StageConfig(batch_size=8, accumulate=2, frames=1),
    "high": StageConfig(start=16, batch_size=8, frames=2),
    "higher": StageConfig(start=32, batch_size=8, frames=4),
}


class Card(LinearTask):
    """A pretended one, which has room for so many samples times frames."""

    def __init__(self, room: int, where: str = "losses", error: BaseException = CARD) -> None:
        super().__init__()
        self.room, self.where, self.error = room, where, error

    def losses(self, phase: str, segment: Segment, ctx: StepContext) -> dict[str, Tensor]:
        if self.where == "losses" and segment["x"].shape[0] * segment["x"].shape[1] > self.room:
            raise self.error
        return super().losses(phase, segment, ctx)

    def score(self, x: Tensor) -> Tensor:
        if self.where == "evaluation" and x.shape[0] * x.shape[1] > self.room:
            raise self.error
        return super().score(x)


def settings(**more: Any) -> Any:
    lengths = {"max_samples": 48, "eval_every": 3, "checkpoint_every": 1}
    return toy_config("linear", stages=dict(STAGES), **lengths, **more)


def micro_batch(error: ConfigError) -> str:
    found = re.search(r"with trainer\.micro_batch=(\d+), which leaves", str(error))
    assert found, error
    return found[1]


@pytest.mark.parametrize("error", [CARD, MAIN, MemoryError(), RuntimeError("std::bad_alloc")])
def test_the_table_tells_what_fits_and_the_run_goes_on_with_it(tmp_path: Path, error: BaseException) -> None:
    with pytest.raises(ConfigError) as caught:
        Trainer(settings(), lambda: Card(4, error=error), tmp_path).fit()
    text = str(caught.value)
    assert "curriculum.stages.high (4x8, 2 frames, batch_size=8, accumulate=1) needs more memory than cpu has" in text
    rows = [line.split() for line in text.splitlines()[-4:]]
    assert rows[0][0] == "stage"
    assert rows[1] == ["low", "4x8", "1", "8", "2", "4", "went", "through"]
    # What the first stage came through with is known to fit.
    assert rows[2][:6] == ["high", "4x8", "2", "8", "1", "8"] and rows[2][-1] == "trainer.micro_batch=2"
    assert rows[3][:6] == ["higher", "4x8", "4", "8", "1", "8"] and rows[3][-1] == "trainer.micro_batch=1"
    saved = sorted(path.name for path in (tmp_path / "checkpoints").glob("step-*"))
    assert saved[-1] == "step-00000002"  # the last boundary before
    followed = Trainer(settings(micro_batch=micro_batch(caught.value)), lambda: Card(4), tmp_path)
    followed.fit()
    assert followed.resumed_from is not None and followed.finished and (tmp_path / "done.json").exists()
    assert all(bool(torch.isfinite(v).all()) for k, v in outcome(tmp_path).items() if k.startswith("weights/"))


def test_evaluation_is_cut_too(tmp_path: Path) -> None:
    """Its batches have no gradients, but are whole ones where ``accumulate`` cuts those of training."""
    with pytest.raises(ConfigError, match="it ran out in evaluation") as caught:
        Trainer(settings(), lambda: Card(4, "evaluation"), tmp_path).fit()
    trainer = Trainer(settings(micro_batch=micro_batch(caught.value)), lambda: Card(4, "evaluation"), tmp_path)
    trainer.fit()
    assert trainer.finished and trainer.resumed_from is not None


def test_saving_leaves_the_earlier_checkpoint_whole(tmp_path: Path, monkeypatch: pytest.MonkeyPatch) -> None:
    original, calls = tensors.save, []

    def save(*args: Any, **options: Any) -> Any:
        calls.append(1)
        if len(calls) == 3:
            raise MemoryError
        return original(*args, **options)

    monkeypatch.setattr(tensors, "save", save)
    with pytest.raises(ConfigError, match="it ran out in saving"):
        Trainer(settings(), lambda: Card(99), tmp_path).fit()
    monkeypatch.setattr(tensors, "save", original)
    trainer = Trainer(settings(), lambda: Card(99), tmp_path)
    trainer.fit()
    assert trainer.resumed_from == tmp_path / "checkpoints" / "step-00000002"


def test_one_sample_cannot_be_cut(tmp_path: Path) -> None:
    config = toy_config("linear", stages={"s": StageConfig(batch_size=1)})
    with pytest.raises(ConfigError, match="one sample already: lower its resolution") as caught:
        Trainer(config, lambda: Card(0), tmp_path).fit()
    assert "trainer.micro_batch" not in str(caught.value)


def test_a_first_stage_is_halved(tmp_path: Path) -> None:
    config = toy_config("linear", stages={"s": StageConfig(batch_size=12), "t": StageConfig(start=0.5, batch_size=8)})
    with pytest.raises(ConfigError, match=r"s +4x8 +1 +12 +1 +12 +too little: try trainer\.micro_batch=6") as caught:
        Trainer(config, lambda: Card(6), tmp_path).fit()
    assert micro_batch(caught.value) == "4"  # 6 does not divide the other stage's 8


def test_workers_that_cannot_be_started(tmp_path: Path, monkeypatch: pytest.MonkeyPatch) -> None:
    def start(self: Loader, *args: Any) -> None:
        raise OSError(errno.ENOMEM, "Cannot allocate memory")

    monkeypatch.setattr(Loader, "_start", start)
    with pytest.raises(ConfigError, match=r"it ran out in a step\. .*lower data\.workers"):
        Trainer(toy_config("linear", workers=1), lambda: Card(99), tmp_path).fit()


def test_a_sample_that_main_memory_does_not_suffice_for(tmp_path: Path) -> None:
    class Huge(ToyData64):
        def sample(self, index: int, rng: np.random.Generator) -> dict[str, Any]:
            return {**super().sample(index, rng), "z": np.zeros(2**60, np.uint8)}

    task = LinearTask()
    task.dataset = lambda split, stage: Huge(5, 1)  # type: ignore[method-assign]
    with pytest.raises(Exception, match=r"sample \d: main memory ran out"):
        Trainer(toy_config("linear"), lambda: task, tmp_path).fit()


def test_what_counts_as_shortage() -> None:
    assert is_out_of_memory(OSError(errno.ENOMEM, "x")) and not is_out_of_memory(OSError(errno.ENOSPC, "x"))
    assert is_out_of_memory(RuntimeError("std::bad_alloc")) and is_of_main_memory(MAIN)
    assert not is_of_main_memory(CARD)
