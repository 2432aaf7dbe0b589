"""Data at addresses: fsspec's memory with faults on demand, and an S3 of one's own (moto) that fails when told."""

from __future__ import annotations

import threading
import time
from collections.abc import Callable, Iterator
from contextlib import contextmanager
from pathlib import Path
from typing import Any, ClassVar

import pytest
from fsspec.implementations.memory import MemoryFileSystem

from trainer.config.fields import RemoteConfig
from trainer.data.remote import connection
from trainer.data.remote.store import Store, forget_stores, use


def settings(folder: Path, **more: Any) -> RemoteConfig:
    return RemoteConfig(cache_dir=str(folder / "cache"), **{"cache_size": "1MB", "retries": 3, "timeout": 5.0, **more})


def fill(files: dict[str, bytes]) -> None:
    """Put objects into fsspec's memory, by their path without ``memory:/``."""
    system = MemoryFileSystem()
    for path, data in files.items():
        system.pipe_file(path, data)


def empty() -> None:
    MemoryFileSystem.store.clear()
    MemoryFileSystem.pseudo_dirs[:] = [""]
    forget_stores()


class Faulty(MemoryFileSystem):
    """fsspec's memory. ``faults`` gives for (method, path) an error to raise, bytes to answer with, or None."""

    cachable = False
    faults: Callable[[str, str], Exception | bytes | None] = staticmethod(lambda method, path: None)
    calls: ClassVar[list[tuple[str, str]]] = []

    def cat_file(self, path: str, start: int | None = None, end: int | None = None, **words: Any) -> bytes:
        answer = self._fault("cat_file", path)
        return answer if answer is not None else super().cat_file(path, start, end, **words)

    def ls(self, path: str, detail: bool = True, **words: Any) -> Any:
        self._fault("ls", path)
        return super().ls(path, detail=detail, **words)

    def info(self, path: str, **words: Any) -> Any:
        self._fault("info", path)
        return super().info(path, **words)

    def _fault(self, method: str, path: str) -> bytes | None:
        Faulty.calls.append((method, path))
        answer = Faulty.faults(method, path)
        if isinstance(answer, Exception):
            raise answer
        return answer


@contextmanager
def faulty(folder: Path, faults: Callable[[str, str], Exception | bytes | None], **more: Any) -> Iterator[Store]:
    """A store on fsspec's memory that fails as told, and does not wait long before it tries again."""
    with pytest.MonkeyPatch.context() as patch:
        patch.setattr(connection, "_opened", lambda scheme, settings: Faulty())
        patch.setattr(connection, "FIRST_WAIT", 0.001)
        patch.setattr(Faulty, "faults", staticmethod(faults))
        patch.setattr(Faulty, "calls", [])
        forget_stores()
        yield use(settings(folder, **more))
        forget_stores()


class Answer(Exception):  # an answer of a store, not an error of ours
    """What botocore raises: a store's answer with a code."""

    def __init__(self, code: str, status: int = 400) -> None:
        super().__init__(f"An error occurred ({code})")
        self.response = {"Error": {"Code": code, "Message": "so it is"}, "ResponseMetadata": {"HTTPStatusCode": status}}


class ObjectServer:
    """moto's S3 on a port of this machine, in a thread. ``faults`` sees each request before it does.

    Attributes:
        faults: of (method, path) the WSGI answer in its place: a status and a body; ``hang`` or ``cut`` (the body ends
            in the middle); None: as it should.
        requests: (method, path with its query) of all so far.
    """

    def __init__(self) -> None:
        from moto.server import DomainDispatcherApplication, create_backend_app
        from werkzeug.serving import make_server

        self.faults: Callable[[str, str], tuple[str, str] | str | None] = lambda method, path: None
        self.requests: list[tuple[str, str]] = []
        self._moto = DomainDispatcherApplication(create_backend_app)
        self._server = make_server("127.0.0.1", 0, self._answer, threaded=True)
        self.url = f"http://127.0.0.1:{self._server.port}"
        threading.Thread(target=self._server.serve_forever, daemon=True).start()

    def close(self) -> None:
        self._server.shutdown()
        self._server.server_close()

    def _answer(self, environment: dict[str, Any], start: Callable[..., Any]) -> Any:
        method, path = environment["REQUEST_METHOD"], environment["PATH_INFO"]
        self.requests.append((method, f"{path}?{environment.get('QUERY_STRING', '')}"))
        fault = self.faults(method, path)
        if fault == "hang":
            time.sleep(3)
            fault = ("503 Service Unavailable", "ServiceUnavailable")
        if fault == "cut":
            return _cut(self._moto(environment, start))
        if isinstance(fault, tuple):
            status, code = fault
            start(status, [("Content-Type", "application/xml")])
            return [f"<Error><Code>{code}</Code><Message>so it is</Message></Error>".encode()]
        return self._moto(environment, start)


def _cut(answer: Any) -> Iterator[bytes]:
    """Half of a body, after which the connection is closed."""
    data = b"".join(answer)
    yield data[: len(data) // 2]
    raise ConnectionAbortedError
