"""A tiny server on this machine for a blind sheet: hands out the page, keeps the votes. Loads no torch."""

from __future__ import annotations

import re
import threading
from functools import partial
from http import HTTPStatus
from http.server import SimpleHTTPRequestHandler, ThreadingHTTPServer
from pathlib import Path
from typing import Any

from trainer.errors import ConfigError
from trainer.files import write_json
from trainer.untrusted import plain_json
from vid2vid.preference.sheet import SIDES, Key, votes_path
from vid2vid.preference.votes import checked, read_votes, voters

_LARGEST = 1 << 20  # bytes of one voter's votes


class SheetServer(ThreadingHTTPServer):
    """Serves one sheet at 127.0.0.1, and writes the votes whole after each of them.

    Args:
        out: folder of the sheet.
        key: of it.
        port: 0 takes any that is free.

    Raises:
        ConfigError: the port is taken, or none. DataError: the votes of before are damaged or another sheet's.
    """

    daemon_threads = True

    def __init__(self, out: Path, key: Key, port: int) -> None:
        self.key, self.votes = key, votes_path(out)
        self.trials = {trial.name for trial in key.trials}
        self._lock = threading.Lock()
        self._voters: dict[str, dict[str, Any]] = {}
        if self.votes.is_file():
            checked(read_votes(self.votes), key)  # damaged, or of another sheet: not to be written over
            kept = plain_json.loads(self.votes.read_text(encoding="utf-8"))
            self._voters = {one["voter"]: one for one in voters(kept)}
        try:
            super().__init__(("127.0.0.1", port), partial(_Handler, directory=str(out)))
        except (OSError, OverflowError) as error:
            raise ConfigError(
                f"port={port}: nothing can be served there ({error}); give another, port=0 any"
            ) from error

    @property
    def address(self) -> str:
        return f"http://127.0.0.1:{self.server_address[1]}/"

    def keep(self, told: Any) -> None:
        """One voter's votes so far, in place of what was kept of them.

        Raises:
            ValueError: no votes on this sheet.
        """
        votes = told["votes"]
        if told["sheet"] != self.key.sheet or not isinstance(told["voter"], str):
            raise ValueError("another sheet")
        if any(vote["trial"] not in self.trials or vote["choice"] not in SIDES for vote in votes):
            raise ValueError("unknown pairs or sides")
        with self._lock:
            self._voters[told["voter"]] = {"sheet": told["sheet"], "voter": told["voter"], "votes": votes}
            write_json(self.votes, {"voters": list(self._voters.values())})


class _Handler(SimpleHTTPRequestHandler):
    server: SheetServer

    def do_GET(self) -> None:
        if self.path == "/server":  # the page asks whether its votes are kept here
            self.send_response(HTTPStatus.NO_CONTENT)
            self.end_headers()
        elif wanted := re.fullmatch(r"bytes=(\d+)-(\d*)", self.headers.get("Range", "")):
            self._send_part(int(wanted[1]), int(wanted[2]) if wanted[2] else None)
        else:
            super().do_GET()

    def do_POST(self) -> None:
        length = int(self.headers.get("Content-Length", 0))
        try:
            if self.path != "/votes" or length > _LARGEST:
                raise ValueError("not votes")
            self.server.keep(plain_json.loads(self.rfile.read(length)))
        except (ValueError, KeyError, TypeError) as error:
            self.send_error(HTTPStatus.BAD_REQUEST, str(error))
            return
        self.send_response(HTTPStatus.NO_CONTENT)
        self.end_headers()

    def _send_part(self, first: int, last: int | None) -> None:
        """A stretch of a file: Safari plays no video from a server that has only whole ones."""
        path = Path(self.translate_path(self.path))
        if not path.is_file():
            self.send_error(HTTPStatus.NOT_FOUND)
            return
        data = path.read_bytes()
        last = len(data) - 1 if last is None else min(last, len(data) - 1)
        if first > last:
            self.send_error(HTTPStatus.REQUESTED_RANGE_NOT_SATISFIABLE)
            return
        self.send_response(HTTPStatus.PARTIAL_CONTENT)
        self.send_header("Content-Type", self.guess_type(str(path)))
        self.send_header("Content-Range", f"bytes {first}-{last}/{len(data)}")
        self.send_header("Content-Length", str(last - first + 1))
        self.end_headers()
        self.wfile.write(data[first : last + 1])

    def log_message(self, format: str, *args: Any) -> None:
        """Nothing: the page says what goes wrong."""
