"""Any classifier of timm as a network of this package: built, filled with weights, and asked what the task asks a ViT.

timm is imported where it is used, for it takes a second.
"""

from __future__ import annotations

from collections.abc import Mapping, Sequence
from contextlib import suppress
from fnmatch import fnmatch
from pathlib import Path
from typing import Any

import torch
from torch import Tensor, nn

from trainer.checkpoint import load_weights
from trainer.errors import CheckpointError, ConfigError
from trainer.schema import did_you_mean
from vit.adapting import adapt_channels, adapt_statistics
from vit.config import HeadPolicy, ModelConfig
from vit.loading import LoadReport, grouped

Size = tuple[int, int]
TIMM = "timm:"


class TimmClassifier(nn.Module):
    """A timm model with the methods of ``VisionTransformer`` that training and evaluation use.

    It adds no level of names: parameters, buffers and state dict are those of the timm model itself, so that its
    weights go to timm and back as they are. ``net`` is therefore no submodule; both share their children.

    Args:
        net: the timm model.
    """

    net: nn.Module

    def __init__(self, net: nn.Module) -> None:
        super().__init__()
        object.__setattr__(self, "net", net)
        for name in ("_parameters", "_buffers", "_modules", "_non_persistent_buffers_set"):
            object.__setattr__(self, name, getattr(net, name))

    def forward(self, x: Tensor) -> Tensor:
        """Pictures (B, C, H, W), normalised, to logits (B, K)."""
        return self.net(x)

    def representation(self, x: Tensor) -> Tensor:
        """What the last layer reads: pictures to (B, R)."""
        return self.net.forward_head(self.net.forward_features(x), pre_logits=True)  # type: ignore[operator]

    def train(self, mode: bool = True) -> TimmClassifier:
        super().train(mode)
        self.net.training = mode  # its children are ours and know already
        return self

    def no_weight_decay(self) -> set[str]:
        """Parameters that the model's authors spare from weight decay (position tables, tokens)."""
        listed = getattr(self.net, "no_weight_decay", None)
        patterns = set(listed()) if callable(listed) else set()
        return {name for name, _ in self.named_parameters() if any(fnmatch(name, p) for p in patterns)}

    def layer_ids(self) -> dict[str, int]:
        """Depth of every parameter, 0 for the stem, as timm groups them; the head is last."""
        from timm.models._manipulate import group_parameters
        from timm.optim._param_groups import auto_group_layers

        matcher = getattr(self.net, "group_matcher", None)
        if callable(matcher):
            return dict(group_parameters(self.net, matcher(coarse=False), reverse=True))
        return dict(auto_group_layers(self.net))


def build_timm(
    config: ModelConfig, num_classes: int, in_channels: int, image_size: Size, sizes: Sequence[Size] = ()
) -> tuple[TimmClassifier, LoadReport | None]:
    """A timm classifier, with ``config.weights`` in it where given.

    Args:
        config: ``name``, ``name_options``, ``weights``, ``head``, ``channel_adapt`` and ``channel_map`` are read.
        num_classes, in_channels: of the data.
        image_size: (height, width) in pixels; handed to models that fix it.
        sizes: further sizes that it must take.

    Raises:
        ConfigError: timm has no such model, or it takes neither the options nor the sizes.
        CheckpointError: the weights cannot be had or do not fit.
    """
    name = str(config.name)
    create = _creator(config, name, num_classes, in_channels, image_size)
    generator = torch.get_rng_state()
    net, report = create(), None
    if config.weights is not None:
        state, cfg, known = _read(config.weights, name)
        fresh = {key: value.clone() for key, value in net.state_dict().items()}
        torch.set_rng_state(generator)  # the same initial values again: what still has them was not loaded
        net, report = _filled(create, fresh, net, state, {**cfg, **known}, config, num_classes, in_channels)
    for size in {image_size, *sizes}:
        _try(net, name, (1, in_channels, *size))
    return TimmClassifier(net), report


