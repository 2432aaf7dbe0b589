"""Weights on disk: safetensors and ``.pth`` state dicts, and how two architectures differ."""

from __future__ import annotations

import json
import os
import re
import zipfile
from collections.abc import Mapping, Sequence
from contextlib import suppress
from functools import cache
from pathlib import Path
from typing import Any

import numpy as np
import torch
from torch import Tensor, nn

from trainer.checkpoint.contents import new_digest
from trainer.errors import CheckpointError
from trainer.files import flush_file
from trainer.text import by, few
from trainer.untrusted.limits import check_archive, check_size
from trainer.untrusted.pickle_size import check_pickle

_DEEPEST = 100  # lists and dicts within each other in a file of torch's


def save_weights(path: Path, weights: Mapping[str, Tensor], header: Mapping[str, str] | None = None) -> str:
    """Write tensors as safetensors and flush them to the disk.

    Args:
        header: texts by name that the file's header gets.

    Returns:
        The digest that the file has if all of it was written as it was meant to be.
    """
    from safetensors.torch import save_file

    seen: set[int] = set()
    whole: dict[str, Tensor] = {}
    for name, tensor in weights.items():
        tensor = tensor.detach().cpu().contiguous()
        storage = tensor.untyped_storage()
        # safetensors refuses tensors that share memory (tied weights, slices of one buffer)
        if storage.data_ptr() in seen or storage.nbytes() != tensor.numel() * tensor.element_size():
            tensor = tensor.clone()
        seen.add(tensor.untyped_storage().data_ptr())
        whole[name] = tensor
    path.touch()
    mode = path.stat().st_mode & 0o777  # as this user's files have it: the library lets nobody else read its own
    save_file(whole, path, metadata={"format": "pt", **(header or {})})
    with suppress(OSError):  # file systems without rights
        path.chmod(mode)
    flush_file(path)
    return _meant(path, whole)


def _meant(path: Path, tensors: Mapping[str, Tensor]) -> str:
    """The digest of a safetensors file out of its header and the tensors in memory: the file is not read again."""
    digest = new_digest()
    with path.open("rb") as file:
        size = file.read(8)
        header = file.read(int.from_bytes(size, "little"))
    digest.update(size)
    digest.update(header)
    places = {name: place["data_offsets"] for name, place in json.loads(header).items() if name != "__metadata__"}
    for name in sorted(places, key=lambda name: places[name]):
        if tensors[name].numel():
            digest.update(tensors[name].reshape(-1).view(torch.uint8).numpy())
    return digest.hexdigest()


def read_safetensors(path: Path) -> dict[str, Tensor]:
    from safetensors import SafetensorError
    from safetensors.torch import load_file

    try:
        return load_file(path)
    except (OSError, SafetensorError) as error:
        raise CheckpointError(f"{path} is not a readable safetensors file ({error}): fetch or save it again") from error


def read_pth(path: Path) -> dict[str, Tensor]:
    """The tensors of a ``.pth`` state dict, on the CPU; CheckpointError for anything else, pickled code included."""
    data = load_plain(path)
    for key in ("state_dict", "model", "params"):
        if isinstance(data, Mapping) and isinstance(data.get(key), Mapping):
            data = data[key]
            break
    if not isinstance(data, Mapping) or not data or not all(isinstance(v, Tensor) for v in data.values()):
        what = f"a dict of {few(data)}" if isinstance(data, Mapping) else type(data).__name__
        raise CheckpointError(f"{path} holds no state dict but {what}: give a file that maps names to tensors")
    return {str(name): tensor for name, tensor in data.items()}


def load_plain(path: Path, types: Sequence[Any] = ()) -> Any:
    """What ``torch.save`` wrote, on the CPU, read by the restricted unpickler.

    Args:
        types: what it may build beside tensors and plain containers, as ``torch.serialization.safe_globals`` takes it.

    Raises:
        CheckpointError: it cannot be read so; says why.
    """
    try:
        with (
            torch.serialization.safe_globals(list(types)),
            path.open("rb") as file,
        ):  # by a path torch goes by its suffix
            if file.read(4) == b"PK\x03\x04" or zipfile.is_zipfile(file):  # the first is what torch goes by
                check_archive(file)
            size = file.seek(0, os.SEEK_END)
            file.seek(0)
            _bound_unpickler()
            return _backed(torch.load(file, map_location="cpu", weights_only=True), size)
    except Exception as error:  # torch raises many types here: UnpicklingError, RuntimeError, EOFError, ...
        raise CheckpointError(
            f"{path} cannot be loaded safely ({unsafe_reason(error)}): give a state dict of plain tensors "
            "(torch.save(model.state_dict(), path)) or a .safetensors file; pickled code is never executed"
        ) from error


def _backed(content: Any, present: int) -> Any:
    """The content, when no tensor in it is larger than the bytes that it has: steps of 0 make any size of one number.

    Args:
        present: bytes of the file; a tensor of any size may be made there without any in it.

    Raises:
        ValueError: one is, or all together are more than the file can account for, or one has no values at all; or
            lists and dicts lie more than 100 deep in each other.
    """
    storages: dict[int, int] = {}
    level: dict[int, Any] = {0: [content]}  # containers by id: what is in several others is looked at once
    for _ in range(_DEEPEST):
        within: dict[int, Any] = {}
        for container in level.values():
            for value in container.values() if isinstance(container, Mapping) else container:
                if isinstance(value, Tensor):
                    _check_tensor(value, storages)
                elif isinstance(value, Mapping | list | tuple):
                    within[id(value)] = value
        if not within:
            check_size(sum(storages.values()), present, "all its tensors")
            return content
        level = within
    raise ValueError(f"its lists and dicts lie more than {_DEEPEST} deep in each other")


