"""Which sequences, and which frames of them, are for training and which for validation."""

from __future__ import annotations

import logging
from math import gcd, lcm
from pathlib import Path

from trainer.config.schema import show
from trainer.errors import ConfigError
from trainer.text import few
from vid2vid.config import FirstFrame, Vid2VidConfig, Vid2VidStage
from vid2vid.data.folders.split_names import TEST_FOLDERS, TRAIN_FOLDERS, VAL_FOLDERS
from vid2vid.data.frames import FrameSequence, tell

logger = logging.getLogger(__name__)

SHORTEST_VALIDATION = 2  # frames; temporal measures need a pair
ONE_BY_ONE = "curriculum=images curriculum.stages.all.frames=1 curriculum.stages.all.segment_frames=1"
_FOLDERS = (
    dict.fromkeys(TRAIN_FOLDERS, "train") | dict.fromkeys(VAL_FOLDERS, "val") | dict.fromkeys(TEST_FOLDERS, "test")
)


def root_of(config: Vid2VidConfig, split: str) -> Path:
    """Where the sequences of a split are: below `data.root`, or `data.val_root` where that is given.

    Raises:
        ConfigError: no data.root, or `data.val_share` is none.
    """
    data = config.data
    if not data.root:
        raise ConfigError(f"data.root is not set: data={data.kind.value} needs the place of the data: data.root=PATH")
    if not data.val_root and not 0 < data.val_share < 1:
        raise ConfigError(f"data.val_share={data.val_share} must lie between 0 and 1, e.g. 0.1; or set data.val_root")
    return Path(data.val_root if data.val_root and split != "train" else data.root)


def part_of_split(config: Vid2VidConfig, split: str, sequences: list[FrameSequence]) -> list[FrameSequence]:
    """The sequences of a split, out of all below its root.

    With `data.val_root`, training has all of `data.root`. Without, folders train and val (or test) there are the
    splits; where it has none, validation has the last `data.val_share` of its groups of sequences. Of a single group it
    has the last frames, whatever gaps are among them; where that leaves too few to train on, training and validation
    share all, and the log says so. The split depends on the data, on `data.val_share` and on the longest clip of the
    curriculum, not on the clips that are asked for.

    Args:
        config: `data.root`, `data.val_root`, `data.val_share`, and the longest clip of the curriculum.
        split: train, or val and test, which are the same.
        sequences: all below `root_of`.
    """
    training = split == "train"
    if config.data.val_root:
        return sequences
    own = _own_splits(config, sequences)
    if own is not None:
        return own[0 if training else 1]
    held_out = _held_out_groups(config, sequences)
    if held_out:
        return [s for s in sequences if (s.group in held_out) != training]
    return _tail(config, sequences, training)


def _own_splits(
    config: Vid2VidConfig, sequences: list[FrameSequence]
) -> tuple[list[FrameSequence], list[FrameSequence]] | None:
    """Sequences for training and for validation where the data come in folders train and val, or train and test."""
    folders = {s.group: _FOLDERS.get(s.group.split("/")[0].lower(), "") for s in sequences}
    held_out = next((split for split in ("val", "test") if split in folders.values()), None)
    if held_out is None or "train" not in folders.values():
        return None
    train = [s for s in sequences if folders[s.group] in ("train", "")]
    val = [s for s in sequences if folders[s.group] == held_out]
    names = few(list(dict.fromkeys(s.group.split("/")[0] for s in val)))
    left = "; its test folder is in neither" if held_out == "val" and "test" in folders.values() else ""
    tell(logger, config.data.root, f"has folders for training and validation: {names} is held out{left}")
    return train, val


def longest_clip(config: Vid2VidConfig) -> int:
    """Frames that the longest training clip of the curriculum reads, real ones before it where the model takes them.

    One length for all stages, so that no stage trains on what another validates on.
    """
    stages = config.curriculum.stages.values() or [Vid2VidStage()]
    return max(map(_read, stages)) + _context(config)


def shortest_clip(config: Vid2VidConfig) -> int:
    """Frames that the shortest training clip of the curriculum reads: every sequence of so many is trained on."""
    stages = config.curriculum.stages.values() or [Vid2VidStage()]
    return min(map(_read, stages)) + _context(config)


def _read(stage: Vid2VidStage) -> int:
    """Frames that a clip reads: half of it where it is played forth and back."""
    return stage.frames - stage.frames // 2 if stage.palindrome else stage.frames


def shortest_validation(config: Vid2VidConfig) -> int:
    """Frames that can be measured: a pair, or one behind the real ones that the model takes."""
    return max(SHORTEST_VALIDATION, _context(config) + 1)


def _context(config: Vid2VidConfig) -> int:
    return config.model.past_frames if config.model.first_frame is FirstFrame.real else 0


