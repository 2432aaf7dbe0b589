"""Cases for one reader, in a process of its own that may die: ``tests.fuzz.engine ENGINE READER CASES SEED OUT``.

``hypothesis`` draws valid files and changes to them, and makes what it finds smaller; ``atheris`` (libFuzzer) follows
the branches that our own code takes. Both begin from the same valid files and what was found before. What a case does
wrong is written to OUT: the file as it was read, and how it ended.
"""

from __future__ import annotations

import atexit
import faulthandler
import json
import os
import resource
import signal
import sys
import tempfile
import traceback
import warnings
from collections.abc import Iterable
from contextlib import nullcontext
from pathlib import Path
from typing import Any

from hypothesis.errors import HypothesisException

from tests.fuzz.mutations import Step, mutated
from tests.fuzz.reader import Reader

CORPUS = Path(__file__).parent / "corpus"
MODULES = ("of_texts", "of_weights", "of_pictures")
OURS = ("trainer", "vit", "vid2vid")


def readers() -> list[Reader]:
    """All of them."""
    from importlib import import_module

    return [reader for name in MODULES for reader in import_module(f"tests.fuzz.{name}").READERS]


def folder_of(reader: Reader) -> Path:
    """Where the cases that were found wrong are kept."""
    return CORPUS / "".join(c if c.isalnum() else "_" for c in reader.name).strip("_")


def found_before(reader: Reader) -> list[Path]:
    """Those cases."""
    return sorted(folder_of(reader).iterdir()) if folder_of(reader).is_dir() else []


class TooLong(BaseException):
    """A case took more time than its reader may. No Exception: nothing catches it by accident."""


def _ring(number: int, frame: Any) -> None:
    raise TooLong


class Cases:
    """Runs cases of one reader and notes what they do wrong.

    Args:
        reader: what is fuzzed.
        out: where faults are written.
        scratch: a folder for the files.
    """

    def __init__(self, reader: Reader, out: Path | None, scratch: Path) -> None:
        self.reader, self.out = reader, out
        self.path = scratch / reader.file
        self.path.parent.mkdir(parents=True, exist_ok=True)
        self.seeds = reader.seeds(self.path.parent)
        self.tried, self.accepted, self.known = 0, 0, set[str]()
        signal.signal(signal.SIGALRM, _ring)

    def fault(self, data: bytes) -> str | None:
        """What reading these bytes does wrong; None where it does nothing wrong."""
        from trainer.errors import UserError

        self.tried += 1
        self.path.write_bytes(data)
        if self.out is not None and self.tried % 50 == 0:
            self.note()
        signal.setitimer(signal.ITIMER_REAL, self.reader.seconds)
        try:
            with warnings.catch_warnings():
                warnings.simplefilter("ignore")
                self.reader.read(self.path)
            self.accepted += 1
        except UserError:
            pass  # it was told what is wrong
        except TooLong:
            return f"TooLong: more than {self.reader.seconds:g} s"
        except Exception as error:
            place = next((f for f in reversed(traceback.extract_tb(error.__traceback__)) if _is_ours(f.filename)), None)
            return f"{type(error).__name__} at {'?' if place is None else f'{Path(place.filename).name}:{place.name}'}"
        finally:
            signal.setitimer(signal.ITIMER_REAL, 0)
        return None

    def found(self, data: bytes, fault: str) -> None:
        """Keeps a case, one for each kind of fault."""
        if fault in self.known or self.out is None:
            return
        self.known.add(fault)
        place = self.out / f"{len(self.known):03}{Path(self.reader.file).suffix}"
        place.write_bytes(data)
        place.with_suffix(".fault").write_text(fault + "\n")

    def note(self) -> None:
        """How many cases there were, for the process that started this one."""
        assert self.out is not None
        (self.out / "state.json").write_text(json.dumps({"tried": self.tried, "accepted": self.accepted}))


def _is_ours(filename: str) -> bool:
    return any(f"/{package}/" in filename for package in OURS) and "site-packages" not in filename


def bound_memory(extra: int) -> None:
    """This process may map so many bytes more than it has."""
    pages = int(Path("/proc/self/statm").read_text().split()[0])
    resource.setrlimit(resource.RLIMIT_AS, (pages * resource.getpagesize() + extra,) * 2)


