"""One object from a store to a file or into memory, whole and checked, or not at all."""

from __future__ import annotations

import hashlib
import logging
from collections.abc import Callable
from contextlib import suppress
from typing import Any

from trainer.data.remote.connection import Connection
from trainer.data.remote.failures import REPLACED, NoAnswerError, ReplacedObjectError
from trainer.data.remote.listing import Facts, facts_of
from trainer.errors import DataError

_log = logging.getLogger(__name__)
PIECE = 16 * 2**20  # bytes that are asked for at a time
_TRIES = 3  # of an object whose checksum differs

Write = Callable[[int, bytes], object]  # (where in the object, what lies there)


class Downloads:
    """Objects of one store.

    Args:
        connection: to it.
    """

    def __init__(self, connection: Connection) -> None:
        self.connection = connection
        self._opaque = False  # S3 keeps them encrypted by keys, so its tags are no checksums

    def whole(self, address: str, facts: Facts, write: Write, key: str) -> None:
        """Hand an object over, piece by piece; what differs from its checksum is handed over again.

        Args:
            facts: what was listed.
            write: takes a piece and where it begins.
            key: of the configuration, for messages.

        Raises:
            MissingObjectError: it is not there any more.
            DataError: it was replaced since it was listed, or does not come whole.
        """
        seen = []
        for _ in range(_TRIES):
            digest, wanted = (None, "") if self._opaque else _checksum(facts)
            try:
                for data in self._pieces(address, facts, key, write):
                    if digest is not None:
                        digest.update(data)
            except NoAnswerError:  # perhaps since another length is there, of which no piece comes as asked for
                with suppress(NoAnswerError):
                    self._unchanged(address, facts, key)
                raise
            if digest is None:
                if facts.etag is None or self.connection.scheme != "s3":  # S3 was told the tag with the request
                    self._unchanged(address, facts, key)
                return
            if digest.hexdigest() == wanted:
                return
            seen.append(digest.hexdigest())
            self._unchanged(address, facts, key)
            if (
                facts.tag.startswith("md5:")
                and self.connection.scheme == "s3"
                and len(seen) == 2
                and seen[0] == seen[1]
            ):
                self._opaque = True  # the same twice, of an object with this tag
                return
            _log.warning("%s: what came differs from its checksum, fetched again", address)
        raise DataError(
            f"{address} ({key}): what came differs from the store's checksum {_TRIES} times ({facts.tag}). The object "
            "or the way to it is damaged: write it anew, and list again with data.remote.relist=true"
        )

    def part(self, address: str, facts: Facts, start: int, size: int, key: str) -> bytes:
        """Some bytes of an object that is as it was listed.

        Raises:
            MissingObjectError, DataError: as `whole`.
        """
        data = self._exactly(address, start, start + size, facts, key)
        if self.connection.scheme != "s3" or facts.etag is None:
            self._unchanged(address, facts, key)
        return data

    def _pieces(self, address: str, facts: Facts, key: str, write: Write) -> Any:
        if facts.size is None:
            data = self.connection.bytes_of(address, key=key)
            write(0, data)
            yield data
            return
        for start in range(0, facts.size, PIECE):
            data = self._exactly(address, start, min(start + PIECE, facts.size), facts, key)
            write(start, data)
            yield data

    def _exactly(self, address: str, start: int, end: int, facts: Facts, key: str) -> bytes:
        """Bytes ``start`` to ``end``; fewer or more are no answer, and asked for again."""
        all_of_it = start == 0 and end == facts.size and end <= PIECE
        place = (None, None) if all_of_it else (start, end)
        return self.connection.bytes_of(address, *place, etag=facts.etag, length=end - start, key=key)

    def _unchanged(self, address: str, facts: Facts, key: str) -> None:
        """Raise DataError where a store has another object than was listed."""
        current = facts_of(self.connection.facts(address, key), self.connection.scheme)
        if current != facts:
            raise ReplacedObjectError(
                f"{address} ({key}): {REPLACED} (listed: {_said(facts)}; there: {_said(current)})"
            )


def _said(facts: Facts) -> str:
    return f"{facts.size} bytes, {facts.tag}"


def _checksum(facts: Facts) -> tuple[Any, str]:
    """(a hash to feed with the content, what it comes to); (None, "") where the tag is no checksum."""
    kind, _, value = facts.tag.partition(":")
    if kind in ("md5", "sha256"):
        return hashlib.new(kind, usedforsecurity=False), value
    if kind == "git" and facts.size is not None:
        return hashlib.sha1(f"blob {facts.size}\0".encode(), usedforsecurity=False), value
    return None, ""
