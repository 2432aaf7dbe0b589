"""An exported video model: the same frames as of its run, with styles; a card; nothing of a stranger is run."""

from __future__ import annotations

import json
from pathlib import Path
from typing import Any

import numpy as np
import pytest
from PIL import Image

import vid2vid
from tests.helpers.made_run import make_run, make_styled_run, street_config
from tests.helpers.scripts import run_script
from trainer.cards import places
from trainer.errors import CheckpointError, UserError
from vid2vid.data import open_source
from vid2vid.export import folder as export


def labels(count: int = 3) -> np.ndarray:
    (sequence, *_) = open_source("street", street_config(), count)
    return np.stack([np.asarray(frame["labels"]) for frame in sequence][:count])


def exported(run: Path, out: Path, *words: str) -> Path:
    assert run_script("export", f"run={run}", f"out={out}", "format=folder", *words) == 0
    return out


def test_a_folder_makes_the_frames_of_its_run(tmp_path: Path) -> None:
    run = tmp_path / "run"
    make_run(run, street_config())
    (run / "samples").mkdir()
    Image.fromarray(np.zeros((8, 8, 3), np.uint8)).save(run / "samples" / "contact_sheet-00000007.png")
    (run / "eval.json").write_text(json.dumps({"l1": 0.125, "step": 7, "data_root": "/data/x", "split": "val"}))
    out, given = exported(run, tmp_path / "out", "licence=MIT"), labels()
    assert {path.name for path in out.iterdir()} == {"README.md", "config.json", "model.safetensors", "sample.png"}
    expected = vid2vid.load(run).generate(given).array()
    for path in (out, out / "model.safetensors"):
        model = vid2vid.load(path)
        assert np.array_equal(model.generate(given).array(), expected)
        assert model.run.averaged and model.run.step == 7 and model.run.samples_seen == 14
    assert np.array_equal(vid2vid.load(out, resolution=(16, 64)).size, (16, 64))
    assert vid2vid.load(out, overrides=["trainer.precision=bf16"]).run.config.trainer.precision.name == "bf16"
    card = (out / "README.md").read_text()
    for part in (
        "license: mit",
        "![What it made",
        'vid2vid.load("DIR")',
        "| l1 | 0.125 |",
        "data root | PATH",
        "7 road",
    ):
        assert part in card, part


def test_styles_go_along(tmp_path: Path) -> None:
    run = tmp_path / "styled"
    make_styled_run(run, 0.05)
    out, given = exported(run, tmp_path / "out"), labels()
    expected = vid2vid.load(run).generate(given, seed=3).array()
    assert np.array_equal(vid2vid.load(out).generate(given, seed=3).array(), expected)
    (run / "styles.json").unlink()
    assert "the run has no styles.json" in (exported(run, tmp_path / "other") / "README.md").read_text()


def test_no_place_and_no_name_of_its_maker(tmp_path: Path, monkeypatch: pytest.MonkeyPatch) -> None:
    monkeypatch.setattr(places.getpass, "getuser", lambda: "annabel")
    run, config = tmp_path / "annabel" / "run", street_config()
    config.data.root, config.name, config.data.flow_cache = "/home/annabel/x", "annabel", "/scratch/annabel"
    make_run(run, config)
    out = exported(run, tmp_path / "out")
    for path in out.iterdir():
        assert b"annabel" not in path.read_bytes() and str(tmp_path).encode() not in path.read_bytes(), path


def test_a_folder_that_makes_other_frames_does_not_stay(tmp_path: Path, monkeypatch: pytest.MonkeyPatch) -> None:
    run = tmp_path / "run"
    make_run(run, street_config())
    whole = export.save_weights
    monkeypatch.setattr(
        export, "save_weights", lambda path, tensors: whole(path, {k: v + 1 for k, v in tensors.items()})
    )
    assert run_script("export", f"run={run}", f"out={tmp_path / 'out'}", "format=folder") == 2
    assert sorted(path.name for path in tmp_path.iterdir()) == ["run"]


def test_what_is_refused(tmp_path: Path, capsys: pytest.CaptureFixture[str]) -> None:
    run = tmp_path / "run"
    make_run(run, street_config())
    for words, told in (
        ([f"out={run}", "format=folder"], "there is something already"),
        ([f"out={tmp_path / 'n'}", "format=folder", "batch=2"], "with format=folder leave them out"),
        ([f"out={tmp_path / 'n.onnx'}", "licence=MIT"], "is for the card of format=folder"),
    ):
        assert run_script("export", f"run={run}", *words) == 2
        assert told in capsys.readouterr().err


def test_a_folder_of_a_stranger_runs_nothing(tmp_path: Path) -> None:
    run = tmp_path / "run"
    make_run(run, street_config())
    out = exported(run, tmp_path / "out")
    file = out / "config.json"
    told = json.loads(file.read_text())
    hostile = {**told["vivid"]["config"], "name": "${oc.env:HOME}"}
    for text in ("[]", "{", '{"vivid": 3}', "[" * 5000, '{"vivid": {"task": "vit"}}', '{"vivid": {"task": "vid2vid"}}',
                 json.dumps({"vivid": {**told["vivid"], "config": hostile}}),
                 json.dumps({"vivid": {**told["vivid"], "data": [1]}})):  # fmt: skip
        file.write_text(text)
        with pytest.raises(UserError):
            vid2vid.load(out)
    file.write_text(json.dumps(told))
    (out / "model.safetensors").write_bytes(b"\x80\x02cos\nsystem\n(S'false'\ntR.")
    with pytest.raises(CheckpointError, match="not a readable safetensors file"):
        vid2vid.load(out)


@pytest.mark.parametrize("claim", [{"ngf": 100_000}, {"blocks": 10**7}, {"num_labels": 10**9, "label_ids": None}])
def test_what_settings_claim_is_held_against_the_weights_first(claim: dict[str, Any], tmp_path: Path) -> None:
    run = tmp_path / "run"
    make_run(run, street_config())
    out = exported(run, tmp_path / "out")
    told = json.loads((out / "config.json").read_text())
    told["vivid"]["config"]["model"] |= claim
    (out / "config.json").write_text(json.dumps(told))
    with pytest.raises(CheckpointError, match=f"{next(iter(claim))}=|other shape"):
        vid2vid.load(out)


def test_whoever_may_read_the_folder_may_read_its_files(tmp_path: Path) -> None:
    run = tmp_path / "run"
    make_run(run, street_config())
    out = exported(run, tmp_path / "out")
    modes = {path.name: path.stat().st_mode & 0o777 for path in out.iterdir()}
    assert set(modes.values()) == {modes["README.md"]}, modes
