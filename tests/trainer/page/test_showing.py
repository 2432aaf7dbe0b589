"""What the tab of runs shows, as HTML: diagrams, tables, media, commands; nothing of a run's names is markup."""

from __future__ import annotations

import re
import shlex
from pathlib import Path
from xml.etree import ElementTree

import pytest

pytest.importorskip("gradio", reason="the page needs gradio (extra demo)")

from trainer.errors import UserError
from trainer.page import media, tables
from trainer.page.contract import Page
from trainer.page.diagrams import Diagrams, diagram, draw
from trainer.page.following import Seen
from trainer.page.media import Copies, newest
from trainer.records.compare import RunRecord
from trainer.records.curves import Panel

EVIL = '<img src=x onerror="alert(1)">'


def run(name: str, values: list[float], **settings: object) -> RunRecord:
    records = [
        {"step": n, "samples_seen": 10 * n, "losses": {"main/class": value}} for n, value in enumerate(values, 1)
    ]
    records.append({"step": len(values), "samples_seen": 10 * len(values), "eval": {"top1": 0.5}})
    return RunRecord(Path("/", name), {"task": "line", **settings}, records, "done", {"top1": 0.5}, 12.0)


def parsed(text: str) -> ElementTree.Element:
    return ElementTree.fromstring(f"<div>{text}</div>")


def test_a_curve_stands_where_its_values_are() -> None:
    text = diagram(Panel("loss", {"a": [(0, 1.0), (50, 3.0), (100, 2.0)]}), 100)
    points = [tuple(map(float, pair.split(","))) for pair in re.findall(r'points="([^"]+)" stroke', text)[0].split()]
    across, up = zip(*points, strict=True)
    assert across[0] == 50 and across[2] == 332 and across[1] == pytest.approx(191, abs=0.1)
    assert up[1] < up[2] < up[0]  # y grows downward
    assert up[0] - up[2] == pytest.approx(up[2] - up[1], abs=0.15)
    assert 'aria-label="loss, over samples seen; now: a 2"' in text
    parsed(text)


def test_decades_are_logarithmic_and_constants_have_an_axis() -> None:
    text = diagram(Panel("loss", {"a": [(0, 0.001), (50, 0.1), (100, 10.0)]}, logarithmic=True), 100)
    up = [float(pair.split(",")[1]) for pair in re.findall(r'points="([^"]+)" stroke', text)[0].split()]
    assert up[0] - up[1] == pytest.approx(up[1] - up[2], abs=0.15)
    for value in (0.0, 5.0, 1e-7, 3e9):
        parsed(diagram(Panel("flat", {"a": [(10, value)]}), 10))


def test_one_run_and_several(tmp_path: Path) -> None:
    one = draw([run("first", [3.0, 2.0, 1.0])])
    assert one.count("<figure") == 2 and "losses: main" in one and "validation: top1" in one
    both = draw([run("a/first", [3.0, 2.0]), run("a/second", [2.0, 1.0])])
    assert both.count('class="grid"') == 2 and parsed(both).find("ul") is not None
    assert "first" in both and "second" in both
    assert draw([RunRecord(Path("/x"), {}, [], "step 0")]) == "<p>No records yet.</p>"


def test_diagrams_are_drawn_once_for_all(monkeypatch: pytest.MonkeyPatch) -> None:
    calls: list[int] = []
    monkeypatch.setattr("trainer.page.diagrams.draw", lambda runs: calls.append(1) or "x")
    diagrams = Diagrams()
    assert [diagrams.of([], key) for key in ("a", "a", "b", "a")] == ["x"] * 4 and len(calls) == 2


def test_names_are_no_markup() -> None:
    seen = Seen(EVIL, Path("/x"), EVIL, "failed", 3, note=EVIL)
    evil = run(EVIL.replace("/", ""), [1.0, 2.0], other=EVIL)
    shown = [
        tables.overview([seen]),
        tables.settings([evil, run("b", [1.0], other="2")], [], str),
        draw([evil, run("b", [1.0])]),
        diagram(Panel(EVIL, {EVIL: [(0, 1.0), (1, 2.0)]}), 1),
    ]
    assert all("<img" not in text and "&lt;img" in text for text in shown)


