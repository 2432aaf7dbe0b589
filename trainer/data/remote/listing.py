"""What lies below an address: listed once, kept in a file with a digest, the same for all processes of a machine."""

from __future__ import annotations

import hashlib
import json
import logging
import os
import re
import time
from collections.abc import Iterator
from concurrent.futures import FIRST_COMPLETED, Future, ThreadPoolExecutor, wait
from dataclasses import dataclass
from datetime import datetime
from pathlib import Path
from typing import Any

import numpy as np

from trainer.data.remote.address import joined
from trainer.data.remote.connection import Connection
from trainer.data.strings import Strings
from trainer.errors import DataError
from trainer.files import take_lock, write_arrays
from trainer.untrusted import plain_json
from trainer.untrusted.arrays import open_npz

_log = logging.getLogger(__name__)
_VERSION = 1  # of what is in the file
_THREADS = 16  # folders that are asked for at a time
_LONG = 5.0  # seconds after which a listing is worth a line
_MD5 = re.compile(r"[0-9a-f]{32}")


@dataclass(frozen=True)
class Facts:
    """What a store says of an object.

    Attributes:
        size: in bytes; None where it does not say.
        tag: differs when the object differs; ``md5:``, ``sha256:`` and ``git:`` are checksums of its content.
    """

    size: int | None
    tag: str

    @property
    def etag(self) -> str | None:
        """As S3 calls it; None where it has none."""
        kind, _, value = self.tag.partition(":")
        return value if kind in ("etag", "md5") and value else None


class Listing:
    """The objects below a folder.

    Args:
        names: from the folder on, in the order of their bytes.
        sizes: int64 (N,) bytes.
        tags: as of `Facts`.
        notes: lines for the user: what was left out.
    """

    def __init__(self, names: Strings, sizes: np.ndarray, tags: Strings, notes: list[str]) -> None:
        self.names, self.sizes, self.tags, self.notes = names, sizes, tags, notes

    def __len__(self) -> int:
        return len(self.names)

    def facts(self, name: str) -> Facts | None:
        """Of one object; None where there is none of this name."""
        place = self.names.place(name)
        if place == len(self) or self.names[place] != name:
            return None
        return Facts(int(self.sizes[place]), self.tags[place])

    def has_folder(self, name: str) -> bool:
        """Whether there is an object below it; "" is the folder that was listed."""
        place = self.names.place(f"{name}/" if name else "")
        return place < len(self) and self.names[place].startswith(f"{name}/" if name else "")

    def children(self, folder: str) -> Iterator[tuple[str, bool]]:
        """(name, whether it is a folder) of all that lies in a folder."""
        start = f"{folder}/" if folder else ""
        place = self.names.place(start)
        while place < len(self):
            name = self.names[place]
            if not name.startswith(start):
                return
            child, below, _ = name[len(start) :].partition("/")
            yield child, bool(below)
            # "0" follows "/": the next name that is not below this one
            place = self.names.place(f"{start}{child}0", place) if below else place + 1

    def digest(self) -> str:
        """A hash of names, sizes and tags."""
        found = hashlib.blake2b(digest_size=12)
        for part in (self.names.block, self.names.ends, self.sizes, self.tags.block, self.tags.ends):
            found.update(np.ascontiguousarray(part).tobytes())
        return found.hexdigest()

    def save(self, path: Path, about: dict[str, Any]) -> None:
        """Write the file from which `load` reads it."""
        about = {**about, "version": _VERSION, "digest": self.digest(), "notes": self.notes}
        arrays = {
            "names": self.names.block, "name_ends": self.names.ends, "sizes": self.sizes, "tags": self.tags.block,
            "tag_ends": self.tags.ends, "about": np.frombuffer(json.dumps(about).encode(), np.uint8),
        }  # fmt: skip
        write_arrays(path, arrays, shared=True)

    @classmethod
    def load(cls, path: Path) -> tuple[Listing, dict[str, Any]] | None:
        """A listing and what was said about it; None where the file is none, damaged, or of another version."""
        try:
            with open_npz(path) as file:
                about = plain_json.loads(file["about"].tobytes())
                names = Strings.of(file["names"], file["name_ends"])
                found = cls(names, file["sizes"], Strings.of(file["tags"], file["tag_ends"]), list(about["notes"]))
            whole = about["version"] == _VERSION and about["digest"] == found.digest()
        except FileNotFoundError:
            return None
        except Exception as error:  # whatever numpy and zipfile make of a damaged file
            _log.warning("%s: damaged list of objects (%s), made anew", path, error)
            return None
        return (found, about) if whole else None


def facts_of(info: dict[str, Any], scheme: str) -> Facts:
    """What fsspec tells of an object, which each store tells in words of its own."""
    size = None if info.get("size") is None else int(info["size"])
    lfs = info.get("lfs")
    if scheme == "hf" and lfs is not None:
        sha = lfs.get("sha256") if isinstance(lfs, dict) else getattr(lfs, "sha256", None)
        return Facts(size, f"sha256:{sha}")
    if scheme == "hf" and info.get("blob_id"):
        return Facts(size, f"git:{info['blob_id']}")
    if info.get("md5Hash"):  # Google's, in base64
        import base64

        return Facts(size, f"md5:{base64.b64decode(info['md5Hash']).hex()}")
    etag = str(info.get("ETag") or info.get("etag") or "").strip('"')
    if etag:
        return Facts(size, f"md5:{etag}" if scheme == "s3" and _MD5.fullmatch(etag) else f"etag:{etag}")
    seen = [_plain(info[word]) for word in ("generation", "Last-Modified", "mtime", "created", "ino") if info.get(word)]
    return Facts(size, f"seen:{'|'.join(seen)}")


