"""How large the values of a pickle are with everything that is in several others counted each time. Loads no torch.

``t = (x, x)``, written 60 times in 300 bytes, is small in memory, for the two are one. Whatever goes through it goes
through 2^60: the hash of a tuple (dict keys, names of storages) and the text of a value in an error's message. So the
opcodes are followed without building anything.
"""

from __future__ import annotations

import pickletools
from typing import IO, Any

GENEROUS = 10**7  # values and characters that any pickle may come to: a few tenths of a second to go through
MOST_TIMES = 64  # beyond that, so many times its bytes

_CALLABLE = object()  # what GLOBAL puts on the stack: torch's unpickler has it from its list of what is allowed
_SCALARS = {
    *("NONE", "NEWTRUE", "NEWFALSE", "BININT", "BININT1", "BININT2", "BINFLOAT", "LONG1", "EMPTY_TUPLE"),
    *("BINUNICODE", "SHORT_BINSTRING"),
    *("SHORT_BINUNICODE", "BINUNICODE8", "SHORT_BINBYTES", "BINBYTES", "BINBYTES8"),  # of protocol 4 and on, as DCP's
}
_FIXED = {"TUPLE1": 1, "TUPLE2": 2, "TUPLE3": 3, "BINPERSID": 1}  # new values of so many from the stack
_INTO = {"APPEND": 1, "SETITEM": 2, "BUILD": 1}  # so many go into the one below
_CALLS = ("REDUCE", "NEWOBJ")
_Item = Any  # int: so large, and nothing in it; list: [own size, items in it, ...]; _CALLABLE


class UnsafePickleError(Exception):
    """What a pickle says is more than it has, or nothing that is written here."""


class _Source:
    """A file without ``tell``, which genops would ask before each opcode."""

    def __init__(self, file: IO[bytes]) -> None:
        self.read, self.readline = file.read, file.readline


def check_pickle(file: IO[bytes]) -> None:
    """Follow the pickle that begins where the file stands, up to its STOP; the file stands there again afterwards.

    Raises:
        UnsafePickleError: its values come to more than 10^7 and 64 times its bytes, one is in itself, what is
            called is no function, or an opcode is not among those that ``torch.save`` and DCP write.
        EOFError: it is damaged or cut short.
    """
    begin = file.tell()
    try:
        roots = _follow(_Source(file))
    except (ValueError, IndexError, KeyError) as error:  # genops: ValueError; no such value on the stack, in the memo
        raise EOFError(f"damaged pickle: {error}") from error
    most = max(GENEROUS, MOST_TIMES * (file.tell() - begin))
    file.seek(begin)
    _weigh(roots, most)


def _follow(source: _Source) -> list[_Item]:
    """All that was on the stack at STOP.

    What was put into a container is never taken out again here, so that what it held at any time is within it.
    """
    stack: list[_Item] = []
    below: list[list[_Item]] = []
    memo: dict[Any, _Item] = {}
    for opcode, argument, _ in pickletools.genops(source):  # type: ignore[arg-type]
        name = opcode.name
        if name in _SCALARS:
            stack.append(1 + len(argument) if isinstance(argument, str | bytes) else 1)
        elif name in ("BINPUT", "LONG_BINPUT"):
            memo[argument] = stack[-1]
        elif name == "MEMOIZE":
            memo[len(memo)] = stack[-1]
        elif name in ("BINGET", "LONG_BINGET"):
            stack.append(memo[argument])
        elif name in _FIXED:
            stack[-_FIXED[name] :] = [_holding([1], *_last(stack, _FIXED[name]))]
        elif name in _INTO:
            holder, *items = _last(stack, 1 + _INTO[name])
            del stack[-len(items) :]
            _holding(holder, *items)
        elif name == "MARK":
            below.append(stack)
            stack = []
        elif name in ("TUPLE", "APPENDS", "SETITEMS", "ADDITEMS", "FROZENSET"):
            items, stack = stack, below.pop()
            if name in ("TUPLE", "FROZENSET"):
                stack.append(_holding([1], *items))
            else:
                _holding(stack[-1], *items)
        elif name in ("EMPTY_LIST", "EMPTY_DICT", "EMPTY_SET"):
            stack.append([1])
        elif name == "GLOBAL":
            stack.append(_CALLABLE)
        elif name == "STACK_GLOBAL":
            _last(stack, 2)
            stack[-2:] = [_CALLABLE]
        elif name in _CALLS:
            function, arguments = _last(stack, 2)
            if function is not _CALLABLE:
                raise UnsafePickleError("it calls what is no function")
            stack[-2:] = [_holding([1], arguments)]
        elif name not in ("PROTO", "FRAME", "STOP"):
            raise UnsafePickleError(f"its pickle has an opcode {name}")
    return [item for part in (*below, stack) for item in part]


def _last(stack: list[_Item], count: int) -> list[_Item]:
    if len(stack) < count:
        raise IndexError("nothing on the stack")
    return stack[-count:]


def _holding(holder: _Item, *items: _Item) -> _Item:
    if not isinstance(holder, list):
        raise UnsafePickleError("it puts values into what holds none")
    for item in items:
        if isinstance(item, list):
            holder.append(item)
        else:
            holder[0] += item if isinstance(item, int) else 1
    return holder


def _weigh(roots: list[_Item], most: int) -> None:
    """Add up what is in each value, from the innermost outwards."""
    whole: dict[int, int | None] = {}  # None: what is in it is being added up
    ways = [iter([_holding([0], *roots)])]
    path: list[list[_Item]] = []
    while ways:
        item = next(ways[-1], None)
        if item is None:
            ways.pop()
            if path:
                done = path.pop()
                size = done[0] + sum(whole[id(inner)] or 0 for inner in done[1:])
                if size > most:
                    raise UnsafePickleError(
                        f"with what is in several others counted each time it comes to more than {most:,} values"
                    )
                whole[id(done)] = size
        elif id(item) not in whole:
            whole[id(item)] = None
            path.append(item)
            ways.append(iter(item[1:]))
        elif whole[id(item)] is None:
            raise UnsafePickleError("one of its lists and dicts is in itself")
