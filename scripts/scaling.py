"""What to expect of many GPUs: efficiency and memory of every strategy, from a step that was measured on one. No GPU.

python scripts/scaling.py
python scripts/scaling.py case=vit_h14 network=hdr step_ms=210
python scripts/scaling.py parameters=86e6 blocks=12 step_ms=70 network=ethernet out=scaling.png

docs/scaling.md tells the formulas, and what they leave out.
"""

from __future__ import annotations

import _setup  # noqa: F401  # first: passive OpenMP threads, the repository on the path

import math
from dataclasses import dataclass, field, replace
from enum import Enum
from pathlib import Path
from typing import Any

from trainer.benchmark import scaling
from trainer.benchmark.scaling import NODES, STRATEGIES, Job
from trainer.cli import guarded
from trainer.config.arguments import parse_args
from trainer.errors import ConfigError
from trainer.records.compare import as_text

# Step times on an H100: the first and the last measured in training, the other estimated (docs/scaling.md). 64 pictures
# at 224 px; a segment of 4 frames of 1024x2048; one of 6 frames of 256x512. Parameters of
# vid2vid are those of all three networks.
JOBS = {
    "vit_h14": Job(parameters=632_045_800, blocks=32, step_s=0.165),
    "vid2vid_2048": Job(parameters=459_610_171, blocks=20, step_s=2.0),
    "vid2vid_512": Job(parameters=450_263_245, blocks=18, step_s=0.72),
}
Case: Any = Enum("Case", {name: name for name in JOBS})
Nodes: Any = Enum("Nodes", {name: name for name in NODES})


@dataclass
class Arguments:
    case: Case | None = None  # pyright: ignore[reportInvalidTypeForm]
    network: Nodes = Nodes.ndr  # pyright: ignore[reportInvalidTypeForm]
    step_ms: float | None = None  # of one GPU, with all micro-batches; None: the case's
    parameters: float | None = None  # that are trained, in place of a case
    blocks: int | None = None  # that fsdp2 shards one by one
    accumulate: int = 1  # micro-batches of a step
    gpus: list[int] = field(default_factory=lambda: [8, 64, 512])  # how many
    out: str | None = None  # a picture of it, .png or .svg


@guarded
def main() -> None:
    arguments = parse_args(Arguments)
    counts = arguments.gpus
    jobs = _jobs(arguments)
    if min(counts) < 1 or arguments.accumulate < 1:
        raise ConfigError(f"gpus={counts}, accumulate={arguments.accumulate}: must be at least 1")
    network = NODES[arguments.network.name]
    for name, job in jobs.items():
        print(
            f"{name}: {job.parameters / 1e6:,.0f} M parameters in {job.blocks} blocks, {job.step_s * 1e3:,.0f} ms "
            f"a step on one GPU, {job.accumulate} micro-batch(es); {network.name}"
        )
        print(f"{as_text(_rows(job, network, counts))}\n")
    if arguments.out is not None:
        from trainer.benchmark.scaling_picture import draw

        draw(Path(arguments.out), jobs, network)
        print(f"written: {arguments.out}")


def _rows(job: Job, network: scaling.Network, counts: list[int]) -> list[list[str]]:
    rows = [["", *(f"{n} GPUs" for n in counts), "pays up to", *(f"GiB at {n}" for n in counts)]]
    for strategy in STRATEGIES:
        most = scaling.pays_until(job, network, strategy)
        rows.append([
            strategy,
            *(f"{100 * scaling.efficiency(job, network, strategy, n):.1f} %" for n in counts),
            f"{most:,}{' or more' if most == scaling.MOST else ''}",
            *(f"{scaling.state_bytes(job, strategy, n, network.gpus) / 2**30:.1f}" for n in counts),
        ])  # fmt: skip
    return rows


def _jobs(arguments: Arguments) -> dict[str, Job]:
    own = {"parameters": arguments.parameters, "blocks": arguments.blocks, "step_ms": arguments.step_ms}
    wrong = [f"{name}={value}" for name, value in own.items() if value is not None and not 0 < value < math.inf]
    if wrong:
        raise ConfigError(f"{', '.join(wrong)}: must be a positive number")
    if arguments.parameters is not None:
        missing = [name for name, value in own.items() if value is None]
        if missing or arguments.case is not None:
            raise ConfigError("parameters= goes with blocks= and step_ms=, and without case=")
        jobs = {"yours": Job(int(arguments.parameters), int(arguments.blocks or 1), arguments.step_ms / 1e3)}  # type: ignore[operator]
    elif arguments.blocks is not None or (arguments.step_ms is not None and arguments.case is None):
        raise ConfigError("blocks= goes with parameters=, and step_ms= with parameters= or case=")
    else:
        names = [arguments.case.name] if arguments.case is not None else list(JOBS)
        jobs = {name: JOBS[name] for name in names}
        if arguments.step_ms is not None:
            jobs = {name: replace(job, step_s=arguments.step_ms / 1e3) for name, job in jobs.items()}
    return {name: replace(job, accumulate=arguments.accumulate) for name, job in jobs.items()}


if __name__ == "__main__":
    main()
