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

import logging
from collections.abc import Callable, Iterator, Mapping, Sequence
from contextlib import contextmanager
from dataclasses import dataclass
from pathlib import Path
from typing import Any

import torch
from torch import Tensor, nn
from torch.distributed.tensor import DTensor

from trainer.checkpoint.weights import network_buffers, network_tensors
from trainer.config.fields import OnNonFinite, TrainerConfig
from trainer.config.short_forms import shown_override
from trainer.errors import NonFiniteError
from trainer.nonfinite.broken_inputs import broken_inputs
from trainer.nonfinite.dump import streams_state, write_dump
from trainer.optim import foreach
from trainer.parallel.processes import Parallel
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
        """Puts the buffers back, and writes what was computed with."""
        path = self.folder / f"step-{record.step}"
        for name, buffer in network_buffers(self.networks).items():
            buffer.copy_(record.buffers[name])
        content = {
            "step": record.step,
            "samples_seen": record.samples_seen,
            "stage": record.stage,
            "rank": self.parallel.rank,
            "phases": record.phases,
            "failed": record.phases[failed],
            "data": record.data,
            "weights": {name: _whole(value) for name, value in network_tensors(self.networks).items()},
            "streams": record.streams,
        }
        write_dump(path, content, self.plain_config if self.parallel.is_main else None)
        return path


def _copies(tensors: Mapping[str, Tensor]) -> dict[str, Tensor]:
    copies = {name: torch.empty_like(tensor) for name, tensor in tensors.items()}
    if copies:
        foreach.copy_(list(copies.values()), list(tensors.values()))  # one kernel, not one for each
    return copies


def _whole(tensor: Tensor) -> Tensor:
    """Of shards the whole, in main memory: all processes have the same verdict, and come here alike."""
    return tensor.full_tensor().cpu() if isinstance(tensor, DTensor) else tensor


def _has_arrived(record: _Record) -> bool:
    return record.verdict is not None and (record.arrived is None or record.arrived.query())
