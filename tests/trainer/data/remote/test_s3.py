"""S3 as it is spoken: s3fs against moto's server, which fails when it is told (make test-remote)."""

from __future__ import annotations

import hashlib
from collections.abc import Iterator
from pathlib import Path
from typing import Any

import numpy as np
import pytest

pytest.importorskip("s3fs", reason="needs s3fs and moto: make test-remote")
pytest.importorskip("moto.server", reason="needs s3fs and moto: make test-remote")

from tests.helpers.far_data import ObjectServer, settings
from trainer.data.loader import make_eval_loader, make_loader
from trainer.data.remote import connection
from trainer.data.remote.path import place
from trainer.data.remote.store import Store, forget_stores, use
from trainer.errors import DataError

pytestmark = pytest.mark.filterwarnings("ignore::DeprecationWarning", "ignore::ResourceWarning")
NAMES = ["plain.jpg", "a b.jpg", "ü.jpg", "c#1.jpg", "what?.jpg", "100%.jpg", "%20.jpg", "plus+&=.jpg", "x/y z/q.jpg"]


@pytest.fixture(scope="module")
def server() -> Iterator[ObjectServer]:
    found = ObjectServer()
    yield found
    found.close()


@pytest.fixture(autouse=True)
def account(server: ObjectServer, monkeypatch: pytest.MonkeyPatch) -> Iterator[None]:
    for name, value in (
        ("AWS_ACCESS_KEY_ID", "id"), ("AWS_SECRET_ACCESS_KEY", "secret"), ("AWS_DEFAULT_REGION", "us-east-1"),
        ("AWS_ENDPOINT_URL", server.url), ("AWS_CONFIG_FILE", "/dev/null"),
        ("AWS_SHARED_CREDENTIALS_FILE", "/dev/null"), ("AWS_EC2_METADATA_DISABLED", "true"),
    ):  # fmt: skip
        monkeypatch.setenv(name, value)
    monkeypatch.setattr(connection, "FIRST_WAIT", 0.01)
    server.faults, server.requests[:] = (lambda method, path: None), []
    forget_stores()
    yield
    forget_stores()


@pytest.fixture(scope="module")
def s3(server: ObjectServer) -> Any:
    import boto3

    words = {"aws_access_key_id": "id", "aws_secret_access_key": "secret", "region_name": "us-east-1"}
    client = boto3.client("s3", endpoint_url=server.url, **words)
    client.create_bucket(Bucket="pictures")
    for name in NAMES:
        client.put_object(Bucket="pictures", Key=f"set/train/{name}", Body=content(name))
    client.put_object(Bucket="pictures", Key="set/train/", Body=b"")
    client.put_object(Bucket="pictures", Key="set/", Body=b"")
    client.put_object(Bucket="pictures", Key="settle/other.jpg", Body=b"other")
    return client


def content(name: str) -> bytes:
    return hashlib.blake2b(name.encode()).digest() * 20


def gets(server: ObjectServer) -> list[str]:
    return [path for method, path in server.requests if method == "GET" and "list-type" not in path]


def mounted(folder: Path, **more: Any) -> Store:
    store = use(settings(folder, **more))
    assert store.mount("s3://pictures/set", "data.root") == "folder"
    return store


def test_keys_of_any_letters(tmp_path: Path, s3: Any, server: ObjectServer) -> None:
    store = mounted(tmp_path)
    found = sorted(name for name, folder in store.children("s3://pictures/set/train") if not folder)
    assert found == sorted(name for name in NAMES if "/" not in name)  # and no marker
    for name in NAMES:
        assert store.read(f"s3://pictures/set/train/{name}") == content(name)
    assert len(gets(server)) == len(NAMES)  # one request an object: no questions before or after
    assert (place("s3://pictures/set") / "train" / "x" / "y z").is_dir()


def test_many_pages(tmp_path: Path, s3: Any, server: ObjectServer) -> None:
    from moto.backends import get_backend

    for number in range(2100):
        get_backend("s3")["123456789012"]["aws"].put_object("pictures", f"many/{number:04d}.jpg", b"x")
    server.requests.clear()
    store = use(settings(tmp_path))
    store.mount("s3://pictures/many/", "data.root")
    assert [name for name, _ in store.children("s3://pictures/many")] == [f"{number:04d}.jpg" for number in range(2100)]
    assert len([path for _, path in server.requests if "list-type" in path]) == 3


@pytest.mark.parametrize(
    ("address", "words"),
    [
        ("s3://nowhere/set", "there is no bucket s3://nowhere"),
        ("s3://pictures/sett", r"data.root=s3://pictures/sett: there is no object of this name or below it.*set"),
        ("s3://pictures/empty/", "there is no object of this name or below it"),
    ],
)
def test_nothing_there(tmp_path: Path, s3: Any, address: str, words: str) -> None:
    with pytest.raises(DataError, match=words):
        use(settings(tmp_path)).mount(address, "data.root")


def test_no_credentials(tmp_path: Path, s3: Any, monkeypatch: pytest.MonkeyPatch) -> None:
    monkeypatch.delenv("AWS_ACCESS_KEY_ID")
    monkeypatch.delenv("AWS_SECRET_ACCESS_KEY")
    with pytest.raises(DataError, match=r"no credentials are found\..*\+data\.remote\.options\.anon=true"):
        use(settings(tmp_path)).mount("s3://pictures/set", "data.root")
    store = use(settings(tmp_path, options={"anon": True}))
    assert store.mount("s3://pictures/set", "data.root") == "folder"


