"""``read``: a ViT of any known origin as a ``ViTCheckpoint``: what it holds, how it was built, how it sees pictures."""

from __future__ import annotations

from collections.abc import Mapping, Sequence
from dataclasses import replace
from pathlib import Path
from typing import Any

from trainer.errors import CheckpointError
from trainer.untrusted.plain_json import MISSHAPEN
from vit.config import Fit
from vit.model.architecture import patch_grid
from vit.model.options import OPTIONS
from vit.preprocessing import Preprocessing, from_checkpoint, from_plain
from vit.weights.checkpoint import ViTCheckpoint, infer_architecture
from vit.weights.files import Content, arguments, input_size, known_names, open_content, unwrapped
from vit.weights.names.of_google import from_google
from vit.weights.names.renamed import Renamed
from vit.weights.names.translation import to_ours
from vit.weights.position_tables import first_fitting, fold_register_rows, guessed, square_grid
from vit.weights.preprocessors import HALF, IMAGENET_MEAN, IMAGENET_STD, from_hf, from_open_clip, from_timm
from vit.weights.timm_models.hub import HubConfig, facts_of, parse, pretrained, settings, skeleton

Size = tuple[int, int]

_HF_GELU = {"gelu": "exact", "gelu_python": "exact", "gelu_10": "exact"} | dict.fromkeys(
    ("gelu_new", "gelu_fast", "gelu_pytorch_tanh", "gelu_python_tanh"), "tanh"
)
_SIGLIP = {"hidden_act": "gelu_pytorch_tanh", "layer_norm_eps": 1e-6, "num_attention_heads": 12, "image_size": 224}
_BICUBIC = ("DeiT or MAE", "DeiT, distilled", "DeiT III", "MAE", "DINO", "DINOv2")  # makers whose scripts resize so
# of our own architecture: what the tensors do not say themselves
_TOLD = ("heads", *(option.name for option in OPTIONS if option.told))


def read(source: str | Path, resolution: tuple[int, int] | None = None) -> ViTCheckpoint:
    """Read a checkpoint of any kind that is known.

    Args:
        source: a file (Google's .npz, .safetensors, torch's .pth), a folder of timm's or Hugging Face's, one of our
            runs or checkpoints (averaged weights are preferred), or ``timm:NAME`` for timm's own download. Kinds are
            told by content. ``FILE.npz:img`` (big_vision's way to name a tower) is accepted.
        resolution: (height, width) in pixels of the pictures that its position table is for, where the file itself
            does not tell; without it a square is taken where one fits, and that is said.

    Raises:
        CheckpointError: not there, damaged, not a plain ViT, or of no known kind; says which.
    """
    if str(source).startswith("timm:"):
        return _from_timm_download(str(source).removeprefix("timm:"))
    path = Path(source)
    if not path.exists() and str(source).endswith(".npz:img"):
        path = Path(str(source).removesuffix(":img"))
    content = open_content(path)
    try:
        found = _read(content, str(path), resolution)
    except MISSHAPEN as error:  # what lies beside the tensors is anybody's text
        raise CheckpointError(
            f"{path}: what it tells of its network cannot be used ({type(error).__name__}: {error}); get the file anew"
        ) from error
    if not found.grid_known and not found.origin.endswith("torchvision") and (note := guessed(found.arch)):
        found.notes.append(note)  # torchvision's are always square
    return found


def _read(content: Content, where: str, resolution: Size | None) -> ViTCheckpoint:
    if content.kind == "npz":
        return _with_sidecar(from_google(content.arrays, where, resolution), content)
    renamed = to_ours(content.tensors, where)
    if content.header or content.meta:
        return _from_own(content, renamed)
    if content.config.get("model_type", "timm_wrapper") != "timm_wrapper":  # transformers wraps models of timm so
        return _from_hf(content, renamed, resolution)
    if "architecture" in content.config:
        return _from_timm_folder(content, renamed, resolution)
    return _with_sidecar(_from_bare(content, renamed, resolution), content)


def _finish(
    where: str,
    renamed: Renamed,
    origin: str,
    known: Mapping[str, Any],
    preprocessing: Preprocessing,
    classes: Sequence[str] | None = None,
) -> ViTCheckpoint:
    renamed.notes += fold_register_rows(renamed.state, known.get("grid"))
    arch = infer_architecture(renamed.state, where, {**renamed.known, **known})
    told = bool(known.get("heads")) or "blocks.0.attn.q_norm.weight" in renamed.state
    if not told:
        guess = f"taken as {arch['heads']}, as usual at its width" if arch["heads"] else "give heads=N where asked"
        renamed.notes.append(f"attention heads not in the file: {guess}")
    renamed.notes += preprocessing.notes
    found = ViTCheckpoint(
        renamed.state,
        origin,
        arch,
        notes=renamed.notes,
        heads_known=told,
        lost_head=renamed.lost_head,
        grid_known=bool(known.get("grid")),
        size=preprocessing.size,
        **preprocessing.told(),
    )
    if classes is not None and len(classes) == arch["num_classes"]:
        found.classes = list(classes)
    return found


