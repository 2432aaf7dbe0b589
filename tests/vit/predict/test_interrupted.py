"""Predictions that were interrupted go on where they were, and come out as if nothing had happened."""

import os
import shutil
import signal
import subprocess
import sys
import time
from pathlib import Path

import pytest

from tests.helpers.made_classifier import make_run, mu_config
from tests.helpers.paths import ROOT
from tests.helpers.predictions import CPU, pictures, read
from tests.helpers.scripts import run_script
from vit.predict.predictor import Predictor


class Counted:
    """Counts batches, and interrupts at one of them."""

    def __init__(self, monkeypatch: pytest.MonkeyPatch, at: int | None = None) -> None:
        self.calls, original = 0, Predictor.probabilities

        def probabilities(predictor: Predictor, images):
            self.calls += 1
            if self.calls == at:
                raise KeyboardInterrupt
            return original(predictor, images)

        monkeypatch.setattr(Predictor, "probabilities", probabilities)


@pytest.fixture
def words(tmp_path: Path, monkeypatch: pytest.MonkeyPatch) -> list[str]:
    make_run(tmp_path / "run", mu_config())
    pictures(tmp_path / "pics", count=8)
    (tmp_path / "pics" / "1.png").write_bytes(b"x")
    (tmp_path / "sample.csv").write_text("id,label\n" + "".join(f"{n},0\n" for n in range(8)))
    monkeypatch.chdir(tmp_path)
    return ["run=run", "batch=2", *CPU]


def interrupt(monkeypatch: pytest.MonkeyPatch, words: list[str]) -> None:
    with monkeypatch.context() as patched:
        Counted(patched, at=3)  # after four pictures
        assert run_script("predict", *words) == 130


def hidden() -> list[str]:
    return sorted(path.name for path in Path().iterdir() if path.name.startswith("."))


@pytest.mark.parametrize("suffix", ["csv", "jsonl", "kaggle"])
def test_the_same_command_goes_on(suffix: str, words, tmp_path, monkeypatch, capsys) -> None:
    more = ["source=pics"]
    if suffix == "kaggle":
        more, suffix = ["source=sample.csv", "folder=pics", "suffix=.png", "format=kaggle"], "csv"
    whole, cut = [*words, *more, f"out=whole.{suffix}"], [*words, *more, f"out=cut.{suffix}"]
    assert run_script("predict", *whole) == 0
    interrupt(monkeypatch, cut)
    assert "4 of 8 pictures are done; the same command goes on from there" in capsys.readouterr().out
    assert hidden() == [f".cut.{suffix}.partial", f".cut.{suffix}.progress"] and not Path(f"cut.{suffix}").exists()
    with Path(f".cut.{suffix}.partial").open("a") as stream:
        stream.write("half of a row")  # as where the machine went down
    counted = Counted(monkeypatch)
    assert run_script("predict", *cut) == 0
    assert "goes on where it was interrupted: 4 of 8 pictures are done" in capsys.readouterr().out
    assert counted.calls == 2 and hidden() == []
    assert Path(f"cut.{suffix}").read_bytes() == Path(f"whole.{suffix}").read_bytes()
    assert [row["file"] for row in read(Path("cut-unreadable.csv"))] == ["1" if "sample.csv" in str(more) else "1.png"]


@pytest.mark.parametrize(
    "change",
    ["picture", *(pytest.param(what, marks=pytest.mark.slow) for what in ("top", "weights", "progress", "partial"))],
)
def test_what_has_changed_starts_anew(change: str, words, tmp_path, monkeypatch, capsys) -> None:
    cut = [*words, "source=pics", "out=cut.csv"]
    interrupt(monkeypatch, cut)
    if change == "top":
        cut.append("top=2")
    elif change == "picture":
        pictures(tmp_path / "other", count=8)[7].replace("pics/0.png")
    elif change == "weights":
        shutil.rmtree("run")
        make_run(tmp_path / "run", mu_config(), head=2.0)
    elif change == "progress":
        Path(".cut.csv.progress").write_text('{"mark": ')
    else:
        Path(".cut.csv.partial").write_text("")
    counted = Counted(monkeypatch)
    capsys.readouterr()
    assert run_script("predict", *cut) == 0
    assert "interrupted" not in capsys.readouterr().out and counted.calls == 4 and hidden() == []
    assert run_script("predict", *[word for word in cut if word != "out=cut.csv"], "out=whole.csv") == 0
    assert Path("cut.csv").read_bytes() == Path("whole.csv").read_bytes()


def test_a_failure_leaves_nothing(words, monkeypatch) -> None:
    def failing(predictor, images):
        raise RuntimeError("out of luck")

    monkeypatch.setattr(Predictor, "probabilities", failing)
    with pytest.raises(RuntimeError, match="out of luck"):
        run_script("predict", *words, "source=pics", "out=cut.csv")
    assert hidden() == []


@pytest.mark.slow
@pytest.mark.parametrize("number", [signal.SIGINT, signal.SIGKILL])
def test_a_process_that_is_ended(number: signal.Signals, words, tmp_path) -> None:
    pictures(tmp_path / "many", count=80, size=(300, 200))
    command = [sys.executable, str(ROOT / "scripts" / "predict.py"), *words, "source=many", "workers=1", "out=cut.csv"]
    process = subprocess.Popen(
        command, stdout=subprocess.PIPE, stderr=subprocess.PIPE, text=True, start_new_session=True
    )
    try:
        until = time.monotonic() + 100
        while not Path(".cut.csv.progress").exists():
            assert process.poll() is None and time.monotonic() < until
            time.sleep(0.01)
        os.killpg(process.pid, number)  # as a terminal does
        out, err = process.communicate(timeout=60)
    finally:
        process.kill()
    if number == signal.SIGINT:
        assert process.returncode == 130 and "goes on from there" in out and "Traceback" not in err, err
    done = subprocess.run(command, capture_output=True, text=True, timeout=100, check=False)
    assert done.returncode == 0 and "goes on where it was interrupted: " in done.stdout, done.stderr
    assert [row["file"] for row in read(tmp_path / "cut.csv")] == [f"{n}.png" for n in range(80)]
