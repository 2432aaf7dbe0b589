"""What kinds of files a data set in folders has."""

from __future__ import annotations

from dataclasses import dataclass
from pathlib import Path

from vid2vid.data.folders.files import IMAGE_EXTENSIONS

Sequences = dict[str, dict[str, Path]]  # sequence name -> frame key -> file


@dataclass
class FileKind:
    """One kind of files of a data set.

    Attributes:
        name: labels, images, instances, or a word of `data.sources`.
        folder: where they are.
        option: configuration key that names the folder.
        extensions: of files that count.
        prefer: kinds by their ending (labelids, ...) of which the first found is used, where a folder mixes several.
        suffix: the user's own ending of their names, or None.
        endings: that names of this kind may have (in any case), beside those of data sets.
    """

    name: str
    folder: Path
    option: str
    extensions: tuple[str, ...] = IMAGE_EXTENSIONS
    prefer: tuple[str, ...] = ()
    suffix: str | None = None
    endings: tuple[str, ...] = ()
