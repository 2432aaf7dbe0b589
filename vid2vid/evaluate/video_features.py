"""Networks that describe a stretch of video by one vector, from local files: nothing is downloaded.

A figure bears the name of the network that it was measured with: a Fréchet distance between features of r2plus1d_18 is
no FVD, which is that of one I3D (Unterthiner et al. 2018) and of no other. Frames are squeezed to the network's square,
not cropped: what happens at a street's sides counts.
"""

from __future__ import annotations

import warnings
from collections.abc import Callable
from dataclasses import dataclass
from pathlib import Path
from typing import Any

import torch
import torch.nn.functional as F
from torch import Tensor, nn

from trainer.checkpoint.weights import read_pth, read_safetensors
from trainer.errors import CheckpointError, ConfigError
from trainer.text import few

WINDOW = 16  # frames of a stretch
HEADS = {
    **dict.fromkeys(("r3d_18", "mc3_18", "r2plus1d_18"), "fc"),
    "s3d": "classifier",
    **dict.fromkeys(("mvit_v1_b", "mvit_v2_s", "swin3d_t", "swin3d_s", "swin3d_b"), "head"),
}  # of torchvision's networks: the layer behind the features
FVD, VJEPA2, TORCHSCRIPT = "fvd", "vjepa2", "torchscript"
KINDS = (*HEADS, FVD, VJEPA2, TORCHSCRIPT)
FVD_FEATURES = 400  # FVD takes the scores of the 400 classes of Kinetics
_IMAGENET = ((0.485, 0.456, 0.406), (0.229, 0.224, 0.225))
_EXAMPLE = "r2plus1d_18:r2plus1d_18-91a641e6.pth"


_NUMBERS = (".npz", ".npy", ".csv", ".tsv", ".mat", ".h5", ".hdf5", ".pkl", ".pickle", ".parquet")
_WANTED = {
    VJEPA2: "vjepa2:FOLDER (config.json and model.safetensors of transformers' V-JEPA 2)",
    FVD: "fvd:i3d_torchscript.pt (the I3D of FVD as TorchScript)",
    TORCHSCRIPT: "torchscript:FILE (any network as TorchScript, (B, 3, 16, H, W) in 0..1 -> (B, D))",
}


@dataclass(frozen=True)
class VideoNetwork:
    """Describes stretches of video.

    Attributes:
        kind: one of `KINDS`.
        name: of the network.
        features: (1, WINDOW, 3, H, W) uint8 -> (1, D) float.
    """

    kind: str
    name: str
    features: Callable[[Tensor], Tensor]


def load_video_network(given: str, device: torch.device) -> VideoNetwork:
    """A network told as ``KIND:PATH``.

    - torchvision's video networks by name, with a file of their weights;
    - ``fvd``: the I3D of FVD as TorchScript, which returns 400 features where it is called with ``rescale=True,
      resize=True, return_features=True`` on (B, 3, T, H, W) in 0..255;
    - ``vjepa2``: a folder of transformers' V-JEPA 2; the mean of its tokens, or what its attentive pooler makes of them
      where the folder is that of a video classifier, as in JEDi;
    - ``torchscript``: any other network as TorchScript, (B, 3, T, H, W) in 0..1 -> (B, D), called after its file.

    TorchScript is a program: give files of people you trust.

    Raises:
        ConfigError: no such kind. CheckpointError: the file is missing or is another network's.
    """
    kind, colon, text = given.partition(":")
    if Path(text or kind).suffix.lower() in _NUMBERS:
        raise ConfigError(
            f"video_features={given}: holds features that were computed before, but those of the generated clips must "
            f"be made by the same network, so it is the network that is needed: {_WANTED[VJEPA2]} for JEDi, "
            f"{_WANTED[FVD]} for FVD, {_EXAMPLE} (or another of torchvision's: {', '.join(HEADS)}) for VFD, or "
            f"{_WANTED[TORCHSCRIPT]} (docs/metrics.md)"
        )
    if kind not in KINDS or not colon or not text:
        raise ConfigError(
            f"video_features={given}: needs NETWORK:FILE, such as {_EXAMPLE}; networks: {', '.join(KINDS)}"
        )
    path = Path(text)
    if not path.exists():
        raise CheckpointError(f"video_features={given}: {path} does not exist; give a local file or folder")
    if kind == VJEPA2:
        if not path.is_dir():
            raise CheckpointError(f"video_features={given}: is a file; give {_WANTED[VJEPA2]}")
        return VideoNetwork(kind, VJEPA2, _vjepa2(path, device))
    if kind in (FVD, TORCHSCRIPT):
        return VideoNetwork(kind, "I3D" if kind == FVD else path.stem, _torchscript(kind, path, device))
    return VideoNetwork(kind, kind, _torchvision(kind, path, device))


