"""Reference flow between real frames: the generator's flow learns from it (eq. 8), and D_V sees it (eq. 7).

Everywhere flow is the backward field in pixels, x_t(p) = x_{t-1}(p + flow(p)), channel 0 horizontal, and a 0/1
confidence says where it can be trusted. DIS (Kroeger et al., 2016) needs neither weights nor compiled extensions; RAFT
(Teed and Deng, 2020) is torchvision's.

Confidence is a forward-backward check (Sundaram et al., 2010; UnFlow, Meister et al., 2018)
``|f + b(x + f)|^2 < 0.01 (|f|^2 + |b|^2) + 0.5``, the vector ending inside the frame, and a loose photometric check.
"""

from __future__ import annotations

from collections.abc import Callable
from functools import lru_cache
from pathlib import Path
from typing import TYPE_CHECKING, Any

import numpy as np
import torch
from torch import Tensor

from trainer.checkpoint.weights import read_pth
from trainer.data.pictures.files import read_bytes
from trainer.data.pictures.guarded import check_pixels
from trainer.data.pictures.opening import picture_size
from trainer.errors import ConfigError, DataError
from trainer.untrusted.arrays import open_npz
from vid2vid.config import FlowMethod
from vid2vid.model.warp import warp

if TYPE_CHECKING:
    from torch import nn

FLOW_EXTENSIONS = (".flo", ".png", ".npz")
ESTIMATORS = (FlowMethod.dis, FlowMethod.farneback, FlowMethod.raft)
VERSION = 1  # of what the estimators compute; cached flow of another version is not used
PHOTOMETRIC_ORIGINAL = 0.02  # in the released code: sum over channels of the squared difference, images in [-1, 1]
PHOTOMETRIC_LOOSE = 0.5
_DIS_SMALLEST = 12  # OpenCV's DIS has patches of 8 pixels and refuses smaller frames
_RAFT_SMALLEST = 128  # RAFT correlates at 1/8 of the size over four levels


def estimate_clip(
    images: Tensor,
    method: FlowMethod = FlowMethod.dis,
    weights: str | None = None,
    device: torch.device | str = "cpu",
) -> tuple[Tensor, Tensor]:
    """Backward flow of every frame to the one before it.

    Args:
        images: uint8 (T, 3, H, W) RGB.
        method: dis, farneback or raft.
        weights: RAFT only: a local file of torchvision's raft_large, or "torchvision" to download it.
        device: RAFT only: where it runs.
    Returns:
        flow float16 (T, 2, H, W) in pixels and confidence uint8 (T, 1, H, W), on the CPU; entry 0 of both is zeros.
    Raises:
        ConfigError: a method that estimates nothing, or missing RAFT weights.
    """
    count, _, height, width = images.shape
    flow = torch.zeros(count, 2, height, width, dtype=torch.float16)
    confidence = torch.zeros(count, 1, height, width, dtype=torch.uint8)
    for t in range(1, count):
        flow[t], confidence[t] = estimate_pair(images[t], images[t - 1], method, weights, device)
    return flow, confidence


def estimate_pair(
    current: Tensor,
    previous: Tensor,
    method: FlowMethod = FlowMethod.dis,
    weights: str | None = None,
    device: torch.device | str = "cpu",
) -> tuple[Tensor, Tensor]:
    """Flow from `current` to `previous`, both uint8 (3, H, W).

    Returns:
        float16 (2, H, W) pixels and uint8 (1, H, W) confidence. Arguments and errors as `estimate_clip`.
    """
    if current.shape != previous.shape:
        raise ValueError(f"frames of different shapes: {tuple(current.shape)} and {tuple(previous.shape)}")
    _check_method(method)
    if method is FlowMethod.raft:
        forward, backward = _raft_both_ways(current, previous, weights, device)
    else:
        first, second = _grey(current), _grey(previous)
        forward, backward = _opencv(first, second, method), _opencv(second, first, method)
    consistent = forward_backward(forward[None], backward[None])
    photometric = photometric_confidence(_signed(current), _signed(previous), forward[None], PHOTOMETRIC_LOOSE)
    return forward.to(torch.float16), (consistent & photometric)[0].to(torch.uint8)


