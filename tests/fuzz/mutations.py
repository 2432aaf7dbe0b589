"""How a file becomes another one: bytes, numbers of headers, and nodes of JSON, changed by lists of small steps.

A step is three whole numbers, so that hypothesis can make a failing list shorter and simpler.
"""

from __future__ import annotations

import json
import re
import struct
from collections.abc import Callable, Sequence
from typing import Any

Step = tuple[int, int, int]  # which change, where, how

_LENGTHS = (0, 1, 2, 3, 0x7F, 0x80, 0xFF, 0x100, 0x7FFF, 0x8000, 0xFFFF, 0x7FFFFFFF, 0x80000000, 0xFFFFFFFF)
_LONGS = (*_LENGTHS, 2**40, 2**47, 2**63 - 1, 2**63, 2**64 - 1)
_NUMBERS = (
    b"0",
    b"-1",
    b"1e999",
    b"NaN",
    b"-Infinity",
    b"9" * 400,
    b"1e-400",
    b"3.7",
    b"2147483648",
    b"18446744073709551616",
)
_WORDS = (
    b'""',
    b'"\\u0000"',
    b'"../../../../tmp/x"',
    b'"/etc/passwd"',
    b'"\\ud800"',
    b'"${oc.env:HOME}"',
    b'"' + b"x" * 5000 + b'"',
    b'"\\u001b[2J"',
)
_ODD: tuple[Any, ...] = (
    None,
    True,
    -1,
    0,
    1e308,
    2**70,
    "",
    "x",
    "../x",
    [],
    {},
    [[]],
    [None],
    {"a": None},
    "\x00",
    0.5,
)
_KEYS = ("", "__proto__", "path", "class", "_target_", "x" * 300)


def mutated(data: bytes, others: Sequence[bytes], steps: Sequence[Step]) -> bytes:
    """The content after all steps.

    Args:
        data: where it begins.
        others: valid contents to take pieces of.
        steps: see ``Step``; any numbers do.
    """
    for which, where, how in steps:
        data = _CHANGES[which % len(_CHANGES)](data, where, how, others)[:_LONGEST]
    return data


_LONGEST = 4 << 20


def _flip(data: bytes, where: int, how: int, others: Sequence[bytes]) -> bytes:
    if not data:
        return bytes([how & 255])
    at = where % len(data)
    return data[:at] + bytes([data[at] ^ (1 << how % 8)]) + data[at + 1 :]


def _byte(data: bytes, where: int, how: int, others: Sequence[bytes]) -> bytes:
    at = where % (len(data) + 1)
    return data[:at] + bytes([how & 255]) + data[at + 1 :]


def _number(data: bytes, where: int, how: int, others: Sequence[bytes]) -> bytes:
    """A length or size in a header, of 2, 4 or 8 bytes in either order, becomes one at a border."""
    order, width = "<>"[how % 2], "HIQ"[how // 2 % 3]
    value = _LONGS[how // 6 % len(_LONGS)] & (1 << 8 * struct.calcsize(width)) - 1
    packed = struct.pack(order + width, value)
    at = where % (len(data) + 1)
    return data[:at] + packed + data[at + len(packed) :]


def _cut(data: bytes, where: int, how: int, others: Sequence[bytes]) -> bytes:
    return data[: where % (len(data) + 1)]


def _drop(data: bytes, where: int, how: int, others: Sequence[bytes]) -> bytes:
    at = where % (len(data) + 1)
    return data[:at] + data[at + 1 + how % 64 :]


def _again(data: bytes, where: int, how: int, others: Sequence[bytes]) -> bytes:
    at = where % (len(data) + 1)
    piece = data[at : at + 1 + how % 512]
    return data[:at] + piece * (1 + how // 512 % 4) + data[at:]


def _insert(data: bytes, where: int, how: int, others: Sequence[bytes]) -> bytes:
    at = where % (len(data) + 1)
    return data[:at] + struct.pack("<I", how & 0xFFFFFFFF)[: 1 + how % 4] + data[at:]


def _splice(data: bytes, where: int, how: int, others: Sequence[bytes]) -> bytes:
    other = others[how % len(others)]
    at, there = where % (len(data) + 1), how // max(len(others), 1) % (len(other) + 1)
    return data[:at] + other[there:]


def _text_number(data: bytes, where: int, how: int, others: Sequence[bytes]) -> bytes:
    found = list(re.finditer(rb"-?\d+(?:\.\d+)?", data[:100_000]))
    return _replaced(data, found, where, _NUMBERS[how % len(_NUMBERS)])


def _text_word(data: bytes, where: int, how: int, others: Sequence[bytes]) -> bytes:
    found = list(re.finditer(rb'"[^"\n]{0,200}"', data[:100_000]))
    return _replaced(data, found, where, _WORDS[how % len(_WORDS)])


def _replaced(data: bytes, found: list[re.Match[bytes]], where: int, by: bytes) -> bytes:
    if not found:
        return data
    match = found[where % len(found)]
    return data[: match.start()] + by + data[match.end() :]


def _node(data: bytes, where: int, how: int, others: Sequence[bytes]) -> bytes:
    """A node of JSON (also of the header that safetensors begin with) becomes something else, goes, or comes twice."""
    head = 8 if len(data) > 8 and data[8:9] == b"{" else 0
    length = min(int.from_bytes(data[:8], "little"), len(data)) if head else len(data)
    try:
        content = json.loads(data[head : head + length])
        places = list(_places(content))
        if not places:
            return data
        holder, key = places[where % len(places)]
        if how % 5 == 0:
            del holder[key]
        elif how % 5 == 1 and isinstance(holder, list):
            holder.append(holder[key])
        elif how % 5 == 1:
            holder[_KEYS[how // 5 % len(_KEYS)]] = holder[key]
        else:
            holder[key] = _ODD[how // 5 % len(_ODD)]
        text = json.dumps(content).encode()
    except (ValueError, RecursionError):
        return data
    return len(text).to_bytes(8, "little") + text + data[head + length :] if head else text


def _places(value: Any) -> Any:
    for key in list(value) if isinstance(value, dict) else range(len(value)) if isinstance(value, list) else ():
        yield value, key
        yield from _places(value[key])


def _nest(data: bytes, where: int, how: int, others: Sequence[bytes]) -> bytes:
    """Brackets a thousand deep, or lines a thousand long."""
    piece = (b"[" * 2000, b"{" * 500, b'{"a":' * 1500, b"," * 3000, b"\n" * 2000, b"&a [*a,*a]\n")[how % 6]
    at = where % (len(data) + 1)
    return data[:at] + piece + data[at:]


_CHANGES: tuple[Callable[[bytes, int, int, Sequence[bytes]], bytes], ...] = (
    _flip,
    _byte,
    _number,
    _cut,
    _drop,
    _again,
    _insert,
    _splice,
    _text_number,
    _text_word,
    _node,
    _nest,
)
