"""The data of one training run, and what must stay with its weights."""

from __future__ import annotations

import hashlib
import logging
from dataclasses import replace
from typing import TYPE_CHECKING, Any

from trainer.schedule.durations import in_epochs
from vid2vid.config import DataKind, Vid2VidConfig
from vid2vid.data import build_dataset, settled
from vid2vid.data.clips import ClipDataset
from vid2vid.data.frames import tell
from vid2vid.data.labels.trained_colours import check_colours, classes_of, used_colours
from vid2vid.data.ranges.settings import ranges_of, with_ranges
from vid2vid.data.split import shortest_clip

if TYPE_CHECKING:
    from trainer.task import SampleDataset

logger = logging.getLogger(__name__)

FEW = 8  # training sequences, from which on an epoch is worth the name


class RunData:
    """The data of one run, and what is known of them when its weights are used elsewhere.

    Args:
        config: the run's.
    """

    def __init__(self, config: Vid2VidConfig) -> None:
        self._config, self._settled = config, False
        self._instances = False
        self._proportions: dict[str, Any] = {}  # of the people it is trained on
        self._colours: dict[str, Any] | None = None  # what the labels' colours meant in training

    def build(self, split: str, resolution: tuple[int, int], frames: int, back: int = 0) -> SampleDataset:
        """See `build_dataset`."""
        if not self._settled:
            self._config, self._settled = settled(self._config), True
        dataset = build_dataset(self._config, split, resolution, frames, back)
        if split == "train" and frames == 1:
            tell(logger, self._config.data.root or "street", "clips of one frame: pictures are learnt, motion is not")
        sequences = getattr(dataset, "sequences", ())
        self._instances |= self._config.data.kind is DataKind.street
        self._instances |= any(getattr(sequence, "has_instances", False) for sequence in sequences)
        if split == "train" and sequences and not self._proportions and self._config.data.sources:
            from vid2vid.data.retarget import proportions_of

            self._proportions = proportions_of(sequences, self._config)
        if split == "train" and sequences:
            known, self._colours = self._colours, used_colours(sequences)
            if self._colours is not None and known is None and self._config.data.val_root:
                self.build("val", resolution, frames)  # its table is judged before the first step, not at evaluation
        elif sequences:
            check_colours(self._colours, sequences)
        return dataset

    def epoch(self) -> int | None:
        """Clips of an epoch: one of every training sequence, as the originals count. (A clip begins anywhere in it.)

        None where nothing of the run is counted in epochs: the data are not read for it.

        Raises:
            ConfigError, DataError: as `build_dataset`.
        """
        config = self._config
        if not in_epochs(config):
            return None
        if config.data.kind is DataKind.street:
            return config.data.clips
        height, width = config.resolution
        dataset = build_dataset(config, "train", (height, width), shortest_clip(config))
        assert isinstance(dataset, ClipDataset)
        count = len(dataset.sequences)
        if count < FEW:
            what = f"an epoch is one clip of each training sequence, here {count}"
            tell(
                logger,
                config.data.root,
                f"{what}; of long sequences more can be shown: trainer.max_samples counts clips",
            )
        return count

    def facts(self) -> dict[str, Any]:
        """What a resumed run must find again: the training sequences and their lengths, and the names of all frames."""
        data, (height, width) = self._config.data, self._config.resolution
        if data.kind is DataKind.street:
            return {"clips": data.clips, "world_seed": data.world_seed}
        dataset = build_dataset(self._config, "train", (height, width), 1)  # no sequence is too short
        assert isinstance(dataset, ClipDataset)
        names = hashlib.blake2b(digest_size=8)
        for sequence in dataset.sequences:
            for index in range(len(sequence)):
                names.update(sequence.frame_name(index).encode("utf-8", "surrogateescape") + b"\0")
        classes = classes_of(dataset.sequences)
        return {
            **({"colours of classes": classes} if classes else {}),
            "sequences": [f"{s.name} ({len(s)} frames)" for s in dataset.sequences],
            "frames": sum(map(len, dataset.sequences)),
            "names of frames": names.hexdigest(),
        }

    def state_dict(self) -> dict[str, Any]:
        """Plain data for a checkpoint: `data_range`, the values that data.range=auto found, by key; `instances`,
        whether instance ids came with the labels; `label_colours`, see `used_colours`; `proportions` of the people in
        the training data, if any, see `vid2vid.data.retarget`."""
        ranges = ranges_of(self._config.data)
        people = {"proportions": self._proportions} if self._proportions else {}
        return {"data_range": ranges, "instances": self._instances, "label_colours": self._colours, **people}

    def load_state_dict(self, state: dict[str, Any]) -> None:
        """Go on with what the run's data were found to have."""
        data = with_ranges(self._config.data, state.get("data_range", {}))
        self._config, self._instances = replace(self._config, data=data), bool(state.get("instances", False))
        self._colours, self._proportions = state.get("label_colours"), state.get("proportions", {})