@pytest.mark.parametrize(
    ("status", "code", "words"),
    [
        ("403 Forbidden", "AccessDenied", "permission denied.*s3:ListBucket, s3:GetObject"),
        ("400 Bad Request", "ExpiredToken", "Renew them .aws sso login.* and give the same command again"),
        ("400 Bad Request", "AuthorizationHeaderMalformed", "another region. Set AWS_DEFAULT_REGION"),
        ("503 Slow Down", "SlowDown", "no answer in 4 tries.*data.remote.retries"),
        ("500 Internal Server Error", "InternalError", "no answer in 4 tries"),
        ("404 Not Found", "NoSuchKey", "there is no such object"),
    ],
)
def test_answers_in_the_middle_of_a_run(
    tmp_path: Path, s3: Any, server: ObjectServer, status: str, code: str, words: str
) -> None:
    store = mounted(tmp_path)
    server.faults = lambda method, path: (status, code) if path.endswith(".jpg") else None
    with pytest.raises(DataError, match=rf"s3://pictures/set/train/plain\.jpg \(data\.root\): .*{words}"):
        store.read("s3://pictures/set/train/plain.jpg")
    assert store.cache.used() == 0


@pytest.mark.parametrize("fault", ["cut", "hang", ("503 Slow Down", "SlowDown"), ("500 Internal", "InternalError")])
def test_what_passes(tmp_path: Path, s3: Any, server: ObjectServer, fault: Any) -> None:
    store = mounted(tmp_path, timeout=1.0)
    left = [fault, fault] if fault != "hang" else [fault]
    server.faults = lambda method, path: left.pop() if left and path.endswith(".jpg") else None
    assert store.read("s3://pictures/set/train/plain.jpg") == content("plain.jpg") and not left


def test_an_object_that_was_replaced(tmp_path: Path, s3: Any, server: ObjectServer) -> None:
    s3.put_object(Bucket="pictures", Key="old/a.jpg", Body=b"before")
    store = use(settings(tmp_path))
    store.mount("s3://pictures/old", "data.val_root")
    s3.put_object(Bucket="pictures", Key="old/a.jpg", Body=b"behind")
    with pytest.raises(DataError, match=r"old/a\.jpg \(data\.val_root\): the object was replaced"):
        store.read("s3://pictures/old/a.jpg")
    with pytest.raises(DataError, match=r"old/a\.jpg \(data\.val_root\): the object was replaced"):
        store.read_part("s3://pictures/old/a.jpg", 1, 3, whole=False)
    s3.put_object(Bucket="pictures", Key="old/a.jpg", Body=b"before")
    assert store.read("s3://pictures/old/a.jpg") == b"before"


def test_large_objects_come_in_pieces(
    tmp_path: Path, s3: Any, server: ObjectServer, monkeypatch: pytest.MonkeyPatch
) -> None:
    from trainer.data.remote import download

    monkeypatch.setattr(download, "PIECE", 1000)
    data = np.random.default_rng(0).bytes(4500)
    s3.put_object(Bucket="pictures", Key="large/x.tar", Body=data)
    store = use(settings(tmp_path))
    store.mount("s3://pictures/large", "data.root")
    left = [("503 Slow Down", "SlowDown")]
    server.faults = lambda method, path: left.pop() if left and len(gets(server)) == 3 else None
    with store.opened("s3://pictures/large/x.tar") as file:
        assert file.read() == data
    assert len(gets(server)) == 6 and not left


class Objects:
    """A data set of objects: a sample is the sum of an object's bytes."""

    def __init__(self, names: list[str]) -> None:
        self.names = names

    def __len__(self) -> int:
        return len(self.names)

    def prefetch(self, indices: list[int]) -> None:
        use_again().fetch(self.names[index] for index in indices)

    def sample(self, index: int, rng: np.random.Generator) -> dict[str, Any]:
        return {"sum": sum(use_again().read(self.names[index])), "index": index}


def use_again() -> Store:
    from trainer.data.remote.store import store

    return store()


@pytest.mark.timeout(120)
def test_workers_that_are_forked_after_the_loop_began(tmp_path: Path, s3: Any, server: ObjectServer) -> None:
    """fsspec's loop is a thread, which a forked process lacks: whoever waited for it would wait for ever."""
    store = mounted(tmp_path)
    store.read("s3://pictures/set/train/plain.jpg")
    names = [f"s3://pictures/set/train/{name}" for name in NAMES]
    loader = make_eval_loader(Objects(names), batch_size=2, workers=2)
    sums = {int(i): int(s) for batch in loader for i, s in zip(batch["index"], batch["sum"], strict=True)}
    assert sums == {number: sum(content(name)) for number, name in enumerate(NAMES)}
    assert store.read("s3://pictures/set/train/a b.jpg") == content("a b.jpg")
    assert len(gets(server)) == len(NAMES)  # nobody fetched what another had


@pytest.mark.timeout(120)
def test_a_fault_in_a_worker_is_said_by_the_run(tmp_path: Path, s3: Any, server: ObjectServer) -> None:
    mounted(tmp_path)
    names = [f"s3://pictures/set/train/{name}" for name in NAMES]
    server.faults = lambda method, path: ("400 Bad Request", "ExpiredToken") if path.endswith(".jpg") else None
    loader = make_loader(Objects(names), seed=0, samples_seen=0, batch_size=4, workers=2)
    with pytest.raises(DataError, match="Renew them"):
        next(iter(loader))
    loader.close()
