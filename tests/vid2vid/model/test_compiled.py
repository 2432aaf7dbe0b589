"""trainer.compile: parts of the generator, not its loop over frames; and what they compute."""

from functools import partial
from pathlib import Path
from typing import Any

import pytest
import torch
from torch import Tensor, nn

from tests.helpers.made_task import configured, make_trainer, one_batch
from trainer.checkpoint.weights import network_tensors
from vid2vid.losses.penalties import squared_gradient
from vid2vid.model import MultiscaleDiscriminator, VideoDiscriminators
from vid2vid.model.segmenting import SegmentingDiscriminator, log_odds

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


PENALISED = ["model.r1_gamma=1", "model.r2_gamma=1", "model.penalty_every=1", "model.gan=relativistic"]


@pytest.fixture
def traced(monkeypatch: pytest.MonkeyPatch) -> None:
    """Discriminators compiled as autograd has them: with a traced backward pass, and none of that."""
    original = nn.Module.compile

    def compile(self: nn.Module, **options: Any) -> None:
        if isinstance(self, MultiscaleDiscriminator | VideoDiscriminators | SegmentingDiscriminator):
            original(self, backend="aot_eager", **options)

    monkeypatch.setattr(nn.Module, "compile", compile)
    torch._dynamo.reset()


def through(network: nn.Module, x: Tensor) -> list[list[Tensor]]:
    return log_odds(network(x))


@pytest.mark.slow
@pytest.mark.filterwarnings("ignore:The .grad attribute of a Tensor")  # torch's own, which it hides itself
@pytest.mark.parametrize("kind", ["patch", "segmenting"])
def test_penalties_go_around_the_compiler(tmp_path: Path, traced: None, kind: str) -> None:
    """What is compiled cannot be differentiated twice; penalties take the network as it is, with equal values."""
    words = ["trainer.max_steps=2", "model.video_discriminator_frames=2", *PENALISED]
    words += [] if kind == "patch" else ["model.segmenting_gamma=null"]
    words += [f"model.image_discriminator={kind}", "model.discriminator_layers=2", "trainer.preflight=false"]
    found: list[dict[str, Tensor]] = []
    for compile in ("true", "false"):
        trainer, task = make_trainer(configured(f"trainer.compile={compile}", *words), tmp_path / compile)
        batch, ctx = one_batch(trainer)
        segment = next(task.segments(batch, ctx))
        task.losses("g", segment, ctx)
        values: dict[str, Tensor] = {}
        for phase in ("d_image", "d_video"):
            network = task.networks()[phase]
            losses = task.losses(phase, segment, ctx)
            assert losses["r1"] > 0 and losses["r2"] > 0
            values |= {f"{phase}.{name}": value.detach() for name, value in losses.items()}
            weights = [p for p in network.parameters() if p.ndim == 4]
            total = torch.stack(list(losses.values())).sum()
            grads = torch.autograd.grad(total, weights, retain_graph=True, allow_unused=True)
            values |= {f"{phase}.grad{i}": g for i, g in enumerate(grads) if g is not None}
        if compile == "true" and kind == "segmenting":
            shared = task.passes.image_discriminator(segment, ctx)
            assert task.nets.d_image is not None
            with pytest.raises(RuntimeError, match="does not currently support double backward"):
                squared_gradient(partial(through, task.nets.d_image), shared.inputs[0]).backward()
        found.append(values)
    assert found[0].keys() == found[1].keys()
    for name, value in found[0].items():
        scale = float(found[1][name].abs().max())
        torch.testing.assert_close(value, found[1][name], rtol=1e-3, atol=1e-4 * scale, msg=name)
