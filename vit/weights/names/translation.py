"""Tensors of another PyTorch library under our names: told by one name that only that library has."""

from __future__ import annotations

from collections.abc import Callable, Mapping

from torch import Tensor

from trainer.errors import CheckpointError
from trainer.text import few
from vit.weights.names import of_clip, of_hugging_face, of_timm, of_torchvision
from vit.weights.names.prefixes import PREFERRED, unwrap_names
from vit.weights.names.renamed import Renamed

_TRANSLATIONS: dict[str, Callable[[Mapping[str, Tensor], str], Renamed]] = {
    of_clip.ANCHOR: of_clip.from_tower,
    of_hugging_face.ANCHOR: of_hugging_face.from_hf,
    of_timm.ANCHOR: of_timm.from_timm,
    of_torchvision.ANCHOR: of_torchvision.from_torchvision,
}


def to_ours(tensors: Mapping[str, Tensor], where: str) -> Renamed:
    """Tensors under another library's names (with any prefixes before them) under ours.

    Raises:
        CheckpointError: the names are of no kind that is known; the first few are listed.
    """
    tensors = unwrap_names(tensors)
    for anchor, translate in _TRANSLATIONS.items():
        prefix = _prefix(tensors, anchor)
        if prefix is not None:
            return translate(tensors, prefix)
    raise CheckpointError(
        f"{where}: weights of no kind that is known here. Its names are like {few(tensors)}. Known: Google's npz, "
        "timm, DeiT, MAE, DINO and DINOv2, Hugging Face's ViT, DeiT, ViTMAE and Dinov2, torchvision's vit_*, and ours"
    )


def _prefix(tensors: Mapping[str, Tensor], anchor: str) -> str | None:
    found = [name.removesuffix(anchor) for name in tensors if name == anchor or name.endswith("." + anchor)]
    found = [prefix for prefix in found if not prefix.endswith("decoder.")]
    return min(found, key=lambda p: (not any(word in p for word in PREFERRED), len(p)), default=None)