def _plain(value: Any) -> str:
    """A time alike whether it comes as a moment or as seconds since 1970: lists and single answers differ in that."""
    if isinstance(value, datetime):
        value = value.timestamp()
    return f"{value:.3f}" if isinstance(value, float) else str(value)


def listing_of(connection: Connection, address: str, folder: Path, key: str, *, below: bool, relist: bool) -> Listing:
    """All objects below an address, from the file in ``folder`` or from the store, of which the file is made.

    Args:
        key: of the configuration, for messages.
        below: at any depth; otherwise those that lie in it, and its folders.
        relist: ask the store also where there is a file, but once for all processes of a launch.

    Raises:
        DataError: the store cannot be asked.
    """
    said = json.dumps([address, below, sorted((k, str(v)) for k, v in connection.settings.options.items())])
    path = folder / f"{hashlib.blake2b(said.encode(), digest_size=12).hexdigest()}.npz"
    launch = _launch()
    try:
        folder.mkdir(parents=True, exist_ok=True)
        handle = os.open(path.with_suffix(".lock"), os.O_RDWR | os.O_CREAT, 0o666)
    except OSError as error:
        raise DataError(
            f"data.remote.cache_dir={connection.settings.cache_dir}: cannot be written ({error.strerror}). Give a "
            "folder that can be"
        ) from error
    try:
        take_lock(handle, wait=True)
        kept = Listing.load(path)
        if kept is not None and (not relist or kept[1]["launch"] == launch):
            if below:
                _log.info("%s: %d objects as listed on %s (%s)", address, len(kept[0]), kept[1]["when"], path)
            return kept[0]
        begin = time.monotonic()
        found = _asked(connection, address, key, below)
        took = time.monotonic() - begin
        about = {"address": address, "launch": launch, "when": time.strftime("%Y-%m-%d %H:%M")}
        if len(found):
            found.save(path, about)
        if below and took > _LONG:
            _log.warning("%s: listed %d objects in %.0f s, kept in %s", address, len(found), took, path)
        return found
    finally:
        os.close(handle)


def _launch() -> str:
    """What the processes of one launch on this machine have in common, and no other's have."""
    if int(os.environ.get("LOCAL_WORLD_SIZE", "1")) > 1:
        again = os.environ.get("TORCHELASTIC_RESTART_COUNT", "0")
        return f"{os.getppid()}|{os.environ.get('TORCHELASTIC_RUN_ID')}|{again}|{_started(os.getppid())}"
    return f"{os.getpid()}|{_started(os.getpid())}"


def _started(process: int) -> str:
    """When a process began, in ticks of its system's clock, so that its number may be used again."""
    try:
        return Path(f"/proc/{process}/stat").read_text(encoding="utf-8").rpartition(")")[2].split()[19]
    except (OSError, IndexError):
        return ""


def _asked(connection: Connection, address: str, key: str, below: bool) -> Listing:
    base = connection.path(address).rstrip("/")
    found: list[tuple[bytes, int, str]] = []
    folders: set[str] = set()
    odd: list[str] = []
    with ThreadPoolExecutor(_THREADS) as pool:
        waiting: set[Future[list[dict[str, Any]]]] = {pool.submit(connection.listed, address, key)}
        while waiting:
            done, waiting = wait(waiting, return_when=FIRST_COMPLETED)
            for future in done:
                for info in future.result():
                    whole, folder = str(info["name"]), info.get("type") == "directory"
                    if not f"{whole}/".startswith(f"{base}/"):  # a store that answers with another's address
                        odd.append(whole)
                        continue
                    name = whole[len(base) :].removeprefix("/")
                    if not name or (not folder and name.endswith("/")):  # the object that stands for a folder
                        continue
                    name = name.rstrip("/") if folder else name
                    if any(part in ("", ".", "..") or "\0" in part for part in name.split("/")):
                        odd.append(name)
                    elif not folder:
                        facts = facts_of(info, connection.scheme)
                        found.append((name.encode("utf-8", "surrogateescape"), facts.size or 0, facts.tag))
                    elif name not in folders:
                        folders.add(name)
                        if below:
                            waiting.add(pool.submit(connection.listed, joined(address, name), key))
                        else:  # a folder that was not looked into has one entry, which no object can be called like
                            found.append((f"{name}/.".encode("utf-8", "surrogateescape"), 0, ""))
    both = [entry for entry in found if entry[0].decode("utf-8", "surrogateescape") in folders]
    if both:
        taken = {entry[0] for entry in both}
        found = [entry for entry in found if entry[0] not in taken]
    found.sort()
    notes = []
    if odd:
        notes.append(f"{address}: left out {len(odd)} objects whose names are no paths (//, . or ..), first {odd[0]!r}")
    if both:
        notes.append(f"{address}: left out {len(both)} objects that are called like folders beside them")
    return Listing(
        Strings(name.decode("utf-8", "surrogateescape") for name, _, _ in found),
        np.array([size for _, size, _ in found], np.int64),
        Strings(tag for _, _, tag in found),
        notes,
    )
