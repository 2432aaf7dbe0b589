"""Times at which a video's frames are shown: its time stamps, or its stated rate where it has none."""

from __future__ import annotations

from collections.abc import Sequence
from dataclasses import dataclass
from fractions import Fraction
from itertools import pairwise

import numpy as np

DEFAULT_FPS = 25.0
_REORDERED = 16  # frames by which a stamp may stand out of order: the deepest reordering of H.264 and HEVC
_CLOCK_S = 0.0015
_LEAP_S = 10.0  # in a broadcast stream a longer pause is another recording (as in FFmpeg's tools)


@dataclass(frozen=True)
class Times:
    """When frames are shown.

    Attributes:
        starts: float64 (N + 1,) seconds from the first frame, ascending; the last one is the end.
        fps: N frames over their duration.
        breaks: frames before which the file's clock jumps: another recording begins there.
        gaps: shortest and longest time from a frame to the next, in seconds, where they differ by more than half a
            frame; None where timing is even.
    """

    starts: np.ndarray
    fps: float
    breaks: tuple[int, ...] = ()
    gaps: tuple[float, float] | None = None


def frame_times(
    stamps: Sequence[int | None],
    unit: Fraction,
    rate: Fraction | float | None,
    last: int | None = None,
    broadcast: bool = False,
) -> Times:
    """Times of decoded frames.

    Args:
        stamps: of all frames in the order in which they are shown, in units of `unit`; None where a frame has none.
        unit: seconds.
        rate: frames per second that the container states; exact where it is right.
        last: how long the last frame is shown, in units, if the file says so.
        broadcast: the format is one whose clock may jump (MPEG-TS, MPEG-PS).
    """
    count = len(stamps)
    nominal = float(rate) if rate and 0 < rate < 1e4 else DEFAULT_FPS
    known = np.array([i for i, stamp in enumerate(stamps) if stamp is not None], np.int64)
    values = np.array([stamp for stamp in stamps if stamp is not None], np.float64) * float(unit)
    # Half of the stamps missing is the least that MPEG-PS leaves; fewer cannot tell even from uneven.
    if len(known) < 2 or len(known) * 4 < count or np.ptp(values) <= 0:
        return Times(np.arange(count + 1) / nominal, nominal)
    values, jumps = _straightened(known, values, broadcast)
    starts = np.interp(np.arange(count), known, values)
    steps = np.diff(values) / np.diff(known)
    typical = float(np.median(steps[steps > 0])) if (steps > 0).any() else 1 / nominal
    # Before the first and behind the last stamp frames follow at the usual distance.
    starts[: known[0]] = values[0] - typical * (known[0] - np.arange(known[0]))
    starts[known[-1] + 1 :] = values[-1] + typical * (np.arange(known[-1] + 1, count) - known[-1])
    starts -= starts[0]
    gaps = np.diff(starts)
    span = float(starts[-1])
    # A clock of milliseconds cannot show 2,000 frames/s evenly; that is no fault of the frames.
    slack = max(0.5 * span / max(1, len(gaps)), min(float(unit), _CLOCK_S))
    even = bool((np.abs(gaps - span / max(1, len(gaps))) <= slack).all())
    if (
        len(known) < count
    ):  # stamps of MPEG-PS belong to packs of several frames: a frame here or there is no unevenness
        even = even or bool((np.abs(starts - np.linspace(0, span, count)) <= 1.5 * typical).all())
    if even and rate and abs(span * float(rate) - (count - 1)) < 0.5:
        fps, end = nominal, count / nominal
    elif even:
        fps = (count - 1) / span if span > 0 else nominal
        end = count / fps
    else:
        end = span + (last * float(unit) if last and 0 < last * float(unit) <= _LEAP_S else typical)
        fps = count / end
    return Times(
        np.append(starts, max(end, span)), fps, jumps, None if even else (float(gaps.min()), float(gaps.max()))
    )


def _straightened(known: np.ndarray, values: np.ndarray, broadcast: bool) -> tuple[np.ndarray, tuple[int, ...]]:
    """Seconds in ascending order, and the frames before which the clock was set anew."""
    steps = np.diff(values)
    forward = steps[steps > 0]
    typical = float(np.median(forward)) if len(forward) else 1 / DEFAULT_FPS
    back = steps < -_REORDERED * typical
    leap = steps > _LEAP_S if broadcast else np.zeros_like(back)
    borders = [0, *(int(i) + 1 for i in (back | leap).nonzero()[0]), len(values)]
    pieces, end = [], 0.0
    for begin, stop in pairwise(borders):
        # Stamps made from the decoding order (AVI) are the right ones in a wrong order.
        piece = np.sort(values[begin:stop])
        pieces.append(piece if begin == 0 else piece - piece[0] + end + typical)
        end = float(pieces[-1][-1])
    return np.concatenate(pieces), tuple(int(known[border]) for border in borders[1:-1])


def resampled(starts: np.ndarray, fps: float) -> np.ndarray:
    """Frame numbers that show a video at a constant rate, as a player with that rate would.

    Args:
        starts: see `Times.starts`.
        fps: of the result.
    Returns:
        int64 (M,): for the times 0, 1/fps, 2/fps, ... before the end the last frame that had begun.
    """
    end = float(starts[-1])
    moments = np.arange(max(1, int(np.ceil(end * fps - 1e-6)))) / fps
    # Stamps are rounded to the clock of the file: a frame that begins a trifle later is the one that is meant.
    slack = min(0.1 / fps, 0.002)
    return np.searchsorted(starts[:-1], moments + slack, side="right").clip(1) - 1