def _torchvision(name: str, path: Path, device: torch.device) -> Callable[[Tensor], Tensor]:
    from torchvision.models import get_model, get_model_weights

    state = read_safetensors(path) if path.suffix == ".safetensors" else read_pth(path)
    head = HEADS[name]
    last = [value for key, value in state.items() if key.startswith(f"{head}.") and key.endswith(".weight")]
    network: nn.Module = get_model(name, weights=None, num_classes=len(last[-1]) if last else 400)
    try:
        network.load_state_dict(state)
    except RuntimeError as error:
        raise CheckpointError(
            f"video_features={name}:{path}: is not torchvision's {name} (it has {few(state, 3)}); "
            "give the file that torchvision fetches for it"
        ) from error
    setattr(network, head, nn.Identity())
    network.to(device).eval()
    preset = get_model_weights(name).DEFAULT.transforms()  # type: ignore[attr-defined]

    def features(frames: Tensor) -> Tensor:
        return network(_prepared(frames, preset.crop_size[0], preset.mean, preset.std).transpose(1, 2))

    return features


def _torchscript(kind: str, path: Path, device: torch.device) -> Callable[[Tensor], Tensor]:
    with warnings.catch_warnings():  # that torch has newer formats: FVD's network is published in this one
        warnings.simplefilter("ignore")
        try:
            network = torch.jit.load(str(path), map_location=device).eval()
        except (RuntimeError, ValueError, OSError) as error:
            reason = str(error).strip().splitlines()[0]
            raise CheckpointError(f"video_features={kind}:{path}: is no TorchScript file ({reason})") from error

    def features(frames: Tensor) -> Tensor:
        pixels = frames.transpose(1, 2).float()
        options = {"rescale": True, "resize": True, "return_features": True} if kind == FVD else {}
        try:
            found = network(pixels if kind == FVD else pixels / 255, **options)
        except RuntimeError as error:
            reason = str(error).strip().splitlines()[-1]
            raise CheckpointError(
                f"video_features={kind}:{path}: takes no stretch of video as it should ({reason}); docs/metrics.md"
            ) from error
        if found.ndim != 2 or (kind == FVD and found.shape[1] != FVD_FEATURES):
            wanted = f"(1, {FVD_FEATURES})" if kind == FVD else "(1, D)"
            raise CheckpointError(
                f"video_features={kind}:{path}: returns {tuple(found.shape)}, not {wanted}"
                + (": it is not the I3D of FVD; another network is torchscript:FILE" if kind == FVD else "")
            )
        return found

    return features


def _vjepa2(path: Path, device: torch.device) -> Callable[[Tensor], Tensor]:
    try:
        import transformers
    except ImportError as error:
        raise ConfigError("video_features=vjepa2:FOLDER needs transformers: pip install -e '.[prepare]'") from error
    try:
        config = transformers.AutoConfig.from_pretrained(path, local_files_only=True, trust_remote_code=False)
        if config.model_type != VJEPA2:
            raise ValueError(f"model_type is {config.model_type}")
        pooled = (config.architectures or [""])[0] == "VJEPA2ForVideoClassification"
        model = transformers.VJEPA2ForVideoClassification if pooled else transformers.VJEPA2Model
        network: Any = model.from_pretrained(path, local_files_only=True)
    except (OSError, ValueError, KeyError, RuntimeError) as error:
        reason = " ".join(str(error).split())[:200]
        raise CheckpointError(
            f"video_features=vjepa2:{path}: cannot be read as transformers' V-JEPA 2 ({reason})"
        ) from error
    network.to(device).eval()
    encoder = network.vjepa2 if pooled else network

    def features(frames: Tensor) -> Tensor:
        videos = _prepared(frames, config.crop_size, *_IMAGENET)
        tokens = encoder(pixel_values_videos=videos, skip_predictor=True).last_hidden_state
        return network.pooler(tokens) if pooled else tokens.mean(1)

    return features


def _prepared(frames: Tensor, side: int, mean: Any, deviation: Any) -> Tensor:
    """(B, T, 3, H, W) uint8 -> (B, T, 3, side, side) float, normalised."""
    flat = frames.flatten(0, 1).float() / 255
    flat = F.interpolate(flat, (side, side), mode="bilinear", align_corners=False, antialias=True)
    shape = (1, 3, 1, 1)
    flat = (flat - flat.new_tensor(mean).reshape(shape)) / flat.new_tensor(deviation).reshape(shape)
    return flat.reshape(*frames.shape[:2], *flat.shape[1:])
