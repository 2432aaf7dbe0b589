"""Where the numbering of a folder's frames jumps: a sequence has no gaps, so it ends there.

Names tell it: `0007` is followed by `0200`, `scene_1_099` by `scene_2_000`. The usual step is the folder's own (every
fifth frame is no gap), time stamps may jitter, and names that do not count (random ids) are left together.
"""

from __future__ import annotations

import re
from collections.abc import Sequence
from dataclasses import dataclass, field
from datetime import datetime
from decimal import Decimal
from itertools import pairwise

from trainer.data.natural_order import Part, are_hexadecimal, order_of, parts_of, reads_decimals

_USUAL = 2 / 3  # of the steps are at most the usual one, and near it, where names count
_GAP = Decimal("1.5")  # usual steps: more are a gap
_OWN_STEP = 6  # steps from which on a run of names has a usual step of its own
_EPOCH = datetime(1970, 1, 1)
_DATE = r"(?P<year>(?:19|20)\d\d)[-_.]?(?P<month>0[1-9]|1[0-2])[-_.]?(?P<day>0[1-9]|[12]\d|3[01])[-_T ]?"
_CLOCK = r"(?P<hour>[01]\d|2[0-3])[-_:.h]{0}(?P<minute>[0-5]\d)[-_:.m]{0}(?P<second>[0-5]\d)s?"
_FRACTION = r"(?:[-_.,]?(?P<fraction>\d{9}|\d{6}|\d{3}))?(?!\d)"
# A date with its time, in any usual writing, or a time alone, with separators.
_TIMES = [re.compile(rf"(?<!\d){start}{_FRACTION}") for start in (_DATE + _CLOCK.format("?"), _CLOCK.format(""))]


@dataclass
class Runs:
    """Names of one folder as runs without gaps.

    Attributes:
        runs: in natural order, each in the order of its numbers.
        jumps: (last name of a run, first of the next) of each gap.
        counted: names tell the order of most frames; else they are in that of the alphabet.
    """

    runs: list[list[str]]
    jumps: list[tuple[str, str]] = field(default_factory=list)
    counted: bool = True


@dataclass
class _Counted:
    """Names that differ in one number only, by that number; `step` is their usual one."""

    names: list[str]
    values: list[Decimal]
    step: Decimal

    def steps(self) -> list[Decimal]:
        return _steps(self.values)


def find_runs(names: Sequence[str], filled: int = 0) -> Runs:
    """Split the names of a folder's frames where their numbering jumps or another count begins.

    Args:
        names: without extensions, each once.
        filled: a jump over at most so many is none: the names that are missing stand in their places.
    """
    key = order_of(names)
    ordered = sorted(names, key=key)
    if len(ordered) < 2:
        return Runs([ordered] if ordered else [])
    counted: list[_Counted] = []
    alone: list[str] = []
    for alike in _alike(ordered):
        found = _count(alike)
        counted += found
        alone += [] if found else list(alike)
    if sum(len(group.names) for group in counted) * 2 < len(ordered):
        return Runs([ordered], counted=False)
    runs = [run for group in counted for run in _split(group, filled)] + [[name] for name in alone]
    runs.sort(key=lambda run: key(run[0]))
    return Runs(runs, [(before[-1], after[0]) for before, after in pairwise(runs)])


def _alike(names: list[str]) -> list[dict[str, list[Part]]]:
    """Names with the same text around their numbers, each with its parts."""
    groups: dict[tuple[str | None, ...], dict[str, list[Part]]] = {}
    for name, parts in zip(names, _read(names), strict=True):
        text = tuple(text if kind else None for kind, _, text in parts)
        groups.setdefault(text, {})[name] = parts
    return list(groups.values())


def _read(names: list[str]) -> list[list[Part]]:
    """Parts of each name; times and hexadecimal numbers, where all names have them, as one number each."""
    if are_hexadecimal(names):
        return [[(0, Decimal(int(name, 16)), "")] for name in names]
    decimals = reads_decimals(names)
    for pattern in _TIMES:
        times = [pattern.search(name) for name in names]
        moments = [_moment(time) for time in times if time is not None]
        if len(moments) == len(names) and None not in moments:
            return [
                [*parts_of(name[: time.start()], decimals), (0, moment, ""), *parts_of("x" + name[time.end() :])]
                for name, time, moment in zip(names, times, moments, strict=True)
                if time is not None and moment is not None
            ]
    return [parts_of(name, decimals) for name in names]