def estimate_flow(
    current: Tensor,
    previous: Tensor,
    method: FlowMethod = FlowMethod.dis,
    weights: str | None = None,
    device: torch.device | str = "cpu",
) -> Tensor:
    """Flow from `current` to `previous` alone, float32 (2, H, W) pixels; arguments and errors as `estimate_pair`."""
    if method is FlowMethod.raft:
        return _raft_both_ways(current, previous, weights, device)[0]
    _check_method(method)
    return _opencv(_grey(current), _grey(previous), method)


def _check_method(method: FlowMethod) -> None:
    if method not in ESTIMATORS:
        raise ConfigError(
            f"data.flow={method.value} is not an estimator of flow between two frames; "
            f"use one of {', '.join(m.value for m in ESTIMATORS)}"
        )


def forward_backward(forward: Tensor, backward: Tensor) -> Tensor:
    """True (N, 1, H, W) where following `forward` and then `backward` (N, 2, H, W) leads back, inside the frame."""
    returned = warp(backward, forward)
    gap = (forward + returned).square().sum(1, keepdim=True)
    length = forward.square().sum(1, keepdim=True) + returned.square().sum(1, keepdim=True)
    return (gap < 0.01 * length + 0.5) & inside(forward)


def photometric_confidence(
    current: Tensor, previous: Tensor, flow: Tensor, threshold: float = PHOTOMETRIC_ORIGINAL
) -> Tensor:
    """True (N, 1, H, W) where sum_c (x_t - warp(x_{t-1}, flow))^2 < threshold: the released code's confidence.

    Args:
        current, previous: (N, 3, H, W) in [-1, 1].
        flow: (N, 2, H, W) pixels.
        threshold: 0.02 in the released code.
    """
    return (current - warp(previous, flow)).square().sum(1, keepdim=True) < threshold


def inside(flow: Tensor) -> Tensor:
    """True (..., 1, H, W) where a vector of flow (..., 2, H, W) ends inside the frame."""
    height, width = flow.shape[-2:]
    x = torch.arange(width, device=flow.device) + flow[..., 0, :, :].float()
    y = torch.arange(height, device=flow.device)[:, None] + flow[..., 1, :, :].float()
    return ((x >= 0) & (x <= width - 1) & (y >= 0) & (y <= height - 1)).unsqueeze(-3)


def compose_flow(flow_ab: Tensor, flow_bc: Tensor) -> Tensor:
    """Flow a -> c out of a -> b and b -> c: ``ab(p) + bc(p + ab(p))``, in fp32, all (..., 2, H, W) pixels.

    Coarser temporal scales of the video discriminator need flow across several frames.
    """
    ab = flow_ab.float()
    shape = ab.shape
    return ab + warp(flow_bc.float().reshape(-1, *shape[-3:]), ab.reshape(-1, *shape[-3:])).reshape(shape)


def over_several(flow: Tensor | None) -> Callable[[int, int], Tensor] | None:
    """What tells the flow from one frame of a buffer to an earlier one, composed of those between neighbours.

    Args:
        flow: (B, N, 2, H, W) pixels: entry i leads from frame i to frame i-1; None gives None.

    Returns:
        ``(current, previous) -> (B, 2, H, W)``, differentiable.
    """
    if flow is None:
        return None

    def long_flow(current: int, previous: int) -> Tensor:
        total = flow[:, current]
        for t in range(current - 1, previous, -1):
            total = compose_flow(total, flow[:, t])
        return total

    return long_flow


