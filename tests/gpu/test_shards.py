"""``fsdp2`` on a card through NCCL: one process that shards as if there were others.

It sends nothing anywhere, but all else is as on many cards: rows, hooks of blocks, gathered weights of half precision,
fused optimisers on rows, sharded checkpoints. Real exchange is tested with gloo on the CPU and, where there are two
cards, in test_cards.py.
"""

from __future__ import annotations

from collections.abc import Callable, Iterator
from pathlib import Path

import pytest
import torch
import torch.distributed as dist

from tests.helpers.forking import free_port
from tests.helpers.gpu_runs import BOTH, close, gib, make, weights
from trainer.config.fields import Strategy
from trainer.device.free_memory import release
from trainer.loop import Trainer
from trainer.parallel.processes import Parallel

SGD = {
    "vit": ("optim.main.kind=sgd", "optim.main.lr=0.1", "model.dropout=0"),
    "vid2vid": tuple(
        f"optim.{phase}.{word}" for phase in ("g", "d_image", "d_video") for word in ("kind=sgd", "lr=0.001")
    ),
}  # fmt: skip
EXACT = ("trainer=deterministic", "trainer.precision=fp32", "trainer.tf32=false")
MODELS = {"vit": (), "vid2vid": ("model.flow=false",)}  # warping has no backward pass that repeats itself


@pytest.fixture
def alone(monkeypatch: pytest.MonkeyPatch) -> Iterator[None]:
    """One process that takes the strategy that it is given."""
    original = Parallel.__init__

    def taking(self: Parallel, strategy: Strategy, device: torch.device, *rest: object) -> None:
        original(self, strategy, device, *rest)  # type: ignore[arg-type]
        self.strategy = strategy

    def start(self: Parallel, asked: Callable[[], bool]) -> None:
        self.host = host

    monkeypatch.setattr(Parallel, "__init__", taking)
    monkeypatch.setattr(Parallel, "start", start)
    address = f"tcp://127.0.0.1:{free_port()}"
    dist.init_process_group("nccl" if torch.cuda.is_available() else "gloo", address, rank=0, world_size=1)
    host = dist.new_group(backend="gloo")
    yield
    dist.destroy_process_group()
    torch.use_deterministic_algorithms(False)


def trained(folder: Path, model: str, device: str, strategy: str, *words: str) -> Trainer:
    trainer = make(folder, model, device, *words, f"trainer.strategy={strategy}")
    trainer.fit()
    assert (trainer.parallel.shards is not None) == (strategy == "fsdp2")
    return trainer


@pytest.mark.usefixtures("alone")
@pytest.mark.parametrize("device", BOTH)
@pytest.mark.parametrize("model", ["vit", "vid2vid"])
def test_shards_learn_what_whole_weights_do(tmp_path: Path, device: str, model: str) -> None:
    words = (*EXACT, *SGD[model], *MODELS[model], "trainer.max_steps=6", "trainer.checkpoint_every=3")
    plain = trained(tmp_path / "plain", model, device, "none", *words)
    sharded = trained(tmp_path / "sharded", model, device, "fsdp2", *words)
    assert sharded.parallel.shards is not None and sharded.parallel.shards.blockwise == (model == "vit")
    found, expected = weights(sharded), weights(plain)
    assert found.keys() == expected.keys()
    for name, value in found.items():
        close(value, expected[name], 1e-4)


@pytest.mark.usefixtures("alone")
@pytest.mark.parametrize("device", BOTH)
@pytest.mark.parametrize("model", ["vit", "vid2vid"])
@pytest.mark.parametrize("precision", ["bf16", "fp16"])
def test_in_low_precision_too(tmp_path: Path, device: str, model: str, precision: str) -> None:
    """Blocks are gathered in bf16, which is what autocast makes of the weights of matrix products anyway."""
    if device == "cpu" and precision == "fp16":
        pytest.skip("fp16 is for cards")
    words = (*SGD[model], f"trainer.precision={precision}", "trainer.max_steps=6")
    plain = trained(tmp_path / "plain", model, device, "none", *words)
    sharded = trained(tmp_path / "sharded", model, device, "fsdp2", *words)
    found, expected = weights(sharded), weights(plain)
    for name, value in found.items():
        close(value, expected[name], 1e-2, 1e-3)


@pytest.mark.usefixtures("alone")
@pytest.mark.parametrize("device", BOTH)
@pytest.mark.parametrize("model", ["vit", "vid2vid"])
def test_a_sharded_checkpoint_goes_on_whole_and_back(tmp_path: Path, device: str, model: str) -> None:
    """Sharded, then whole, then sharded: as if it had been sharded all along."""
    words = (*EXACT, *SGD[model], *MODELS[model], "trainer.checkpoint_every=2")
    plan = ((2, "fsdp2"), (4, "none"), (6, "fsdp2"))
    for most, strategy in plan:
        mixed = trained(tmp_path / "mixed", model, device, strategy, *words, f"trainer.max_steps={most}")
        assert mixed.step == most
    steady = None
    for most, _ in plan:
        steady = trained(tmp_path / "steady", model, device, "fsdp2", *words, f"trainer.max_steps={most}")
    assert steady is not None
    for name, value in weights(mixed).items():
        close(value, weights(steady)[name], 1e-5)


@pytest.mark.gpu
@pytest.mark.filterwarnings("ignore:The .grad attribute of a Tensor")
@pytest.mark.usefixtures("alone")
def test_blocks_are_compiled_under_sharding(tmp_path: Path) -> None:
    trainer = trained(tmp_path, "vit", "cuda", "fsdp2", "trainer.compile=true", "trainer.max_steps=4")
    assert trainer.finished


@pytest.mark.gpu
@pytest.mark.usefixtures("alone")
def test_rehearsals_need_what_sharded_training_does(tmp_path: Path) -> None:
    release(torch.device("cuda"))
    words = ("curriculum.stages.all.batch_size=64", "trainer.preflight=true", "trainer.max_steps=3")
    trained(tmp_path, "vit", "cuda", "fsdp2", *words, "data.shapes_samples=256")
    rehearsed = gib((tmp_path / "train.log").read_text(), "peak memory")
    assert torch.cuda.max_memory_allocated() / 2**30 <= 1.05 * rehearsed + 0.02
