"""Order of names as people count: the same on every machine and in every process, for it depends on the names alone.

Two keys. `natural_key` reads whole numbers only, for names of classes and files. `decimal_key` is for names that tell a
time: a number is what a person reads as one: `10`, `0.0333`, `1e-05`, `-10` at the start or behind a separator (in
`clip-10` the hyphen is the separator). Two parts behind a `v`, and three and more, are a version, counted one by one.
"""

from __future__ import annotations

import re
import unicodedata
from collections.abc import Callable, Iterable
from decimal import Decimal

Part = tuple[int, Decimal, str]  # (0, value, "") of a number, (1, 0, text) of text

_ZERO = Decimal(0)
_MOST_DIGITS = 4000
_NUMBER = re.compile(
    r"(?P<sign>(?:^|(?<=[_=(\[,; ]))[+-])?(?P<chain>\d+(?:\.\d+)*)(?P<exponent>[eE][+-]\d{1,3}(?![^\W_]))?"
)


def normal(name: str) -> str:
    """A name with accents in one piece (NFC): file systems and archives write the same name in two ways."""
    return unicodedata.normalize("NFC", name)


def parts_of(name: str, decimals: bool = True) -> list[Part]:
    """A name as numbers and the texts between them.

    Args:
        decimals: read `1.5` as one number; False: as 1 and 5.
    """
    name = normal(name)
    found: list[Part] = []
    position = 0
    for match in _NUMBER.finditer(name):
        before = name[position : match.start()]
        if before:
            found.append((1, _ZERO, before))
        sign, chain, exponent = (match[group] or "" for group in ("sign", "chain", "exponent"))
        version = chain.count(".") > 1 or before[-1:] in ("v", "V")
        if "." in chain and (version or not decimals):
            found += _one_by_one(sign, chain)
            found += [(1, _ZERO, exponent)] if exponent else []
        else:
            found.append((0, Decimal(sign + chain + exponent), ""))
        position = match.end()
    rest = name[position:]
    return [*found, (1, _ZERO, rest)] if rest else found


def _one_by_one(sign: str, chain: str) -> list[Part]:
    first, *others = chain.split(".")
    found: list[Part] = [(0, Decimal(sign + first), "")]
    for other in others:
        found += [(1, _ZERO, "."), (0, Decimal(other), "")]
    return found


def natural_key(text: str) -> tuple[list[tuple[int, int | Decimal, str]], str]:
    """Sort key under which class2 precedes class10: whole numbers by value, the rest as text.

    Different names have different keys, so no two can tie. It numbers classes, and so must never change.
    """
    pieces = (part for part in re.split(r"(\d+)", text) if part)
    parts = [(0, _whole(part), "") if part.isdecimal() else (1, 0, part) for part in pieces]
    return parts, text


def _whole(digits: str) -> int | Decimal:
    """Python reads no whole numbers of more than 4,300 digits; what it compares with them may have any number."""
    return int(digits) if len(digits) <= _MOST_DIGITS else Decimal(digits)


def decimal_key(name: str) -> tuple[list[Part], str]:
    """Sort key under which frame2 precedes frame10, and 1.0333 precedes 1.1; no two names have the same."""
    return parts_of(name), name


def reads_decimals(names: Iterable[str]) -> bool:
    """Whether the points in the numbers of a folder's names are decimal points.

    Where two names would then be the same number (1.1 and 1.10), the point separates two counters.
    """
    pointed = [name for name in names if re.search(r"\d\.\d", name)]
    return len({tuple(parts_of(name)) for name in pointed}) == len(pointed)


def order_of(names: Iterable[str]) -> Callable[[str], tuple[list[Part], str]]:
    """Sort key for the names of one folder: `decimal_key`, but 1.9 before 1.10 where points are no decimal ones, and
    hexadecimal names of one length (counters, hashes) letter by letter."""
    names = list(names)
    if are_hexadecimal(names):
        return lambda name: ([(1, _ZERO, name.lower())], name)
    decimals = reads_decimals(names)
    return lambda name: (parts_of(name, decimals), name)


def are_hexadecimal(names: Iterable[str]) -> bool:
    """Whether all names are hexadecimal numbers of one length, letters among them."""
    names = list(names)
    return (
        all(re.fullmatch("[0-9a-fA-F]{4,}", name) for name in names)
        and len({len(name) for name in names}) == 1
        and any(not name.isdigit() for name in names)
    )
