"""trainer.compile: parts of the generator, not its loop over frames; and what they compute."""

from pathlib import Path
from typing import Any

import pytest
import torch
from torch import nn

from tests.helpers.made_task import configured, make_trainer
from trainer.checkpoint.weights import network_tensors

WORDS = ["trainer.max_samples=1", "model.scales=2", "model.local_blocks=1", "data.val_clips=1", "data.val_frames=3"]


@pytest.fixture
def compiled(monkeypatch: pytest.MonkeyPatch) -> list[nn.Module]:
    """The modules that are compiled, by a backend that only records (the real one takes minutes)."""
    original, found = nn.Module.compile, []

    def compile(self: nn.Module, **options: Any) -> None:
        found.append(self)
        original(self, backend="eager", **options)

    monkeypatch.setattr(nn.Module, "compile", compile)
    torch._dynamo.reset()
    torch._dynamo.utils.counters.clear()
    return found


def test_the_parts_of_every_scale_are_compiled(tmp_path: Path, compiled: list[nn.Module]) -> None:
    trainer, task = make_trainer(configured("trainer.compile=true", *WORDS), tmp_path)
    scales = [task.nets.generator.scale(index) for index in range(2)]
    parts = [part for s in scales for part in (s.labels, s.past, s.hallucination, s.flow, s.foreground)]
    assert compiled == [*parts, task.nets.d_image, task.nets.d_video]
    inside = {id(p) for part in parts for p in part.parameters()}  # type: ignore[union-attr]
    assert inside == {id(p) for p in task.nets.generator.parameters()}, "nothing with weights is left out"
    assert set(trainer.networks) == {"generator", "d_image", "d_video"}


@pytest.mark.slow
@pytest.mark.filterwarnings("ignore:The .grad attribute of a Tensor")  # torch's own, which it hides itself
def test_a_compiled_run_trains_as_an_eager_one(tmp_path: Path, compiled: list[nn.Module]) -> None:
    eager, _ = make_trainer(configured(*WORDS), tmp_path / "eager")
    eager.fit()
    assert not compiled
    run, task = make_trainer(configured("trainer.compile=true", *WORDS), tmp_path / "compiled")
    run.fit()
    assert not task.nets.generator.by_hand
    expected = network_tensors(eager.networks)
    for name, value in network_tensors(run.networks).items():
        torch.testing.assert_close(value, expected[name], rtol=0, atol=5e-4)
    operations = torch._dynamo.utils.counters["stats"]["calls_captured"]
    assert 100 < operations < 800, "a loop over the frames of a segment would be thousands"
