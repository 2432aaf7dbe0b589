"""Processes: who they are, how they agree, and how a phase's gradients become the mean over all of them.

Launched by torchrun (``RANK``, ``WORLD_SIZE``, ``LOCAL_RANK``); nccl on CUDA, gloo on CPUs. Strategies:

- ``none``: one process.
- ``flat``: after a phase's last backward its gradients are packed into buckets and all-reduced. It asks nothing of the
  forward passes, so phases may run networks several times, share passes, and train changing sets of parameters.
- ``ddp``: DistributedDataParallel, which overlaps communication with the backward pass; for tasks with one phase whose
  networks run forward once per loss.

Host-side agreement (stop requests, which gradients exist, who writes a checkpoint) goes through a gloo group of its
own, so that it never waits for the device, nor under the device's short time-out. Both groups live as long as the
process: jobs of a sweep that run one after the other in it share them.
"""

from __future__ import annotations

import atexit
import inspect
import os
import socket
import threading
import time
import uuid
from collections.abc import Callable, Iterable, Iterator, Mapping
from contextlib import contextmanager, suppress
from datetime import timedelta
from functools import partial
from pathlib import Path
from typing import Any

import torch
import torch.distributed as dist
from torch import Tensor, nn

from trainer.config.fields import DeviceKind, Strategy
from trainer.errors import ConfigError
from trainer.optim import foreach

BUCKET_BYTES = 32 * 2**20
HOST_TIMEOUT = timedelta(hours=2)  # others wait so long for one that writes a large checkpoint or draws pictures
LEAVE_S = 5.0  # after a failure
SEEN_WITHIN_S = 30.0  # network file systems show a new file to others late
# Buffers stay each process's own between checkpoints; torch 2.15 gave the switch another name.
_DDP_OPTIONS = inspect.signature(nn.parallel.DistributedDataParallel).parameters
_OWN_BUFFERS: dict[str, Any] = {
    ("forward_sync_buffers" if "forward_sync_buffers" in _DDP_OPTIONS else "broadcast_buffers"): False
}


def pick_device(kind: DeviceKind) -> torch.device:
    """The device of this process, made the current one: ``LOCAL_RANK``'s card, or the CPU.

    A launcher may show every process a card of its own only (``srun --gpus-per-task=1``): it is then the only one.

    Raises:
        ConfigError: CUDA was asked for and is not there.
    """
    if kind is DeviceKind.cpu or (kind is DeviceKind.auto and not torch.cuda.is_available()):
        return torch.device("cpu")
    if not torch.cuda.is_available():
        raise ConfigError("trainer.device=cuda: torch finds no CUDA device here; use trainer.device=auto or cpu")
    local, cards = int(os.environ.get("LOCAL_RANK", "0")), torch.cuda.device_count()
    by_torchrun = "TORCHELASTIC_RUN_ID" in os.environ  # all its processes see the same cards
    if local >= cards and (cards > 1 or by_torchrun):
        raise ConfigError(
            f"LOCAL_RANK={local}, but this machine has {cards} CUDA device(s): lower torchrun --nproc-per-node"
        )
    device = torch.device("cuda", local if local < cards else 0)
    torch.cuda.set_device(device)  # before anything is built: what asks for "the" card means this one
    return device


class _Groups:
    """The process groups of this process: joined once, left when it ends."""

    host: Any = None
    owned = False
    clean = True  # after a failure nothing is awaited: the others may be stuck waiting for this process

    @classmethod
    def join(cls, device: torch.device) -> Any:
        if not dist.is_initialized():
            if device.type == "cuda":
                dist.init_process_group("nccl", device_id=device)
            else:
                dist.init_process_group("gloo")
            cls.owned, cls.host = True, None
            atexit.register(cls.leave)
        if cls.host is None:
            cls.host = dist.new_group(backend="gloo", timeout=HOST_TIMEOUT)
        return cls.host

    @classmethod
    def leave(cls) -> None:
        """Gloo's threads have to end before the interpreter does: it aborts the process otherwise.

        After a failure nothing is awaited for long, and nothing of NCCL's at all: the others may be stuck.
        """
        if cls.owned and dist.is_initialized():
            if cls.clean:
                dist.destroy_process_group()
            elif dist.get_backend() == "gloo":
                _within(LEAVE_S, dist.destroy_process_group)
            elif cls.host is not None:
                _within(LEAVE_S, partial(dist.destroy_process_group, cls.host))
        cls.host, cls.owned = None, False


