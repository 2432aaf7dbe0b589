"""What goes to others names no place of this machine, and not who worked on it."""

from __future__ import annotations

from pathlib import Path

import pytest

from trainer.cards import places
from trainer.cards.places import user_names, without_places


@pytest.fixture(autouse=True)
def anna(monkeypatch: pytest.MonkeyPatch) -> None:
    monkeypatch.setattr(places.getpass, "getuser", lambda: "anna")
    monkeypatch.setattr(places.Path, "home", lambda: Path("/home/anna"))


@pytest.mark.parametrize(
    ("text", "expected"),
    [
        ("data.root=/home/anna/cats", "data.root=PATH"),
        ("~/films/a.mp4", "PATH"),
        ("~bob/films", "PATH"),
        ("../films", "PATH"),
        ("../../x/y", "PATH"),
        ("s3://bucket/cats", "PATH"),
        ("https://user:secret@host/x", "PATH"),
        ("C:\\Users\\anna\\cats", "PATH"),
        ("C:/Users/Bob Müller/cats", "PATH"),
        ("\\\\server\\Bob Müller", "PATH"),
        ("/media/Bob Müller/Bilder, alle (2)/x", "PATH"),
        ("data.root=/media/Bob Müller/Bob's films", "data.root=PATH"),
        ("data.root='/media/Bob Müller/Bilder'", "data.root=PATH"),
        ("data.sources=[image:/media/Bob Müller/x,edges]", "data.sources=[image:PATH,edges]"),
        ("{'a': '/media/Bob Müller/x', 'b': 3}", "{'a': 'PATH', 'b': 3}"),
        ("s3://bucket/Bob Müller/x", "PATH"),
        ("model.weights=[/a/b.pth,/c.pth]", "model.weights=[PATH,PATH]"),
        ("weights of /work/my runs/x/checkpoints/step-1, step 1", "weights of PATH, step 1"),
        ("data/cats", "data/cats"),  # below the working folder: no place of this machine
        ("data/anna/cats", "data/USER/cats"),
        ("runs of Anna_2", "runs of USER_2"),
        ("savannah, annals", "savannah, annals"),
        ("vit_ti/16 and 3/4 and a/b", "vit_ti/16 and 3/4 and a/b"),
        ("https://arxiv.org/abs/1808.06601", "https://arxiv.org/abs/1808.06601"),
        ("~curriculum.stages.all", "~curriculum.stages.all"),
    ],
)
def test_places(text: str, expected: str) -> None:
    assert without_places(text) == expected


def test_data_are_walked_through_and_keys_stay() -> None:
    found = without_places({"data.root": {"anna": ["/a/b", 3, None, Path("/x/y")]}, "t": ("anna",)})
    assert found == {"data.root": {"anna": ["PATH", 3, None, "PATH"]}, "t": ["USER"]}


def test_users_that_are_nobody(monkeypatch: pytest.MonkeyPatch) -> None:
    assert user_names() == {"anna"}
    monkeypatch.setattr(places.getpass, "getuser", lambda: "root")
    monkeypatch.setattr(places.Path, "home", lambda: Path("/root"))
    assert user_names() == set() and without_places("data.root") == "data.root"


def test_a_user_without_a_name(monkeypatch: pytest.MonkeyPatch) -> None:
    def nobody() -> str:
        raise KeyError("uid not found")

    monkeypatch.setattr(places.getpass, "getuser", nobody)
    assert user_names() == {"anna"}


@pytest.mark.parametrize("name", ["street", "shapes", "single"])
def test_a_user_called_as_a_setting_stops_no_export(name: str, monkeypatch: pytest.MonkeyPatch) -> None:
    monkeypatch.setattr(places.getpass, "getuser", lambda: name)
    settings = {"source": name, "root": f"/home/{name}/films"}
    assert without_places(settings) == {"source": name, "root": "PATH"} and user_names() == {"anna"}
