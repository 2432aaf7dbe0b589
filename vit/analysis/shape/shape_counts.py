"""How often a classifier took the shape and how often the texture, of pictures whose cues conflict."""

from __future__ import annotations

from dataclasses import dataclass

import numpy as np

from trainer.records.intervals import mean_of_shares, wilson


@dataclass(frozen=True)
class ShapeCounts:
    """Answers by the class of the shape.

    Attributes:
        pictures, shape, texture: (K,) int: pictures of this shape whose texture is that of another class; of those,
            how many were taken for their shape and how many for the class of their texture.
    """

    pictures: np.ndarray
    shape: np.ndarray
    texture: np.ndarray

    @classmethod
    def of(cls, predicted: np.ndarray, shape: np.ndarray, texture: np.ndarray, classes: int) -> ShapeCounts:
        """Count.

        Args:
            predicted: (N,) int: the answers; below 0: not to be judged.
            shape, texture: (N,) int: the classes of both cues; pictures where they agree are left out.
            classes: K.
        """
        judged = (predicted >= 0) & (shape != texture)

        def counted(where: np.ndarray) -> np.ndarray:
            return np.bincount(shape[where].astype(np.int64), minlength=classes)

        return cls(counted(judged), counted(judged & (predicted == shape)), counted(judged & (predicted == texture)))

    def decided(self, k: int) -> int:
        """How many pictures of a shape were taken for either of their cues."""
        return int(self.shape[k] + self.texture[k])

    def bias(self, k: int) -> float:
        """Shape bias of a class: of those, the share that was taken for the shape; 0..1."""
        return float(self.shape[k]) / self.decided(k)

    def interval(self, k: int) -> tuple[float, float]:
        """Its 95 % interval (Wilson)."""
        return wilson(int(self.shape[k]), self.decided(k))

    def mean_bias(self) -> tuple[float, float, float]:
        """Mean over the classes of which any was decided, and its 95 % interval (low, high).

        Raises:
            ValueError: none was.
        """
        decided = [k for k in range(len(self.shape)) if self.decided(k)]
        return mean_of_shares([(int(self.shape[k]), self.decided(k)) for k in decided])

    def share(self, what: np.ndarray) -> float:
        """Of the pictures, over all classes: accuracy in telling shapes (of ``shape``) or textures (of ``texture``)."""
        return float(what.sum() / self.pictures.sum())
