"""Where checkpoints are and what kind they are: recognised by content, never by a file's name; no code is unpickled."""

from __future__ import annotations

import argparse
import pathlib
import struct
import zipfile
from collections.abc import Mapping
from contextlib import suppress
from dataclasses import dataclass, field
from pathlib import Path
from typing import Any

import numpy as np
from torch import Tensor

from trainer.checkpoint.contents import META, pointed, read_meta
from trainer.checkpoint.trained import load_weights
from trainer.checkpoint.weights import load_plain, numpy_number, read_safetensors
from trainer.errors import CheckpointError
from trainer.text import few
from trainer.untrusted import plain_json
from vit.weights.folders import NAMES, SHARDS, is_own, weights_file
from vit.weights.timm_models.hub import class_names

HEADER = "vivid"  # key of our own description in the header of a .safetensors file

# keys under which tensors lie, in the order of preference: averaged weights first, as timm and the DINO papers evaluate
AVERAGED = ("state_dict_ema", "model_ema", "ema_state_dict", "model_state_dict_ema", "ema_model", "ema", "teacher")
AVERAGED += ("target_encoder",)  # I-JEPA
_PLAIN = ("state_dict", "model_state_dict", "model", "net", "network", "params", "weights", "student", "encoder")
_WRAPPERS = (*AVERAGED, *_PLAIN, "module")
# under which people keep the names of classes beside them, as lists, by index, or as ImageFolder has them, by name
_CLASSES = ("class_to_idx", "idx_to_class", "classes", "class_names", "label_names", "id2label", "label2id", "labels")
_OTHERS = ("optim", "sched", "scaler", "criterion", "loss", "callback", "loop", "arg", "config", "cfg", "param_groups")


@dataclass
class Content:
    """What lies in a file or folder.

    Attributes:
        path: for messages.
        kind: ``npz``, ``torch`` or ``safetensors``.
        tensors: by name (empty for npz). arrays: by key (npz only).
        wrappers: keys that were unwrapped to get at the tensors, outermost first.
        facts: plain data beside the tensors (timm's ``arch`` and ``args``).
        config, preprocessor: of a folder of timm's or Hugging Face's, parsed; empty elsewhere.
        open_clip: of a folder of OpenCLIP's, parsed; empty elsewhere.
        header: our own description of the tensors; meta: of one of our checkpoints. Empty elsewhere.
        sidecar: our own description beside a file of a format without a place for it; empty elsewhere.
    """

    path: Path
    kind: str
    tensors: dict[str, Tensor] = field(default_factory=dict)
    arrays: dict[str, np.ndarray] = field(default_factory=dict)
    wrappers: list[str] = field(default_factory=list)
    facts: dict[str, Any] = field(default_factory=dict)
    config: dict[str, Any] = field(default_factory=dict)
    preprocessor: dict[str, Any] = field(default_factory=dict)
    open_clip: dict[str, Any] = field(default_factory=dict)
    header: dict[str, Any] = field(default_factory=dict)
    sidecar: dict[str, Any] = field(default_factory=dict)
    meta: dict[str, Any] = field(default_factory=dict)


def open_content(path: Path) -> Content:
    """Everything of a file or folder that reading needs.

    Raises:
        CheckpointError: missing, damaged, of an unknown kind, or not loadable without executing code.
    """
    path = pointed(path)
    if not path.exists():
        raise CheckpointError(f"{path} does not exist: give a run, a checkpoint or a weights file, or timm:NAME")
    if path.is_dir():
        return _open_folder(path)
    content = _open_shards(path) if path.name in SHARDS else _open_file(path)
    if path.name in (*NAMES, *SHARDS):
        _add_configs(content, path.parent)
    sidecar = sidecar_of(path)
    if sidecar.exists():
        told = _read_json(sidecar).get(HEADER)
        if isinstance(told, dict) and told.get("bytes") == path.stat().st_size:  # else the file was replaced
            content.sidecar = told
    if (path.parent / META).exists() and path.suffix == ".safetensors":
        content.meta = read_meta(path.parent)
    return content


def sidecar_of(path: Path) -> Path:
    """Where ``write`` describes a file that has no place for it: B_16.npz.json."""
    return path.with_name(path.name + ".json")