def compose_confidence(confidence_ab: Tensor, confidence_bc: Tensor, flow_ab: Tensor) -> Tensor:
    """Confidence of `compose_flow(flow_ab, ...)`: both steps trusted, the first ending inside the frame.

    Args:
        confidence_ab, confidence_bc: (..., 1, H, W) 0/1.
        flow_ab: (..., 2, H, W) pixels.
    Returns:
        The type and shape of `confidence_ab`, 0/1.
    """
    flow = flow_ab.float().reshape(-1, *flow_ab.shape[-3:])
    moved = warp(confidence_bc.float().reshape(-1, *confidence_bc.shape[-3:]), flow)
    # A sample between trusted and distrusted pixels is distrusted; 0.99 leaves room for rounding.
    both = (moved > 0.99) & inside(flow) & (confidence_ab.reshape(moved.shape) > 0)
    return both.reshape(confidence_ab.shape).to(confidence_ab.dtype)


def read_flow(path: Path) -> tuple[Tensor, Tensor]:
    """Precomputed flow of one frame to the previous one: .flo (Middlebury), 16-bit .png (KITTI) or .npz.

    An .npz holds `flow` (2, H, W) or (H, W, 2) and optionally `confidence` (H, W), (1, H, W), 0/1.

    Returns:
        flow float32 (2, H, W) in pixels of its own size, and confidence uint8 (1, H, W): what the file marks as valid.
    Raises:
        DataError: missing, damaged, or of another layout; names the file.
    """
    readers = {".flo": _read_flo, ".png": _read_kitti, ".npz": _read_npz}
    if path.suffix.lower() not in readers:
        raise DataError(f"{path}: flow files are one of {', '.join(readers)}.")
    if not path.is_file():
        raise DataError(f"{path}: no such flow file. Each frame but the first needs one in data.flow_dir.")
    try:
        flow, valid = readers[path.suffix.lower()](path)
    except DataError:
        raise
    except Exception as error:
        raise DataError(f"{path}: cannot be read as flow ({error}). Compute it again.") from error
    valid &= np.isfinite(flow).all(axis=0)
    flow = np.where(valid, flow, 0).astype(np.float32)
    return torch.from_numpy(flow), torch.from_numpy(valid[None].astype(np.uint8))


def _read_flo(path: Path) -> tuple[np.ndarray, np.ndarray]:
    data = path.read_bytes()
    if len(data) < 12 or data[:4] != b"PIEH":
        raise DataError(f"{path}: not a .flo file (it does not begin with PIEH).")
    width, height = np.frombuffer(data, "<i4", 2, offset=4).tolist()
    if width < 1 or height < 1 or len(data) < 12 + 8 * width * height:
        raise DataError(f"{path}: damaged: its header says {width}x{height}, the file has {len(data)} bytes.")
    flow = np.frombuffer(data, "<f4", 2 * width * height, offset=12).reshape(height, width, 2).transpose(2, 0, 1)
    return flow, np.abs(flow).max(axis=0) < 1e9  # Middlebury marks unknown flow by larger values


def _read_kitti(path: Path) -> tuple[np.ndarray, np.ndarray]:
    import cv2

    data = read_bytes(path)
    check_pixels(*picture_size(data, path), path)
    raw = cv2.imdecode(np.frombuffer(data, np.uint8), cv2.IMREAD_UNCHANGED)
    if raw is None:
        raise DataError(f"{path}: damaged or not a PNG.")
    if raw.dtype != np.uint16 or raw.ndim != 3 or raw.shape[2] != 3:
        raise DataError(f"{path}: KITTI flow is a 16-bit PNG of 3 channels, this is {raw.dtype} {raw.shape}.")
    valid, v, u = (raw[..., i].astype(np.float32) for i in range(3))  # OpenCV gives the channels reversed
    return (np.stack([u, v]) - 32768) / 64, valid > 0


