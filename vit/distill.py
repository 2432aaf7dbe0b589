"""Distillation: a frozen teacher, fed the student's own pictures, and the loss of following it."""

from __future__ import annotations

import logging
from collections.abc import Mapping, Sequence
from dataclasses import dataclass, replace
from pathlib import Path
from typing import Any

import torch
import torch.nn.functional as F
from torch import Tensor, nn

from trainer.checkpoint.contents import META
from trainer.errors import CheckpointError, ConfigError, DataError, refuse
from trainer.frozen import Frozen
from trainer.text import ends
from vit.config import Distill, DistillConfig, Fit, VitConfig
from vit.data.class_map import ClassMap, class_map
from vit.data.class_names import class_keys
from vit.model.transformer import VisionTransformer
from vit.trained import load_run_model, load_weights_model
from vit.trained import timm_name as name_in_folder
from vit.weights.classes import same_words

_log = logging.getLogger(__name__)


class Teacher(Frozen):
    """A classifier behind what its own input must look like.

    Args:
        model: (B, C, H, W) -> logits (B, K).
        mean, std: its own input normalisation, and ``student_mean``, ``student_std`` that of the pictures it is given;
            per channel, on a scale of 0..1.
        size: (height, width) it must be fed at; None takes any.
    """

    def __init__(
        self,
        model: nn.Module,
        mean: Sequence[float],
        std: Sequence[float],
        student_mean: Sequence[float],
        student_std: Sequence[float],
        size: tuple[int, int] | None = None,
    ) -> None:
        super().__init__()
        self.model, self.size = model, size
        own, other = (torch.tensor([list(m), list(s)]) for m, s in ((mean, std), (student_mean, student_std)))
        scale, shift = other[1] / own[1], (other[0] - own[0]) / own[1]
        self.scale: Tensor
        self.shift: Tensor
        self.register_buffer("scale", scale.view(1, -1, 1, 1), persistent=False)
        self.register_buffer("shift", shift.view(1, -1, 1, 1), persistent=False)
        self.same = bool(torch.equal(own, other))

    @torch.no_grad()
    def forward(self, images: Tensor) -> Tensor:
        """Logits (B, K) fp32 of pictures (B, C, H, W) that are normalised for the student."""
        if not self.same:
            images = images * self.scale + self.shift
        if self.size is not None and images.shape[-2:] != self.size:
            images = F.interpolate(images, self.size, mode="bicubic", antialias=True)
        return self.model(images).float()


def distillation_loss(config: DistillConfig, student: Tensor, teacher: Tensor) -> Tensor:
    """Loss of samples (B,) fp32 of following a teacher, not yet weighed by ``alpha``.

    - ``hard``: cross entropy with the teacher's choice (Touvron et al., "DeiT", 2021, eq. 3).
    - ``soft``: tau^2 KL(teacher || student), both softened by the temperature tau (Hinton et al., 2015; DeiT eq. 2),
      summed over classes. (DeiT's code divides this by the number of classes besides.)

    Args:
        student: (B, K) logits; of the distillation head where there is one.
        teacher: (B, K) logits.
    """
    student, teacher = student.float(), teacher.float()
    if config.mode is Distill.hard:
        return F.cross_entropy(student, teacher.argmax(dim=1), reduction="none")
    tau = config.temperature
    log_s, log_t = F.log_softmax(student / tau, dim=1), F.log_softmax(teacher / tau, dim=1)
    return tau**2 * F.kl_div(log_s, log_t, reduction="none", log_target=True).sum(dim=1)


class Translated(nn.Module):
    """A teacher whose classes are called or ordered otherwise than the student's: (B, its own) -> (B, K) logits."""

    def __init__(self, model: nn.Module, judge: ClassMap) -> None:
        super().__init__()
        self.model, self.judge = model, judge

    def forward(self, x: Tensor) -> Tensor:
        return self.judge.scores(self.model(x))


@dataclass
class Found:
    """A teacher as it was found: its model, input normalisation, class names (None: not told), and needed size."""

    model: nn.Module
    num_classes: int
    channels: int
    mean: Sequence[float]
    std: Sequence[float]
    classes: Sequence[str] | None = None
    size: tuple[int, int] | None = None


def build_teacher(config: VitConfig, classes: Sequence[str], mean: Sequence[float], std: Sequence[float]) -> Teacher:
    """The frozen teacher of a run.

    Args:
        config: of the student; ``distill.teacher`` says which.
        classes: names that the student tells apart.
        mean, std: of the pictures as the student gets them.

    Raises:
        ConfigError: the teacher has other classes or channels.
        CheckpointError: no such teacher, or it cannot be read.
    """
    name = config.distill.teacher
    if name is None:
        raise ConfigError(f"distill.mode={config.distill.mode.name} needs distill.teacher=PATH|timm:NAME")
    height, width = config.resolution
    found = find_teacher(name, config.distill.teacher_name, (height, width))
    problems = []
    theirs, ours = (None if names is None else class_keys(names) for names in (found.classes, classes))
    same = theirs is None or theirs == ours or (found.num_classes == len(classes) and same_words(theirs, classes))
    if config.distill.class_map is not None:
        found.model = Translated(found.model, _translation(config, found, classes))
    elif theirs is not None and ours is not None and not same and sorted(theirs) == sorted(ours):
        _log.info("distill.teacher=%s: its classes are in another order and matched by name", name)
        order = torch.tensor([ours.index(known) for known in theirs])
        found.model = Translated(found.model, ClassMap(order, len(classes)))
    elif found.num_classes != len(classes) or not same:
        own = ends(found.classes) if found.classes is not None else "without names"
        problems.append(
            f"distill.teacher={name} tells {found.num_classes} classes apart ({own}), the data have {len(classes)} "
            f"({ends(classes)}): take a teacher trained on the same classes in the same order, or give "
            "distill.class_map, a file with a line for each: the teacher's class and the data's, by name or number"
        )
    if found.channels != len(mean):
        problems.append(
            f"distill.teacher={name} sees {found.channels} channels, the data have {len(mean)}: "
            f"set data.channels={found.channels} or take another teacher"
        )
    refuse(problems)
    return Teacher(found.model.eval().requires_grad_(False), found.mean, found.std, mean, std, found.size)


