"""What happens when a loss or a gradient becomes NaN or infinite: nothing to the weights, and a dump to replay.

A step takes the gradients of all phases before any of them moves a weight, so one verdict decides for all. It is a
tensor on the device, and the optimisers read it there (``PrecisionPolicy.step``), so the host need not wait for it. A
bad segment changes no weight and no buffer and, when the run is to end, neither does any later one. On CUDA the host
reads the verdict a little later; until then it keeps the segment and the buffers as they were before it, so that the
dump holds exactly what was computed with. On the CPU it reads it at once. With several processes the verdict is that of
all of them, and all read it after the same step: whoever leaves alone leaves the others waiting for ever.

fp16 overflows are not meant here: the gradient scaler skips and counts them.
"""

from __future__ import annotations

import json
import logging
import random
from collections.abc import Callable, Iterator, Mapping, Sequence
from contextlib import contextmanager
from dataclasses import dataclass, field
from pathlib import Path
from typing import Any

import numpy as np
import torch
from torch import Tensor, nn

from trainer.config.fields import OnNonFinite, TrainerConfig
from trainer.config.words import shown_override
from trainer.data.loader import to_device
from trainer.errors import CheckpointError, NonFiniteError
from trainer.nonfinite.broken_inputs import broken_inputs
from trainer.optim import foreach
from trainer.parallel import Parallel
from trainer.task import Segment, StepContext
from trainer.text import few

_log = logging.getLogger(__name__)

LAG = 2  # segments whose verdict may be outstanding before the host waits for the oldest
DUMP = "nonfinite"


@dataclass
class _Record:
    """A segment whose verdict is not known yet."""

    step: int
    samples_seen: int
    stage: str
    phases: list[str]
    data: list[dict[str, Any]]
    streams: dict[str, Any]
    buffers: dict[str, Tensor]  # as they were before the segment: forward passes move them
    verdict: Tensor | None = None
    arrived: Any = None


@dataclass
class Dump:
    """A dumped segment as ``load_dump`` reads it back.

    Attributes:
        step, samples_seen, stage, rank: where it happened.
        phases: the due ones in order; ``failed`` is the first bad one.
        segments: one per micro-batch.
        weights: of all networks before the segment, by canonical name.
        streams: state of all random streams before the first loss.
    """

    step: int
    samples_seen: int
    stage: str
    rank: int
    phases: list[str]
    failed: str
    segments: list[Segment]
    weights: dict[str, Tensor]
    streams: dict[str, Any] = field(default_factory=dict)