def _open_folder(path: Path) -> Content:
    if is_own(path):
        tensors, meta = load_weights(path)
        return Content(path, "safetensors", tensors, meta=meta)
    file = weights_file(path)
    content = _open_shards(file) if file.name in SHARDS else _open_file(file)
    _add_configs(content, path)
    return content


def _open_shards(index: Path) -> Content:
    """A network in several files, which an index lists."""
    content = Content(index, "safetensors")
    for name in sorted(set(_read_json(index).get("weight_map", {}).values())):
        if Path(name).name != name:
            raise CheckpointError(f"{index} names a file outside its folder: {name}")
        content.tensors.update(_open_file(index.parent / name).tensors)
    return content


def _add_configs(content: Content, folder: Path) -> None:
    files = {"config": "config.json", "preprocessor": "preprocessor_config.json", "open_clip": "open_clip_config.json"}
    for attribute, name in files.items():
        if (folder / name).exists():
            setattr(content, attribute, _read_json(folder / name))
    if not content.preprocessor and (folder / "processor_config.json").exists():  # beside that of texts
        content.preprocessor = _read_json(folder / "processor_config.json").get("image_processor") or {}


def _open_file(path: Path) -> Content:
    kind = kind_of(path)
    if kind == "npz":
        from vit.weights.names.of_google import read_arrays

        return Content(path, kind, arrays=read_arrays(path))
    if kind == "safetensors":
        return Content(path, kind, read_safetensors(path), header=_header(path))
    return _unwrap(path, _load_torch(path))


def kind_of(path: Path) -> str:
    """``npz``, ``torch`` or ``safetensors``, by the first bytes: a zip of arrays, a zip or stream of torch, a header.

    Raises:
        CheckpointError: it is none of them, or cannot be read.
    """
    try:
        with path.open("rb") as file:
            start = file.read(16)
        if start.startswith(b"PK") and zipfile.is_zipfile(path):
            with zipfile.ZipFile(path) as archive:
                names = archive.namelist()
            if any(name.endswith(".npy") for name in names):
                return "npz"
            if any(name.endswith("/data.pkl") or name == "data.pkl" for name in names):
                return "torch"
    except (OSError, ValueError, NotImplementedError, zipfile.BadZipFile) as error:  # names that are no text, a version
        raise CheckpointError(f"{path} cannot be read ({error}): fetch or save it again") from error
    if len(start) > 8 and start[8:9] == b"{" and struct.unpack("<Q", start[:8])[0] < path.stat().st_size:
        return "safetensors"
    if start[:1] == b"\x80":  # a pickle stream: torch before 1.6
        return "torch"
    raise CheckpointError(
        f"{path} is no weights file: it begins with {start[:8]!r}. Known: .npz, .safetensors, torch's .pth"
        + (" (a .npz or .pth cut short: fetch it again)" if start.startswith(b"PK") else "")
        + (" (this is a pointer of git LFS: run `git lfs pull`)" if start.startswith(b"version https:") else "")
        + (" (this is a web page: the download failed)" if start.lstrip().startswith(b"<") else "")
    )


def _load_torch(path: Path) -> Any:
    """With the restricted unpickler; besides tensors it may build the plain data that timm, DeiT and MAE add."""
    plain: list[Any] = [
        argparse.Namespace,
        (pathlib.PosixPath, "pathlib.PosixPath"),
        (pathlib.PosixPath, "pathlib._local.PosixPath"),
        (numpy_number, "numpy.core.multiarray.scalar"),
        (numpy_number, "numpy._core.multiarray.scalar"),
        np.dtype,  # and types that only hold a number
        *(type(np.dtype(code)) for code in ("f4", "f8", "i4", "i8", "?")),
    ]
    return load_plain(path, plain)


