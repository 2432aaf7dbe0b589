"""Commands: a run's configuration given back to every script, and how a command ends when something is wrong."""

from __future__ import annotations

import sys
from dataclasses import dataclass
from pathlib import Path
from typing import Any

import pytest
import torch
from omegaconf import OmegaConf

from tests.helpers.composed import write_run
from train import SCHEMAS, TASKS
from trainer import cli
from trainer.cli import compose, guarded, load_run, main, parse_command
from trainer.config.fields import RunConfig
from trainer.config.resolve import config_diff
from trainer.errors import ConfigError, DataError, UserError
from vid2vid.config import Vid2VidConfig


def test_load_run_gives_back_what_was_run(tmp_path: Path) -> None:
    words = ["model=vid2vid_tiny", "model.ngf=6", "trainer.precision=fp32"]
    run_dir = write_run(tmp_path, words)
    config = load_run(run_dir, SCHEMAS)
    assert config_diff(config, compose(words, SCHEMAS)) == [] and isinstance(config, Vid2VidConfig)


def test_load_run_with_other_data(tmp_path: Path) -> None:
    run_dir = write_run(tmp_path, ["model=vid2vid_tiny", "data.clips=3"])
    config = load_run(run_dir, SCHEMAS, ["data=folders", "data.root=/x", "trainer.device=cpu"])
    assert (config.data.kind.name, config.data.root, config.data.flow.name, config.data.clips) == (
        "folders",
        "/x",
        "dis",
        64,
    )
    assert config.trainer.device.name == "cpu" and config.model.ngf == 4
    assert load_run(run_dir, SCHEMAS, ["data=video"]).model.source.name == "image"
    with pytest.raises(ConfigError, match=r"did you mean 'data\.root'"):
        load_run(run_dir, SCHEMAS, ["data.rot=/x"])
    with pytest.raises(ConfigError, match="did you mean 'folders'"):
        load_run(run_dir, SCHEMAS, ["data=folder"])
    with pytest.raises(ConfigError, match="a run keeps its model"):
        load_run(run_dir, SCHEMAS, ["model=pix2pixhd"])


def test_load_run_says_what_is_missing(tmp_path: Path) -> None:
    run_dir = write_run(tmp_path, ["model=vid2vid_tiny"])
    with pytest.raises(UserError, match=r"no config.yaml there, so it is no run; did you mean '.*first'"):
        load_run(run_dir.parent / "frist", SCHEMAS)
    (run_dir / "config.yaml").write_text("task: vid2vid\nmodel: {ngff: 3}\n", encoding="utf-8")
    with pytest.raises(ConfigError, match=r"config.yaml: unknown key 'model.ngff'; did you mean 'model.ngf'"):
        load_run(run_dir, SCHEMAS)
    (run_dir / "config.yaml").write_text("a: [1,\n", encoding="utf-8")
    with pytest.raises(UserError, match="cannot be read as YAML"):
        load_run(run_dir, SCHEMAS)


@pytest.mark.parametrize("verb", ["evaluate", "generate"])
@pytest.mark.parametrize(
    ("stored", "said"),
    [
        (None, "runs/frist: no config.yaml there, so it is no run; did you mean .runs/first."),
        ("task: [vit]\n", r"runs/frist/config.yaml: task=\['vit'\] is not one of: vid2vid"),
        ("task: speech\n", "runs/frist/config.yaml: task=speech is not one of: vid2vid.*; give a run of such a task"),
    ],
)
def test_a_run_that_cannot_be_read_is_said_before_anything_of_it(
    verb: str, stored: str | None, said: str, tmp_path: Path, monkeypatch: pytest.MonkeyPatch
) -> None:
    """Whose arguments the others are, its configuration would tell."""
    monkeypatch.chdir(tmp_path)
    write_run(tmp_path, ["model=vid2vid_tiny"])
    if stored is not None:
        Path("runs/frist").mkdir()
        Path("runs/frist/config.yaml").write_text(stored)
    words = ["clips=3"] if verb == "evaluate" else ["source=street", "out=x.mp4"]
    monkeypatch.setattr(sys, "argv", [f"scripts/{verb}.py", "run=runs/frist", *words])
    with pytest.raises(UserError, match=said):
        command, arguments = parse_command(TASKS, verb, "")
        command.run(arguments, SCHEMAS, print)


def test_a_stored_configuration_is_data(tmp_path: Path) -> None:
    """Neither Python tags nor _target_ in a run's file are acted on."""
    run_dir = write_run(tmp_path, ["model=vid2vid_tiny"])
    (run_dir / "config.yaml").write_text("task: !!python/object/apply:os.system ['true']\n", encoding="utf-8")
    with pytest.raises(UserError, match="cannot be read as YAML"):
        load_run(run_dir, SCHEMAS)
    (run_dir / "config.yaml").write_text("task: vid2vid\nmodel: {_target_: os.system}\n", encoding="utf-8")
    with pytest.raises(ConfigError, match=r"unknown key 'model\._target_'"):
        load_run(run_dir, SCHEMAS)


