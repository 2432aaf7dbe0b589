"""What the server gives away, and to whom: files, addresses, passwords; ten people at once; no way out."""

from __future__ import annotations

import json
import subprocess
import sys
import urllib.error
import urllib.parse
import urllib.request
from collections.abc import Iterator
from concurrent.futures import ThreadPoolExecutor
from pathlib import Path
from typing import Any

import pytest

from tests.helpers import browser
from tests.helpers.made_records import record
from tests.helpers.paths import ROOT
from trainer.errors import ConfigError, UserError
from trainer.page.command import free_port, problems, read_arguments

pytest.importorskip("gradio", reason="the page needs gradio (extra demo)")
from trainer.page.server import Password

WAITING = 12


@pytest.fixture(scope="module")
def runs(tmp_path_factory: pytest.TempPathFactory) -> Path:
    folder = tmp_path_factory.mktemp("served") / "runs"
    (folder / "one" / "samples").mkdir(parents=True)
    (folder / "one" / "config.yaml").write_text("task: line\n")
    (folder / "one" / "metrics.jsonl").write_text(record(1))
    (folder / "one" / "link.png").symlink_to("/etc/passwd")
    (folder / "one" / "samples" / "leak-00000001.png").symlink_to("/etc/passwd")
    return folder


@pytest.fixture(scope="module")
def address(runs: Path) -> Iterator[str]:
    with browser.served(f"runs={runs}", f"app.max_waiting={WAITING}", program=browser.TRIED) as (found, _):
        yield found


def ask(url: str, data: Any = None, **headers: str) -> tuple[int, str]:
    body = None if data is None else json.dumps(data).encode()
    request = urllib.request.Request(url, body, {"Content-Type": "application/json", **headers})
    try:
        with urllib.request.urlopen(request, timeout=60) as answer:
            return answer.status, answer.read().decode(errors="replace")
    except urllib.error.HTTPError as error:
        return error.code, error.read().decode(errors="replace")


@pytest.mark.parametrize(
    "place",
    [
        "/etc/passwd",
        "../../../../../../etc/passwd",
        str(ROOT / "train.py"),
        "train.py",
        "{runs}/one/metrics.jsonl",
        "{runs}/one/link.png",
        "{runs}/one/samples/leak-00000001.png",
        "http://192.0.2.1/x.png",
        "http://localhost.example.com/x",
        "file:///etc/passwd",
    ],
)
@pytest.mark.parametrize("quoted", [False, True])
def test_other_files_are_not_served(address: str, runs: Path, place: str, quoted: bool) -> None:
    place = place.format(runs=runs)
    status, text = ask(f"{address}/gradio_api/file={urllib.parse.quote(place, safe='') if quoted else place}")
    assert status in (403, 404, 502) and "root:" not in text


def test_a_name_of_a_file_is_no_upload(address: str) -> None:
    """What a page sends in place of an upload: a path, or an address that the server would fetch."""
    config = json.loads(ask(f"{address}/config")[1])
    upload = next(d["id"] for d in config["dependencies"] if any(t[1] == "upload" for t in d["targets"]))
    for given in ({"path": "/etc/passwd"}, {"path": "http://192.0.2.1/x.png"}, {"path": str(ROOT / "train.py")}):
        data = {"data": [given | {"meta": {"_type": "gradio.FileData"}}], "fn_index": upload, "session_hash": "abc"}
        events = called(address, data)
        assert events[-1]["msg"] == "process_completed" and not events[-1]["success"]
        assert "root:" not in json.dumps(events) and " x " not in json.dumps(
            events[-1].get("output", {}).get("data", "")
        )


def test_pages_about_the_interface_are_closed(address: str) -> None:
    for page in ("docs", "redoc", "openapi.json"):
        assert ask(f"{address}/{page}")[0] == 404
    assert json.loads(ask(f"{address}/gradio_api/info")[1]) == {"named_endpoints": {}, "unnamed_endpoints": {}}


def test_another_name_for_this_machine_is_refused(address: str) -> None:
    assert ask(address, Host="evil.example")[0] == 400
    assert ask(address, Host="localhost")[0] == 200


def called(address: str, data: dict[str, Any]) -> list[dict[str, Any]]:
    """Everything that the queue says of one call."""
    status, text = ask(f"{address}/gradio_api/queue/join", data)
    if status != 200:
        return [{"msg": "refused", "status": status, "text": text}]
    url = f"{address}/gradio_api/queue/data?session_hash={data['session_hash']}"
    with urllib.request.urlopen(url, timeout=100) as stream:
        events = []
        for line in stream:
            if line.startswith(b"data: "):
                events.append(json.loads(line[6:]))
                if events[-1]["msg"] in ("process_completed", "close_stream"):
                    break
    return events


def test_ten_people_at_once_wait_their_turn_and_too_many_are_told(address: str) -> None:
    config = json.loads(ask(f"{address}/config")[1])
    wait = next(d["id"] for d in config["dependencies"] if any(t[1] == "click" for t in d["targets"]))

    def visit(number: int) -> list[dict[str, Any]]:
        return called(address, {"data": [str(number)], "fn_index": wait, "session_hash": f"visitor{number}"})

    with ThreadPoolExecutor(40) as people:
        answers = list(people.map(visit, range(10)))
        assert [answer[-1]["output"]["data"] for answer in answers] == [[f"waited {n}"] for n in range(10)]
        crowd = list(people.map(visit, range(100, 140)))
    refused = [answer for answer in crowd if answer[-1].get("msg") == "refused"]
    served = [answer for answer in crowd if answer[-1].get("success")]
    assert len(served) + len(refused) == 40 and len(served) >= WAITING and refused
    assert all("full" in answer[-1]["text"].lower() for answer in refused)
    assert visit(7)[-1]["output"]["data"] == ["waited 7"]