def _unwrap(path: Path, data: Any) -> Content:
    content = Content(path, "torch")
    while isinstance(data, Mapping) and not _is_state(data):
        key = next((name for name in _WRAPPERS if _holds(data.get(name))), None)
        if key is None:
            key = _only(path, data)
        if key is None:
            break
        content.wrappers.append(str(key))
        kept = ("args", *_CLASSES)
        content.facts.update({str(k): v for k, v in data.items() if k in kept or not isinstance(v, Mapping | Tensor)})
        data = data[key]
    if not isinstance(data, Mapping) or not _is_state(data):
        what = f"a dict of {few(data)}" if isinstance(data, Mapping) else type(data).__name__
        raise CheckpointError(f"{path} holds no state dict but {what}: give a file that maps names to tensors")
    content.tensors = {str(name): tensor for name, tensor in data.items() if isinstance(tensor, Tensor)}
    return content


def _only(path: Path, data: Mapping[Any, Any]) -> Any:
    """The one entry that may hold a network under a key that nobody expects; None where there is none.

    Raises:
        CheckpointError: there are several.
    """
    keys = [key for key, value in data.items() if _holds(value) and not any(word in str(key) for word in _OTHERS)]
    if len(keys) > 1:
        names = ", ".join(map(str, keys))
        raise CheckpointError(
            f"{path} holds several networks ({names}), none under a name that is known: save the one you mean, "
            f'torch.save(torch.load(PATH)["{keys[0]}"], "weights.pth")'
        )
    return keys[0] if keys else None


def _holds(value: Any, depth: int = 3) -> bool:
    """Whether there are tensors with names in it, at some depth."""
    if not isinstance(value, Mapping) or not depth:
        return False
    return any(isinstance(k, str) and (isinstance(v, Tensor) or _holds(v, depth - 1)) for k, v in value.items())


def _is_state(data: Mapping[Any, Any]) -> bool:
    """Names to tensors; a few extras that are no tensors may stand between (``_extra_state``, numbers, settings)."""
    if any(_holds(data.get(name)) for name in _WRAPPERS):
        return False
    named = [name for name, value in data.items() if isinstance(value, Tensor)]
    nested = any(isinstance(value, Mapping) for value in data.values())
    return bool(named) and (not nested or any("." in str(name) for name in named))


def known_names(content: Content) -> list[str] | None:
    """Names of classes by index that a script kept beside the tensors; None where there are none."""
    for key in _CLASSES:
        told = content.facts.get(key)
        names = class_names(told, len(told)) if isinstance(told, Mapping | list | tuple) and told else None
        if names is not None:
            return names
    return None


def arguments(content: Content) -> dict[str, Any]:
    """What timm's, DeiT's and MAE's scripts were started with, which they keep beside the tensors."""
    args = content.facts.get("args")
    return dict(args) if isinstance(args, Mapping) else dict(vars(args)) if hasattr(args, "__dict__") else {}


def input_size(args: Mapping[str, Any]) -> tuple[int, int] | None:
    """(height, width) of ``--input-size 3 224 224`` (timm), ``--img-size`` (timm) or ``--input-size`` (DeiT, MAE)."""
    for size in (args.get("input_size"), args.get("img_size")):
        if isinstance(size, int) and size > 0:
            return size, size
        if isinstance(size, list | tuple) and len(size) in (2, 3) and all(isinstance(side, int) for side in size):
            return size[-2], size[-1]
    return None


def unwrapped(content: Content) -> list[str]:
    """A line that says where in the file the tensors were, where it holds more than them."""
    if not content.wrappers:
        return []
    averaged = "the averaged (EMA) weights, " if set(content.wrappers) & set(AVERAGED) else ""
    return [f"taken from {averaged}{' > '.join(content.wrappers)} in the file"]


def _header(path: Path) -> dict[str, Any]:
    from safetensors import safe_open

    with suppress(Exception), safe_open(path, "pt") as file:  # read_safetensors has said what is wrong, if anything
        return plain_json.loads((file.metadata() or {}).get(HEADER, "{}"))
    return {}


def _read_json(path: Path) -> dict[str, Any]:
    try:
        data = plain_json.loads(path.read_text())
    except (OSError, ValueError) as error:
        raise CheckpointError(f"{path} is not readable JSON ({error}): fetch it again") from error
    if not isinstance(data, dict):
        raise CheckpointError(f"{path} holds no settings but {type(data).__name__}: fetch it again")
    return data