def _quiet() -> None:
    """Decoders of C write to stderr, one line for every case."""
    import cv2
    import torch

    cv2.setNumThreads(0)
    torch.set_num_threads(1)
    faulthandler.register(signal.SIGUSR1, os.fdopen(os.dup(2), "w"), all_threads=True)  # where it hangs
    null = os.open(os.devnull, os.O_WRONLY)
    os.dup2(null, 2)


def with_hypothesis(cases: Cases, count: int, seed: int) -> None:
    """Draws files and changes; what fails is made smaller, kept, and passed over from then on."""
    end = cases.tried + count
    while cases.tried < end:
        failed = _until_a_fault(cases, end - cases.tried, seed + cases.tried)
        if failed is not None:
            cases.found(*failed)


def _until_a_fault(cases: Cases, count: int, seed: int) -> tuple[bytes, str] | None:
    """At most so many cases; the smallest that shows the first fault that is not known."""
    from hypothesis import HealthCheck, Phase, given, settings
    from hypothesis import seed as seeded
    from hypothesis import strategies as st

    step = st.tuples(st.integers(0, 11), st.integers(0, 1 << 16), st.integers(0, (1 << 32) - 1))
    failed: list[tuple[bytes, str]] = []

    @seeded(seed)
    @settings(
        max_examples=count,
        deadline=None,
        database=None,
        phases=(Phase.generate, Phase.shrink),
        suppress_health_check=list(HealthCheck),
    )
    @given(st.integers(0, len(cases.seeds) - 1), st.lists(step, min_size=1, max_size=5))
    def one(which: int, steps: list[Step]) -> None:
        data = mutated(cases.seeds[which], cases.seeds, steps)
        fault = cases.fault(data)
        if fault is not None and fault not in cases.known and (not failed or fault == failed[0][1]):
            failed.append((data, fault))
            raise AssertionError(fault)

    try:
        one()
    except AssertionError:
        return failed[-1]
    except HypothesisException:  # a fault that does not show again, in a clock or in what is left in memory
        return failed[0] if failed else None
    return None


def with_atheris(cases: Cases, count: int, seed: int, corpus: Iterable[bytes]) -> None:
    """Lets libFuzzer change files so that our code takes other branches. Does not return."""
    import random

    import atheris

    inputs = Path(tempfile.mkdtemp())
    for number, data in enumerate(corpus):
        (inputs / f"{number:04}").write_bytes(data)

    def one(data: bytes) -> None:
        fault = cases.fault(data)
        if fault is not None:
            cases.found(data, fault)

    def change(data: bytes, size: int, chance: int) -> bytes:
        draw = random.Random(chance)
        if draw.random() < 0.5:
            return atheris.Mutate(data, size)
        steps = [
            (draw.randrange(12), draw.randrange(1 << 16), draw.randrange(1 << 32)) for _ in range(1 + draw.randrange(3))
        ]
        return mutated(data, cases.seeds, steps)[:size]

    words = [
        f"-runs={count}",
        f"-seed={seed + 1}",
        "-max_len=1000000",
        "-timeout=120",
        "-rss_limit_mb=0",
        "-verbosity=0",
    ]
    atheris.Setup([sys.argv[0], *words, f"-artifact_prefix={inputs}/", str(inputs)], one, custom_mutator=change)
    atheris.Fuzz()


def main() -> None:
    engine, name, count, seed, out = sys.argv[1], sys.argv[2], int(sys.argv[3]), int(sys.argv[4]), Path(sys.argv[5])
    with _followed() if engine == "atheris" else nullcontext():
        reader = next(reader for reader in readers() if reader.name == name)
        cases = Cases(reader, out, Path(tempfile.mkdtemp(dir=out)))
        for data in cases.seeds:
            cases.fault(data)  # imports and caches, before memory is bounded
    cases.known = {path.read_text().strip() for path in out.glob("*.fault")}
    cases.tried = cases.accepted = 0
    _quiet()
    bound_memory(reader.bytes_)
    atexit.register(cases.note)
    if engine == "hypothesis":
        with_hypothesis(cases, count, seed)
    else:
        with_atheris(cases, count, seed, [*cases.seeds, *(path.read_bytes() for path in found_before(reader))])


def _followed() -> Any:
    """Inside, what is imported of our own code tells libFuzzer which branches it takes."""
    import atheris

    return atheris.instrument_imports(include=list(OURS), enable_loader_override=False)


if __name__ == "__main__":
    main()