def _moment(time: re.Match[str]) -> Decimal | None:
    """Seconds since 1970, or since midnight; None: there is no such day."""
    defaults = {"year": "1970", "month": "1", "day": "1", **time.groupdict()}
    year, month, day, hour, minute, second = (
        int(defaults[name]) for name in ("year", "month", "day", "hour", "minute", "second")
    )
    try:
        moment = datetime(year, month, day, hour, minute, second)
    except ValueError:
        return None
    return Decimal(f"{round((moment - _EPOCH).total_seconds())}.{time['fraction'] or 0}")


def _count(alike: dict[str, list[Part]]) -> list[_Counted]:
    """The counts that names with the same text make; none where they do not count."""
    names = list(alike)
    numbers = {name: tuple(value for kind, value, _ in parts if kind == 0) for name, parts in alike.items()}
    width = len(numbers[names[0]])
    varying = [i for i in range(width) if len({numbers[name][i] for name in names}) > 1]
    if not varying:
        return []
    # The last number counts within what is before it (scene, frame), or a number counts alone (frame, time stamp).
    found = _by_counter(names, numbers, varying[-1], varying[:-1])
    for counter in reversed(varying):
        if not found and len({numbers[name][counter] for name in names}) == len(names):
            found = _by_counter(names, numbers, counter, [])
    return found


def _by_counter(
    names: list[str], numbers: dict[str, tuple[Decimal, ...]], counter: int, within: list[int]
) -> list[_Counted]:
    groups: dict[tuple[Decimal, ...], list[str]] = {}
    for name in names:
        groups.setdefault(tuple(numbers[name][i] for i in within), []).append(name)
    counted = []
    for group in groups.values():
        group.sort(key=lambda name: numbers[name][counter])
        counted.append(_Counted(group, [numbers[name][counter] for name in group], Decimal(0)))
    step = _usual([step for group in counted for step in group.steps()])
    if step is None or len(groups) * 2 > len(names):
        return []
    for group in counted:
        own = group.steps()
        group.step = (_usual(own) if len(own) >= _OWN_STEP else None) or step
    return counted


def _steps(values: list[Decimal]) -> list[Decimal]:
    """Differences of neighbours; the same number written twice (1, 01) makes none."""
    return [after - before for before, after in pairwise(values) if after > before]


def _usual(steps: list[Decimal]) -> Decimal | None:
    """The step that two thirds do not exceed; None where so many are not near it, so that nothing is counted."""
    if not steps:
        return None
    usual = sorted(steps)[max(0, -(-len(steps) * 2 // 3) - 1)]
    near = sum(usual / 2 <= step <= usual * _GAP for step in steps)
    return usual if near >= _USUAL * len(steps) else None


def _split(group: _Counted, filled: int) -> list[list[str]]:
    runs = [[group.names[0]]]
    for (previous, before), (name, after) in pairwise(zip(group.names, group.values, strict=True)):
        if after - before > _GAP * group.step:
            between = _between(previous, name, group.step, filled)
            runs[-1] += between
            if not between:
                runs.append([])
        runs[-1].append(name)
    return runs


def _between(before: str, after: str, step: Decimal, most: int) -> list[str]:
    """The names between two that differ in one whole number, a step apart; empty where there are more, or none."""
    one, two = (re.split(r"(\d+)", name) for name in (before, after))
    differ = [place for place, (a, b) in enumerate(zip(one, two, strict=False)) if a != b]
    if len(one) != len(two) or len(differ) != 1 or differ[0] % 2 == 0 or step % 1:
        return []
    first, last = int(one[differ[0]]), int(two[differ[0]])
    numbers = range(first + int(step), last, int(step))
    if len(numbers) > most or (last - first) % int(step):
        return []
    width = len(one[differ[0]])
    return ["".join([*one[: differ[0]], str(number).zfill(width), *one[differ[0] + 1 :]]) for number in numbers]