def _creator(config: ModelConfig, name: str, num_classes: int, in_channels: int, image_size: Size) -> Any:
    """``create(**more)`` makes the model."""
    import timm

    if not timm.is_model(name):
        names = timm.list_models()
        hint = did_you_mean(name.split(".")[0], names) or "; timm.list_models() names them"
        raise ConfigError(f"model.name={name}: timm {timm.__version__} has no such model{hint}")
    options = {key: int(v) if float(v).is_integer() else v for key, v in config.name_options.items()}

    def create(**more: Any) -> nn.Module:
        common = {"num_classes": num_classes, "in_chans": in_channels, **options, **more}
        try:
            with suppress(_NoImageSize):
                return _sized(timm.create_model, name, image_size, common)
            return timm.create_model(name, **common)
        except TypeError as error:
            raise ConfigError(
                f"model.name_options={config.name_options}: {name} does not take them ({error}); see timm.create_model"
            ) from error
        except (AssertionError, ValueError) as error:
            raise ConfigError(
                f"model.name={name} cannot be built for {in_channels} channels of {image_size[0]}x{image_size[1]} "
                f"pixels: {error}"
            ) from error

    return create


class _NoImageSize(Exception):
    """The model takes pictures of any size."""


def _sized(make: Any, name: str, image_size: Size, common: Mapping[str, Any]) -> nn.Module:
    try:
        return make(name, img_size=image_size, **common)
    except TypeError as error:
        if "img_size" in str(error):
            raise _NoImageSize from None
        raise


def _try(net: nn.Module, name: str, shape: Sequence[int]) -> None:
    """One forward pass of shapes alone, so that a size that does not fit is found before the data are read."""
    from torch._subclasses.fake_tensor import FakeTensorMode

    training = net.training
    net.eval()
    try:
        with torch.no_grad(), FakeTensorMode(allow_non_fake_inputs=True):
            net(torch.empty(tuple(shape)))
    except (AssertionError, RuntimeError, ValueError) as error:
        reason = (str(error).splitlines() or [type(error).__name__])[0]
        native = getattr(net, "pretrained_cfg", {}).get("input_size", ("?", "?", "?"))
        raise ConfigError(
            f"resolution=[{shape[2]},{shape[3]}]: model.name={name} cannot take pictures of this size ({reason}); its "
            f"own is [{native[1]},{native[2]}]"
        ) from error
    finally:
        net.train(training)


# --- weights ----------------------------------------------------------------------------------------------------------


def _read(weights: str, name: str) -> tuple[dict[str, Tensor], dict[str, Any], dict[str, Any]]:
    """(tensors under timm's names, timm's pretrained_cfg, what the file itself tells: mean, std, classes)."""
    if weights.startswith(TIMM):
        net = pretrained(weights.removeprefix(TIMM))
        cfg = dict(net.pretrained_cfg)  # type: ignore[arg-type]
        if cfg.get("architecture") != name.split(".")[0]:
            raise CheckpointError(
                f"model.weights={weights} is of another architecture than model.name={name}: "
                f"set model.name={cfg.get('architecture')}"
            )
        return dict(net.state_dict()), cfg, {}
    from timm.models import get_pretrained_cfg

    entry = get_pretrained_cfg(name)
    state, meta = load_weights(Path(weights).expanduser())
    for prefix in ("module.", "_orig_mod.", "model."):
        if state and all(key.startswith(prefix) for key in state):
            state = {key.removeprefix(prefix): value for key, value in state.items()}
    task = meta.get("task", {})
    return state, entry.to_dict() if entry else {}, {k: task[k] for k in ("mean", "std", "classes") if task.get(k)}


def pretrained(name: str) -> nn.Module:
    """A model of timm with its published weights, by timm's own download (kept in its cache).

    Raises:
        CheckpointError: no such model, none published, or it cannot be fetched.
    """
    import timm

    try:
        return timm.create_model(name, pretrained=True)
    except Exception as error:  # timm, the hub client and the network raise dozens of types here
        reason = (str(error).splitlines() or [type(error).__name__])[0]
        raise CheckpointError(
            f"timm:{name} cannot be had ({type(error).__name__}: {reason[:200]}). It is downloaded at its first use: "
            "check the name (timm.list_pretrained()) and the connection, or fetch the file elsewhere and give its path"
        ) from error


