"""This process among the others: who it is, how they agree, whose gradients it shares.

Launched by torchrun (``RANK``, ``WORLD_SIZE``, ``LOCAL_RANK``); nccl on CUDA, gloo on CPUs. Strategies:

- ``none``: one process.
- ``flat``: after a phase's last backward its gradients are packed into buckets and all-reduced. It asks nothing of the
  forward passes, so phases may run networks several times, share passes, and train changing sets of parameters.
- ``ddp``: DistributedDataParallel, which overlaps communication with the backward pass; for tasks with one phase whose
  networks run forward once per loss.
- ``fsdp2``: every process keeps a share of weights, gradients, moments and averages (trainer/parallel/shards.py).

``auto`` is settled when the task is known (trainer/parallel/choice.py).

Host-side agreement (stop requests, which gradients exist, who writes a checkpoint) goes through a gloo group of its
own, so that it never waits for the device, nor under the device's short time-out. Both groups live as long as the
process: jobs of a sweep that run one after the other in it share them.
"""

from __future__ import annotations

import os
import socket
import uuid
from collections.abc import Callable, Iterable, Iterator, Mapping
from contextlib import contextmanager, suppress
from pathlib import Path
from typing import Any

import torch
import torch.distributed as dist
from torch import Tensor, nn

from trainer.config.fields import Strategy
from trainer.errors import ConfigError
from trainer.files import unseen
from trainer.parallel import watch
from trainer.parallel.gradients import average, put_ddp_into
from trainer.parallel.groups import Groups
from trainer.parallel.sharing import Sharing

SEEN_WITHIN_S = 30.0  # network file systems show a new file to others late


