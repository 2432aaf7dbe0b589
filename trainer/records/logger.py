"""What a run tells: the console, ``train.log``, ``metrics.jsonl``, TensorBoard and ``samples/``.

A run that was killed and resumed leaves the same ``metrics.jsonl`` as an undisturbed one but for times,
provided that the record of a step is written before the checkpoint of that step.
"""

from __future__ import annotations

import contextlib
import json
import logging
import os
import re
import sys
from collections.abc import Callable, Iterator, Mapping, Sequence
from pathlib import Path
from typing import Any

from torch import Tensor

from trainer.errors import DataError
from trainer.files import flush_folder, flush_names, plain_numbers, write_text
from trainer.records.curves import read_record
from trainer.records.lines import Lines
from trainer.records.media import gif_bytes, write_png, write_video
from trainer.records.progress import Progress

_log = logging.getLogger(__name__)


class RunLogger:
    """Writes the run directory (all but checkpoints) and talks to the console. Silent where rank is not 0.

    Until ``begin`` only ``train.log`` grows: a run that cannot start leaves what an earlier one wrote there alone.

    Args:
        run_dir: created with ``train.log``.
        rank: number of this process.
        tensorboard: whether scalars go to TensorBoard too.
        videos: whether pictures and videos go to TensorBoard too.
        packages: top-level packages whose log messages (``logging``, from INFO on) the console shows, each once.
    """

    def __init__(
        self,
        run_dir: Path,
        rank: int = 0,
        tensorboard: bool = True,
        *,
        videos: bool = True,
        packages: Sequence[str] = ("trainer",),
    ) -> None:
        self.run_dir, self.active = Path(run_dir), rank == 0
        self._tensorboard, self._videos, self._resume_step = tensorboard, videos, 0
        self._metrics: Lines | None = None
        self._full = False  # whether the last line could not be written
        self._spare: set[str] = set()  # what could not be written the last time
        self._writer: Any = None
        self._progress = Progress("sample", tell=self.text, to_the_end=True)
        self._gone = False  # whether the console is
        if not self.active:
            return
        self.run_dir.mkdir(parents=True, exist_ok=True)
        # Everything that goes through `logging` lands in train.log; what our own packages say is shown as well.
        self._file = logging.FileHandler(self.run_dir / "train.log", encoding="utf-8", errors="backslashreplace")
        self._file.setFormatter(logging.Formatter("%(asctime)s %(message)s", "%Y-%m-%d %H:%M:%S"))
        self._shown = _Shown(self._console, packages)
        self._levels = {name: logging.getLogger(name).level for name in packages}
        for name in packages:
            logging.getLogger(name).setLevel(logging.INFO)
        for handler in (self._file, self._shown):
            logging.getLogger().addHandler(handler)

    def begin(
        self, config_yaml: str, resume_step: int = 0, resume_evaluated: int | None = None, own: bool = True
    ) -> None:
        """The run really starts, or goes on: ``config.yaml``, ``metrics.jsonl``, ``samples/`` and TensorBoard.

        Args:
            config_yaml: the resolved configuration.
            resume_step: step the run continues from; records of later steps, written before a crash, are dropped.
                0 starts a new run.
            resume_evaluated: step of the last evaluation that the run knows of; None is any.
            own: whether the records that are here are of the run that is gone on with. Those of another one are set
                aside, as ``metrics.jsonl.before``.
        """
        if not self.active:
            return
        self._resume_step = resume_step if own else 0
        if not self._resume_step:  # an evaluation of other weights, by another configuration
            (self.run_dir / "eval.json").unlink(missing_ok=True)
        write_text(self.run_dir / "config.yaml", config_yaml, durable=True)
        (self.run_dir / "samples").mkdir(exist_ok=True)
        metrics = self.run_dir / "metrics.jsonl"
        if not own and metrics.exists():
            self.text(f"{metrics} is of another run than the one that this goes on with: {set_aside(metrics).name}")
        repair_metrics(metrics, resume_step, resume_evaluated)
        self._metrics = Lines(metrics)
        flush_names(self.run_dir)

    def __enter__(self) -> RunLogger:
        return self

    def __exit__(self, *exc: object) -> None:
        self.close()

    def scalars(self, record: Mapping[str, Any]) -> None:
        """Append one line to ``metrics.jsonl``, at once visible to others, and the numbers to TensorBoard.

        Args:
            record: ``step`` and what was measured; numbers, strings, one-element tensors, or dicts of them.
                NaN and infinity become null, since JSON has no name for them.
        """
        if not self.active or self._metrics is None:
            return
        plain = plain_numbers(record)
        error = self._metrics.add(json.dumps(plain, allow_nan=False))
        if error is not None and not self._full:
            self.text(f"cannot write {self._metrics.path}: {error.strerror}; its lines wait in memory until it can be")
        self._full = error is not None
        with self.spared("TensorBoard"):
            writer = self._summary_writer()
            if writer is not None:
                for tag, value in _flat(plain):
                    if tag != "step" and isinstance(value, int | float) and not isinstance(value, bool):
                        writer.add_scalar(tag, value, plain["step"])
                writer.flush()  # a killed run must not lose curves that its checkpoint has already passed

    def text(self, line: str, kept: str | None = None) -> None:
        """Show a line on the console, above the bar where there is one, and keep it in ``train.log``.

        Args:
            line: for the console.
            kept: for the file, where it is another one.
        """
        if not self.active:
            return
        self._console(line)
        self._keep(line if kept is None else kept)

    def visuals(self, pictures: Mapping[str, Tensor], step: int, fps: float = 10.0) -> None:
        """Save pictures, uint8 (H, W, 3), as PNG and videos, uint8 (T, H, W, 3), as mp4 into ``samples/``.

        TensorBoard gets the picture, or a GIF as an image summary (``SummaryWriter.add_video`` writes nothing
        without an old moviepy, and does not say so).
        """
        if not self.active:
            return
        for name, data in pictures.items():
            stem = self.run_dir / "samples" / f"{re.sub(r'[^A-Za-z0-9._-]+', '-', name)}-{step:08d}"
            with self.spared(f"{stem.parent}"):
                if data.ndim == 3:
                    write_png(stem.with_name(stem.name + ".png"), data)
                else:
                    write_video(stem.with_name(stem.name + ".mp4"), data, fps)
            with self.spared("TensorBoard"):
                writer = self._summary_writer() if self._videos else None
                if writer is not None and data.ndim == 3:
                    writer.add_image(name, data.cpu().numpy(), step, dataformats="HWC")
                elif writer is not None:
                    _add_gif(writer, name, data, step, fps)
                if writer is not None:
                    writer.flush()

    def progress(self, step: int, total_samples: int | None, samples_seen: int, rate: float | None = None) -> None:
        """Show how far the run is: a bar on a terminal, else a line now and then; with the time left.

        Args:
            step, samples_seen: the trainer's counters.
            total_samples: ``samples_seen`` at the end; None where that is not known.
            rate: samples per second; None measures it since the first call.
        """
        if not self.active:
            return

        def show() -> None:
            self._progress.show(samples_seen, total_samples, rate, f"step {step}")

        if sys.stderr.isatty():
            self._while_there(show)
        else:
            show()

    def flush(self) -> None:
        """Bring everything to the disk, ``eval.json`` too; call before a checkpoint.

        Raises:
            OSError: ``metrics.jsonl`` cannot be written: a run that goes on from the checkpoint would lack its lines.
        """
        if self.active and self._metrics is not None:
            self._metrics.flush()
            flush_folder(self.run_dir)
            with self.spared("TensorBoard"):
                if self._writer is not None:
                    self._writer.flush()

    def close(self) -> None:
        """End the bar and close all files. May be called twice."""
        if not self.active:
            return
        self.active = False
        self._while_there(self._progress.close)
        with self.spared("TensorBoard"):
            if self._writer is not None:
                self._writer.close()
        if self._metrics is not None:
            self._metrics.close()  # a full disk was reported when the record was written
        for handler in (self._file, self._shown):
            logging.getLogger().removeHandler(handler)
            handler.close()
        for name, level in self._levels.items():
            logging.getLogger(name).setLevel(level)

    @contextlib.contextmanager
    def spared(self, what: str) -> Iterator[None]:
        """Something that training can do without: where it cannot be written, that is said, and training goes on."""
        try:
            yield
        except (OSError, DataError) as error:
            if what not in self._spare:
                self.text(f"cannot write {what}: {getattr(error, 'strerror', None) or error}; left out until it can be")
            self._spare.add(what)
            if what == "TensorBoard":  # its thread has ended: the next record opens another file
                self._writer = None
        else:
            self._spare.discard(what)

    def _console(self, line: str) -> None:
        self._while_there(lambda: self._show(line))

    def _show(self, line: str) -> None:
        if self._progress.bar is not None:
            from tqdm import tqdm

            tqdm.write(line, file=sys.stdout)
        else:
            sys.stdout.write(line + "\n")
            sys.stdout.flush()

    def _while_there(self, action: Callable[[], None]) -> None:
        """Something for the console, whose end is not that of the run.

        Ctrl-C ends the ``tee`` behind a pipe as well, and a terminal may hang up: the last checkpoint is still to come.
        """
        if self._gone:
            return
        try:
            action()
        except OSError as error:
            self._gone = True
            _silence(sys.stdout, sys.stderr)
            self._keep(f"nobody reads the console any more ({error.strerror}): what it would show goes on here")

    def _keep(self, line: str) -> None:
        self._file.emit(logging.LogRecord("run", logging.INFO, "", 0, line, None, None))

    def _summary_writer(self) -> Any:
        """TensorBoard's writer, opened at first use because importing it takes a second or two."""
        if self._writer is None and self._tensorboard:
            from torch.utils.tensorboard.writer import SummaryWriter

            # purge_step hides what an earlier, killed process wrote beyond the checkpoint: curves do not
            # overlap
            purge = self._resume_step + 1 if self._resume_step else 0
            self._writer = SummaryWriter(str(self.run_dir / "tensorboard"), purge_step=purge)
        return self._writer


