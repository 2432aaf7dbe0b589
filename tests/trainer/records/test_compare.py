"""Runs beside each other: the table's figures, the curves, folders of several runs by every command."""

from __future__ import annotations

import csv
import json
from pathlib import Path
from typing import Any

import pytest
import yaml
from PIL import Image

from tests.helpers.scripts import run_script
from trainer.checkpoint.directory import Checkpoints
from trainer.checkpoint.resuming import choose
from trainer.checkpoint.run_folders import runs_below, several_runs
from trainer.checkpoint.trained import load_weights
from trainer.cli import load_run
from trainer.errors import CheckpointError, UserError
from trainer.records.compare import as_text, differing, end_of_sweep, find_runs, panels, table, write
from trainer.records.curves import strokes, write_curves
from vit.config import VitConfig
from vit.weights.reading import read


def make(folder: Path, lr: float, seed: int, done: bool = True, **more: Any) -> Path:
    """A run of 40 steps that was evaluated twice; its speed is 10, 20, 30 and 40 samples/s."""
    folder.mkdir(parents=True)
    config = {"task": "toy", "name": folder.name, "seed": seed, "optim": {"main": {"lr": lr}}, "size": [2, 3], **more}
    (folder / "config.yaml").write_text(yaml.safe_dump(config, sort_keys=False))
    records: list[dict[str, Any]] = []
    for step in (10, 20, 30, 40):
        records.append({"step": step, "samples_seen": 2 * step, "losses": {"main/class": lr * step, "top1": 0.5},
                        "lr": {"main": lr}, "samples_per_s": float(step)})  # fmt: skip
        if step % 20 == 0:
            records.append({"step": step, "samples_seen": 2 * step, "eval": {"top1": lr + step / 100, "bad": None}})
    lines = [json.dumps(record) for record in records]
    (folder / "metrics.jsonl").write_text("\n".join([*lines, '{"cut off']))
    if done:
        (folder / "done.json").write_text("{}")
    return folder


def sweep(root: Path) -> Path:
    for seed in (10, 2):
        for lr in (0.1, 0.01):
            make(root / f"lr={lr},seed={seed}", lr, seed, done=(lr, seed) != (0.1, 2))
    return root


def test_the_table_has_what_differs_and_what_came_out(tmp_path: Path) -> None:
    runs = find_runs([sweep(tmp_path / "s")])
    assert differing(runs) == ["seed", "optim.main.lr"]
    assert table(runs) == [
        ["run", "seed", "optim.main.lr", "ended", "top1", "samples/s"],
        ["lr=0.01,seed=2", "2", "0.01", "done", "0.41", "35"],
        ["lr=0.01,seed=10", "10", "0.01", "done", "0.41", "35"],
        ["lr=0.1,seed=2", "2", "0.1", "step 40", "0.5", "35"],
        ["lr=0.1,seed=10", "10", "0.1", "done", "0.5", "35"],
    ]


def test_a_run_of_two_names_is_one(tmp_path: Path, monkeypatch: pytest.MonkeyPatch) -> None:
    """Seen from here, from the root, through a link; and the picture of runs that are named both ways."""
    sweep(tmp_path / "s")
    (tmp_path / "link").symlink_to(tmp_path / "s", target_is_directory=True)
    monkeypatch.chdir(tmp_path)
    runs = find_runs(["s", tmp_path / "s", "link", "s/../s/lr=0.1,seed=2"])
    assert len(runs) == 4 and len({row[0] for row in table(runs)}) == 5
    make(tmp_path / "other", 1.0, 1)
    mixed = find_runs(["s/lr=0.1,seed=2", tmp_path / "other"])
    assert [path.name for path in write(mixed, tmp_path / "out")] == ["compare.csv", "compare.png"]
    with pytest.raises(UserError, match=r"one run \(other\) has nothing"):
        find_runs(["other", tmp_path / "other"])


DAMAGE = {
    "bytes that are no text": b"\xff\xfe\x00 garbage\n",
    "what a full disk leaves": b"\0" * 100 + b"\n",
    "no objects": b'[1, 2]\n5\nnull\n"text"\n',
    "no numbers": b'{"step": "x", "samples_seen": null, "losses": 3, "lr": [1], "eval": {"top1": "high"}}\n',
    "other types": b'{"step": 4.5, "samples_seen": "many", "eval": [], "samples_per_s": "fast", "stage": 3}\n',
}


@pytest.mark.parametrize("damage", list(DAMAGE))
def test_what_is_damaged_in_a_record_is_passed_over(tmp_path: Path, damage: str) -> None:
    whole, hurt = make(tmp_path / "a", 0.1, 0), make(tmp_path / "b", 0.1, 1)
    lines = (hurt / "metrics.jsonl").read_bytes().splitlines(keepends=True)
    (hurt / "metrics.jsonl").write_bytes(lines[0] + DAMAGE[damage] + b"".join(lines[1:]))
    runs = find_runs([whole, hurt])
    assert [row[2:] for row in table(runs)[1:]] == [["done", "0.5", "35"]] * 2
    for panel in panels(runs):
        assert panel.curves["a"] == panel.curves["b"]
    assert [path.name for path in write(runs, tmp_path)] == ["compare.csv", "compare.png"]
    assert write_curves(hurt) == hurt / "curves.png"