def _with_sidecar(found: ViTCheckpoint, content: Content) -> ViTCheckpoint:
    """With what ``write`` put into the description beside a file that has no place for it, and names in it."""
    names = known_names(content)
    found.classes = names if names and len(names) == found.arch["num_classes"] else found.classes
    if content.sidecar:
        told = from_plain(content.sidecar)
        names = content.sidecar.get("classes")
        found = replace(found, size=told.size, **{k: v for k, v in told.told().items() if v is not None})
        found.classes = list(names) if names and len(names) == found.arch["num_classes"] else found.classes
    return found


# our own


def _from_own(content: Content, renamed: Renamed) -> ViTCheckpoint:
    """A run, a checkpoint, or a file that ``write`` made: the architecture is told beside the tensors."""
    facts, where = content.header or content.meta.get("task", {}), str(content.path)
    told = facts.get("architecture")
    if isinstance(told, str):  # a run of model.name
        options = built_with(facts, content.meta)
        known = facts_of(_timm_skeleton(HubConfig(told, options, {}, None), where), where)
        trained = facts.get("size") or content.meta.get("config", {}).get("resolution")
        known["grid"] = first_fitting(renamed.state, None, trained and _pair(trained))
    else:
        known = {name: told[name] for name in _TOLD if name in told} if isinstance(told, Mapping) else {}
        if isinstance(told, Mapping):
            known["grid"] = _grid(told)
    return _finish(
        where,
        renamed,
        "vivid",
        known,
        from_checkpoint(facts, content.meta.get("config", {})),
        facts.get("classes"),
    )


def built_with(facts: Mapping[str, Any], meta: Mapping[str, Any]) -> dict[str, Any]:
    """What timm built the model of a run with; runs of before it was kept have what their configuration says."""
    return facts.get("name_options") or meta.get("config", {}).get("model", {}).get("name_options", {})


def _grid(told: Mapping[str, Any]) -> tuple[int, int] | None:
    if told.get("grid"):
        return _pair(told["grid"])
    if "image_size" not in told:
        return None
    return patch_grid(_pair(told["image_size"]), told["patch"], Fit(told.get("fit", "error")))


# Hugging Face


