"""A clip of label maps from one label map and the paths of objects on it."""

from __future__ import annotations

from collections.abc import Sequence

import cv2
import numpy as np

from trainer.errors import DataError
from trainer.page.canvas import Moved


def region(labels: np.ndarray, seed: tuple[int, int]) -> np.ndarray:
    """(H, W) bool: the pixels of the seed's class that are connected with it by sides or corners."""
    same = (labels == labels[seed]).astype(np.uint8)
    _, components = cv2.connectedComponents(same, connectivity=8)
    return (components == components[seed]) & (same > 0)


def move(labels: np.ndarray, objects: Sequence[Moved], frames: int) -> np.ndarray:
    """The picked regions move along their paths; all else stands still.

    Frame 0 is the label map as it is, unless two objects overlap there; the last frame has the ends of the paths.
    Between the points of a path a region moves in a straight line, by whole pixels. What lies in front is the object
    that stands later in the list, and what leaves the picture is cut.

    Where a region was, each of its pixels has the class of the nearest pixel (Euclidean distance, to within 2 %) that
    belongs to no moved region and is of another class than the region, so that an object leaves nothing of itself
    behind. Where there is no such pixel, the class stays.

    Args:
        labels: (H, W), ids.
        objects: their seeds are pixels of their class.
        frames: of the clip, at least 1.

    Returns:
        (frames, H, W), of the type of labels.

    Raises:
        DataError: fewer than 1 frame, a seed that is outside or of another class.
    """
    if labels.ndim != 2 or frames < 1:
        raise DataError(f"{frames} frames from labels of shape {labels.shape}: give (H, W) and at least 1 frame")
    height, width = labels.shape
    for one in objects:
        y, x = one.seed
        if not (0 <= y < height and 0 <= x < width) or labels[y, x] != one.label:
            raise DataError(f"there is no object of class {one.label} at row {y}, column {x} of the label map")
    regions = [region(labels, one.seed) for one in objects]
    ground = _without(labels, regions)
    clip = np.repeat(ground[None], frames, axis=0)
    for index, picture in enumerate(clip):
        time = index / (frames - 1) if frames > 1 else 0.0
        for one, where in zip(objects, regions, strict=True):
            _paste(picture, where, one.label, _offset(one, time))
    return clip


def _without(labels: np.ndarray, regions: Sequence[np.ndarray]) -> np.ndarray:
    """The label map without the regions, filled as ``move`` says."""
    ground = labels.copy()
    moved = np.any(regions, axis=0) if regions else np.zeros(labels.shape, bool)
    for where in regions:
        sources = ~moved & (labels != labels[where][0])
        if not sources.any():
            continue
        # the label of the nearest zero pixel, for every pixel; each zero pixel has a number of its own
        _, nearest = cv2.distanceTransformWithLabels(
            np.where(sources, 0, 255).astype(np.uint8), cv2.DIST_L2, 5, labelType=cv2.DIST_LABEL_PIXEL
        )
        nearest = nearest.astype(np.intp)
        ids = np.zeros(nearest.max() + 1, labels.dtype)
        ids[nearest[sources]] = labels[sources]
        ground[where] = ids[nearest[where]]
    return ground


def _offset(one: Moved, time: float) -> tuple[int, int]:
    """Rows and columns from where the object is at time 0, rounded half up."""
    times, rows, columns = np.array(one.path).T
    down, right = np.interp(time, times, rows) - rows[0], np.interp(time, times, columns) - columns[0]
    return int(np.floor(down + 0.5)), int(np.floor(right + 0.5))


def _paste(picture: np.ndarray, where: np.ndarray, label: int, offset: tuple[int, int]) -> None:
    ys, xs = (at + by for at, by in zip(np.nonzero(where), offset, strict=True))
    inside = (ys >= 0) & (ys < picture.shape[0]) & (xs >= 0) & (xs < picture.shape[1])
    picture[ys[inside], xs[inside]] = label