def _within(seconds: float, action: Callable[[], None]) -> None:
    """Waits so long for an action that may be stuck; what it raises is of no interest after a failure."""

    def quietly() -> None:
        with suppress(Exception):
            action()

    thread = threading.Thread(target=quietly, daemon=True)
    with suppress(RuntimeError):  # some Pythons start no threads while they end
        thread.start()
        thread.join(seconds)


class Parallel:
    """This process among the others. With one process every method is trivial.

    Args:
        strategy: as configured; ``auto`` is ``none`` for one process and ``flat`` otherwise.
        device: of this process.

    Attributes:
        rank, world: number of this process and how many there are.
        strategy: the strategy in use.

    Raises:
        ConfigError: ``none`` with several processes.
    """

    def __init__(self, strategy: Strategy, device: torch.device) -> None:
        self.rank = int(os.environ.get("RANK", "0"))
        self.world = int(os.environ.get("WORLD_SIZE", "1"))
        self.device = device
        if strategy is Strategy.none and self.world > 1:
            raise ConfigError(
                f"trainer.strategy=none with {self.world} processes: each would train alone; use auto, flat or ddp"
            )
        self.strategy = strategy
        if self.world == 1:
            self.strategy = Strategy.none
        elif strategy is Strategy.auto:
            self.strategy = Strategy.flat
        self.host: Any = None  # the gloo group; None until ``start``, and with one process
        self._alone = False
        self._ddp: dict[nn.Module, tuple[nn.parallel.DistributedDataParallel, Callable[..., Any]]] = {}

    @property
    def is_main(self) -> bool:
        return self.rank == 0

    def start(self) -> None:
        """Joins the process group; returns once all processes are there.

        Raises:
            ConfigError: two processes have the same card.
        """
        if self.world == 1 or self.host is not None:
            return
        self.host = _Groups.join(self.device)
        if self.device.type == "cuda":
            self._check_cards()

    def close(self, clean: bool = True) -> None:
        """This job is through. The groups stay for the next one in this process, unless it failed."""
        _Groups.clean = _Groups.clean and clean
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
        unseen = [who for who in self.gather(None if self._sees(path) else _place(self.rank)) if who]
        if unseen:
            raise ConfigError(
                f"{path.parent.absolute()} is not the same folder for all processes: {', '.join(unseen)} cannot see "
                "what rank 0 has there. Checkpoints have parts of every process: start all of them in a folder on a "
                "file system that they share (NFS, Lustre, ...)"
            )

    def _sees(self, path: Path) -> bool:
        until = time.monotonic() + SEEN_WITHIN_S
        while not path.exists():
            if time.monotonic() > until:
                return False
            with suppress(OSError):
                os.listdir(path.parent)  # makes NFS look anew
            time.sleep(0.2)
        return True

    # Agreement between hosts

    def any(self, flag: bool) -> bool:
        """Whether the flag is set in any process; all must call it."""
        if self.world == 1:
            return flag
        value = torch.tensor([int(flag)])
        dist.all_reduce(value, dist.ReduceOp.MAX, group=self.host)
        return bool(value.item())

    def gather(self, value: Any) -> list[Any]:
        """Every process's plain value, by rank."""
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
        if self.world > 1:
            for tensor in tensors:
                dist.broadcast(tensor.data, src=0)

    @torch.no_grad()
    def sum(self, tensor: Tensor) -> Tensor:
        """The sum of everyone's tensor, a new one of its shape and type; all must call it alike."""
        if self.world == 1:
            return tensor
        total = tensor.detach().clone(memory_format=torch.contiguous_format)
        dist.all_reduce(total)
        return total

    def any_on_device(self, flag: Tensor) -> Tensor:
        """The largest values of a device tensor over all processes, without waiting for it."""
        if self.world > 1 and not self._alone:
            dist.all_reduce(flag, dist.ReduceOp.MAX)
        return flag

    # Gradients

    @contextmanager
    def micro_batch(self, last: bool) -> Iterator[None]:
        """Around forward and backward of a micro-batch; ``ddp`` communicates in the last one only."""
        for ddp, _ in self._ddp.values():
            ddp.require_backward_grad_sync = last and not self._alone
        yield

    def backward(self, loss: Tensor, parameters: list[nn.Parameter]) -> None:
        """Accumulates gradients in ``parameters`` and in nothing else."""
        if self._ddp:
            loss.backward()  # one phase only, so there are no other parameters; DDP's hooks need the plain call
        else:
            torch.autograd.backward(loss, inputs=parameters)

    @torch.no_grad()
    def synchronize(self, parameters: list[nn.Parameter]) -> None:
        """Replaces gradients by their mean over all processes (``flat``; ``ddp`` has done it already).

        A parameter without gradient in some process counts as zero there; without any, it stays without.
        """
        if self.strategy is not Strategy.flat:
            return
        present = torch.tensor([p.grad is not None for p in parameters], dtype=torch.uint8)
        if not self._alone:
            dist.all_reduce(present, dist.ReduceOp.MAX, group=self.host)
        used = [p for p, some in zip(parameters, present.tolist(), strict=True) if some]
        for parameter in used:
            if parameter.grad is None:
                parameter.grad = torch.zeros_like(parameter)
        pending = []
        for bucket in _buckets([p.grad for p in used if p.grad is not None]):
            flat = torch.cat([grad.reshape(-1) for grad in bucket])
            pending.append((bucket, flat, None if self._alone else dist.all_reduce(flat, async_op=True)))
        for bucket, flat, work in pending:
            if work is not None:
                work.wait()
            flat /= 1 if self._alone else self.world
            parts = flat.split([grad.numel() for grad in bucket])
            foreach.copy_(bucket, [part.view(g.shape) for part, g in zip(parts, bucket, strict=True)])

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
            inner = _Forward(module)
            devices = [self.device] if self.device.type == "cuda" else None
            ddp = nn.parallel.DistributedDataParallel(inner, device_ids=devices, **_OWN_BUFFERS)
            self._ddp[module] = (ddp, inner.original)
            module.forward = _through(ddp, inner.original)

    def unwrap(self) -> None:
        """Undoes ``wrap``."""
        for module in self._ddp:
            del module.forward  # the instance's attribute; the class's method shows again
        self._ddp.clear()


