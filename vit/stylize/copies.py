"""A data set redrawn picture by picture: who gets which style, what is done already, and what could not be.

Beside the folder OUT: OUT-styles.csv (file, style), OUT-stylize.json (what decides how copies look) and, where some
pictures cannot be read, OUT-unreadable.csv. In it are the copies, and the files that tell labels, as they were, so that
it is a data set itself.
"""

from __future__ import annotations

from collections.abc import Iterator, Mapping, Sequence
from dataclasses import dataclass
from functools import partial
from hashlib import blake2b
from pathlib import Path
from shutil import copyfile
from typing import Any

from torch import Tensor

from trainer.data.pictures.decode import decode
from trainer.data.pictures.files import BadFileError, read_bytes, reason_of
from trainer.errors import ConfigError, DataError
from trainer.files import replace_file, write_json
from trainer.records.progress import followed
from trainer.records.video_writer import SUFFIXES as VIDEO_SUFFIXES
from trainer.untrusted import plain_json
from vit.data.sources.unlabelled import TABLES
from vit.stylize.content import Content, reduced, to_bytes, unit, write_copy, written_as
from vit.stylize.levels import Stylizer

LABELS = (*TABLES, ".json", ".jsonl")  # files that tell labels, as `data=csv` and others read them


@dataclass(frozen=True)
class Styles:
    """Pictures whose style can be taken.

    Attributes:
        names, files: of each.
        longest: pixels of the longer side at which its style is read.
    """

    names: Sequence[str]
    files: Sequence[Path]
    longest: int

    def read(self, index: int) -> Tensor:
        """uint8 (3, H, W).

        Raises:
            DataError: the file cannot be used; names it.
        """
        try:
            return reduced(decode(read_bytes(self.files[index]), self.files[index]), self.longest)
        except BadFileError as error:
            raise DataError(f"style={reason_of(error)}") from error

    def drawn(self, name: str, seed: int) -> int:
        """Which style the picture of a name gets: a function of both, whatever other pictures there are."""
        digest = blake2b(f"{seed}\0{name}".encode("utf-8", "surrogateescape"), digest_size=8).digest()
        return int.from_bytes(digest, "big") % len(self.names)

    def facts(self) -> dict[str, Any]:
        """What tells these styles from others: their number and a digest of names and sizes."""
        told = "\0".join(f"{n}:{f.stat().st_size}" for n, f in zip(self.names, self.files, strict=True))
        digest = blake2b(told.encode("utf-8", "surrogateescape"), digest_size=8).hexdigest()
        return {"styles": f"{len(self.names)} ({digest})", "style_size": self.longest}


def beside(out: Path, what: str) -> Path:
    """``OUT-WHAT``, beside the folder or file of copies."""
    is_file = written_as(out) is not None or out.suffix.lower() in VIDEO_SUFFIXES
    return out.with_name(f"{out.stem if is_file else out.name}-{what}")


def claim(out: Path, facts: Mapping[str, Any]) -> None:
    """Make a folder the place of copies that ``facts`` decide; a repeated command finds it so.

    Raises:
        ConfigError: it holds something else, or copies that were made otherwise; names what differs.
    """
    record = beside(out, "stylize.json")
    if record.is_file():
        try:
            before = dict(plain_json.loads(record.read_text(encoding="utf-8")))
        except ValueError:
            before = {}
        differing = [
            f"{key}={before.get(key)}, now {value}" for key, value in facts.items() if before.get(key) != value
        ]
        if differing and out.is_dir() and any(out.iterdir()):
            raise ConfigError(
                f"out={out} holds copies that were made with {'; '.join(differing)}: give another out=, or remove it"
            )
    elif out.is_dir() and any(out.iterdir()):
        raise ConfigError(f"out={out} holds other things already: give another out=, or remove it")
    elif out.exists() and not out.is_dir():
        raise ConfigError(f"out={out} is a file: copies of a data set go into a folder, give another out=")
    out.mkdir(parents=True, exist_ok=True)
    write_json(record, facts)


def copy_tables(root: Path, out: Path) -> int:
    """Copy the files that tell labels, as they are, into the same places below ``out``; how many there are."""
    found = [path for path in sorted(root.rglob("*")) if path.suffix.lower() in LABELS and path.is_file()]
    found = [path for path in found if not any(part.startswith(".") for part in path.relative_to(root).parts)]
    for path in found:
        replace_file(out / path.relative_to(root), partial(copyfile, path))
    return len(found)


def redraw_all(
    stylizer: Stylizer, content: Content, styles: Styles, given: Sequence[int], out: Path, longest: int | None
) -> dict[int, str]:
    """Write the copies that are not there yet.

    Args:
        given: of each picture the style.
        out: the folder.
        longest: pixels of the longer side of copies; None: as the pictures.

    Returns:
        Why pictures could not be used, by number.

    Raises:
        DataError: a style that cannot be read.
    """
    paths = [out / name for name in content.names]
    left = [index for index, path in enumerate(paths) if not path.is_file()]
    for style in followed(sorted({given[index] for index in left}), unit="style", what="checked"):
        styles.read(style)  # before any copy is made, as another set of styles would give pictures others
    left.sort(key=lambda index: given[index])  # a style's moments are taken once
    bad: dict[int, str] = {}
    for index, style in followed(_with_styles(stylizer, styles, given, left), len(left), unit="picture"):
        try:
            picture = content.read(index)
        except BadFileError as error:
            bad[index] = reason_of(error)
            continue
        image = unit(reduced(picture.pixels, longest), stylizer.device)
        write_copy(paths[index], to_bytes(stylizer(image, style)), picture)
    return bad


def _with_styles(
    stylizer: Stylizer, styles: Styles, given: Sequence[int], order: Sequence[int]
) -> Iterator[tuple[int, Any]]:
    last, style = None, None
    for index in order:
        if given[index] != last:
            last = given[index]
            style = stylizer.style(unit(styles.read(last), stylizer.device))
        yield index, style