class NonFiniteGuard:
    """Watches one run. Within a step: ``begin``, ``watch`` every loss, ``judge`` the gradients, ``end``.

    Args:
        config: ``on_nonfinite`` and ``nonfinite_budget``.
        run_dir: dumps go to ``run_dir/nonfinite/step-N/``.
        parallel: for agreement between processes.
        networks: the trained networks by name.
        plain_config: the run's configuration as plain data, put beside the dump.

    Attributes:
        skipped: segments left out so far.
        rehearses, still: whether steps are only rehearsed, and whether they then move nothing; see ``rehearsing``.
        odd: whether a rehearsal found something not finite, 1 or 0 (on the device).
    """

    def __init__(
        self,
        config: TrainerConfig,
        run_dir: Path,
        parallel: Parallel,
        networks: dict[str, nn.Module],
        plain_config: dict[str, Any],
    ) -> None:
        self.skips = config.on_nonfinite is OnNonFinite["skip"]
        self.budget = config.nonfinite_budget if self.skips else 0
        self.folder = run_dir / DUMP
        self.parallel, self.networks, self.plain_config = parallel, networks, plain_config
        self.waits = parallel.device.type == "cpu"
        self.index_of: Callable[[int, int], int] | None = None  # (samples_seen, place in the batch): number in the data
        self.skipped = 0
        device = parallel.device
        self.bad = torch.zeros(1, device=device)  # of this segment, by phase
        self.odd = torch.zeros((), device=device)
        self._streak = torch.zeros((), device=device)  # bad segments in a row
        self._tripped = torch.zeros((), device=device)  # 1 once the budget is exceeded, for ever
        self._pending: list[_Record] = []
        self.rehearses = self.still = False

    def begin(self, segments: Sequence[Segment], ctx: StepContext, phases: list[str]) -> None:
        """A segment starts; nothing has been drawn from the random streams by its losses yet."""
        self._pending.append(
            _Record(
                step=ctx.step,
                samples_seen=ctx.samples_seen,
                stage=ctx.stage.name,
                phases=phases,
                data=[segment.data for segment in segments],
                streams=streams_state(ctx.generator),
                buffers=_copies(network_buffers(self.networks)),
            )
        )
        self.bad = self._tripped.repeat(max(len(phases), 1))

    def watch(self, phase: int, loss: Tensor) -> None:
        """Looks at a loss of the phase of that number."""
        bad = self.bad[phase]
        torch.maximum(bad, (~torch.isfinite(loss.detach())).to(bad.dtype), out=bad)

    def judge(self, broken: Sequence[Tensor]) -> Tensor:
        """The verdict on the segment, that of all processes: 1 where no phase may step.

        Args:
            broken: one device scalar per due phase, 1 or True where its gradients are not finite.
        """
        if broken:
            self.bad = torch.maximum(self.bad, torch.stack([value.to(self.bad.dtype) for value in broken]))
        self.bad = self.parallel.any_on_device(self.bad)
        return torch.ones_like(self._tripped) if self.still else self.bad.max()

    def end(self) -> None:
        """A segment is through.

        Raises:
            NonFiniteError: it, or one whose verdict has arrived meanwhile, was bad and the budget is exceeded.
        """
        any_bad = self.bad.max()
        if self.skips:
            self._put_back(any_bad)
        if self.rehearses:
            self.odd = torch.maximum(self.odd, any_bad)
            del self._pending[:-LAG]  # as long as in training: what is kept takes memory
            return
        self._streak = torch.where(any_bad > 0, self._streak + 1.0, 0.0)
        self._tripped = torch.maximum(self._tripped, (self._streak > self.budget).to(self._tripped.dtype))
        record = self._pending[-1]
        verdict = torch.cat([self.bad, self._tripped[None]])
        if self.waits:
            record.verdict = verdict
        else:
            record.verdict = torch.empty_like(verdict, device="cpu", pin_memory=True)
            record.verdict.copy_(verdict, non_blocking=True)
            record.arrived = torch.cuda.Event()
            record.arrived.record()
        # When a copy happens to have arrived is each process's own affair: with others it decides nothing.
        early = self.waits or self.parallel.world == 1
        while self._pending and (len(self._pending) > LAG or (early and _has_arrived(self._pending[0]))):
            self._judge(self._pending.pop(0))

    @torch.no_grad()
    def _put_back(self, any_bad: Tensor) -> None:
        """The buffers that a bad segment moved (running statistics) as they were: one NaN in them stays for ever."""
        before = self._pending[-1].buffers
        for name, buffer in network_buffers(self.networks).items():
            buffer.copy_(torch.where(any_bad > 0, before[name], buffer))

    def settle(self) -> None:
        """Waits for all outstanding verdicts: before anything is saved or evaluated, and when the stage changes.

        Raises:
            NonFiniteError: as ``end``.
        """
        while self._pending:
            self._judge(self._pending.pop(0))

    @contextmanager
    def rehearsing(self, still: bool = True) -> Iterator[None]:
        """Inside, nothing is judged: ``odd`` tells what was not finite, and such a segment moves nothing.

        Args:
            still: steps are taken in full, but no segment moves anything.
        """
        self.settle()
        self.odd = torch.zeros_like(self.odd)
        self.rehearses, self.still = True, still
        try:
            yield
        finally:
            self.rehearses = self.still = False
            self._pending.clear()

    def state_dict(self) -> dict[str, Any]:
        """Counters that a resumed run goes on with. Waits for outstanding verdicts."""
        self.settle()
        return {"skipped": self.skipped, "streak": int(self._streak.item())}

    def load_state_dict(self, state: Mapping[str, Any]) -> None:
        """Counterpart of ``state_dict``."""
        self.skipped = int(state["skipped"])
        self._streak = torch.full_like(self._streak, float(state.get("streak", 0)))  # older checkpoints have none

    def _judge(self, record: _Record) -> None:
        if record.arrived is not None:
            record.arrived.synchronize()
        assert record.verdict is not None
        *bad, tripped = record.verdict.tolist()
        if not any(bad):
            return
        failed = next(index for index, value in enumerate(bad) if value)
        phase = record.phases[failed]
        if not tripped:
            self.skipped += 1
            _log.warning("step %d: a loss or gradient of phase '%s' is not finite; skipped", record.step, phase)
            return
        path = self._dump(record, failed)
        row = f" after {self.budget} skipped ones in a row" if self.budget else ""
        raise NonFiniteError(
            f"step {record.step} (sample {record.samples_seen}, stage {record.stage}){row}: a loss or gradient of "
            f"phase '{phase}' is not finite. {self._blame(record)}No weight was changed. "
            f"Batch, weights and random state are in {path}; the same command with "
            f"{shown_override('trainer.replay', path)} runs that step again and names the loss and the parameters. "
            "Remedies: a lower learning rate, optim.*.clip, trainer.precision=fp32, or trainer.on_nonfinite=skip"
        )

    def _blame(self, record: _Record) -> str:
        """A sentence on what is not finite in the batch itself; empty when all of it is."""
        found = []
        for entry, place, name in broken_inputs(record.data):
            number = self.index_of(record.samples_seen, place) if self.index_of is not None else None
            known = f"'{name}'" if name is not None else f"{place} of the batch"
            found.append(
                f"'{entry}' of sample {known}" + (f" (number {number} of the data)" if number is not None else "")
            )
        return f"The data themselves are not finite: {few(found, 8)}. " if found else ""

    @torch.no_grad()
    def _dump(self, record: _Record, failed: int) -> Path:
        """Puts the buffers back, and writes all that a replay needs."""
        path = self.folder / f"step-{record.step}"
        for name, buffer in network_buffers(self.networks).items():
            buffer.copy_(record.buffers[name])
        path.mkdir(parents=True, exist_ok=True)
        content = {
            "step": record.step,
            "samples_seen": record.samples_seen,
            "stage": record.stage,
            "rank": self.parallel.rank,
            "phases": record.phases,
            "failed": record.phases[failed],
            "data": plain_tensors(record.data),
            "weights": plain_tensors(network_tensors(self.networks)),
            "streams": plain_tensors(record.streams),
        }
        torch.save(content, path / f"rank{self.parallel.rank}.pt")
        if self.parallel.is_main:
            about = {k: content[k] for k in ("step", "samples_seen", "stage", "failed")}
            (path / "config.json").write_text(json.dumps(about | {"config": self.plain_config}, indent=1))
        return path


