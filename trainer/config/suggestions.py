"""What was probably meant by a word or a key that does not exist: "did you mean". Loads no torch."""

from __future__ import annotations

import difflib
from collections.abc import Iterable

from trainer.config.foreign_flags import absent


def did_you_mean(word: str, choices: Iterable[str]) -> str:
    """``; did you mean 'x'?`` for the closest choice, or nothing."""
    close = difflib.get_close_matches(word.lower(), list(choices), n=1, cutoff=0.6)
    return f"; did you mean '{close[0]}'?" if close else ""


def suggest_key(key: str, known: Iterable[str]) -> str | None:
    """The known dotted key that was probably meant, or None.

    In this order: a key beside it (``trainer.max_stps``), the same last part elsewhere (``max_steps``, ``model.lr``),
    a similar last part elsewhere, a similar key altogether (``trianer.max_steps``).
    """
    known = list(known)
    group, _, last = key.rpartition(".")
    beside = [name.rpartition(".")[2] for name in known if name.rpartition(".")[0] == group]
    close = difflib.get_close_matches(last, beside, n=1, cutoff=0.6)
    if close:
        return f"{group}.{close[0]}" if group else close[0]
    same = [name for name in known if name.rpartition(".")[2] == last]
    if same:
        return max(same, key=lambda name: (difflib.SequenceMatcher(None, name, key).ratio(), -len(name)))
    whole = difflib.get_close_matches(key, known, n=1, cutoff=0.75)
    if whole:
        return whole[0]
    lasts = difflib.get_close_matches(last, {name.rpartition(".")[2] for name in known}, n=1, cutoff=0.75)
    if lasts:
        return min((name for name in known if name.rpartition(".")[2] == lasts[0]), key=len)
    return None


def unknown_key(key: str, known: Iterable[str]) -> str:
    """The problem line for a key that does not exist."""
    known = list(known)
    instead = absent(key)
    if instead is not None:
        return f"unknown key '{key}'; {instead}"
    close = suggest_key(key, known)
    if close is not None:
        return f"unknown key '{key}'; did you mean '{close}'?"
    group = key.rpartition(".")[0]
    while group and not any(name.startswith(group + ".") for name in known):
        group = group.rpartition(".")[0]
    prefix = group + "." if group else ""
    names = sorted({name[len(prefix) :].split(".")[0] for name in known if name.startswith(prefix)})
    return f"unknown key '{key}'; {f'{group} has' if group else 'there are'}: {', '.join(names)}"
