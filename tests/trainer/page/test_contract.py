"""What tabs get: runs of a list only, uploads where uploads are, a visitor's folder, errors without paths."""

from __future__ import annotations

import os
from collections.abc import Iterator
from pathlib import Path
from types import SimpleNamespace
from typing import Any

import pytest

gr = pytest.importorskip("gradio", reason="the page needs gradio (extra demo)")

from trainer.errors import ConfigError, UserError  # noqa: E402
from trainer.page.contract import Limits, Page  # noqa: E402


def make(folder: Path, name: str, task: str = "line", step: int | None = 3, when: int = 1_000) -> Path:
    run = folder / name
    run.mkdir(parents=True)
    (run / "config.yaml").write_text(f"task: {task}\nname: {name}\n")
    if step is not None:
        checkpoint = run / "checkpoints" / f"step-{step:08d}"
        checkpoint.mkdir(parents=True)
        (checkpoint / "meta.json").write_text("{}")
        os.utime(run / "checkpoints", (when, when))
    return run


@pytest.fixture
def page(tmp_path: Path) -> Page:
    (tmp_path / "temporary").mkdir()
    make(tmp_path / "runs", "old", when=1_000)
    make(tmp_path / "runs", "new", when=2_000)
    make(tmp_path / "runs", "other", task="curve", when=3_000)
    make(tmp_path / "runs", "begun", step=None)
    given = make(tmp_path / "elsewhere", "old", when=4_000)
    return Page(tmp_path / "runs", [given], folder=tmp_path / "temporary", limits=Limits(upload_mb=0.001))


def test_names_are_of_runs_with_a_checkpoint_newest_first(page: Page) -> None:
    assert page.names("line") == ["old (2)", "new", "old"]
    assert page.names() == ["old (2)", "other", "new", "old"]
    assert page.folder("old (2)").parent.name == "elsewhere"
    assert set(page.all_runs()) == {"old", "new", "other", "begun", "old (2)"}


def test_a_given_run_of_the_folder_is_listed_once(tmp_path: Path) -> None:
    run = make(tmp_path / "runs", "one")
    assert list(Page(tmp_path / "runs", [run], folder=tmp_path).all_runs()) == ["one"]


@pytest.mark.parametrize("name", ["..", "../elsewhere/old", "/etc", "", "old/..", "old/", "nothing", None, ["old"]])
def test_a_run_is_one_of_the_list(page: Page, name: Any) -> None:
    with pytest.raises(UserError, match=r"no run .* on this page"):
        page.folder(name)


def test_a_link_out_of_the_folder_is_no_run(page: Page, tmp_path: Path) -> None:
    make(tmp_path / "secret", "run")
    (page.runs / "linked").symlink_to(tmp_path / "secret" / "run")
    assert "linked" not in page.all_runs() and "linked" not in page.names()


def test_a_link_out_of_a_run_is_no_file_of_it(page: Page, tmp_path: Path) -> None:
    run = page.runs / "old"
    (run / "real.png").write_bytes(b"1")
    (tmp_path / "secret.png").write_bytes(b"2")
    (run / "link.png").symlink_to(tmp_path / "secret.png")
    assert page.within("old", "real.png").read_bytes() == b"1"
    for file in ("link.png", "../new/config.yaml", "/etc/passwd", "nothing.png", "checkpoints"):
        with pytest.raises(UserError, match="has no file"):
            page.within("old", file)


def test_an_upload_lies_where_uploads_are(page: Page, tmp_path: Path) -> None:
    good, large, outside = page.root / "a.png", page.root / "b.png", tmp_path / "c.png"
    good.write_bytes(b"x" * 1000)
    large.write_bytes(b"x" * 2000)
    outside.write_bytes(b"x")
    (page.root / "link.png").symlink_to(outside)
    assert page.upload(str(good)) == good
    with pytest.raises(UserError, match=r"app.max_upload_mb="):
        page.upload(large)
    for path in (outside, page.root / "link.png", page.root / ".." / "c.png", page.root):
        with pytest.raises(UserError, match="was not uploaded here"):
            page.upload(path)


def test_visitors_have_folders_of_their_own_until_they_leave(page: Page) -> None:
    one, two = (gr.Request(session_hash=name) for name in ("../../one", "two"))
    folders = [page.temporary(one), page.temporary(two)]
    assert page.temporary(one) == folders[0] != folders[1]
    assert all(folder.is_relative_to(page.root) and folder.is_dir() for folder in folders)
    (folders[0] / "made").write_text("x")
    page.leave(one)
    assert not folders[0].exists() and folders[1].exists()
    page.close()
    assert not page.root.exists()


def test_errors_show_no_path_of_the_machine(page: Page, tmp_path: Path) -> None:
    shown = str(page.worded(UserError(f"{page.runs}/old/config.yaml: <b>bad</b>, see {tmp_path}/deep/er.png; 3 img/s")))
    assert "runs/old/config.yaml: &lt;b&gt;bad&lt;/b&gt;, see er.png; 3 img/s" in shown
    assert str(tmp_path) not in shown
    assert "model.x=1: too small" in str(page.worded(ConfigError("model.x=1: too small")))
    other = str(page.worded(ValueError(f"secret of {tmp_path}")))
    assert "ValueError" in other and "secret" not in other


def test_guarded_functions_and_generators_raise_what_visitors_see(page: Page) -> None:
    def once(request: gr.Request) -> None:
        raise UserError("give another")

    def stream(count: int) -> Any:
        yield count
        raise UserError("give another")

    request: Any = SimpleNamespace(session_hash="x")
    with pytest.raises(gr.Error, match="give another"):
        page.guarded(once)(request)
    steps = page.guarded(stream)(3)
    assert next(steps) == 3
    with pytest.raises(gr.Error, match="give another"):
        next(steps)
    assert page.guarded(lambda: 5)() == 5


def test_paths_of_every_shape_are_hidden(page: Page) -> None:
    cases = (
        ("file:///home/u/x.png is torn", "x.png is torn"),
        ("poses:/home/u/data", "poses:data"),
        ("see https://arxiv.org/abs/1808.06601", "see https://arxiv.org/abs/1808.06601"),
        ("runs/a/config.yaml, 3/4", "runs/a/config.yaml, 3/4"),
    )
    assert [page.hidden(text) for text, _ in cases] == [shown for _, shown in cases]


def test_work_step_by_step_ends_with_the_page(tmp_path: Path):
    page, left = Page(tmp_path, folder=tmp_path / "page"), []

    def count() -> Iterator[int]:
        try:
            yield from range(1000)
        finally:
            left.append("closed")

    steps = page.guarded(count)()
    assert [next(steps), next(steps)] == [0, 1] and not left
    page.end()
    assert list(steps) == [] and left == ["closed"]