def _translation(config: VitConfig, found: Found, classes: Sequence[str]) -> ClassMap:
    """`distill.class_map`, which must have a class of the teacher's for each of the student's."""
    path = config.distill.class_map
    requested = replace(config, data=replace(config.data, class_map=path))
    try:
        judge = class_map(requested, classes, found.classes if found.classes is not None else found.num_classes)
    except DataError as error:
        text = str(error).replace("data.class_map", "distill.class_map")
        raise ConfigError(text if "distill.class_map" in text else f"distill.class_map={text}") from error
    if not isinstance(judge, ClassMap):
        raise ConfigError(f"distill.class_map={path}: needs pairs of classes, not lists of labels")
    without = [name for index, name in enumerate(classes) if index not in judge.target.tolist()]
    if without:
        raise ConfigError(f"distill.class_map={path}: no class of the teacher stands for {ends(without)}: add them")
    return judge


def find_teacher(name: str, timm_name: str | None, resolution: tuple[int, int]) -> Found:
    """A teacher by what the user calls it: ``timm:NAME``, a weights file of timm's ``timm_name``, a run or one of its
    checkpoints, or a weights file of one of our ViTs.

    Args:
        resolution: (height, width) of the student's pictures.
    """
    if name.startswith("timm:"):
        return _timm(name.removeprefix("timm:"), None)
    path = Path(name).expanduser()
    timm_name = timm_name or name_in_folder(name)
    if timm_name is not None:
        return _timm(timm_name, path)
    if (path / META).is_file() or (path / "checkpoints").is_dir() or (path / "config.yaml").is_file():
        model, config, meta = load_run_model(path)
        told = meta["mean"], meta["std"], meta["classes"]
        if isinstance(model, VisionTransformer):
            return _ours(model, *told, resolution)
        height, width = config.resolution
        return Found(model, len(meta["classes"]), len(meta["mean"]), *told, size=(height, width))
    model, meta = load_weights_model(name, resolution=resolution)
    assert isinstance(model, VisionTransformer)
    if not model.arch.num_classes:
        raise CheckpointError(f"distill.teacher={name} has no head that tells classes apart: it can teach none")
    return _ours(model, meta["mean"], meta["std"], meta["classes"], resolution)


def _ours(
    model: VisionTransformer,
    mean: Sequence[float],
    std: Sequence[float],
    classes: Sequence[str] | None,
    resolution: tuple[int, int],
) -> Found:
    """Takes any size that its patch divides; at others it is fed its own."""
    arch = model.arch
    fits = arch.fit is not Fit.error or all(side % arch.patch == 0 for side in resolution)
    size = None if fits else arch.image_size
    return Found(model, arch.num_classes, arch.in_channels, mean, std, classes, size)


def _timm(name: str, path: Path | None) -> Found:
    """timm's pretrained model, or one with the weights of a file."""
    import timm

    classes: list[str] | None = None

    from vit.weights.timm_models.build import load_timm
    from vit.weights.timm_models.files import read_state
    from vit.weights.timm_models.hub import pretrained

    if path is None:
        model = pretrained(name)
        settings: Any = model.pretrained_cfg
        channels = int(settings["input_size"][0])
    else:
        if not timm.is_model(name):
            raise ConfigError(f"distill.teacher_name={name}: timm {timm.__version__} has no such model")
        file = read_state(str(path), name)
        for part in ("classifier", "first_conv"):
            _weight(file.state, file.cfg.get(part), path, name)
        loaded, meta = load_timm(str(path), name)  # built as its folder says, positions and all
        model, classes, channels = loaded.net, meta["classes"], len(meta["mean"])
        settings = {**file.cfg, "mean": meta["mean"], "std": meta["std"], "input_size": (channels, *meta["resolution"])}
    embed = getattr(model, "patch_embed", None)  # a folder need not say that the size is fixed
    fixed = settings.get("fixed_input_size") or getattr(embed, "strict_img_size", False)
    size = tuple(settings["input_size"][1:]) if fixed else None
    mean, std = (_channels(settings[key], channels) for key in ("mean", "std"))
    return Found(model, int(model.num_classes), channels, mean, std, classes, size)  # pyright: ignore[reportArgumentType]


def _weight(state: Mapping[str, Tensor], modules: Any, path: Path, name: str) -> Tensor:
    """The weight of a module (the first one of several) that timm's settings name."""
    module = modules[0] if isinstance(modules, tuple | list) else modules
    if f"{module}.weight" not in state:
        raise CheckpointError(f"distill.teacher={path} has no {module}.weight: it is no {name} (distill.teacher_name)")
    return state[f"{module}.weight"]


def _channels(values: Sequence[float], channels: int) -> list[float]:
    """A model built for other than three channels was normalised by their mean."""
    values = list(values)
    return values if len(values) == channels else [sum(values) / len(values)] * channels
