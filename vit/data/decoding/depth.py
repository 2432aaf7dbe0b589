"""Pictures of 16 bits that use but the lower ones, and would come out almost black: told, with the range to give."""

from __future__ import annotations

from collections.abc import Sequence

import numpy as np

from trainer.data.pictures.decode import largest_number
from trainer.data.pictures.files import BadFileError
from vit.config import VitConfig
from vit.data.source import Selection, Source
from vit.data.sources.files import EncodedSource

_DEPTHS = (10, 12, 14)  # bits of a camera's or scanner's values, in files of 16
_PROBED = 16  # pictures that are looked at before a run


def largest_value(source: Source, index: int) -> int | None:
    """The largest value of a picture of more than 8 bits in a file; None for any other, or one that cannot be read."""
    while isinstance(source, Selection):
        source, index = source.source, int(source.indices[index])
    if not isinstance(source, EncodedSource):
        return None
    try:
        return largest_number(source.encoded(index))
    except BadFileError:
        return None


def depth_notes(values: Sequence[int | None], config: VitConfig, looked_at: str) -> list[str]:
    """A line where pictures come out dark by their ``largest_value``; none where `data.range` is given."""
    most = max((value for value in values if value is not None), default=0)
    if config.data.range is not None or not 255 < most < 2**14:
        return []
    bits = next(bits for bits in _DEPTHS if most < 2**bits)
    return [
        f"warning: pictures of 16 bits whose values go to {most} at most ({looked_at}) come out dark, "
        f"for 65535 is white: data.range=[0,{2**bits - 1}] takes them as {bits} bits"
    ]


def probed(config: VitConfig, source: Source) -> list[str]:
    """``depth_notes`` of a few pictures, spread evenly."""
    if config.data.range is not None:
        return []
    places = np.linspace(0, len(source) - 1, min(len(source), _PROBED)).astype(int).tolist()
    looked_at = f"of {len(places)} that were looked at; scripts/check_data.py looks at all"
    return depth_notes([largest_value(source, index) for index in places], config, looked_at)