def _held_out_groups(config: Vid2VidConfig, sequences: list[FrameSequence]) -> set[str]:
    """The last groups, as many as the share; empty where frames must be set aside in place of groups.

    Where the last ones are the only that training could use, or too short to measure, those before them are taken.
    """
    groups: dict[str, int] = {}  # group: frames of its longest sequence
    for sequence in sequences:
        groups[sequence.group] = max(groups.get(sequence.group, 0), len(sequence))
    if len(groups) < 2:
        return set()
    count = min(len(groups) - 1, max(1, round(config.data.val_share * len(groups))))
    plain, shortest = list(groups)[-count:], shortest_validation(config)
    trainable = [group for group, frames in groups.items() if frames >= longest_clip(config)]
    measurable = [group for group, frames in groups.items() if frames >= shortest]
    if not trainable or not measurable or (set(trainable) - set(plain) and set(measurable) & set(plain)):
        return set(plain)
    chosen = [group for group in measurable if group != trainable[0]][-count:]
    if chosen:
        words = f"validation has {few(chosen)}, for training needs {trainable[0]} and others are too short"
        tell(logger, config.data.root, words)
    return set(chosen)


def _tail(config: Vid2VidConfig, sequences: list[FrameSequence], training: bool) -> list[FrameSequence]:
    """The part of one group's frames: the last are held out."""
    total = sum(map(len, sequences))
    shortest = shortest_validation(config)
    tail = max(shortest, round(config.data.val_share * total))
    train, held_out = _cut(sequences, total - tail)
    while tail < total and max(map(len, held_out)) < shortest:
        tail += 1  # gaps have left single frames there, of which nothing temporal can be measured
        train, held_out = _cut(sequences, total - tail)
    groups = list(dict.fromkeys(s.group for s in sequences))
    what = f"{groups[0]} is the only sequence"
    if len(groups) > 1:
        what = f"of {few(groups)} only one is long enough to train on"
    if max((len(s) for s in train), default=0) < longest_clip(config):
        shared = (
            f"{what} and too short to set frames aside: validation uses the frames of training, its figures say "
            "nothing about new footage. Set data.val_root."
        )
        tell(logger, config.data.root, shared)
        return sequences
    tell(logger, config.data.root, f"{what}: validation uses the last {tail} of {total} frames")
    return train if training else held_out


def _cut(sequences: list[FrameSequence], first: int) -> tuple[list[FrameSequence], list[FrameSequence]]:
    """Sequences before and from frame number `first` on, counted over all of them."""
    before: list[FrameSequence] = []
    after: list[FrameSequence] = []
    for sequence in sequences:
        here = min(max(first, 0), len(sequence))
        first -= len(sequence)
        if here:
            before.append(sequence if here == len(sequence) else sequence.part(0, here))
        if here < len(sequence):
            after.append(sequence if not here else sequence.part(here, len(sequence)))
    return before, after


def shorter_clips(config: Vid2VidConfig, available: int) -> str:
    """What to add to the command so that training clips fit into sequences of `available` frames.

    A curriculum of several stages keeps them, as a recipe's stay beside those of another curriculum: each that reads
    too much becomes shorter.
    """
    model, stages = config.model, config.curriculum.stages
    usable = available - _context(config)
    segment = Vid2VidStage().segment_frames
    frames = [usable // segment * segment]
    if usable >= 1 and (len(stages) > 1 or any(stage.palindrome for stage in stages.values())):
        shorter = {name: _shortened(stage, model.backprop_frames, usable) for name, stage in stages.items()}
        words = [f"curriculum.stages.{name}.{key}={show(x)}" for name, row in shorter.items() for key, x in row.items()]
        frames = [shorter[name].get("frames", stage.frames) for name, stage in stages.items()]
    elif not frames[0]:
        return f"{ONE_BY_ONE} (pictures one by one, without video discriminator)"
    else:
        every = {"frames": frames[0], "segment_frames": segment}
        words = ["curriculum=single", *(f"curriculum.stages.all.{key}={x}" for key, x in every.items())]
    seen = max(frames) + _context(config)
    if model.video_discriminator and seen < model.video_discriminator_frames:
        words.append("model.video_discriminator=false")
    return " ".join(words)


def _shortened(stage: Vid2VidStage, backprop_frames: int, usable: int) -> dict[str, int | bool]:
    """The columns of a stage that must change so that its clips read at most `usable` frames, at least 1.

    Args:
        stage: as it is.
        backprop_frames: the model's, which holds where the stage has none of its own.
        usable: frames.
    """
    if _read(stage) <= usable:
        return {}
    back = stage.palindrome and usable > 1
    most, even = (2 * usable, 2) if back else (usable, 1)
    segment = next(n for n in range(min(stage.segment_frames, most), 0, -1) if lcm(even, n) <= most)
    step = lcm(even, segment)
    found: dict[str, int | bool] = {"frames": most // step * step}
    if segment != stage.segment_frames:
        found["segment_frames"] = segment
    reach = stage.backprop_frames or backprop_frames
    if segment % reach:
        found["backprop_frames"] = gcd(reach, segment)
    if stage.palindrome and not back:
        found["palindrome"] = False
    return found
