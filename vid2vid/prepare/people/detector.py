"""MediaPipe as a process: it needs another NumPy than this package, so it lives in an environment of its own."""

from __future__ import annotations

import json
import os
import subprocess
import tempfile
from collections.abc import Sequence
from contextlib import suppress
from functools import cache
from pathlib import Path
from typing import BinaryIO

import numpy as np

from trainer.errors import ConfigError, DataError
from vid2vid.prepare.people import detect

_TASKS = ("pose_landmarker", "face_landmarker", "hand_landmarker")
ENVIRONMENT = ".venv-people"  # what `make people-tools` makes, in the repository
_ROOT = Path(__file__).resolve().parents[3]
_SHOWN = 300  # characters of what the process said before it ended


def people_python(given: str | None) -> Path:
    """The Python that has MediaPipe.

    Args:
        given: `people_python=`; None: the one of `make people-tools`.
    Raises:
        ConfigError: there is none; names the command that installs it.
    """
    path = Path(given) if given is not None else _ROOT / ENVIRONMENT / "bin" / "python"
    if not path.is_file():
        what = f"people_python={given}" if given is not None else str(path)
        raise ConfigError(
            f"{what}: no such file. Landmarks are found by MediaPipe 0.10.21, which needs NumPy below 2 and so an "
            f"environment of its own: run make people-tools (it makes {ENVIRONMENT} with Python 3.11 or 3.12, one "
            "minute; PEOPLE_PYTHON=python3.12 chooses another interpreter), or give people_python=PATH of a Python "
            "that has it"
        )
    return path


def task_files(folder: str) -> list[Path | None]:
    """MediaPipe's networks in a folder: of bodies, of faces, of hands; None for those that are not there.

    Raises:
        ConfigError: that of bodies is not there.
    """
    found = [next(iter(sorted(Path(folder).glob(f"{name}*.task"))), None) for name in _TASKS]
    if found[0] is None:
        raise ConfigError(
            f"models={folder}: has no {_TASKS[0]}.task. Put it there, with {_TASKS[1]}.task and {_TASKS[2]}.task for "
            "faces and hands, from the page of MediaPipe's models (ai.google.dev/edge/mediapipe/solutions/guide), or "
            "leave models= out: MediaPipe 0.10.21 has networks of its own, for one person"
        )
    return found


class Detector:
    """A process that finds people in frames, one frame after the other.

    Args:
        python: the interpreter that has MediaPipe.
        people: at most so many.
        files: as `task_files` has them; none: MediaPipe 0.10.21's own.
    Raises:
        ConfigError: MediaPipe cannot be imported there; shows its last words.
    """

    def __init__(self, python: Path, people: int = 1, files: Sequence[Path | None] = ()) -> None:
        self._people = people
        self._words = tempfile.TemporaryFile()  # noqa: SIM115  # a pipe that nobody reads would fill up
        environment = {name: value for name, value in os.environ.items() if not name.startswith("PYTHON")}
        self._process = subprocess.Popen(
            [str(python), "-I", detect.__file__, str(people), *(str(path or "-") for path in files)],
            stdin=subprocess.PIPE,
            stdout=subprocess.PIPE,
            stderr=self._words,
            env=environment | {"OMP_NUM_THREADS": "1", "TF_CPP_MIN_LOG_LEVEL": "3", "GLOG_minloglevel": "3"},
            start_new_session=True,  # Ctrl-C is this process's to answer: it ends the other by closing the pipe
        )
        assert self._process.stdin is not None and self._process.stdout is not None
        self._requests: BinaryIO = self._process.stdin  # type: ignore[assignment]
        self._answers: BinaryIO = self._process.stdout  # type: ignore[assignment]
        hello = self._answers.readline()
        if not hello:
            self._process.wait()
            words = self._last_words()
            self.close()
            raise ConfigError(
                f"{python}: MediaPipe does not start there ({words}). Make its environment anew: "
                f"rm -r {ENVIRONMENT}, make people-tools"
            )
        self.version = str(json.loads(hello)["mediapipe"])

    def forget(self) -> None:
        """What comes next follows nothing before it."""
        self._send(np.zeros(2, np.int32).tobytes())

    def find(self, pixels: np.ndarray, name: str) -> tuple[np.ndarray, np.ndarray]:
        """The people of a frame.

        Args:
            pixels: RGB uint8 (h, w, 3).
            name: of the frame, for messages.
        Returns:
            float32 (people, POINTS, 3) as `detect.py` has them, and the matte, uint8 (h, w).
        Raises:
            DataError: the process ended.
        """
        height, width = pixels.shape[:2]
        self._send(np.array([height, width], np.int32).tobytes() + np.ascontiguousarray(pixels).tobytes())
        size = self._people * detect.POINTS * 12
        answer = self._answers.read(size + height * width)
        if len(answer) < size + height * width:
            self._process.wait()
            raise DataError(
                f"{name}: MediaPipe ended (code {self._process.returncode}: {self._last_words()}). What is done is "
                "kept: give the same command again; workers=1 needs less memory"
            )
        points = np.frombuffer(answer[:size], np.float32).reshape(-1, detect.POINTS, 3)
        return points, np.frombuffer(answer[size:], np.uint8).reshape(height, width)

    def close(self) -> None:
        """End the process."""
        for pipe in (self._requests, self._answers):
            with suppress(BrokenPipeError):  # it ended before
                pipe.close()
        try:
            self._process.wait(timeout=10)
        except subprocess.TimeoutExpired:
            self._process.kill()
            self._process.wait()
        self._words.close()

    def _send(self, message: bytes) -> None:
        with suppress(BrokenPipeError):  # it ended; the answer that does not come says so
            self._requests.write(message)
            self._requests.flush()

    def _last_words(self) -> str:
        self._words.seek(0)
        lines = self._words.read().decode(errors="replace").strip().splitlines()
        return lines[-1][-_SHOWN:] if lines else "without a word"


@cache
def parts() -> dict[str, slice]:
    """Where the landmarks of each part are in an answer."""
    ends = np.cumsum(list(detect.PARTS.values())).tolist()
    return {name: slice(end - count, end) for (name, count), end in zip(detect.PARTS.items(), ends, strict=True)}
