"""Where a face is: the square around it that is shown."""

from __future__ import annotations

import numpy as np

from vid2vid.data.augment import Box

SIDE = 2.5  # of the square, in widths of the landmarks


def face_box(track: np.ndarray, frame: tuple[int, int], resolution: tuple[int, int]) -> Box:
    """One box for all the frames, so that it does not jump: the median face's.

    Its shorter side is 2.5 times the landmarks' width; their middle is in the middle across, and downward a quarter of
    their height below the top of the brows. (Wang et al. 2018's code takes a clip's first frame; the median does not
    depend on how well that one was found.) Where it would leave the frame it is moved into it, and made smaller where
    the frame is smaller.

    Args:
        track: (T, 68, 2) x, y in pixels of the frame, NaN where missing; a face in one frame at least.
        frame: (H, W) of the frames.
        resolution: (H, W) it is shown at; the box has its aspect.
    """
    low, high = np.nanmin(track[_any(track)], axis=1), np.nanmax(track[_any(track)], axis=1)
    width = float(np.median(high[:, 0] - low[:, 0]))
    across = float(np.median((low[:, 0] + high[:, 0]) / 2))
    down = float(np.median((3 * low[:, 1] + high[:, 1]) / 4))
    unit = SIDE * max(1.0, width) / min(resolution)
    unit = min(unit, frame[0] / resolution[0], frame[1] / resolution[1])
    height, columns = (max(1, round(unit * side)) for side in resolution)
    # A whole number is the centre of a pixel, whose edge is half a pixel before it.
    top, left = round(down + 0.5 - height / 2), round(across + 0.5 - columns / 2)
    return max(0, min(top, frame[0] - height)), max(0, min(left, frame[1] - columns)), height, columns


def outside(track: np.ndarray, box: Box) -> int:
    """In how many frames a point of the face lies outside the box."""
    top, left, height, width = box
    with np.errstate(invalid="ignore"):
        x, y = track[..., 0], track[..., 1]
        out = (x < left - 0.5) | (x > left + width - 0.5) | (y < top - 0.5) | (y > top + height - 0.5)
    return int(out.any(axis=1).sum())


def _any(track: np.ndarray) -> np.ndarray:
    return np.asarray(~np.isnan(track[..., 0]).all(axis=1))