def test_a_run_of_a_folder_that_cannot_be_read_is_left_out(tmp_path: Path, monkeypatch, capsys) -> None:
    root = sweep(tmp_path / "s")
    torn = root / "lr=0.1,seed=2" / "config.yaml"
    torn.write_text("task: [vit\n  a: {")
    said: list[str] = []
    assert [run.path.name for run in find_runs([root], said.append)] == [
        "lr=0.01,seed=2", "lr=0.01,seed=10", "lr=0.1,seed=10",
    ]  # fmt: skip
    assert len(said) == 1 and said[0].startswith(f"left out: {torn}: cannot be read as YAML")
    monkeypatch.chdir(tmp_path)
    assert run_script("compare", "s") == 0
    assert "left out: s/lr=0.1,seed=2/config.yaml" in capsys.readouterr().out
    assert run_script("compare", "s", str(torn.parent)) == 2  # named, so meant
    assert "lr=0.1,seed=2/config.yaml: cannot be read as YAML" in capsys.readouterr().err


def test_a_sweep_of_which_one_run_can_be_read_ends_all_the_same(tmp_path: Path) -> None:
    for seed in (0, 1):
        make(tmp_path / "s" / f"seed={seed}", 0.1, seed)
    (tmp_path / "s" / "seed=1" / "config.yaml").write_text("- 1\n")
    written: list[str] = []
    end_of_sweep(tmp_path / "s", True, written.append)
    said = "".join(written)
    assert "left out: " in said and "not compared: one run" in said and not (tmp_path / "s" / "compare.csv").exists()


def test_runs_of_other_tasks_share_what_they_share(tmp_path: Path) -> None:
    one = make(tmp_path / "a" / "run", 0.1, 0, only_here=1)
    other = make(tmp_path / "b" / "run", 0.1, 1, other=[1, 2])
    assert differing(find_runs([one, other, one])) == ["seed", "only_here", "other"]
    (other / "config.yaml").write_text((other / "config.yaml").read_text().replace("toy", "ball"))
    runs = find_runs([one, other])
    assert differing(runs) == ["task", "seed"]
    assert [row[0] for row in table(runs)] == ["run", "a/run", "b/run"]


def test_a_wide_table_lies_on_its_side() -> None:
    rows = [["run", *(f"metric {n}" for n in range(9))], ["a", *"123456789"], ["b", *"abcdefghi"]]
    wide = as_text(rows, 200).splitlines()
    assert len(wide) == 3 and wide[1].split() == ["a", *"123456789"]
    tall = as_text(rows, 60).splitlines()
    assert len(tall) == 10 and tall[0].split() == ["run", "a", "b"] and tall[9].split() == ["metric", "8", "9", "i"]
    assert max(map(len, as_text([["run", "x"], ["a", "y" * 500]]).splitlines())) < 60


def test_every_measure_has_a_diagram_and_every_run_a_curve(tmp_path: Path) -> None:
    runs = find_runs([sweep(tmp_path / "s")])
    found = panels(runs)
    titles = ["validation: top1", "losses: main: class", "while training: top1", "learning rate: main"]
    assert [panel.title for panel in found] == titles
    assert list(found[0].curves) == [row[0] for row in table(runs)[1:]]
    assert found[0].curves["lr=0.1,seed=2"] == [(40, 0.1 + 0.2), (80, 0.1 + 0.4)]
    paths = write(runs, tmp_path / "out")
    assert [path.name for path in paths] == ["compare.csv", "compare.png"]
    with Image.open(paths[1]) as picture:
        assert picture.width > 1400 and picture.height > 600
        colours = {colour for _, colour in picture.convert("RGB").getcolors(1 << 20) or []}
    assert {(31, 119, 180), (255, 127, 14), (44, 160, 44), (214, 39, 40)} <= colours
    assert list(csv.reader(paths[0].read_text().splitlines())) == table(runs)
    assert [path.name for path in write(runs, tmp_path / "none", picture=False)] == ["compare.csv"]


def test_cells_that_differ_look_different() -> None:
    long = "/data/runs/" + "x" * 60
    rows = [
        ["run", "weights", "note"],
        ["a" * 80 + "1", f"{long}/one", "n" * 80],
        ["a" * 80 + "2", f"{long}/two", "m" * 80],
    ]
    text = as_text(rows, 400).splitlines()
    assert text[1].split()[0] != text[2].split()[0] and "/one" in text[1] and "/two" in text[2]
    near = [["run", "x"], ["a", "p" * 40 + "1" + "q" * 40], ["b", "p" * 40 + "2" + "q" * 40]]
    assert "p1q" in as_text(near, 400) and "p2q" in as_text(near, 400)  # the difference lies in the middle