def _place(rank: int) -> str:
    return f"rank {rank} ({socket.gethostname()})"


class _Forward(nn.Module):
    """A module's own forward as a module of its own, for DDP to wrap without calling the replaced one."""

    def __init__(self, module: nn.Module) -> None:
        super().__init__()
        self.module = module
        self.original = module.forward

    def forward(self, *args: Any, **kwargs: Any) -> Any:
        return self.original(*args, **kwargs)


def _through(ddp: nn.Module, original: Callable[..., Any]) -> Callable[..., Any]:
    def forward(*args: Any, **kwargs: Any) -> Any:
        # Evaluation need not be in step on all processes, and has no gradients to reduce.
        return ddp(*args, **kwargs) if torch.is_grad_enabled() else original(*args, **kwargs)

    return forward


def _buckets(tensors: list[Tensor]) -> Iterator[list[Tensor]]:
    """Groups of one type and at most ``BUCKET_BYTES`` (a larger tensor is a group of its own), in a fixed order."""
    groups: dict[torch.dtype, list[Tensor]] = {}
    for tensor in tensors:
        groups.setdefault(tensor.dtype, []).append(tensor)
    for group in groups.values():
        bucket: list[Tensor] = []
        size = 0
        for tensor in group:
            if bucket and size + tensor.nbytes > BUCKET_BYTES:
                yield bucket
                bucket, size = [], 0
            bucket.append(tensor)
            size += tensor.nbytes
        yield bucket
