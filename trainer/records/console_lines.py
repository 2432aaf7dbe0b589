"""A training record as a line of the console or of ``train.log``, and times and paces in words. Loads no torch."""

from __future__ import annotations

from collections.abc import Mapping, Sequence
from typing import Any

CONSOLE_WIDTH = 110
TOLD_WAIT = 0.1  # share of the time that training waits for data, from which on the console says so


def format_line(record: Mapping[str, Any]) -> str:
    """One compact console line of a training record; what the record lacks is left out.

    Args:
        record: ``step``, ``samples_seen``, ``stage``; ``losses`` and ``lr`` (dicts of numbers, or one
            number); ``samples_per_s``, ``frames_per_s``; ``data_wait`` (share of the time, 0..1); ``memory``
            (GiB); ``eta_s`` (seconds).
    """
    parts = [f"step {record['step']}"]
    if record.get("stage") is not None:
        parts.append(str(record["stage"]))
    losses = record.get("losses")
    if isinstance(losses, Mapping):
        parts.append(" ".join(f"{name} {_short(value)}" for name, value in losses.items()))
    rates = record.get("lr")
    if rates is not None:
        values = list(rates.values()) if isinstance(rates, Mapping) else [rates]
        different = dict.fromkeys(f"{float(value):.1e}" for value in values)
        parts.append("lr " + "/".join(different))
    for key, unit in (("samples_per_s", "samples/s"), ("frames_per_s", "frames/s")):
        # Where a sample is one frame, once is enough.
        if record.get(key) is not None and (key == "samples_per_s" or record[key] != record.get("samples_per_s")):
            parts.append(f"{_short(record[key])} {unit}")
    if record.get("data_wait") is not None:
        parts.append(f"data wait {100 * float(record['data_wait']):.0f} %")
    if record.get("memory") is not None:
        parts.append(f"{float(record['memory']):.2f} GiB")
    if record.get("eta_s") is not None:
        parts.append(f"ETA {format_time(float(record['eta_s']))}")
    return " | ".join(part for part in parts if part)


def short_line(record: Mapping[str, Any], columns: Sequence[str], width: int = CONSOLE_WIDTH) -> str:
    """A training record in a console line: step, share done, a few numbers, pace, time left.

    Args:
        record: see ``format_line``; ``progress`` (0..1) too.
        columns: names among ``losses``, the most telling first; those that do not fit are left out, from the last on.
        width: characters of a line.
    """
    done = 100 * float(record["progress"])
    head = f"step {record['step']} | {done:.{1 if done < 10 else 0}f} %"
    if record.get("stage") is not None:
        head += f" | {record['stage']}"
    speed = f"{pace(record['samples_per_s'])} samples/s"
    if float(record.get("data_wait") or 0.0) >= TOLD_WAIT:
        speed += f", data wait {100 * float(record['data_wait']):.0f} %"
    tail = f"{speed} | ETA {format_time(float(record['eta_s']))}"
    losses = record.get("losses", {})
    numbers = [f"{name} {float(losses[name]):.3g}" for name in columns if losses.get(name) is not None]
    while numbers and len(f"{head} | {' '.join(numbers)} | {tail}") > width:
        numbers.pop()
    return " | ".join(part for part in (head, " ".join(numbers), tail) if part)


def pace(rate: float) -> str:
    """Three digits, and no exponent: ``0.0512``, ``12.3``, ``1,170``."""
    return f"{rate:.3g}" if rate < 100 else f"{rate:,.0f}"


def format_time(seconds: float) -> str:
    """Seconds as ``45 s``, ``3:07``, ``2:05:09`` or ``3 d 04:00:00``."""
    whole = max(0, round(seconds))
    if whole < 60:
        return f"{whole} s"
    days, rest = divmod(whole, 86400)
    hours, rest = divmod(rest, 3600)
    minutes, whole = divmod(rest, 60)
    if days:
        return f"{days} d {hours:02d}:{minutes:02d}:{whole:02d}"
    return f"{hours}:{minutes:02d}:{whole:02d}" if hours else f"{minutes}:{whole:02d}"


def _short(value: Any) -> str:
    return f"{float(value):.4g}"
