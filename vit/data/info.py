"""What a run must know of its data, and the names of splits. Importing this loads no torch."""

from __future__ import annotations

from collections.abc import Callable
from dataclasses import dataclass, field
from typing import TYPE_CHECKING, Any

if TYPE_CHECKING:
    from vit.config import ClassOrder


@dataclass(frozen=True)
class DataInfo:
    """What a run must know of its data before a model is built.

    Attributes:
        classes: names, by class index. ImageNet's are "n01440764 tench": the WordNet id, then words.
        channels: of a sample's image.
        multilabel: labels are float32 (K,) instead of one int.
        train_samples: length of an epoch: of the training split after `data.train_samples` and `data.balanced`; 0 when
            there is none (only `data.val_root` or `data.test_root` is given).
        counts: training samples per class, likewise; None without a training split.
        native: (height, width) in pixels where all pictures have one size and it is not the run's.
        order: how class names were put in order (`data.class_order`); None where something else numbers the classes.
        notes: what the user should know (what was skipped, how the split was made): lines for the log.
        mean, std: `data.mean` and `data.std`, per channel on a scale of 0..1; None where not configured.
        facts: what tells the training pictures from others, see `Source.facts`; made when called.
        held: names of the validation pictures, as those of the training pictures in `facts`; made when called.
    """

    classes: list[str]
    channels: int
    multilabel: bool
    train_samples: int
    counts: list[int] | None = None
    native: tuple[int, int] | None = None
    order: ClassOrder | None = None
    notes: list[str] = field(default_factory=list)
    mean: list[float] | None = None
    std: list[float] | None = None
    facts: Callable[[], dict[str, Any]] = field(default=dict, compare=False, repr=False)
    held: Callable[[], list[str]] = field(default=list, compare=False, repr=False)
