"""Which part of a file's name says what the file is: the rest names the frame.

Known are the endings of Cityscapes and of what is named like it (IDD, ACDC, Dark Zurich, BDD100K), in any case.
KITTI, KITTI-STEP and Mapillary give a frame's files one name, and need none.
"""

from __future__ import annotations

import re
from collections.abc import Iterable, Sequence
from pathlib import Path

from trainer.data.natural_order import normal

_KNOWN = re.compile(
    r"_(?:leftImg8bit|rgb_anon|rgb_ref_anon|(?:gt(?:Fine|Coarse)?_)?"
    r"(?P<kind>label[a-z0-9]*ids|instance[a-z0-9]*ids|label_?colou?rs?)|gt(?:Fine|Coarse)?_(?P<colour>colou?rs?)"
    r"|(?P<bdd>train_id|train_color))$",
    re.IGNORECASE,
)
_PLAIN_KINDS = {"train_id": "labeltrainids", "train_color": "color"}


def frame_key(stem: str, suffix: str | None = None, endings: Sequence[str] = ()) -> str | None:
    """The name of the frame that a file belongs to.

    Args:
        stem: the file's name without extension.
        suffix: the user's own ending (`data.label_suffix`, ...), which replaces the known ones.
        endings: of this kind of files, of which a name may have one.
    Returns:
        None: it lacks that ending.
    """
    stem = normal(stem)
    if suffix is None:
        known = next((end for end in endings if stem.lower().endswith(end.lower()) and len(stem) > len(end)), "")
        return _KNOWN.sub("", stem[: len(stem) - len(known)])
    suffix = normal(suffix)
    if not stem.lower().endswith(suffix.lower()) or len(stem) == len(suffix):
        return None
    return stem[: -len(suffix)] if suffix else stem


def kind_of(stem: str) -> str | None:
    """What a known ending says that a file is: `labelids`, `labeltrainids`, `instanceids`, `color`, ...; else None."""
    found = _KNOWN.search(stem)
    if found is None:
        return None
    word = (found["kind"] or found["colour"] or found["bdd"] or "").lower()
    if not word:
        return None  # a picture
    return "color" if "colo" in word and "train" not in word else _PLAIN_KINDS.get(word, word)


def preferred(files: Sequence[Path], prefer: Iterable[str]) -> list[Path]:
    """Where kinds are mixed in a folder (ids, colours, instances), the files of the first preferred that occurs.

    Label ids of a numbering that is not preferred (IDD's level3) come next, colours last.
    """
    prefer = tuple(prefer)
    if not prefer:
        return list(files)
    kinds = [kind_of(path.stem) for path in files]
    occurring = {kind for kind in kinds if kind is not None}
    if not occurring:
        return list(files)
    others = sorted(kind for kind in occurring if kind.startswith("label")) if prefer[0].startswith("label") else []
    chosen = next((kind for kind in (*prefer, *others) if kind in occurring), None)
    return [path for path, kind in zip(files, kinds, strict=True) if kind is not None and kind == chosen]


def common_ending(names: Iterable[str], others: Iterable[str]) -> str | None:
    """The ending that some names have and others lack, where they are the same but for it.

    Args:
        names: such as 0001_mask, 0002_mask.
        others: such as 0001, 0002.
    Returns:
        `_mask`; None: they differ in another way.
    """
    others = set(others)
    shortest = min(others, key=len, default="")
    endings: dict[str, int] = {}
    for name in names:
        for cut in range(max(1, len(shortest)), len(name)):
            if name[:cut] in others:
                endings[name[cut:]] = endings.get(name[cut:], 0) + 1
    best = max(endings, key=lambda ending: endings[ending], default=None)
    return best if best is not None and endings[best] * 2 > min(len(set(names)), len(others)) else None