def test_overview_tells_how_far_and_how_long() -> None:
    runs = [
        Seen("a", Path("/a"), "line", "training", 1234, 0.25, 187.0, heard=1000.0, note="process 7 on here"),
        Seen("b", Path("/b"), "line", "done", 10, 1.0, None, heard=400.0),
        Seen("c", Path("/c"), "line", "failed", 0),
    ]
    rows = [[("".join(cell.itertext())) for cell in row] for row in parsed(tables.overview(runs, 1003.0)).iter("tr")]
    assert rows[1] == ["a", "trainingprocess 7 on here", "1,234", "25 %", "3:07", "3 s ago", "line"]
    assert rows[2][3:6] == ["100 %", "", "10 min ago"] and rows[3][3:6] == ["", "", "never"]
    assert "3 runs: 1 training, 1 done, 1 failed" in tables.overview(runs, 1003.0)
    assert "no runs in this folder" in tables.overview([])


def test_settings_that_differ() -> None:
    first, second = run("a", [1.0], rate=0.1, seed=0), run("b", [1.0], rate=0.2, seed=0)
    rows = [[cell.text for cell in row] for row in parsed(tables.settings([first, second], [], str)).iter("tr")]
    assert rows[:2] == [["setting", "a", "b"], ["rate", "0.1", "0.2"]] and ["top1", "0.5", "0.5"] in rows
    alone = parsed(tables.settings([first], [first, second], str))
    assert [[cell.text for cell in row] for row in alone.iter("tr")][1] == ["rate", "0.1"]


def test_commands_go_on_with_runs() -> None:
    here = {"pid": 77, "host": "here"}
    runs = [
        Seen("a b", Path("runs/a b"), "line", "failed", 3),
        Seen("c", Path("runs/c"), "line", "training", 3, owner=here),
        Seen("d", Path("runs/d"), "line", "training", 3, owner={"pid": 78, "host": "elsewhere"}),
    ]
    text = tables.commands(runs, {run.name: run.path.as_posix() for run in runs}, "here")
    assert "python train.py 'run=runs/a b'\n" in text and "kill -TERM 77" in text and "78" not in text
    assert text.splitlines()[-1] == "python scripts/compare.py 'runs/a b' runs/c runs/d"


@pytest.mark.parametrize("state", ["training", "done"])
def test_a_name_is_no_command(state: str) -> None:
    """A folder of anybody's may have line breaks in its name, and what is shown is pasted into a terminal."""
    evil = Seen("x\nrm -rf ~ #", Path("runs/x\nrm -rf ~ #"), "line", state, 3)
    first, rest = tables.commands([evil], {evil.name: evil.path.as_posix()}, "here").split("\n", 1)
    assert first.startswith(r"# x\nrm -rf ~ # is ")
    assert shlex.split(rest) == ["python", "train.py", f"run={evil.path}"]


@pytest.fixture
def page(tmp_path: Path) -> Page:
    samples = tmp_path / "runs" / "one" / "samples"
    samples.mkdir(parents=True)
    (samples.parent / "config.yaml").write_text("task: line\n")
    (tmp_path / "temporary").mkdir()
    for name in ("val-00000010.png", "val-00000200.png", "film-00000200.mp4", "notes.txt"):
        (samples / name).write_bytes(name.encode())
    (samples.parent / "curves.png").write_bytes(b"drawn")
    (samples.parent / "street.mp4").write_bytes(b"street")
    return Page(tmp_path / "runs", folder=tmp_path / "temporary")


def test_the_newest_of_each_name(page: Page) -> None:
    found = {(medium.name, medium.step, medium.video) for medium in newest(page.folder("one"))}
    assert found == {("val", 200, False), ("film", 200, True), ("street", None, True)}


def test_media_are_copies_in_the_temporary_folder(page: Page, tmp_path: Path, monkeypatch: pytest.MonkeyPatch) -> None:
    copies, name = Copies(page), Path("samples/val-00000200.png")
    copy = copies.of("one", name)
    assert (
        copy.is_relative_to(page.root) and copy.read_bytes() == b"val-00000200.png" and copies.of("one", name) == copy
    )
    (page.folder("one") / name).write_bytes(b"another")
    assert copies.of("one", name).read_bytes() == b"another"
    (tmp_path / "secret.png").write_bytes(b"secret")
    (page.folder("one") / "samples" / "leak-00000001.png").symlink_to(tmp_path / "secret.png")
    with pytest.raises(UserError, match="has no file"):
        copies.of("one", Path("samples/leak-00000001.png"))
    text = copies.show("one", page.folder("one"))
    assert "leak" not in text and "val, step 200" in text and text.count("<video") == 2
    monkeypatch.setattr(media, "LARGEST", 3)
    with pytest.raises(UserError, match="too large to be shown"):
        copies.of("one", name)
    monkeypatch.setattr(media, "LARGEST", 2**20)
    monkeypatch.setattr(media, "_KEPT", 1)
    copies.of("one", Path("street.mp4"))
    assert len([path for path in (page.root / "media").rglob("*") if path.is_file()]) == 1
