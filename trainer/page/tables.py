"""Tables of the tab of runs as HTML: how far each run is, what tells the chosen ones apart, commands to go on."""

from __future__ import annotations

import html
import shlex
import time
from collections.abc import Callable, Sequence
from dataclasses import replace
from pathlib import Path

from trainer.config.schema import show
from trainer.page.following import DONE, TRAINING, Seen
from trainer.records.compare import RunRecord, differing, table
from trainer.records.console_lines import format_time
from trainer.schedule.cadence import span
from trainer.untrusted.shown import one_line

MOST = 300  # runs that are listed
_HEADS = ("run", "state", "step", "progress", "time left", "last record", "task")
_QUIET_S = 120  # without a record for so long, a run that trains is worth a look


def overview(seen: Sequence[Seen], now: float | None = None) -> str:
    """All runs: state, step, how far, time left, when it last wrote.

    Args:
        now: seconds since the epoch; None: this moment.
    """
    now = time.time() if now is None else now
    if not seen:
        return (
            "<p>There are no runs in this folder yet. One appears here as soon as it trains. How to train:</p>"
            "<pre><code>python train.py --help</code></pre>"
        )
    counts = {state: sum(run.state == state for run in seen) for state in dict.fromkeys(run.state for run in seen)}
    told = f"{len(seen)} run{'s' * (len(seen) != 1)}: " + ", ".join(f"{count} {name}" for name, count in counts.items())
    rows = "".join(_row(run, now) for run in seen[:MOST])
    more = f"<p>{len(seen) - MOST} older ones are not listed.</p>" if len(seen) > MOST else ""
    heads = "".join(f'<th scope="col">{head}</th>' for head in _HEADS)
    return (
        f'<p id="runs-told">{told}</p><div class="wide" tabindex="0" role="region" aria-labelledby="runs-told">'
        f"<table class='runs'><thead><tr>{heads}</tr></thead><tbody>{rows}</tbody></table></div>{more}"
    )


def _row(run: Seen, now: float) -> str:
    share = "" if run.progress is None else f"{100 * min(1.0, run.progress):.0f} %"
    bar = "" if run.progress is None else (
        f'<span class="bar" aria-hidden="true"><span style="width:{100 * min(1.0, run.progress):.1f}%"></span></span>'
    )  # fmt: skip
    heard = "never" if run.heard is None else f"{span(max(0.0, now - run.heard))} ago"
    quiet = run.state == TRAINING and run.heard is not None and now - run.heard > _QUIET_S
    note = f'<span class="note">{html.escape(run.note)}</span>' if run.note else ""
    cells = (
        f'<span class="state {run.state}">{run.state}</span>{note}',
        f"{run.step:,}",
        f"{bar}{share}",
        "" if run.eta_s is None else format_time(run.eta_s),
        f'<strong title="no record for long">{heard}</strong>' if quiet else heard,
        html.escape(run.task),
    )
    return f'<tr><th scope="row">{html.escape(run.name)}</th>{"".join(f"<td>{cell}</td>" for cell in cells)}</tr>'


def settings(chosen: Sequence[RunRecord], others: Sequence[RunRecord], hidden: Callable[[str], str]) -> str:
    """What tells the chosen runs apart and what came out; of a single one, what tells it from others of its task.

    Args:
        chosen: runs to show, a column each.
        others: all runs, for a single one to be held against.
        hidden: takes paths of the machine out of a text.
    """
    if len(chosen) > 1:
        keys = differing(chosen)
    else:
        task = chosen[0].settings.get("task")
        keys = differing([run for run in others if run.settings.get("task") == task] or chosen)
    # The rows of scripts/compare.py, on their side: there are few runs and many keys.
    scores = [column for column in zip(*table(chosen), strict=True) if column[0] not in keys]
    names = scores.pop(0)
    found = [(key, *(show(run.settings[key]) if key in run.settings else "-" for run in chosen)) for key in keys]
    heads = "".join(f'<th scope="col">{html.escape(name)}</th>' for name in ("setting", *names[1:]))
    rows = "".join(
        f'<tr><th scope="row">{html.escape(key)}</th>'
        + "".join(f"<td>{html.escape(hidden(value))}</td>" for value in values)
        + "</tr>"
        for key, *values in [*found, *scores]
    )
    none = "" if found else "<p>All settings are the same.</p>" if len(chosen) > 1 else ""
    label = "settings that differ, and results"
    return (
        f'{none}<div class="wide" tabindex="0" role="region" aria-label="{label}">'
        f"<table><thead><tr>{heads}</tr></thead><tbody>{rows}</tbody></table></div>"
    )


def named(record: RunRecord, name: str) -> RunRecord:
    """A run under the name that the page calls it, in place of where it lies."""
    return replace(record, path=Path("/", name))


def commands(chosen: Sequence[Seen], places: dict[str, str], host: str) -> str:
    """What to type to go on with each run, in the folder that the page was started in.

    Args:
        places: path of each run, by its name, as a command takes it.
        host: of this machine: only its processes can be ended from here.
    """
    lines = []
    for run in chosen:
        words = shlex.quote(f"run={places[run.name]}")
        if run.state == TRAINING:
            lines.append(
                f"# {one_line(run.name)} is training; the same again goes on with it after it has been stopped"
            )
            if run.owner.get("host") == host and isinstance(run.owner.get("pid"), int):
                lines.append(f"kill -TERM {run.owner['pid']}  # saves, then stops")
        elif run.state == DONE:
            lines.append(f"# {one_line(run.name)} is done; for longer add trainer.max_samples=, max_steps= or budget=")
        lines.append(f"python train.py {words}")
    if len(chosen) > 1:
        lines.append("python scripts/compare.py " + " ".join(shlex.quote(places[run.name]) for run in chosen))
    return "\n".join(lines)