def _from_hf(content: Content, renamed: Renamed, resolution: Size | None) -> ViTCheckpoint:
    where, kind = str(content.path), content.config["model_type"]
    siglip = kind.startswith("siglip")
    config = {**(_SIGLIP if siglip else {}), **content.config, **content.config.get("vision_config", {})}
    act = config.get("hidden_act", "gelu")
    if act not in _HF_GELU:
        raise CheckpointError(
            f"{where}: hidden_act {act!r} of its config.json is none of a plain ViT's ({', '.join(_HF_GELU)})"
        )
    patch = _side(config.get("patch_size", 16))
    known: dict[str, Any] = {
        "heads": config.get("num_attention_heads"),
        "gelu": _HF_GELU[act],
        "norm_eps": config.get("layer_norm_eps", 1e-6 if kind.startswith("dinov2") else 1e-12),
        "layer_scale": config.get("layerscale_value") if kind.startswith("dinov2") else None,
    }
    labels = config.get("id2label") or {}
    names = [labels[key] for key in sorted(labels, key=int)]
    real = any(name != f"LABEL_{index}" for index, name in enumerate(names))
    usual = (HALF, HALF) if kind == "vit" or siglip else (IMAGENET_MEAN, IMAGENET_STD)
    found = from_hf(content.preprocessor) if content.preprocessor else Preprocessing()
    size = config.get("image_size")
    grid = None if size is None else (_pair(size)[0] // patch, _pair(size)[1] // patch)
    known["grid"] = first_fitting(renamed.state, grid, found.size, resolution)
    if found.mean is None or found.std is None:
        found = replace(found, mean=usual[0], std=usual[1])
        why = "tells none" if content.preprocessor else "is not there"
        renamed.notes.append(f"preprocessor_config.json {why}: input normalisation as usual for {kind}")
    if config.get("problem_type") == "multi_label_classification":
        found = replace(found, answers="labels")
    return _finish(where, renamed, f"Hugging Face {kind}", known, found, names if real else None)


# timm


def _from_timm_folder(content: Content, renamed: Renamed, resolution: Size | None) -> ViTCheckpoint:
    found, where = parse(content.config), str(content.path)
    known = facts_of(_timm_skeleton(found, where), where)
    known["grid"] = first_fitting(renamed.state, known["grid"], resolution)
    return _finish(where, renamed, f"timm {found.architecture}", known, from_timm(found.cfg), found.classes)


def _timm_skeleton(found: HubConfig, where: str) -> Any:
    try:
        return skeleton(found)
    except (RuntimeError, AssertionError, *MISSHAPEN) as error:
        raise CheckpointError(
            f"{where}: timm does not build its architecture {found.architecture!r} ({error})"
        ) from error


def _from_timm_download(name: str) -> ViTCheckpoint:
    """``timm:NAME``: weights through timm's own download and cache."""
    model, where = pretrained(name), f"timm:{name}"
    renamed = to_ours(model.state_dict(), where)
    return _finish(where, renamed, f"timm {name}", facts_of(model, where), from_timm(settings(model)))


# files without a configuration


def _from_bare(content: Content, renamed: Renamed, resolution: tuple[int, int] | None) -> ViTCheckpoint:
    """Only tensors: the rest follows from who makes such files, and is said where it is assumed."""
    where, known = str(content.path), dict[str, Any]()
    args = arguments(content)
    origin = {"timm": "timm's names", "hf": "Hugging Face's names", "torchvision": "torchvision"}[renamed.family]
    maker = renamed.maker
    if renamed.family == "hf":
        known["norm_eps"] = 1e-6 if any("ls1" in name for name in renamed.state) else 1e-12
        renamed.notes.append(f"no config.json beside it: LayerNorm's eps taken as {known['norm_eps']:g}, usual there")
    elif renamed.family == "timm" and not maker:
        if content.facts.get("arch") and isinstance(content.facts["arch"], str):
            origin = f"timm {content.facts['arch']}"
        elif content.wrappers[:1] == ["model"] or content.wrappers[:1] == ["model_ema"]:
            maker = "DeiT or MAE"
        elif content.wrappers[:1] == ["teacher"]:
            maker = "DINO"
    if maker:
        origin = f"{maker}, {origin}"
    kept = ("mean", "std", "interpolation", "crop_pct", "crop_mode")
    usual = _usual(content.facts["arch"]) if origin.startswith("timm ") else {}
    prepared = from_timm({**usual, **{name: args[name] for name in kept if args.get(name)}}, complete=False)
    if content.preprocessor:
        prepared = from_hf(content.preprocessor)
    elif content.open_clip:
        prepared = from_open_clip(content.open_clip)
    elif maker in _BICUBIC:
        prepared = replace(_as_makers_do(maker, args), mean=prepared.mean, std=prepared.std)
        renamed.notes.append(
            f"crop and interpolation not in the file: centre, ratio {prepared.crop_ratio:.4g}, bicubic, as its makers "
            "evaluate"
        )
    told = input_size(args), prepared.size
    known["grid"] = first_fitting(renamed.state, None, *told, resolution)
    if prepared.mean is None or prepared.std is None:
        if maker or renamed.family == "torchvision":
            prepared = replace(prepared, mean=IMAGENET_MEAN, std=IMAGENET_STD)
            renamed.notes.append("input normalisation not in the file: ImageNet's, as its makers use")
        else:
            renamed.notes.append(
                "nothing tells its input normalisation: set data.mean and data.std, in convert.py and export.py mean "
                "and std (0.5 for Google's and most of timm's; ImageNet's for DeiT, MAE and DINO)"
            )
    renamed.notes += unwrapped(content)
    found = _finish(where, renamed, origin, known, prepared)
    if "pos_embed" in found.state and found.grid_known and first_fitting(renamed.state, None, *told) is None:
        rows, columns = found.arch["grid"]
        if square_grid(rows * columns) not in (None, (rows, columns)):
            found.notes.append(f"its {rows * columns} positions are taken as {rows}x{columns}, which resolution fits")
    return found


def _as_makers_do(maker: str, args: Mapping[str, Any]) -> Preprocessing:
    """How the scripts evaluate that such files are from: DeiT's and MAE's datasets.py, DINO's and DINOv2's linear ones.

    DeiT tells its ratio (``--eval-crop-ratio``), which DeiT III's commands set to 1; MAE takes all above 224 pixels.
    """
    ratio, size = args.get("eval_crop_ratio"), input_size(args)
    if not isinstance(ratio, int | float) or not 0 < ratio <= 1:
        whole = maker == "DeiT III" or ("MAE" in maker and size is not None and min(size) > 224)
        ratio = 1.0 if whole else 0.875
    return Preprocessing(crop="center", crop_ratio=float(ratio), interpolation="bicubic")


def _usual(name: str) -> dict[str, Any]:
    """How timm prepares pictures for one of its models unless it is told otherwise; nothing for other names."""
    from timm.models import get_pretrained_cfg, is_model

    cfg = get_pretrained_cfg(name) if is_model(name) else None
    return {key: value for key, value in cfg.to_dict().items() if key != "input_size"} if cfg else {}


def _pair(size: Any) -> tuple[int, int]:
    return (size, size) if isinstance(size, int) else (size[0], size[1])


def _side(patch: Any) -> int:
    return patch if isinstance(patch, int) else patch[0]
