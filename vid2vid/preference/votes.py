"""Votes on a blind sheet: read from the files of many voters, and what they say. Loads no torch."""

from __future__ import annotations

import csv
import io
from collections import Counter
from collections.abc import Sequence
from dataclasses import dataclass
from pathlib import Path
from typing import Any

from trainer.errors import DataError
from trainer.records.intervals import clopper_pearson, two_sided_p, wilson
from trainer.untrusted import plain_json
from vid2vid.preference.sheet import SIDES, Key

COLUMNS = ("sheet", "voter", "trial", "choice")


@dataclass(frozen=True)
class Vote:
    """One choice of one voter.

    Attributes:
        sheet, voter, trial: where, by whom, on which pair.
        choice: "left" or "right".
    """

    sheet: str
    voter: str
    trial: str
    choice: str


def read_votes(path: Path) -> list[Vote]:
    """The votes of a file: JSON or CSV as the page saves them, or the list of the little server.

    Raises:
        DataError: missing, of another form, or a choice that is neither side.
    """
    try:
        text = path.read_text(encoding="utf-8-sig")
    except FileNotFoundError as error:
        raise DataError(f"votes={path}: no such file") from error
    except (OSError, UnicodeDecodeError) as error:
        raise DataError(f"votes={path}: cannot be read ({error})") from error
    try:
        votes = _from_json(plain_json.loads(text)) if text.lstrip()[:1] in ("{", "[") else _from_csv(text)
    except (ValueError, TypeError, KeyError, AttributeError) as error:
        raise DataError(
            f"votes={path}: is no file of votes that the page of scripts/ab_sheet.py saves (votes.json, votes.csv)"
        ) from error
    for vote in votes:
        if vote.choice not in SIDES:
            raise DataError(
                f"votes={path}: {vote.voter or 'a voter'} chose '{vote.choice}' of {vote.trial}, not a side"
            )
    return votes


def voters(data: Any) -> list[dict[str, Any]]:
    """What the page sends of one voter, or the server keeps of several, as a list.

    Raises:
        AttributeError: it is neither.
    """
    return data.get("voters", [data])


def _from_json(data: Any) -> list[Vote]:
    return [
        Vote(str(one["sheet"]), str(one.get("voter", "")), str(vote["trial"]), str(vote["choice"]))
        for one in voters(data)
        for vote in one["votes"]
    ]


def _from_csv(text: str) -> list[Vote]:
    return [Vote(*(row[name] for name in COLUMNS)) for row in csv.DictReader(io.StringIO(text))]


def checked(votes: Sequence[Vote], key: Key) -> list[Vote]:
    """Votes on this sheet, one of each voter on each pair: the last one counts.

    Raises:
        DataError: some are of another sheet, or on pairs that this one has not.
    """
    foreign = {vote.sheet for vote in votes if vote.sheet != key.sheet}
    if foreign:
        raise DataError(
            f"votes of another sheet ({', '.join(sorted(foreign))}), this key is of {key.sheet}: give its own"
        )
    known = {trial.name for trial in key.trials}
    unknown = sorted({vote.trial for vote in votes} - known)
    if unknown:
        raise DataError(f"votes on pairs that the sheet {key.sheet} has not: {', '.join(unknown)}")
    return list({(vote.voter, vote.trial): vote for vote in votes}.values())


def report(votes: Sequence[Vote], key: Key) -> list[str]:
    """The preference with its intervals, and a table of the clips, as lines.

    Args:
        votes: see `checked`.

    Raises:
        DataError: there are none.
    """
    if not votes:
        raise DataError("there are no votes yet")
    trials = {trial.name: trial for trial in key.trials}
    chosen = [(trials[vote.trial].clip, getattr(trials[vote.trial], vote.choice)) for vote in votes]
    by_clip = Counter(chosen)
    clips = list(dict.fromkeys(sorted(trial.clip for trial in key.trials)))
    width = max(len("clip"), *(len(clip) for clip in clips))
    lines = [f"{'clip':<{width}}{'a':>6}{'b':>6}"]
    lines += [f"{clip:<{width}}{by_clip[clip, 'a']:>6}{by_clip[clip, 'b']:>6}" for clip in clips]
    total, for_a = len(chosen), sum(side == "a" for _, side in chosen)
    left = sum(vote.choice == "left" for vote in votes)
    (low, high), (wilson_low, wilson_high) = clopper_pearson(for_a, total), wilson(for_a, total)
    lines += [
        "",
        f"a: {key.a}",
        f"b: {key.b}",
        f"{len({vote.voter for vote in votes})} voter(s), {total} votes; the left video was chosen {left} times",
        f"a is preferred in {for_a} of {total}: {for_a / total:.3f}",
        f"  95 % interval, exact (Clopper-Pearson): {low:.3f} to {high:.3f}",
        f"  95 % interval, Wilson:                  {wilson_low:.3f} to {wilson_high:.3f}",
        f"  if neither were better, a count as far from half: p = {two_sided_p(for_a, total):.2g}",
        "votes of one voter, and on one clip, are more alike than the intervals assume: many voters, many clips",
    ]
    return lines
