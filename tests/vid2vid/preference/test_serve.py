"""The little server: hands out page and videos, in parts too, and keeps votes."""

from __future__ import annotations

import json
import threading
import urllib.error
import urllib.request
from collections.abc import Iterator
from pathlib import Path

import pytest

from trainer.errors import ConfigError, DataError
from vid2vid.preference.serve import SheetServer
from vid2vid.preference.sheet import Key, votes_path, write_sheet


@pytest.fixture
def served(tmp_path: Path) -> Iterator[tuple[SheetServer, Key, Path]]:
    videos = {}
    for side in ("a", "b"):
        file = tmp_path / f"{side}.mp4"
        file.write_bytes(bytes(range(100)))
        videos[side] = {"x": file}
    out = tmp_path / "sheet"
    key = write_sheet(out, videos, {"a": "1", "b": "2"}, seed=0, question="?")
    with SheetServer(out, key, 0) as server:
        thread = threading.Thread(target=server.serve_forever, kwargs={"poll_interval": 0.01}, daemon=True)
        thread.start()
        yield server, key, out
        server.shutdown()
        thread.join()


def ask(url: str, data: object = None, **headers: str) -> tuple[int, bytes]:
    body = None if data is None else json.dumps(data).encode()
    try:
        with urllib.request.urlopen(urllib.request.Request(url, body, headers), timeout=10) as answer:
            return answer.status, answer.read()
    except urllib.error.HTTPError as error:
        with error:
            return error.code, b""


def test_it_serves_and_keeps(served: tuple[SheetServer, Key, Path]) -> None:
    server, key, out = served
    assert ask(server.address + "index.html")[1] == (out / "index.html").read_bytes()
    assert ask(server.address + "server")[0] == 204
    video = server.address + next((out / "videos").iterdir()).relative_to(out).as_posix()
    assert ask(video, Range="bytes=10-19") == (206, bytes(range(10, 20)))
    assert ask(video, Range="bytes=95-") == (206, bytes(range(95, 100)))
    assert ask(video, Range="bytes=100-")[0] == 416
    assert ask(server.address + "../sheet-key.json")[0] == 404, "the key is not handed out"

    told = {"sheet": key.sheet, "voter": "me", "votes": [{"trial": "t001", "choice": "left"}]}
    assert ask(server.address + "votes", told)[0] == 204
    assert ask(server.address + "votes", told | {"voter": "you"})[0] == 204
    assert ask(server.address + "votes", told | {"votes": [{"trial": "t001", "choice": "right"}]})[0] == 204
    kept = json.loads(votes_path(out).read_text())["voters"]
    assert [(one["voter"], one["votes"][0]["choice"]) for one in kept] == [("me", "right"), ("you", "left")]
    for wrong in ({"sheet": "other"}, {"votes": [{"trial": "t9", "choice": "left"}]}, {"votes": [1]}, {"voter": 3}):
        assert ask(server.address + "votes", told | wrong)[0] == 400
    assert json.loads(votes_path(out).read_text())["voters"] == kept


def test_votes_of_before_stay_and_a_taken_port_is_told(served: tuple[SheetServer, Key, Path]) -> None:
    server, key, out = served
    server.keep({"sheet": key.sheet, "voter": "me", "votes": []})
    with SheetServer(out, key, 0) as again:
        again.keep({"sheet": key.sheet, "voter": "you", "votes": []})
    assert [one["voter"] for one in json.loads(votes_path(out).read_text())["voters"]] == ["me", "you"]
    for port in (server.server_address[1], 99999):
        with pytest.raises(ConfigError, match=f"port={port}"):
            SheetServer(out, key, port)
    votes_path(out).write_text("{")
    with pytest.raises(DataError, match="no file of votes"):
        SheetServer(out, key, 0)