def _filled(
    create: Any,
    fresh: Mapping[str, Tensor],
    net: nn.Module,
    state: dict[str, Tensor],
    cfg: Mapping[str, Any],
    config: ModelConfig,
    num_classes: int,
    in_channels: int,
) -> tuple[nn.Module, LoadReport]:
    """The model once more, through timm's own loading: it converts names and resizes tables as this model needs it."""
    where, own = str(config.weights), dict(net.pretrained_cfg)  # type: ignore[arg-type]
    heads = _tuple(own.get("classifier"))
    classes = next((state[f"{head}.weight"].shape[0] for head in heads if f"{head}.weight" in state), 0)
    keep = config.head is HeadPolicy.keep and classes > 0
    if keep and classes != num_classes:
        raise CheckpointError(
            f"model.weights={where}: its head has {classes} classes, this model {num_classes}: model.head=reset starts "
            f"a new head, model.num_classes={classes} keeps it"
        )
    source, state = state, {k: v for k, v in state.items() if keep or not k.startswith(tuple(f"{h}." for h in heads))}
    known = set(fresh) & set(source)
    if not known and not _convertible(state, fresh):
        raise CheckpointError(
            f"model.weights={where}: nothing in it fits model.name={config.name}; it holds "
            f"{', '.join(grouped(source)) or 'no tensors'}"
        )
    channels = _fit_first(state, net, own, config, in_channels)
    overlay = {
        "state_dict": dict(state),
        "num_classes": num_classes if keep else -1,  # another number: timm then asks for no head
        "input_size": (in_channels, *(own.get("input_size") or (3, 224, 224))[1:]),
    }
    try:
        filled = create(pretrained=True, pretrained_cfg_overlay=overlay)
    except (RuntimeError, KeyError, AttributeError) as error:
        reason = " ".join(line.strip() for line in str(error).splitlines()[:3])
        raise CheckpointError(f"model.weights={where} does not fit model.name={config.name}: {reason[:400]}") from error
    filled.pretrained_cfg = own  # without the tensors
    report = _report(filled, fresh, source, where, heads if not keep else ())
    missing = [name for name in report.new if not name.startswith(tuple(f"{head}." for head in heads))]
    if missing:
        raise CheckpointError(
            f"model.weights={where} lacks parts of model.name={config.name}: {', '.join(grouped(missing))}"
        )
    mean, std = cfg.get("mean"), cfg.get("std")
    if mean is not None and std is not None:
        rule = config.channel_adapt, config.channel_map if len(mean) == channels else ()
        report.mean, report.std = (adapt_statistics(list(v), in_channels, *rule) for v in (mean, std))
    report.interpolation, report.crop_ratio = cfg.get("interpolation"), cfg.get("crop_pct")
    report.classes = list(cfg["classes"]) if keep and cfg.get("classes") else None
    return filled, report


def _fit_first(
    state: dict[str, Tensor], net: nn.Module, cfg: Mapping[str, Any], config: ModelConfig, channels: int
) -> int:
    """The first convolution's kernels to the number of channels, by our rules; returns the file's number."""
    found = channels
    for conv in _tuple(cfg.get("first_conv")):
        name = f"{conv}.weight"
        if name in state and state[name].ndim == 4:
            ours = net.state_dict()[name]
            theirs = state[name]
            if (ours.shape[1] == channels and theirs.shape[1] != channels) or config.channel_map:
                found = theirs.shape[1]
                state[name] = adapt_channels(theirs, channels, config.channel_adapt, config.channel_map)
    return found


def _convertible(state: Mapping[str, Tensor], fresh: Mapping[str, Tensor]) -> bool:
    """Whether timm's conversion may turn other names into this model's: as many tensors of the same shapes."""
    shapes = {tuple(value.shape) for value in fresh.values() if value.ndim > 1}
    large = [tuple(value.shape) for value in state.values() if value.ndim > 1]
    return bool(large) and sum(shape in shapes for shape in large) > len(large) / 2


def _report(
    net: nn.Module, fresh: Mapping[str, Tensor], source: Mapping[str, Tensor], where: str, dropped: Sequence[str]
) -> LoadReport:
    """What was loaded: a tensor of the file's name, or one that no longer has its initial value."""
    report = LoadReport(where, "timm")
    renamed = False
    for name, value in net.state_dict().items():
        theirs = None if name.startswith(tuple(f"{head}." for head in dropped)) else source.get(name)
        changed = not torch.equal(value, fresh[name])
        if theirs is None and not changed:
            report.new.append(name)
            continue
        renamed |= theirs is None
        report.loaded.append(name)
        if theirs is not None and theirs.shape != value.shape:
            report.resized.append((name, tuple(theirs.shape), tuple(value.shape)))
    report.dropped = [name for name in source if name not in report.loaded]
    if renamed:
        report.notes.append("timm converted names of the original release; those left out above may be among them")
    return report


def _tuple(value: Any) -> tuple[str, ...]:
    if value is None:
        return ()
    return (value,) if isinstance(value, str) else tuple(value)