def load_dump(path: Path, rank: int, device: torch.device) -> Dump:
    """Reads a dump directory back.

    Raises:
        CheckpointError: there is none, or it is damaged.
    """
    file = path / f"rank{rank}.pt"
    try:
        content = torch.load(file, map_location="cpu", weights_only=True)
    except FileNotFoundError:
        raise CheckpointError(
            f"trainer.replay={path}: there is no {file.name} in it; give a nonfinite/step-N directory of a run, "
            "with as many processes as it had"
        ) from None
    except Exception as error:  # torch raises many types here
        raise CheckpointError(f"trainer.replay={path}: {file.name} cannot be read ({error})") from error
    data = content.pop("data")
    content.pop("stepped", None)  # dumps of before held weights after some phases' steps
    return Dump(**content, segments=[Segment(**to_device(part, device)) for part in data])


def network_tensors(networks: Mapping[str, nn.Module]) -> dict[str, Tensor]:
    """Parameters and saved buffers of all networks by canonical name, ``network.parameter``; not copied."""
    return {f"{n}.{name}": value for n, module in networks.items() for name, value in module.state_dict().items()}


def network_buffers(networks: Mapping[str, nn.Module]) -> dict[str, Tensor]:
    """Buffers of all networks, saved ones or not, by canonical name; not copied."""
    return {f"{n}.{name}": buffer for n, module in networks.items() for name, buffer in module.named_buffers()}


def streams_state(generator: torch.Generator) -> dict[str, Any]:
    """The state of every random stream of this process. Taken every step, so it is made plain only when dumped."""
    state: dict[str, Any] = {
        "generator": generator.get_state(),
        "torch": torch.get_rng_state(),
        "numpy": np.random.get_state(legacy=True),
        "random": random.getstate(),
    }
    if torch.cuda.is_available() and torch.cuda.is_initialized():
        state["cuda"] = torch.cuda.get_rng_state()
    return state


def restore_streams(state: Mapping[str, Any], generator: torch.Generator) -> None:
    """Counterpart of ``streams_state``; the device's own streams only where the device is of the same kind."""
    torch.set_rng_state(state["torch"])
    name, keys, *rest = state["numpy"]
    np.random.set_state((name, np.asarray(keys).astype(np.uint32), *rest))
    version, words, gauss_next = state["random"]
    random.setstate((version, tuple(words), gauss_next))
    if "cuda" in state and torch.cuda.is_available():
        torch.cuda.set_rng_state(state["cuda"])
    if (generator.device.type == "cuda") == ("cuda" in state):
        generator.set_state(state["generator"])


def plain_tensors(value: Any) -> Any:
    """Nested data with detached CPU copies of its tensors; what is neither data nor tensor becomes its ``repr``."""
    if isinstance(value, Tensor):
        return value.detach().cpu().clone()
    if isinstance(value, Mapping):
        return {str(key): plain_tensors(item) for key, item in value.items()}
    if isinstance(value, list | tuple):
        return type(value)(plain_tensors(item) for item in value)
    if isinstance(value, np.ndarray):
        return torch.from_numpy(value.astype(np.int64) if value.dtype == np.uint32 else value.copy())
    return value if value is None or isinstance(value, bool | int | float | str) else repr(value)


def _copies(tensors: Mapping[str, Tensor]) -> dict[str, Tensor]:
    copies = {name: torch.empty_like(tensor) for name, tensor in tensors.items()}
    if copies:
        foreach.copy_(list(copies.values()), list(tensors.values()))  # one kernel, not one for each
    return copies


def _has_arrived(record: _Record) -> bool:
    return record.verdict is not None and (record.arrived is None or record.arrived.query())