def test_a_password_is_asked_for(runs: Path) -> None:
    words = (f"runs={runs}", "app.password=correct horse")
    with browser.served(*words, program=browser.TRIED) as (address, _):
        for closed in ("config", "gradio_api/info", f"gradio_api/file={runs}/one/metrics.jsonl"):
            assert ask(f"{address}/{closed}")[0] == 401, closed
        assert ask(f"{address}/gradio_api/upload", {})[0] == 401
        login = f"{address}/login"
        form = {"Content-Type": "application/x-www-form-urlencoded"}
        wrong, right = (
            urllib.request.Request(login, f"username=x&password={word}".encode(), form)
            for word in ("wrong", "correct+horse")
        )
        with pytest.raises(urllib.error.HTTPError, match="400"):
            urllib.request.urlopen(wrong, timeout=60)
        with urllib.request.urlopen(right, timeout=60) as answer:
            cookie = "; ".join(value.split(";")[0] for value in answer.headers.get_all("set-cookie"))
        assert ask(f"{address}/config", Cookie=cookie)[0] == 200


def test_many_wrong_passwords_close_the_door_for_a_while(monkeypatch: pytest.MonkeyPatch) -> None:
    now = [100.0]
    monkeypatch.setattr("trainer.page.server.time.monotonic", lambda: now[0])
    password = Password("right one")
    assert password("me", "right one") and not password("me", "wrong")
    assert not any(password("me", f"wrong {n}") for n in range(20)) and not password("me", "right one")
    now[0] += 61
    assert password("me", "right one")


def test_arguments(tmp_path: Path) -> None:
    for name in ("a", "b", "sweep/c"):
        (tmp_path / name).mkdir(parents=True)
        (tmp_path / name / "config.yaml").write_text("task: line\n")
    read = read_arguments([f"run={tmp_path}/a", f"run=[{tmp_path}/b]", "app.port=0"], "")
    assert read.run == [f"{tmp_path}/a", f"{tmp_path}/b"] and read.app.host == "127.0.0.1"
    with pytest.raises(UserError, match=r"did you mean '.*/a'"):
        read_arguments([f"run={tmp_path}/A"], "")
    with pytest.raises(UserError, match=r"or all of them: runs=.*sweep"):
        read_arguments([f"run={tmp_path}/sweep"], "")
    with pytest.raises(ConfigError, match=r"app.host=0.0.0.0: .* needs a password"):
        read_arguments(["app.host=0.0.0.0"], "")
    with pytest.raises(ConfigError, match="at least 8 characters"):
        read_arguments(["app.password=short"], "")
    for host in ("127.0.0.1", "::1", "localhost", "127.8.8.8"):
        assert problems(read_arguments([f"app.host={host}"], "")) == []


def test_without_gradio_the_command_to_install_it_is_told(monkeypatch: pytest.MonkeyPatch) -> None:
    monkeypatch.setattr("trainer.page.command.importlib.util.find_spec", lambda name: None)
    with pytest.raises(UserError, match=r"pip install -e '\.\[demo\]'"):
        read_arguments([], "")


def test_a_port_that_is_taken(address: str) -> None:
    port = int(address.rpartition(":")[2])
    with pytest.raises(ConfigError, match=f"app.port={port}: another program listens there"):
        free_port("127.0.0.1", port)
    with pytest.raises(ConfigError, match=r"app.host=192.0.2.7: cannot listen there"):
        free_port("192.0.2.7", 0)


def test_no_connection_leaves_the_machine() -> None:
    program = """
import socket, threading
from trainer.page.offline import OfflineError, stay_offline
server = socket.create_server(("127.0.0.1", 0))
stay_offline("127.0.0.1")
socket.create_connection(server.getsockname()).close()
socket.getaddrinfo("localhost", 80)
for attempt in (lambda: socket.create_connection(("192.0.2.1", 80), 1), lambda: socket.getaddrinfo("example.com", 80),
                lambda: socket.socket(socket.AF_INET, socket.SOCK_DGRAM).sendto(b"x", ("192.0.2.1", 53)),
                lambda: __import__("urllib.request").request.urlopen("http://example.com")):
    try:
        attempt()
        print("left")
    except OfflineError as error:
        print("stayed")
    except OSError as error:
        print("stayed" if isinstance(error.reason, OfflineError) else error)
"""
    done = subprocess.run([sys.executable, "-W", "ignore", "-c", program], cwd=ROOT, capture_output=True, text=True)
    assert done.stdout.split() == ["stayed"] * 4, done.stderr


@pytest.mark.slow
def test_the_script_refuses_other_addresses_without_a_password() -> None:
    script = [sys.executable, "scripts/app.py", "app.host=0.0.0.0"]
    done = subprocess.run(script, cwd=ROOT, capture_output=True, text=True, timeout=120)
    assert done.returncode == 2 and "needs a password" in done.stderr and "Traceback" not in done.stderr