class _Shown(logging.Handler):
    """Messages of some packages as console lines, equal ones once: data sets are opened anew in every stage."""

    def __init__(self, show: Callable[[str], None], packages: Sequence[str]) -> None:
        super().__init__(logging.INFO)
        self._show, self._packages = show, tuple(packages)
        self._before: set[str] = set()
        self._owner = os.getpid()

    def emit(self, record: logging.LogRecord) -> None:
        line = record.getMessage()
        ours = record.name.split(".")[0] in self._packages
        if (ours or record.levelno >= logging.WARNING) and line not in self._before:
            self._before.add(line)
            if os.getpid() == self._owner:
                self._show(line)
            else:  # a data worker, which has a bar of its own to disturb
                with contextlib.suppress(OSError):  # nobody reads it any more: train.log has it
                    sys.stdout.write(line + "\n")
                    sys.stdout.flush()


def _silence(*streams: Any) -> None:
    """Lets streams whose reader is gone lead nowhere: what they still hold would fail again at exit."""
    for stream in streams:
        try:
            stream.flush()
        except (OSError, ValueError):
            with contextlib.suppress(OSError, ValueError), open(os.devnull, "w") as nowhere:
                os.dup2(nowhere.fileno(), stream.fileno())


def repair_metrics(path: Path, step: int, evaluated: int | None = None) -> None:
    """Drop from a metrics file what a resumed run will write again: records beyond ``step`` and torn lines.

    ``step`` 0 means a new run, and empties the file. Evaluations after step ``evaluated`` go as well: one at ``step``
    itself may have been written down just before the run was killed, while its checkpoint does not know of it. The file
    is replaced as a whole, so being killed here is harmless.
    """
    if not path.exists():
        return
    kept = []
    for line in path.read_bytes().split(b"\n"):
        record = read_record(line)
        if step == 0 or record is None:
            continue
        last = step if "eval" not in record or evaluated is None else min(step, evaluated)
        if record.get("step", 0) <= last:
            kept.append(line + b"\n")
    content = b"".join(kept)
    if content != path.read_bytes():
        write_text(path, content.decode("utf-8"), durable=True)


def set_aside(path: Path) -> Path:
    """Renames a file of a past that a run does not come from, so that a mistake can be undone; gives the new name."""
    return path.replace(path.with_name(f"{path.name}.before"))


def _flat(record: Mapping[str, Any], prefix: str = "") -> Iterator[tuple[str, Any]]:
    for key, value in record.items():
        if isinstance(value, Mapping):
            yield from _flat(value, f"{prefix}{key}/")
        else:
            yield prefix + key, value


def _add_gif(writer: Any, name: str, frames: Tensor, step: int, fps: float) -> None:
    from tensorboard.compat.proto.summary_pb2 import Summary  # pyright: ignore[reportAttributeAccessIssue]

    height, width = frames.shape[1:3]
    image = Summary.Image(height=height, width=width, colorspace=3, encoded_image_string=gif_bytes(frames, fps))
    writer.file_writer.add_summary(Summary(value=[Summary.Value(tag=name, image=image)]), step)
