"""How much of a step's time is left to computing on many GPUs: closed formulas, from a step measured on one. No torch.

A network is two levels: links between the GPUs of a node, and network cards between nodes. A collective costs a start,
a latency for each hop and its bytes over the bandwidth of its narrowest place:

- ring: an all-reduce of S bytes among n moves 2 (n - 1) / n S through every GPU in 2 (n - 1) hops; a gather or a
  scatter is half of it (Thakur, Rabenseifner and Gropp, 2005, "Optimization of Collective Communication Operations in
  MPICH").
- tree: a pair of binary trees between nodes, a chain inside them: 2 S in 2 (g - 1) + 2 log2(nodes) hops (Sanders, Speck
  and Traff, 2009, "Two-tree algorithms for full bandwidth broadcast, reduction and scan"). The faster one counts:
  NCCL chooses by such a model itself (src/graph/tuning.cc, whose starts and hops of the protocol Simple these are).

Bandwidths are those of the wire times ``ACHIEVED``. Left out: NVLS and SHARP (switches that add), other traffic,
stragglers, reading data, and that kernels of communication take multiprocessors from those that compute.
"""

from __future__ import annotations

import math
from collections.abc import Callable
from dataclasses import dataclass

ACHIEVED = 0.8  # of the wire's bandwidth; nccl-tests reach 0.75 to 0.9 with large messages
MOST = 4096  # GPUs that are looked at
PAYS = 0.9  # a strategy pays while so much of the time is computing
STRATEGIES = ("flat", "ddp", "fsdp2", "hybrid")
FLAT_BUCKET, DDP_BUCKET = 32 * 2**20, 25 * 2**20  # bytes: trainer/parallel/gradients.py; torch's default
STATE = 4 + 4 + 8 + 4  # bytes a parameter: weight, gradient, two moments, average
_FORWARD = 1 / 3  # of a step: a backward pass costs two forward passes