def _read_npz(path: Path) -> tuple[np.ndarray, np.ndarray]:
    with open_npz(path) as arrays:
        if "flow" not in arrays:
            raise DataError(f"{path}: needs an array named flow, has {', '.join(arrays.files) or 'none'}.")
        flow = arrays["flow"].astype(np.float32)
        confidence = arrays.get("confidence")
    if flow.ndim == 3 and flow.shape[-1] == 2 and flow.shape[0] != 2:
        flow = flow.transpose(2, 0, 1)
    if flow.ndim != 3 or flow.shape[0] != 2:
        raise DataError(f"{path}: flow must be (2, H, W) or (H, W, 2), is {flow.shape}.")
    valid = np.ones(flow.shape[1:], bool) if confidence is None else confidence.reshape(flow.shape[1:]) > 0
    return flow, valid


def _grey(image: Tensor) -> np.ndarray:
    import cv2

    return cv2.cvtColor(np.ascontiguousarray(image.permute(1, 2, 0).numpy()), cv2.COLOR_RGB2GRAY)


def _signed(image: Tensor) -> Tensor:
    return image[None].float() / 127.5 - 1


def _opencv(first: np.ndarray, second: np.ndarray, method: FlowMethod) -> Tensor:
    """Flow float32 (2, H, W): first(p) = second(p + flow(p))."""
    import cv2

    if method is FlowMethod.farneback:
        start = np.zeros((*first.shape, 2), np.float32)
        flow = cv2.calcOpticalFlowFarneback(first, second, start, 0.5, 6, 21, 5, 7, 1.5, 0)
    else:
        if min(first.shape) < _DIS_SMALLEST:
            raise DataError(
                f"data.flow=dis needs frames of at least {_DIS_SMALLEST} pixels a side, these have "
                f"{first.shape[0]}x{first.shape[1]}; raise resolution or use data.flow=farneback"
            )
        flow = _dis().calc(first, second, np.empty(0))
    return torch.from_numpy(np.ascontiguousarray(flow.transpose(2, 0, 1)))


@lru_cache(maxsize=1)
def _dis() -> Any:
    import cv2

    return cv2.DISOpticalFlow.create(cv2.DISOPTICAL_FLOW_PRESET_MEDIUM)


def _raft_both_ways(
    current: Tensor, previous: Tensor, weights: str | None, device: torch.device | str
) -> tuple[Tensor, Tensor]:
    height, width = current.shape[-2:]
    if min(height, width) < _RAFT_SMALLEST:
        raise DataError(
            f"data.flow=raft needs frames of at least {_RAFT_SMALLEST} pixels a side, these have {height}x{width}; "
            "raise resolution or use data.flow=dis"
        )
    network = _raft(weights, str(device))
    pair = torch.cat([_signed(current), _signed(previous)]).to(device)
    # Sides divisible by 8: the frame is padded by its own border, and the padding cut from the flow.
    padded = torch.nn.functional.pad(pair, (0, -width % 8, 0, -height % 8), mode="replicate")
    with torch.inference_mode():
        flow = network(padded, padded.flip(0))[-1][..., :height, :width].float().cpu()
    return flow[0].clone(), flow[1].clone()


@lru_cache(maxsize=2)
def _raft(weights: str | None, device: str) -> nn.Module:
    from torchvision.models.optical_flow import Raft_Large_Weights, raft_large

    remedy = (
        "data.flow=raft reads torchvision's raft_large from data.flow_weights: give a local file "
        "(raft_large_C_T_SKHT_V2-ff5fadd5.pth), or data.flow_weights=torchvision to download it"
    )
    if weights is None:
        raise ConfigError(f"data.flow_weights is not set: {remedy}")
    if weights == "torchvision":
        try:
            network = raft_large(weights=Raft_Large_Weights.DEFAULT)
        except OSError as error:
            raise ConfigError(f"data.flow_weights=torchvision: the download failed ({error}); {remedy}") from error
        return network.eval().to(device)
    path = Path(weights)
    if not path.is_file():
        raise ConfigError(f"data.flow_weights={weights}: no such file; {remedy}")
    network = raft_large()
    try:
        network.load_state_dict(read_pth(path))
    except Exception as error:
        reason = str(error).splitlines()[0]
        raise ConfigError(f"data.flow_weights={weights}: not weights of raft_large ({reason}); {remedy}") from error
    return network.eval().to(device)