def _check_tensor(tensor: Tensor, storages: dict[int, int]) -> None:
    if tensor.is_meta:
        raise ValueError(f"a tensor of {by(tensor.shape)} has a size but no values (device meta)")
    if tensor.layout != torch.strided or tensor.is_quantized or tensor.is_nested:
        raise ValueError(f"a tensor of {by(tensor.shape)} is sparse, quantised or nested: give a dense one of numbers")
    claimed, storage = tensor.numel() * tensor.element_size(), tensor.untyped_storage()
    check_size(claimed, storage.nbytes(), f"a tensor of {by(tensor.shape)}")
    storages[storage.data_ptr()] = storage.nbytes()


@cache
def _bound_unpickler() -> None:
    """Make torch's unpickler build no more bytes than a pickle has: ``bytearray(10**11)`` takes 15 of them to say.

    Its list of what may be called has no place for conditions, so two entries become functions that have some. What
    pickle itself writes of bytes and bytearrays passes them. And each pickle is followed by `check_pickle` first: here
    it is what torch reads, wherever in the file that lies.
    """
    from torch import _weights_only_unpickler

    class Unpickler(_weights_only_unpickler.Unpickler):
        def __init__(self, file: Any, **options: Any) -> None:
            super().__init__(file, **options)
            self._file = file

        def load(self) -> Any:
            check_pickle(self._file)
            return super().load()

    _weights_only_unpickler.Unpickler = Unpickler  # type: ignore[misc]
    allowed = _weights_only_unpickler._get_allowed_globals()
    allowed.update({"builtins.bytearray": _bytes_there, "_codecs.encode": _latin_1})


def numpy_number(kind: np.dtype, content: bytes) -> Any:
    """What NumPy's pickles call for one of its numbers; NumPy's own fills what is missing, up to 2 GiB, with zeros."""
    if not isinstance(content, bytes) or len(content) != kind.itemsize:
        raise ValueError(f"it has a number of {kind.itemsize:,} bytes that are not in it")
    return np.frombuffer(content, kind)[0]


def _bytes_there(content: bytes | str = b"", encoding: str = "latin-1") -> bytearray:
    if not isinstance(content, bytes | str):
        raise ValueError(f"it asks for bytes that are not in it: bytearray({str(content)[:20]})")
    return bytearray(content if isinstance(content, bytes) else _latin_1(content, encoding))


def _latin_1(text: str, encoding: str) -> bytes:
    """Other codecs double what they are given, and can be called again on that."""
    if not isinstance(text, str) or encoding not in ("latin1", "latin-1"):
        raise ValueError(f"it has {type(text).__name__} encoded by {encoding!r}")
    return text.encode("latin-1")


def unsafe_reason(error: Exception) -> str:
    """What torch says, in words that help here: its own advice is to execute the file."""
    text = re.sub(r"\x1b\[[0-9;]*m", "", str(error))
    strange = re.search(r"GLOBAL ([\w.]+)", text)
    if strange and strange[1].startswith("numpy"):
        return f"it holds arrays of numpy, {strange[1]}"
    if strange:
        return f"it holds objects of {strange[1]}, not tensors alone"
    if "TorchScript" in text:
        return "it is a TorchScript archive, a program"
    if isinstance(error, EOFError) or "PytorchStreamReader" in text or "pickle data was truncated" in text:
        return "it is damaged or cut short"
    return next((line.strip() for line in text.splitlines() if line.strip()), type(error).__name__)[:120]


def network_tensors(networks: Mapping[str, nn.Module]) -> dict[str, Tensor]:
    """Parameters and saved buffers of all networks by canonical name, ``network.parameter``; not copied."""
    return {f"{n}.{name}": value for n, module in networks.items() for name, value in module.state_dict().items()}


def network_buffers(networks: Mapping[str, nn.Module]) -> dict[str, Tensor]:
    """Buffers of all networks, saved ones or not, by canonical name; not copied."""
    return {f"{n}.{name}": buffer for n, module in networks.items() for name, buffer in module.named_buffers()}


def compare_architecture(expected: Mapping[str, Any], found: Mapping[str, Any], what: str = "the checkpoint") -> None:
    """Check that names and shapes agree.

    Args:
        expected: of the network, found: of the file; name to shape or to tensor.
        what: how the message calls the file.

    Raises:
        CheckpointError: with the counts and the first few of what is missing, unexpected and of another
            shape.
    """
    want, have = ({name: tuple(getattr(v, "shape", v)) for name, v in d.items()} for d in (expected, found))
    missing = [name for name in want if name not in have]
    unexpected = [name for name in have if name not in want]
    differing = [
        f"{name} (here {by(want[name])}, there {by(have[name])})"
        for name in want
        if name in have and want[name] != have[name]
    ]
    if not (missing or unexpected or differing):
        return
    lines = [f"{what} is of another architecture:"]
    for title, names in (("missing", missing), ("unexpected", unexpected), ("other shape", differing)):
        if names:
            lines.append(f"  - {title} ({len(names)}): {few(names, 4)}")
    lines.append("Use the model settings it was trained with (config.yaml of its run), or another name= to start anew")
    raise CheckpointError("\n".join(lines))