@dataclass(frozen=True)
class Network:
    """A cluster.

    Attributes:
        inside: bytes/s that a GPU sends to others of its node.
        outside: bytes/s of all network cards of a node together.
        gpus: of a node.
        start_s, hop_s, far_hop_s: of a collective; from GPU to GPU in a node; from node to node.
    """

    name: str
    inside: float
    outside: float
    gpus: int = 8
    start_s: float = 8.4e-6
    hop_s: float = 3.4e-6
    far_hop_s: float = 14e-6

    def nodes(self, count: int) -> int:
        return -(-count // self.gpus)

    def bandwidth(self, count: int) -> float:
        """Bytes/s of a ring over ``count`` GPUs: it enters and leaves every node through all of its cards."""
        narrowest = self.inside if self.nodes(count) == 1 else min(self.inside, self.outside)
        return ACHIEVED * narrowest

    def gather(self, size: float, count: int) -> float:
        """Seconds of an all-gather or a reduce-scatter of ``size`` bytes in all."""
        if count == 1:
            return 0.0
        far = self.nodes(count) if self.nodes(count) > 1 else 0
        hops = (count - 1 - max(far - 1, 0)) * self.hop_s + max(far - 1, 0) * self.far_hop_s
        return self.start_s + hops + (count - 1) / count * size / self.bandwidth(count)

    def all_reduce(self, size: float, count: int) -> float:
        """Seconds of an all-reduce of ``size`` bytes: by ring or by tree, whichever is faster."""
        if count == 1:
            return 0.0
        ring = 2 * self.gather(size, count) - self.start_s
        chain = 2 * (min(count, self.gpus) - 1) * self.hop_s
        between = 2 * math.log2(self.nodes(count)) * self.far_hop_s
        return min(ring, self.start_s + chain + between + 2 * size / self.bandwidth(count))

    def far_all_reduce(self, size: float, count: int) -> float:
        """As ``all_reduce`` among one GPU of each node, while all GPUs of a node do so and share its cards."""
        nodes = self.nodes(count)
        if nodes == 1:
            return 0.0
        bandwidth = ACHIEVED * min(self.inside, self.outside / self.gpus)
        ring = 2 * (nodes - 1) * self.far_hop_s + 2 * (nodes - 1) / nodes * size / bandwidth
        tree = 2 * math.log2(nodes) * self.far_hop_s + 2 * size / bandwidth
        return self.start_s + min(ring, tree)


# H100 SXM: 18 NVLinks of 25 GB/s each way. A card of NDR InfiniBand for each GPU, of HDR for two; Ethernet: one in all.
NODES = {
    "ndr": Network("NVLink, 8 x 400 Gb/s InfiniBand", 450e9, 8 * 50e9),
    "hdr": Network("NVLink, 4 x 200 Gb/s InfiniBand", 450e9, 4 * 25e9),
    "ethernet": Network("NVLink, 1 x 100 Gb/s Ethernet", 450e9, 12.5e9, far_hop_s=50e-6),
    "pcie": Network("PCIe 4, 1 x 100 Gb/s Ethernet", 25e9, 12.5e9, hop_s=5.7e-6, far_hop_s=50e-6),
}


@dataclass(frozen=True)
class Job:
    """What one GPU does in a step, without the others.

    Attributes:
        parameters: that are trained; their gradients are kept in 4 bytes each.
        blocks: of equal size, which fsdp2 gathers one after the other, in 2 bytes for each parameter.
        step_s: forward, backward and update of all micro-batches.
        accumulate: micro-batches of a step: gradients travel in the last one only.
    """

    parameters: int
    blocks: int
    step_s: float
    accumulate: int = 1

    @property
    def gradients(self) -> float:
        return 4.0 * self.parameters


def step_time(job: Job, network: Network, strategy: str, count: int) -> float:
    """Seconds of a step on ``count`` GPUs, each with the same share of work as one alone."""
    return _TIMES[strategy](job, network, count)


def efficiency(job: Job, network: Network, strategy: str, count: int) -> float:
    """The share of a step that is computing: speed relative to ``count`` times that of one GPU."""
    return job.step_s / step_time(job, network, strategy, count)


def _flat(job: Job, network: Network, count: int) -> float:
    """Buckets are reduced one behind the other, after the last backward pass."""
    buckets = math.ceil(job.gradients / FLAT_BUCKET)
    return job.step_s + buckets * network.all_reduce(job.gradients / buckets, count)


def _ddp(job: Job, network: Network, count: int) -> float:
    """Gradients come evenly over the last backward pass; a full bucket is reduced behind the one before it."""
    buckets = math.ceil(job.gradients / DDP_BUCKET)
    each = network.all_reduce(job.gradients / buckets, count)
    backward = job.step_s / job.accumulate * (1 - _FORWARD)
    through = job.step_s - backward
    for bucket in range(1, buckets + 1):
        ready = job.step_s - backward + backward * bucket / buckets
        through = max(through, ready) + each
    return max(job.step_s, through)


def _sharded(job: Job, gather: float, scatter: float) -> float:
    """The next block is gathered while one is computed, in both directions; gradients leave behind their block.

    Args:
        gather: seconds in which a block's weights come. scatter: in which its gradients go, in the last micro-batch.
    """
    forward = job.step_s / job.accumulate * _FORWARD / job.blocks
    backward = job.step_s / job.accumulate * (1 - _FORWARD) / job.blocks
    total = 0.0
    for micro_batch in range(job.accumulate):
        leaving = scatter if micro_batch == job.accumulate - 1 else 0.0
        total += gather + (job.blocks - 1) * max(forward, gather) + forward
        # The block that was last is still there; the first one's gradients leave when all else is done.
        total += backward + (job.blocks - 1) * max(backward, gather + leaving) + leaving
    return total


def _fsdp2(job: Job, network: Network, count: int) -> float:
    return _sharded(
        job,
        network.gather(2.0 * job.parameters / job.blocks, count),
        network.gather(job.gradients / job.blocks, count),
    )


def _hybrid(job: Job, network: Network, count: int) -> float:
    """Sharded inside a node; what a GPU keeps of the gradients is reduced between nodes."""
    inside = min(count, network.gpus)
    block = job.gradients / job.blocks
    return _sharded(
        job,
        network.gather(2.0 * job.parameters / job.blocks, inside),
        network.gather(block, inside) + network.far_all_reduce(block / inside, count),
    )


_TIMES: dict[str, Callable[[Job, Network, int], float]] = {
    "flat": _flat,
    "ddp": _ddp,
    "fsdp2": _fsdp2,
    "hybrid": _hybrid,
}


def state_bytes(job: Job, strategy: str, count: int, gpus: int = 8) -> float:
    """Bytes of weights, gradients, moments, averages and buffers on each GPU; what a batch needs comes on top.

    ``flat`` packs a bucket at a time, several in flight at the most: all of the gradients once more. ``ddp`` keeps its
    buckets. Sharded, two blocks are there in 2 bytes a parameter, and one's gradients in 4.
    """
    if strategy in ("flat", "ddp"):
        return (STATE + (4 if count > 1 else 0)) * job.parameters
    shards = count if strategy == "fsdp2" else min(count, gpus)
    return STATE * job.parameters / shards + (2 * 2 + 4) * job.parameters / job.blocks


def pays_until(job: Job, network: Network, strategy: str, most: int = MOST) -> int:
    """The largest power of two of GPUs, at most ``most``, up to which ``PAYS`` of the time is computing."""
    paying = 1
    for count in (2**power for power in range(1, int(math.log2(most)) + 1)):
        if efficiency(job, network, strategy, count) < PAYS:
            break
        paying = count
    return paying


def shortest_step(job: Job, network: Network, strategy: str, count: int) -> float:
    """The seconds that a step must compute, on one GPU, for ``PAYS`` of the time on ``count`` to be computing."""
    low, high = 1e-6, 1e4
    for _ in range(80):
        middle = math.sqrt(low * high)
        tried = Job(job.parameters, job.blocks, middle, job.accumulate)
        low, high = (low, middle) if efficiency(tried, network, strategy, count) >= PAYS else (middle, high)
    return high
