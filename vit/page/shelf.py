"""Networks that the page has at hand: loaded once for all visitors, the least used put away first."""

from __future__ import annotations

from collections.abc import Hashable
from dataclasses import dataclass
from enum import Enum
from pathlib import Path

from trainer.checkpoint.contents import META
from trainer.checkpoint.trained import find_checkpoint
from trainer.errors import CheckpointError, UserError
from trainer.page import shelf
from trainer.untrusted import plain_json
from vit.page.classifier import Classifier
from vit.page.segmented import Segmentation
from vit.weights.files import HEADER, kind_of

KEPT = 3  # networks in memory
UPLOADS = (".safetensors", ".npz")
PLAIN = ("safetensors", "npz")  # kinds that hold numbers only


class Kind(Enum):
    run = "run"
    segmentation = "segmentation"
    weights = "weights"


@dataclass(frozen=True)
class Source:
    """Where a network comes from.

    Attributes:
        kind: a run of classification or segmentation, or weights alone.
        path: the run's folder, or the file or folder of weights.
        name: what visitors know it by.
    """

    kind: Kind
    path: Path
    name: str


Network = Classifier | Segmentation


class Shelf:
    """Networks by source. One that has trained on, or a file that was replaced, is loaded anew."""

    def __init__(self, kept: int = KEPT) -> None:
        self._shelf: shelf.Shelf[Network] = shelf.Shelf(kept)

    def get(self, source: Source) -> Network:
        """The network of a source.

        Raises:
            UserError: it cannot be loaded; the message names the source, not where it lies.
        """
        try:
            return self._shelf.get(source, lambda: _state(source), lambda: _load(source))
        except UserError as error:
            raise CheckpointError(str(error).replace(str(source.path), source.name)) from error


def weights_in(folder: Path) -> list[Path]:
    """Weights that lie in a runs folder beside the runs: files, and folders of timm's or Hugging Face's format.

    Links that lead out of the folder are passed over.
    """
    found = []
    for path in sorted(folder.iterdir()) if folder.is_dir() else []:
        inside = path.resolve().is_relative_to(folder.resolve())
        hub = path.is_dir() and (path / "config.json").is_file() and any(path.glob("*.safetensors"))
        hub = hub and not _of_another_task(path)
        if inside and not path.name.startswith(".") and (hub or (path.is_file() and path.suffix in UPLOADS)):
            found.append(path)
    return found


def _of_another_task(folder: Path) -> bool:
    """Whether a folder that was exported holds a video model."""
    try:
        told = plain_json.loads((folder / "config.json").read_text(encoding="utf-8"))[HEADER]["task"]
    except (OSError, *plain_json.MISSHAPEN):
        return False
    return told != "vit"


def _state(source: Source) -> Hashable:
    """What changes when there is something else to load."""
    if source.kind is Kind.weights:
        if not source.path.exists():
            raise CheckpointError(f"{source.name} is gone: upload it again, or choose another")
        status = source.path.stat()
        return status.st_mtime_ns, status.st_size
    checkpoint = find_checkpoint(source.path, None)
    return checkpoint.name, (checkpoint / META).stat().st_mtime_ns


def _load(source: Source) -> Network:
    from vit.predict.predictor import load_predictor

    if source.kind is Kind.segmentation:
        from vit.segmentation.config import SegmentationConfig
        from vit.segmentation.trained import load_trained

        return Segmentation(load_trained(source.path, {"segmentation": SegmentationConfig}))
    if source.kind is Kind.run:
        return Classifier(load_predictor(run=str(source.path)), source.name)
    if source.path.is_file() and kind_of(source.path) not in PLAIN:
        raise CheckpointError(
            f"{source.name} is a pickle of torch's, which the page does not open; make it a .safetensors: "
            f"python scripts/convert.py src={source.name} dst={source.path.stem}.safetensors format=safetensors"
        )
    return Classifier(load_predictor(weights=str(source.path)), source.name)
