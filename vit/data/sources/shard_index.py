"""What lies in a tar shard: pictures by offset and their labels, read from its headers."""

from __future__ import annotations

import os
import tarfile
from collections.abc import Iterator
from typing import Any, BinaryIO

from trainer.data.pictures.files import picture_extensions
from trainer.data.pictures.not_pictures import stranger
from trainer.data.remote.address import is_address
from trainer.data.remote.store import store
from trainer.errors import DataError
from trainer.untrusted import plain_json
from vit.data.sources.labels import check_single

LABELS = ("cls", "json", "txt")  # extensions, the first that a sample has counts
JSON_KEYS = ("label", "cls", "class", "target")
_BLOCK = 512  # what a tar file consists of, in bytes
_COMPRESSED = {b"\x1f\x8b": "gunzip", b"BZh": "bunzip2", b"\xfd7zXZ": "unxz", b"\x28\xb5\x2f\xfd": "unzstd"}


def scan_shard(shard: str) -> dict[str, Any]:
    """Read the headers of a shard, and its labels; of one that is cut short what is whole.

    Tar files that were glued together (``cat``, or ``tar --concatenate``) are read to the end. A name that comes again
    begins samples of their own, as its file did.

    Returns:
        Lists of equal length ``stem``, ``offset``, ``size`` and ``label``; how many members were ``passed``, pictures
        ``unlabelled``, texts ``captions`` of img2dataset; whether it is ``cut`` short.

    Raises:
        DataError: no tar file, a compressed one, or one with something else behind its end.
    """
    with store().opened(shard) if is_address(shard) else open(shard, "rb") as file:
        magic = file.read(6)
        kind = next((name for start, name in _COMPRESSED.items() if magic.startswith(start)), None)
        if kind is not None:
            raise DataError(
                f"{shard}: cannot be read as a tar file, it is compressed. Unpack it first ({kind}): pictures in it "
                "cannot be read by their offset"
            )
        found = _Samples(shard)
        cut = _read_all(file, found)
    return {**found.columns(), "cut": cut}


def _read_all(file: BinaryIO, found: _Samples) -> bool:
    """Every member of the tar files that lie one after the other in a file; whether the last is cut short."""
    size, start = os.fstat(file.fileno()).st_size, 0
    while True:
        end = start
        try:
            file.seek(start)
            with tarfile.open(fileobj=file, mode="r:") as archive:
                for member in archive:
                    if member.size < 0:  # which would lead back to where the scan has been
                        raise tarfile.ReadError("a member has a negative size")
                    end = member.offset_data + -(-member.size // _BLOCK) * _BLOCK
                    if member.isfile() and member.offset_data + member.size <= size:
                        found.add(archive, member)
        # tarfile takes numbers and pairs of them out of headers as they come
        except (tarfile.TarError, ValueError, OverflowError, LookupError) as error:
            if end > start and "negative" not in str(error):
                return True
            file.seek(0)
            known = stranger(file.read(256))
            reason, todo = (f"it is {known[0]}", known[1]) if known else (str(error), "fetch it again")
            raise DataError(f"{found.shard}: cannot be read as a tar file ({reason}); {todo}") from error
        if start and end == start:  # tarfile ends in silence at a header that is none, but for a file's first
            raise DataError(
                f"{found.shard}: at byte {start} of {size} lies what is no tar file: the shard is damaged, fetch it "
                "again"
            )
        if size < end + _BLOCK:  # a block of zeros at least tells that nothing follows
            return True
        following = next(_used_blocks(file, end), None)
        if following is None:
            return False
        start = following


def _used_blocks(file: BinaryIO, start: int) -> Iterator[int]:
    """Where blocks with anything but zeros begin, from ``start`` on."""
    file.seek(start)
    while chunk := file.read(_BLOCK * 256):
        if chunk.strip(b"\0"):
            yield from (start + at for at in range(0, len(chunk), _BLOCK) if chunk[at : at + _BLOCK].strip(b"\0"))
        start += len(chunk)


class _Samples:
    """Members of a shard, gathered into samples: neighbours or not, those with one stem."""

    def __init__(self, shard: str) -> None:
        self.shard, self._extensions = shard, picture_extensions()
        self._names: set[str] = set()
        self._part = 0
        self._pictures: dict[tuple[int, str], tuple[int, int]] = {}
        self._labels: dict[tuple[int, str], dict[str, str]] = {}
        self._captions: dict[tuple[int, str], str] = {}
        self._passed = 0

    def add(self, archive: tarfile.TarFile, member: tarfile.TarInfo) -> None:
        if member.name in self._names:
            self._part, self._names = self._part + 1, set()
        self._names.add(member.name)
        folder, _, base = member.name.rpartition("/")
        stem, _, extension = base.partition(".")  # WebDataset: the name up to its first dot
        key, extension = (self._part, f"{folder}/{stem}" if folder else stem), extension.lower()
        if f".{extension}" in self._extensions and key not in self._pictures:
            self._pictures[key] = (member.offset_data, member.size)
        elif extension in LABELS:
            content = archive.extractfile(member)
            assert content is not None
            label, caption = _label(content.read(), extension, f"{self.shard}/{member.name}")
            if label is not None:
                self._labels.setdefault(key, {})[extension] = label
            if caption is not None:
                self._captions[key] = caption
        else:
            self._passed += 1

    def columns(self) -> dict[str, Any]:
        captions = 0
        for key, caption in self._captions.items():
            if self._labels.get(key, {}).get("txt") == caption:  # img2dataset writes it twice
                del self._labels[key]["txt"]
                captions += 1
        chosen = [key for key in self._pictures if self._labels.get(key)]
        return {
            "stem": [f"{part}:{stem}" if part else stem for part, stem in chosen],
            "offset": [self._pictures[key][0] for key in chosen],
            "size": [self._pictures[key][1] for key in chosen],
            "label": [next(self._labels[key][kind] for kind in LABELS if kind in self._labels[key]) for key in chosen],
            "passed": self._passed,
            "unlabelled": len(self._pictures) - len(chosen),
            "captions": captions,
        }


def _label(content: bytes, extension: str, name: str) -> tuple[str | None, str | None]:
    """(A label member's label as text, None where a json has other facts only; the caption that a json has)."""
    try:
        text = content.decode("utf-8").strip()
        value = plain_json.loads(text) if extension == "json" else text
    except ValueError as error:
        raise DataError(f"{name}: not a label ({error})") from error
    caption = None
    if isinstance(value, dict):
        caption = None if value.get("caption") is None else str(value["caption"]).strip()
        value = next((value[key] for key in JSON_KEYS if key in value), None)
    if value is not None:
        check_single(value, name)
    return None if value is None or value == "" else str(value), caption