def test_runs_of_other_lengths_end_in_diagrams_of_their_own(tmp_path: Path) -> None:
    runs = [make(tmp_path / name, 0.1, seed) for seed, name in enumerate("abc")]
    other = (runs[2] / "metrics.jsonl").read_text().replace("main/class", "g/gan").replace("top1", "psnr")
    (runs[2] / "metrics.jsonl").write_text(other.replace('"samples_seen": ', '"samples_seen": 1000'))
    found = panels(find_runs(runs))
    alone = ["validation: psnr", "losses: g: gan", "while training: psnr"]
    assert [panel.title for panel in found][-3:] == alone  # nothing is compared there
    ends = {panel.title: panel.end for panel in found}
    assert ends["validation: top1"] == ends["losses: main: class"] == 80
    assert ends["validation: psnr"] == ends["learning rate: main"] == 100080


def test_a_dozen_runs_can_be_told_apart() -> None:
    looks = strokes(24)
    assert len({(look["color"], look["linestyle"]) for look in looks}) == 24
    assert len({look["color"] for look in looks}) == 10 and {look["linestyle"] for look in looks[:10]} == {"-"}
    assert len({look["color"] for look in strokes(60)}) == 60


def test_many_runs_have_shades(tmp_path: Path) -> None:
    for seed in range(30):
        make(tmp_path / "s" / f"seed={seed}", 0.1, seed)
    (picture,) = [path for path in write(find_runs([tmp_path / "s"]), tmp_path) if path.suffix == ".png"]
    with Image.open(picture) as drawn:
        assert drawn.height < 2000


def test_the_script(tmp_path: Path, monkeypatch: pytest.MonkeyPatch, capsys: pytest.CaptureFixture[str]) -> None:
    sweep(tmp_path / "runs" / "s")
    make(tmp_path / "runs" / "a", 0.1, 0)
    monkeypatch.chdir(tmp_path)
    assert run_script("compare", "runs/s") == 0
    shown = capsys.readouterr().out
    assert "lr=0.01,seed=10" in shown and "written: runs/s/compare.csv, runs/s/compare.png" in shown
    assert run_script("compare", "runs/s/lr=0.1,seed=2", "run=runs/a", "out=here") == 0
    shown = capsys.readouterr().out
    assert "s/lr=0.1,seed=2" in shown and (tmp_path / "here" / "compare.png").is_file()
    for words, message in [
        (["runs/b", "runs/a"], "runs/b is neither a run nor a folder of runs; did you mean 'runs/a'?"),
        (["runs/a"], "one run (runs/a) has nothing to be compared with"),
        (["runs/a", "runs/s", "--curves"], "--curves: give runs"),
    ]:
        assert run_script("compare", *words) == 2
        assert message in capsys.readouterr().err


# A folder of several runs where one run is wanted


def test_runs_of_a_folder_in_natural_order(tmp_path: Path) -> None:
    root = sweep(tmp_path / "s")
    expected = ["lr=0.01,seed=2", "lr=0.01,seed=10", "lr=0.1,seed=2", "lr=0.1,seed=10"]
    assert [path.name for path in runs_below(root)] == expected
    assert runs_below(root / expected[0]) == [] == runs_below(tmp_path / "nothing") == runs_below(root / "config.yaml")
    assert [path.name for path in runs_below(tmp_path)] == expected  # a level deeper
    assert several_runs(root / expected[0]) is None


def test_runs_below_zero_and_of_versions_are_in_order(tmp_path: Path) -> None:
    """As files of frames are (trainer/data/natural_order.py): -10 is below -2, and v1.10 comes after v1.9."""
    expected = ["bias=-10", "bias=-2", "bias=3", "lr=1e-05", "lr=0.0003", "v1.9", "v1.10"]
    for name in reversed(expected):
        (tmp_path / name).mkdir()
        (tmp_path / name / "config.yaml").touch()
    assert [path.name for path in runs_below(tmp_path)] == expected


def test_whatever_wants_a_run_names_those_of_a_folder(tmp_path: Path) -> None:
    root = sweep(tmp_path / "s")
    asked = [
        (UserError, lambda: load_run(root, {"vit": VitConfig})),
        (CheckpointError, lambda: load_weights(root)),
        (CheckpointError, lambda: choose(Checkpoints(tmp_path / "new"), str(root))),
        (CheckpointError, lambda: read(root)),
    ]
    for kind, ask in asked:
        with pytest.raises(kind, match="is no run but a folder of 4 runs; give one of them:") as caught:
            ask()
        assert f"\n  {root / 'lr=0.1,seed=10'}" in str(caught.value) and "did you mean" not in str(caught.value)