@pytest.mark.parametrize(
    "error", [PermissionError(13, "Permission denied", "runs/x"), OSError(30, "Read-only", "runs/x")]
)
def test_a_folder_that_cannot_be_written(error: OSError, capsys: pytest.CaptureFixture[str]) -> None:
    with pytest.raises(SystemExit, match="2"):
        guarded(lambda: (_ for _ in ()).throw(error))()
    assert capsys.readouterr().err.startswith(f"error: runs/x: {error.strerror}. A run is written below the folder ")


@pytest.mark.parametrize(
    "error",
    [
        MemoryError(),
        torch.OutOfMemoryError("CUDA out of memory. Tried to allocate 2.00 GiB\nmore"),
        RuntimeError("CUDA error: out of memory\nSearch for `cudaErrorMemoryAllocation' in https://docs.nvidia.com"),
    ],
)
def test_a_card_that_others_have_filled(error: Exception, capsys: Any, monkeypatch: pytest.MonkeyPatch) -> None:
    monkeypatch.setattr(torch.cuda, "is_available", lambda: True)
    monkeypatch.setattr(torch.cuda, "mem_get_info", lambda: (2**29, 80 * 2**30))
    monkeypatch.setattr(torch.cuda, "memory_reserved", lambda: 2**30)
    with pytest.raises(SystemExit, match="2"):
        guarded(lambda: (_ for _ in ()).throw(error))()
    told = capsys.readouterr().err
    first = str(error).splitlines()[0] if str(error) else "MemoryError"
    assert told.startswith(f"error: memory ran out ({first}).") and told.count("\n") == 1
    assert "Of the card's 80.0 GiB 0.5 are free and 78.5 are other programs' (nvidia-smi names them)" in told
    monkeypatch.setattr(torch.cuda, "mem_get_info", lambda: (_ for _ in ()).throw(RuntimeError("CUDA error")))
    with pytest.raises(SystemExit, match="2"):  # a card so full that even asking it fails
        guarded(lambda: (_ for _ in ()).throw(error))()
    assert "Otherwise lower the batch" in capsys.readouterr().err


def test_other_errors_keep_their_traceback() -> None:
    with pytest.raises(RuntimeError, match="shapes do not match"):
        guarded(lambda: (_ for _ in ()).throw(RuntimeError("shapes do not match")))()


def test_without_streams(monkeypatch: pytest.MonkeyPatch) -> None:
    """As a daemon is started, or by ``>&-``: Python then has None in their place."""
    monkeypatch.setattr(sys, "stdout", None)
    monkeypatch.setattr(sys, "stderr", None)

    def command() -> None:
        print("nobody reads it", file=sys.stdout)
        raise UserError("nor this")

    with pytest.raises(SystemExit, match="2"):
        guarded(command)()
    sys.stdout.close()
    sys.stderr.close()


def test_a_file_where_the_run_would_be(
    tmp_path: Path, monkeypatch: pytest.MonkeyPatch, capsys: pytest.CaptureFixture[str]
) -> None:
    monkeypatch.chdir(tmp_path)
    Path("runs").mkdir()
    Path("runs/taken").write_text("")
    monkeypatch.setattr(sys, "argv", ["train.py", "model=vit_mu", "name=taken"])
    with pytest.raises(SystemExit, match="2"):
        guarded(lambda: main(TASKS))()
    assert capsys.readouterr().err.startswith("error: runs/taken: File exists. ")


def test_guarded(capsys: pytest.CaptureFixture[str]) -> None:
    def code_of(error: BaseException) -> tuple[int, str]:
        def fail() -> None:
            raise error

        with pytest.raises(SystemExit) as stop:
            guarded(fail)()
        assert isinstance(stop.value.code, int)
        return stop.value.code, capsys.readouterr().err

    assert code_of(UserError("x.png: broken")) == (2, "error: x.png: broken\n")
    assert code_of(KeyboardInterrupt())[0] == 130
    code, text = code_of(OSError(28, "No space left on device", "runs/a/x"))
    assert code == 2 and "no space left" in text and "runs/a/x" in text
    worker = DataError(
        "Caught DataError in DataLoader worker process 0.\nOriginal Traceback (most recent call last):\n"
        '  File "x.py", line 1, in f\n    raise DataError("a")\ntrainer.errors.DataError: a.png: broken\n  more\n'
    )
    assert code_of(worker) == (2, "error: a.png: broken\n  more\n")
    assert code_of(ConfigError("x"))[0] == 2
    with pytest.raises(ZeroDivisionError):
        guarded(lambda: 1 / 0)()
    with pytest.raises(PermissionError):
        guarded(lambda: (_ for _ in ()).throw(PermissionError(13, "no")))()


def test_a_schema_is_stored_once_and_another_of_its_name_takes_its_place(monkeypatch: pytest.MonkeyPatch) -> None:
    from hydra.core.config_store import ConfigStore

    store, stored = ConfigStore.instance(), []
    keep = store.store
    monkeypatch.setattr(store, "store", lambda **words: (stored.append(words["node"]), keep(**words)))

    @dataclass
    class One(RunConfig):
        task: str = "only_here"

    @dataclass
    class Other(RunConfig):
        task: str = "only_here"

    for schema in (One, One, Other, One):
        cli.register({"only_here": schema})
        assert OmegaConf.get_type(store.repo["schema"]["only_here.yaml"].node) is schema
    assert stored == [One, Other, One]
    del store.repo["schema"]["only_here.yaml"]