class Parallel(Sharing):
    """This process among the others. With one process every method is trivial.

    Args:
        strategy: as configured; with one process it is ``none``, whatever was asked for.
        device: of this process.
        hang_after: seconds without any progress after which the run is ended; None: never.
        shard_group: processes that share one copy of the state with ``fsdp2``; None: all.

    Attributes:
        watch: what notices that other processes fail; in ``session`` and before.
        rank, world: number of this process and how many there are.
        strategy: the strategy in use; ``auto`` until somebody settles it.

    Raises:
        ConfigError: ``none`` with several processes.
    """

    def __init__(
        self,
        strategy: Strategy,
        device: torch.device,
        hang_after: float | None = watch.HANG_AFTER_S,
        shard_group: int | None = None,
    ) -> None:
        self.rank = int(os.environ.get("RANK", "0"))
        self.world = int(os.environ.get("WORLD_SIZE", "1"))
        self.device = device
        if strategy is Strategy.none and self.world > 1:
            raise ConfigError(
                f"trainer.strategy=none with {self.world} processes: each would train alone; use auto or fsdp2"
            )
        self.strategy = Strategy.none if self.world == 1 else strategy
        self.shard_group = shard_group
        self.watch = watch.begin()
        self.watch.hang_after = hang_after
        self.host: Any = None  # the gloo group; None until ``start``, and with one process
        self._alone = False
        self._ddp: dict[nn.Module, tuple[nn.parallel.DistributedDataParallel, Callable[..., Any]]] = {}

    @property
    def is_main(self) -> bool:
        return self.rank == 0

    def start(self, asked: Callable[[], bool] = lambda: False) -> None:
        """Joins the process group; returns once all processes are there.

        Args:
            asked: whether this process is asked to stop.

        Raises:
            ConfigError: two processes have the same card.
            SystemExit: asked to stop before all processes were there.
        """
        if self.world == 1 or self.host is not None:
            return
        self.host = Groups.join(self.device, self.watch, asked)
        if self.device.type == "cuda":
            self._check_cards()

    def close(self, clean: bool = True) -> None:
        """This job is through. The groups stay for the next one in this process, unless it failed."""
        Groups.clean = Groups.clean and clean
        self.host = None

    def _check_cards(self) -> None:
        card = getattr(torch.cuda.get_device_properties(self.device), "uuid", None)
        cards = self.gather((socket.gethostname(), str(card) if card is not None else f"rank {self.rank}"))
        first = cards.index(cards[self.rank])
        if first != self.rank:
            raise ConfigError(
                f"processes {first} and {self.rank} have the same CUDA device ({cards[first][0]}, {cards[first][1]}): "
                "start one process per card"
            )

    @contextmanager
    def alone(self) -> Iterator[None]:
        """Inside, no process waits for another where gradients are reduced and verdicts are agreed on."""
        self._alone = True
        try:
            yield
        finally:
            self._alone = False

    def check_shared(self, folder: Path) -> None:
        """Makes sure that all processes see the same folder: rank 0 makes it and leaves a file, the others look for it.

        Raises:
            ConfigError: on all of them, when one does not see it.
        """
        if self.world == 1:
            return
        token = folder / f".seen-by-all-{self.gather(uuid.uuid4().hex)[0]}"
        problem = ""
        if self.is_main:
            try:
                folder.mkdir(parents=True, exist_ok=True)
                token.touch()
            except OSError as error:
                problem = f"{folder} cannot be written ({error.strerror})"
        if problem := self.gather(problem)[0]:
            raise ConfigError(f"{problem}: give another name=, or start where runs/ can be made")
        try:
            self.check_seen(token)
        finally:
            if self.is_main:
                with suppress(OSError):
                    token.unlink()

    def check_seen(self, path: Path) -> None:
        """Makes sure that a file which rank 0 knows is there for all processes.

        Raises:
            ConfigError: on all of them, when one does not see it.
        """
        lacking = unseen(path.parent, [path.name], SEEN_WITHIN_S)
        blind = [who for who in self.gather(_place(self.rank) if lacking else None) if who]
        if blind:
            raise ConfigError(
                f"{path.parent.absolute()} is not the same folder for all processes: {', '.join(blind)} cannot see "
                "what rank 0 has there. Checkpoints have parts of every process: start all of them in a folder on a "
                "file system that they share (NFS, Lustre, ...)"
            )

    # Agreement between hosts

    def any(self, flag: bool) -> bool:
        """Whether the flag is set in any process; all must call it."""
        self.watch.enter()
        if self.world == 1:
            return flag
        value = torch.tensor([int(flag)])
        dist.all_reduce(value, dist.ReduceOp.MAX, group=self.host)
        return bool(value.item())

    def gather(self, value: Any) -> list[Any]:
        """Every process's plain value, by rank."""
        self.watch.enter()
        if self.world == 1:
            return [value]
        values: list[Any] = [None] * self.world
        dist.all_gather_object(values, value, group=self.host)
        return values

    def mean(self, sums: Mapping[str, tuple[float, float]]) -> dict[str, float]:
        """Weighted means over all processes of (weighted sum, weight), summed in rank order; weight 0 is left out."""
        total: dict[str, tuple[float, float]] = {}
        for part in self.gather({name: (float(s), float(w)) for name, (s, w) in sums.items()}):
            for name, (value, weight) in part.items():
                before = total.get(name, (0.0, 0.0))
                total[name] = (before[0] + value, before[1] + weight)
        return {name: value / weight for name, (value, weight) in total.items() if weight}

    # Tensors

    @torch.no_grad()
    def broadcast(self, tensors: Iterable[Tensor]) -> None:
        """Everyone gets rank 0's values."""
        self.watch.enter()
        if self.world > 1:
            for tensor in tensors:
                # Networks that will be sharded wait in main memory.
                group = self.host if tensor.device.type == "cpu" else None
                dist.broadcast(tensor.data, src=0, group=group)

    @torch.no_grad()
    def sum(self, tensor: Tensor) -> Tensor:
        """The sum of everyone's tensor, a new one of its shape and type; all must call it alike."""
        if self.world == 1:
            return tensor
        self.watch.enter()
        total = tensor.detach().clone(memory_format=torch.contiguous_format)
        dist.all_reduce(total)
        return total

    def any_on_device(self, flag: Tensor) -> Tensor:
        """The largest values of a device tensor over all processes, without waiting for it."""
        if self.world > 1 and not self._alone:
            self.watch.enter()
            dist.all_reduce(flag, dist.ReduceOp.MAX)
        return flag

    # Gradients

    @contextmanager
    def micro_batch(self, last: bool) -> Iterator[None]:
        """Around forward and backward of a micro-batch; ``ddp`` and ``fsdp2`` reduce in the last one only."""
        for ddp, _ in self._ddp.values():
            ddp.require_backward_grad_sync = last and not self._alone
            ddp.module.called = False
        if self.shards is not None:
            self.shards.micro_batch(last)
        yield

    def backward(self, loss: Tensor, parameters: list[nn.Parameter]) -> None:
        """Accumulates gradients of ``parameters`` (with shards: of those that these are rows of) and of nothing else.

        Raises:
            ConfigError: DDP has not seen a network's forward pass, and would not average its gradients.
        """
        if self.shards is not None:
            self.shards.backward(loss, parameters)
        elif self._ddp:
            if not all(ddp.module.called for ddp, _ in self._ddp.values()):
                raise ConfigError(
                    "trainer.strategy=ddp: the task calls parts of a network and not the network itself, which DDP "
                    "does not notice; use trainer.strategy=flat"
                )
            loss.backward()  # one phase only, so there are no other parameters; DDP's hooks need the plain call
        else:
            torch.autograd.backward(loss, inputs=parameters)

    @property
    def reduces_in_backward(self) -> bool:
        """Whether gradients are averaged during the backward pass, which every process must then make."""
        return self.strategy is Strategy.ddp or (self.shards is not None and self.shards.blockwise)

    def gradient(self, parameter: nn.Parameter) -> Tensor | None:
        """What backward has left for a parameter, before ``synchronize``."""
        return parameter.grad if self.shards is None else self.shards.gradient(parameter)

    @torch.no_grad()
    def synchronize(self, parameters: list[nn.Parameter]) -> None:
        """Replaces gradients by their mean over all processes (``ddp`` has done it already); with shards: their rows.

        A parameter without gradient in some process counts as zero there; without any, it stays without.
        """
        self.watch.enter()
        if self.shards is not None:
            self.shards.reduce(parameters)
        elif self.strategy is Strategy.flat:
            average(parameters, self.world, self.host, alone=self._alone)

    def wrap(self, networks: Iterable[nn.Module]) -> None:
        """Puts DDP into the networks' ``forward`` (strategy ``ddp``); called again when other parameters train.

        The modules stay what they are, so the task and the names of the weights do not notice.
        """
        if self.strategy is not Strategy.ddp:
            return
        self.unwrap()
        for module in networks:
            if not any(p.requires_grad for p in module.parameters()):
                continue
            self._ddp[module] = put_ddp_into(module, self.device)

    def unwrap(self) -> None:
        """Undoes ``wrap``."""
        for module in self._ddp:
            del module.forward  # the instance's attribute; the class's method shows again
        self._ddp.clear()


def _place(rank: int) -> str:
    return f"rank {rank} ({socket.gethostname()})"
