"""FID, KID and LPIPS: measured with the extra [eval] and the weights files that define them, or not at all.

A random network under a standard name would look like a result, and a download would make an evaluation depend on the
network being up; so a metric without its file is absent, and a line says what is missing.
"""

from __future__ import annotations

import importlib.util
import warnings
from pathlib import Path
from typing import Any, Protocol

import torch
from torch import Tensor, nn

from trainer.checkpoint.weights import compare_architecture, read_pth
from trainer.errors import CheckpointError
from vid2vid.encoding import images_to_float
from vid2vid.evaluate.distances import polynomial_mmd

EXTRA = "pip install -e '.[eval]'"
INCEPTION_FILE = "pt_inception-2015-12-05-6726825d.pth"  # TensorFlow's network, published by torch-fidelity
ALEXNET_FILE = "alexnet-owt-7be5be79.pth"  # torchvision's ImageNet weights
CHUNK = 16  # pictures per call of a network


class ImageMetric(Protocol):
    """A measure over all frames at once (FID, KID, LPIPS): fed some frames at a time, read at the end."""

    name: str

    def update(self, generated: Tensor, real: Tensor) -> None:
        """Add frames, both (T, 3, H, W) uint8."""
        ...

    def compute(self) -> float:
        """The figure; NaN of too few frames."""
        ...


class FrechetInception:
    """Fréchet Inception distance (Heusel et al. 2017) between all real and all generated frames, by torchmetrics.

    Args:
        weights: the file ``pt_inception-2015-12-05-6726825d.pth``.
        device: where to compute.

    Raises:
        CheckpointError: the file is missing or is another network's.
    """

    name = "fid"

    @property
    def network(self) -> nn.Module:
        """Inception: (n, 3, H, W) uint8 -> (n, 2048) float."""
        return self._fid.inception

    def __init__(self, weights: Path, device: torch.device) -> None:
        from torchmetrics.image.fid import FrechetInceptionDistance  # pyright: ignore[reportMissingImports]

        self._count = 0
        _exists(weights, INCEPTION_FILE)
        read_pth(weights)  # torch-fidelity unpickles without restriction: look first whether there are only tensors
        try:
            self._fid = FrechetInceptionDistance(feature=2048, feature_extractor_weights_path=str(weights)).to(device)
        except RuntimeError as error:
            raise CheckpointError(
                f"{weights} does not hold FID's Inception network ({str(error).splitlines()[0]}); "
                f"give the file {INCEPTION_FILE}"
            ) from error

    def update(self, generated: Tensor, real: Tensor) -> None:
        """Add frames, both (T, 3, H, W) uint8."""
        self._count += len(real)
        for fake_part, real_part in zip(generated.split(CHUNK), real.split(CHUNK), strict=True):
            self._fid.update(real_part, real=True)
            self._fid.update(fake_part, real=False)

    def compute(self) -> float:
        return float(self._fid.compute()) if self._count > 1 else float("nan")


class KernelInception:
    """Kernel Inception distance (Bińkowski et al. 2018): the unbiased estimate over all frames, not over drawn subsets.

    Sees what FID sees, without its bias by the number of frames. Keeps 16 KB per frame.

    Args:
        fid: whose network sees the same frames; its features are taken as they pass.
    """

    name = "kid"

    def __init__(self, fid: FrechetInception) -> None:
        self._features: list[Tensor] = []
        fid.network.register_forward_hook(lambda module, given, made: self._features.append(made.float().cpu()))

    def update(self, generated: Tensor, real: Tensor) -> None:
        """Nothing is left to do: FID has been fed the frames, real ones before generated ones, in parts of one size."""

    def compute(self) -> float:
        if sum(map(len, self._features)) < 4:
            return float("nan")
        real, generated = torch.cat(self._features[::2]), torch.cat(self._features[1::2])
        return polynomial_mmd(generated, real, degree=3, constant=1.0, unbiased=True)


class PerceptualSimilarity:
    """LPIPS v0.1 with AlexNet (Zhang et al. 2018), averaged over frames.

    Args:
        weights: torchvision's ``alexnet-owt-7be5be79.pth``; the linear layers come with torchmetrics.
        device: where to compute.

    Raises:
        CheckpointError: the file is missing or is another network's.
    """

    name = "lpips"

    def __init__(self, weights: Path, device: torch.device) -> None:
        from torchmetrics.functional.image.lpips import _LPIPS  # pyright: ignore[reportMissingImports]

        _exists(weights, ALEXNET_FILE)
        with warnings.catch_warnings():  # torchvision's remark that the network is untrained, which is about to change
            warnings.simplefilter("ignore")
            network: Any = _LPIPS(pretrained=True, net="alex", pnet_rand=True)
        # The backbone's parts are called slice1.0, slice2.3, ... after their places in torchvision's `features`.
        own = network.net.state_dict()
        found = {k: v for k, v in read_pth(weights).items() if k.startswith("features.")}
        renamed = {name: "features." + name.partition(".")[2] for name in own}
        compare_architecture({renamed[name]: own[name] for name in own}, found, str(weights))
        network.net.load_state_dict({name: found[renamed[name]] for name in own})
        self._network = network.to(device).eval()
        self._sum, self._count = torch.zeros((), dtype=torch.float64, device=device), 0

    def update(self, generated: Tensor, real: Tensor) -> None:
        """Add frames, both (T, 3, H, W) uint8."""
        for fake_part, real_part in zip(generated.split(CHUNK), real.split(CHUNK), strict=True):
            self._sum += self.distance(fake_part, real_part).double().sum()
            self._count += len(fake_part)

    @torch.inference_mode()
    def distance(self, a: Tensor, b: Tensor) -> Tensor:
        """LPIPS of frames, (n, 3, H, W) uint8 twice -> (n,)."""
        parts = zip(a.split(CHUNK), b.split(CHUNK), strict=True)
        return torch.cat([self._network(images_to_float(x), images_to_float(y)).reshape(-1) for x, y in parts])

    def compute(self) -> float:
        return self._sum.item() / self._count if self._count else float("nan")


def build_image_metrics(
    inception_weights: str | None, lpips_weights: str | None, device: torch.device
) -> tuple[list[ImageMetric], list[str]]:
    """The metrics for which everything is at hand.

    Args:
        inception_weights, lpips_weights: local files, or None.
        device: where to compute.

    Returns:
        The metrics, and one line for each that is absent, naming what it lacks.

    Raises:
        CheckpointError: a file that was named is missing or wrong.
    """
    installed = {name: importlib.util.find_spec(name) is not None for name in ("torchmetrics", "torch_fidelity")}
    metrics: list[ImageMetric] = []
    absent: list[str] = []
    if inception_weights is None:
        absent.append(f"FID and KID are not measured: give inception_weights=PATH of the file {INCEPTION_FILE}")
    elif not all(installed.values()):
        absent.append(f"FID and KID are not measured: they need the extra [eval]: {EXTRA}")
    else:
        fid = FrechetInception(Path(inception_weights), device)
        metrics += [fid, KernelInception(fid)]
    if lpips_weights is None:
        absent.append(
            f"LPIPS and tLP are not measured: give lpips_weights=PATH of the file {ALEXNET_FILE} (torchvision's)"
        )
    elif not installed["torchmetrics"]:
        absent.append(f"LPIPS and tLP are not measured: they need the extra [eval]: {EXTRA}")
    else:
        metrics.append(PerceptualSimilarity(Path(lpips_weights), device))
    return metrics, absent


def _exists(path: Path, file: str) -> None:
    if not path.is_file():
        raise CheckpointError(f"{path} does not exist; give the path of the file {file}")
