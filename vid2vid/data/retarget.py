"""Who is in a run's training data, as proportions; and other people's motion and expressions fitted to them.

Every kind of source that has proportions (`Kind.proportions`) measures its own: a face its parts, a body its limbs.
They are plain numbers, kept with the weights, so that a run can be driven by anybody without its training data.
"""

from __future__ import annotations

import logging
from collections.abc import Mapping, Sequence
from importlib import import_module
from pathlib import Path
from typing import Any

from torch import Tensor

from trainer.errors import ConfigError, DataError
from vid2vid.config import Vid2VidConfig
from vid2vid.data.folders.dataset import open_folder
from vid2vid.data.folders.frames import FolderSequence
from vid2vid.data.frames import Stream
from vid2vid.data.sources.kinds import KINDS, parse_sources

logger = logging.getLogger(__name__)

Proportions = dict[str, Any]  # by kind of source, plain data


def proportions_of(sequences: Sequence[Any], config: Vid2VidConfig) -> Proportions:
    """What is measured of the people in some sequences; empty where no source is about people.

    Args:
        sequences: of one data set, in folders.
        config: of the run.
    """
    found: Proportions = {}
    for position, entry in enumerate(parse_sources(config.data)):
        if entry.of.proportions and entry.kind not in found:
            module, name = entry.of.proportions.split(":")
            sources = [sequence.sources[position] for sequence in sequences]
            measured = getattr(import_module(module), name)(sources, [sequence.frame_size for sequence in sequences])
            if measured is not None:
                found[entry.kind] = measured
    return found


def target_of(wanted: Any, stored: Mapping[str, Any] | None, config: Vid2VidConfig) -> Proportions:
    """The proportions that `generate.py retarget=` asks for.

    Args:
        wanted: True: those of the run's training data; else a folder with landmarks of the person to be like.
        stored: what the run's checkpoint keeps.
        config: of the run.

    Raises:
        ConfigError: the run is not about people, or it does not know whom it was trained on.
        DataError: nobody is found in the folder.
    """
    kinds = [entry.kind for entry in parse_sources(config.data) if entry.of.proportions]
    if not kinds:
        about = ", ".join(f"{name}:FOLDER" for name, kind in KINDS.items() if kind.proportions)
        raise ConfigError(
            f"retarget={_shown(wanted)} fits people to each other, but this run's condition has none "
            f"(data.sources with {about}): leave it out"
        )
    if wanted is True:
        if not stored:
            raise ConfigError(
                "retarget=true: this checkpoint does not know the proportions of whom it was trained on; give a folder "
                "with their landmarks: retarget=PATH, such as the run's data.root"
            )
        return dict(stored)
    found = proportions_of([stream.sequence for stream in open_folder(Path(wanted), config)], config)
    missing = [kind for kind in dict.fromkeys(kinds) if kind not in found]
    if missing:
        raise DataError(
            f"retarget={wanted}: no {' and no '.join(missing)} is whole in any frame, so there are no proportions to "
            "fit to. Give a folder of the person seen from the front."
        )
    return found


def retargeted(stream: Any, target: Proportions) -> Stream:
    """A stream whose people have the target's proportions; the log names the sources that stay as they are.

    Args:
        stream: of `vid2vid.data.open_source`.
        target: of `target_of`.

    Raises:
        ConfigError: the stream is not read from folders of landmarks.
        DataError: nobody in it has anything that is known of the target too.
    """
    sequence = _of_folders(stream, "retarget")
    same = [entry.word for entry in parse_sources(sequence.config.data) if entry.kind not in target]
    if same:
        logger.warning("retarget: %s cannot be fitted, and is drawn as the source has it", ", ".join(same))
    return Stream(sequence.fitted(target), stream.resolution, stream.skip)


def before_picture(stream: Any, picture: Tensor) -> Stream:
    """A stream whose people stand before a picture.

    Args:
        stream: of `vid2vid.data.open_source`.
        picture: uint8 (3, H, W) at the stream's resolution.

    Raises:
        ConfigError: the stream is not read from folders of landmarks.
    """
    return Stream(_of_folders(stream, "background").before(picture), stream.resolution, stream.skip)


def _of_folders(stream: Any, option: str) -> FolderSequence:
    sequence = getattr(stream, "sequence", None)
    if not isinstance(sequence, FolderSequence):
        raise ConfigError(
            f"{option}: the source {stream.name} has no landmarks; give a folder of them, or leave it out"
        )
    return sequence


def _shown(wanted: Any) -> str:
    return "true" if wanted is True else str(wanted)
