"""What ``fully_shard`` is given of blocks that are not built as ours are, in a process that shards with nobody."""

import copy
from collections.abc import Iterator
from typing import Any

import pytest
import torch
import torch.distributed as dist
from torch import Tensor, nn

from tests.helpers.forking import free_port
from trainer.parallel.blocks import BlockShards
from trainer.parallel.shards import Table


class Attention(nn.Module):
    """A vector of its own beside matrices, as in BEiT's and EVA's."""

    def __init__(self) -> None:
        super().__init__()
        self.qkv, self.q_bias = nn.Linear(8, 8), nn.Parameter(torch.randn(8))

    def forward(self, x: Tensor) -> Tensor:
        return self.qkv(x) + self.q_bias


class Block(nn.Module):
    """A scale of its own, as in BEiT, CaiT and XCiT; norms in a list, and one that nothing calls."""

    def __init__(self) -> None:
        super().__init__()
        self.gamma, self.attention = nn.Parameter(torch.randn(8)), Attention()
        self.norms = nn.ModuleList([nn.LayerNorm(8), nn.LayerNorm(8)])
        self.unused, self.shifts = nn.LayerNorm(8), nn.ParameterList([torch.randn(8)])

    def forward(self, x: Tensor) -> Tensor:
        return x + self.gamma * self.norms[1](self.attention(self.norms[0](x))) + self.shifts[0]


@pytest.fixture
def table() -> Iterator[Table]:
    dist.init_process_group("gloo", f"tcp://127.0.0.1:{free_port()}", rank=0, world_size=1)
    yield Table(torch.device("cpu"), None, dist.new_group(backend="gloo"), lambda: False)
    dist.destroy_process_group()


@pytest.mark.parametrize("dtype", [None, torch.bfloat16])
def test_blocks_may_have_vectors_anywhere(table: Table, dtype: torch.dtype | None) -> None:
    torch.manual_seed(0)
    net = nn.Sequential(nn.Sequential(nn.Linear(8, 8), Block(), Block()), nn.Sequential(Block(), nn.Linear(8, 4)))
    whole, x = copy.deepcopy(net), torch.randn(4, 8)
    networks: Any = {"0": net[0], "1": net[1]}  # as the two of a masked autoencoder
    shards = BlockShards(networks, table, [part for part in net.modules() if isinstance(part, Block)], dtype)
    block = networks["1"][0]
    gathered: dict[str, torch.dtype] = {}
    block.attention.register_forward_pre_hook(
        lambda *_: gathered.update({name: p.dtype for name, p in block.named_parameters()})
    )
    for step in range(3):  # the second one finds what the first has left
        for module in (net, whole):
            shards.micro_batch(last=True)
            with torch.autocast("cpu", torch.bfloat16, enabled=dtype is not None):
                loss = module(x).square().mean()
            loss.backward()
        shards.reduce(list(shards.rows.values()))
        most = 0.0
        for name, parameter in whole.named_parameters():
            found = shards.rows[name].grad
            if parameter.grad is None:
                assert found is None or not found.any(), name
            else:
                assert found is not None and found.dtype == torch.float32, (step, name)
                most = max(most, float((found - parameter.grad).abs().max() / parameter.grad.abs().max()))
            parameter.grad = None
        shards.refresh()
        assert most < (1e-6 if dtype is None else 0.05)
    fine = {name for name, found in gathered.items() if found == torch.float32}
    assert fine == {name for name in gathered if dtype is None or name.startswith(("norms.", "unused."))}
