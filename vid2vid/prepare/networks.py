"""Networks of other people that label a frame or tell its depth, from local files: nothing is downloaded.

- a folder that `transformers` saved (`config.json` beside `model.safetensors` and `preprocessor_config.json`);
- for labels also a file with the weights of torchvision's DeepLabV3, told by what is in it.
"""

from __future__ import annotations

import re
from collections.abc import Callable
from dataclasses import dataclass
from pathlib import Path
from typing import Any

import numpy as np
import torch
import torch.nn.functional as F
from torch import Tensor

from trainer.checkpoint.weights import read_pth, read_safetensors
from trainer.data.labels.colour_tables import colour_table
from trainer.errors import CheckpointError, ConfigError
from trainer.text import few

_EXAMPLES = {
    "labels": (
        "the weights of torchvision's DeepLabV3, such as deeplabv3_resnet50_coco-cd0a2569.pth (fetch them where there "
        'is a network: python -c "from torchvision.models.segmentation import deeplabv3_resnet50 as f; '
        "f(weights='DEFAULT')\", into ~/.cache/torch/hub/checkpoints), or the folder of a transformers model (hf "
        "download nvidia/segformer-b0-finetuned-cityscapes-512-1024 --local-dir DIR)"
    ),
    "depth": (
        "the folder of a transformers depth model (fetch it where there is a network: hf download "
        "depth-anything/Depth-Anything-V2-Small-hf --local-dir DIR)"
    ),
}


@dataclass(frozen=True)
class Segmenter:
    """Gives every pixel a class.

    Attributes:
        ids: RGB uint8 (h, w, 3) to int64 (h, w) tensor.
        names: of the classes, by id.
    """

    ids: Callable[[np.ndarray], Tensor]
    names: tuple[str, ...]


def load_segmenter(given: str | None, device: torch.device) -> Segmenter:
    """The network of `model=`, in evaluation mode.

    Raises:
        ConfigError: none is given, or none is there; says what would do, and how to get it.
        CheckpointError: it is of another kind.
    """
    path = _place(given, "labels")
    return _deeplab(path, device) if path.is_file() else _semantic(path, device)


def load_depth(given: str | None, device: torch.device) -> Callable[[np.ndarray], Tensor]:
    """The network of `model=`: RGB uint8 (h, w, 3) to float32 (h, w), depth or its inverse as the network has it.

    Raises:
        ConfigError, CheckpointError: as `load_segmenter`.
    """
    path = _place(given, "depth")
    if path.is_file():
        raise ConfigError(f"model={path}: is a file; depth needs {_EXAMPLES['depth']}")
    transformers = _transformers()
    processor, network = _loaded(path, "depth", transformers.AutoModelForDepthEstimation, device)

    @torch.inference_mode()
    def depth(pixels: np.ndarray) -> Tensor:
        inputs = processor(images=pixels, return_tensors="pt").to(device)
        found = network(**inputs).predicted_depth.float()  # (1, h, w), at a size of the network's
        return F.interpolate(found[:, None], pixels.shape[:2], mode="bicubic", align_corners=False)[0, 0].cpu()

    return depth


def _place(given: str | None, kind: str) -> Path:
    if given is None:
        raise ConfigError(f"model=... is missing: {kind} are made by a network that you give: {_EXAMPLES[kind]}")
    if not Path(given).exists():
        raise ConfigError(f"model={given}: no such file or folder. Give {_EXAMPLES[kind]}")
    return Path(given)


_LOCAL: dict[str, Any] = {"local_files_only": True, "trust_remote_code": False}  # else transformers asks to run it


def _transformers() -> Any:
    try:
        import transformers
    except ImportError as error:
        raise ConfigError("a folder as model= needs transformers: pip install -e '.[prepare]'") from error
    transformers.utils.logging.set_verbosity_error()
    transformers.utils.logging.disable_progress_bar()
    return transformers


def _loaded(path: Path, kind: str, automatic: Any, device: torch.device) -> tuple[Any, Any]:
    """What prepares pictures for a network, and the network."""
    try:
        processor = _transformers().AutoImageProcessor.from_pretrained(path, **_LOCAL)
        network = automatic.from_pretrained(path, **_LOCAL)
    except (OSError, ValueError, KeyError, RuntimeError) as error:
        words = " ".join(str(error).split())[:300]
        raise CheckpointError(
            f"model={path}: cannot be read as a transformers model that gives {kind} ({words}). Give {_EXAMPLES[kind]}"
        ) from error
    return processor, network.to(device).eval()


def _semantic(path: Path, device: torch.device) -> Segmenter:
    transformers = _transformers()
    universal = False
    if (path / "config.json").is_file():
        architectures = transformers.AutoConfig.from_pretrained(path, **_LOCAL).architectures or [""]
        universal = architectures[0].endswith("ForUniversalSegmentation") or "MaskFormer" in architectures[0]
    automatic = (
        transformers.AutoModelForUniversalSegmentation if universal else transformers.AutoModelForSemanticSegmentation
    )
    processor, network = _loaded(path, "labels", automatic, device)

    @torch.inference_mode()
    def ids(pixels: np.ndarray) -> Tensor:
        extra = {"task_inputs": ["semantic"]} if "OneFormer" in type(network).__name__ else {}
        inputs = processor(images=pixels, return_tensors="pt", **extra).to(device)
        size = [pixels.shape[:2]]
        return processor.post_process_semantic_segmentation(network(**inputs), target_sizes=size)[0].long().cpu()

    names = network.config.id2label
    return Segmenter(ids, tuple(str(names[index]) for index in sorted(names)))


def _deeplab(path: Path, device: torch.device) -> Segmenter:
    from torchvision.models import segmentation
    from torchvision.transforms._presets import SemanticSegmentation

    state = read_safetensors(path) if path.suffix == ".safetensors" else read_pth(path)
    name = _architecture(state, path)
    classes = int(state["classifier.4.weight"].shape[0])
    network = getattr(segmentation, name)(
        weights=None, weights_backbone=None, num_classes=classes, aux_loss=any("aux_" in key for key in state)
    )
    try:
        network.load_state_dict(state)
    except RuntimeError as error:
        raise CheckpointError(
            f"model={path}: is not torchvision's {name} ({' '.join(str(error).split())[:300]})"
        ) from error
    network.to(device).eval()
    preset = SemanticSegmentation(resize_size=520)  # as its weights were trained and measured

    @torch.inference_mode()
    def ids(pixels: np.ndarray) -> Tensor:
        picture = torch.from_numpy(pixels).permute(2, 0, 1)[None].to(device)
        scores = network(preset(picture))["out"].float()
        return F.interpolate(scores, pixels.shape[:2], mode="bilinear", align_corners=False)[0].argmax(0).cpu()

    voc = colour_table("voc").names
    names = [voc[index] if classes == 21 else f"class {index}" for index in range(classes)]
    return Segmenter(ids, tuple(names))


def _architecture(state: dict[str, Tensor], path: Path) -> str:
    """Which of torchvision's a state dict is of."""
    if "classifier.4.weight" not in state:
        raise CheckpointError(
            f"model={path}: its tensors ({few(state, 3)}) are not those of torchvision's DeepLabV3. Give "
            f"{_EXAMPLES['labels']}"
        )
    if "backbone.0.0.weight" in state:
        return "deeplabv3_mobilenet_v3_large"
    blocks = {int(found[1]) for key in state if (found := re.match(r"backbone\.layer3\.(\d+)\.", key))}
    return "deeplabv3_resnet101" if max(blocks, default=0) > 5 else "deeplabv3_resnet50"
