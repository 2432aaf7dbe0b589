"""The exact training state on disk: tensors by torch.distributed.checkpoint (DCP), the rest as JSON.

DCP alone would put numbers and strings through pickle, and would read its own ``.metadata`` with an
unrestricted ``pickle.load``: opening somebody's checkpoint could run their code. So only tensors go through
DCP (whose reader loads each with ``weights_only=True``), everything else is ``tree.json``, and ``.metadata``
is read by an unpickler that knows nothing but DCP's own record types. Both formats are exact: JSON numbers
are written by ``repr``, which round-trips.

Why DCP and not ``torch.save``: a run whose weights and moments are sharded over processes (FSDP2) must go on with
another number of them. DCP writes every process's shards beside each other, notes where each piece of a tensor lies,
and fills the shards of a ``template`` from them, however many wrote and read; ``torch.save`` would first bring all to
one process, whose memory it need not fit. tests/trainer/checkpoint/test_several_processes.py holds that sharded tensors
come back, on as many processes and on another number. What it costs, measured on November 26, 2026 (torch 2.14, 2 CPU
cores that were busy, 340 MB in 144 tensors, three rounds): saving takes 1.0 to 1.4 s, flushed to the disk, against 1.1
s of ``torch.save``; loading 1.1 to 3.1 s against 0.2 to 0.8 s, once a run; 0.26 MB more on disk against 0.04 MB. What a
crash leaves is the same with both: the folder has its name only when everything in it has reached the disk
(trainer/checkpoint/directory.py). And the checkpoints that people have go on.
"""

from __future__ import annotations

import inspect
import io
import json
import logging
import math
import os
import pathlib
import pickle
import warnings
from collections.abc import Callable, Iterable, Iterator, Mapping
from contextlib import contextmanager
from pathlib import Path
from typing import Any

import torch
from torch import Tensor
from torch.distributed.checkpoint import logger as dcp_logger
from torch.distributed.checkpoint import metadata as dcp_metadata
from torch.distributed.checkpoint.api import CheckpointException
from torch.distributed.checkpoint.filesystem import FileSystem, FileSystemReader, FileSystemWriter
from torch.distributed.checkpoint.metadata import Metadata, StorageMeta, TensorStorageMetadata
from torch.distributed.checkpoint.state_dict_loader import load
from torch.distributed.checkpoint.state_dict_saver import save

from trainer.checkpoint.agreement import joined
from trainer.checkpoint.contents import new_digest
from trainer.errors import CheckpointError
from trainer.untrusted import plain_json
from trainer.untrusted.pickle_size import check_pickle

# DCP reports failures at ERROR level with a traceback; the exception says it once, and enough
getattr(dcp_logger, "_dcp_logger", logging.getLogger("torch.distributed.checkpoint")).propagate = False

Template = Callable[[str, torch.Size, torch.dtype], Tensor | None]  # see load_state

TREE = "tree.json"
_BUFFER = 1 << 20  # bytes: DCP writes every tensor in many pieces
_TENSOR, _TUPLE, _DICT = "$tensor", "$tuple", "$dict"


def save_tensors(folder: Path, state: Any, group: Any = None, digests: dict[str, str] | None = None) -> str:
    """Write and flush the tensors of a state into a new folder. All ranks call this together, with the same structure.

    Args:
        folder: created; on a file system that all ranks see.
        state: nested dicts, lists and tuples of tensors (also sharded ones), numbers, strings, bools and None.
        group: process group to agree through; None: the default one.
        digests: gets the digest of each file that this process has written, by its name, made while it was written.

    Returns:
        The rest as JSON, which belongs into the folder under the name ``TREE``. One rank writes it, where the caller
        can tell the others of a failure.

    Raises:
        TypeError: something else is in the state; names its place.
        OSError, CheckpointException: writing failed; on all ranks.
    """
    tensors: dict[str, Tensor] = {}
    tree = _split(state, "", tensors)
    alone = not joined()
    folder.mkdir(parents=True, exist_ok=True)
    if tensors:
        writer = FileSystemWriter(folder, sync_files=True, overwrite=True)
        writer.fs = _DigestingFiles({} if digests is None else digests)
        with warnings.catch_warnings():
            warnings.filterwarnings("ignore", message=".*assuming the intent is to save in a single process.*")
            save(dict(tensors), storage_writer=writer, no_dist=alone, process_group=None if alone else group)
    return json.dumps(tree)


def load_state(folder: Path, template: Template | None = None, group: Any = None) -> Any:
    """Read what ``save_tensors`` wrote, with its tree. All ranks call this together.

    Args:
        folder: where it was written; by any number of processes.
        template: of a tensor's place (``a/b/c``), shape and type: where it is to be read into, a sharded one with its
            own shard. What gets None, and all without a template, is loaded whole, on the CPU.
        group: process group to agree through; None: the default one.

    Raises:
        CheckpointError: a file is missing or damaged, or a template's tensor has another shape.
    """
    alone = not joined()
    try:
        tree = plain_json.loads((folder / TREE).read_text())
        wanted = _references(tree)
        reader = _Reader(folder)
        records = reader.read_metadata().state_dict_metadata if wanted else {}
        targets: dict[str, Any] = {}
        _check_sizes([records[name] for name in wanted], folder)
        for name in wanted:
            record = records[name]
            if not isinstance(record, TensorStorageMetadata):
                raise CheckpointError(
                    f"{folder}: '{name}' is no tensor; the checkpoint was not written by this program"
                )
            room = None if template is None else template(name, record.size, record.properties.dtype)
            if room is not None and room.shape != record.size:
                raise CheckpointError(
                    f"{folder}: '{name}' is {tuple(record.size)} in the checkpoint and {tuple(room.shape)} here: "
                    "resume with the configuration that the run was started with"
                )
            targets[name] = torch.empty(record.size, dtype=record.properties.dtype) if room is None else room
        if wanted:
            with warnings.catch_warnings():
                warnings.filterwarnings("ignore", message=".*assuming the intent is to load in a single process.*")
                load(targets, storage_reader=reader, no_dist=alone, process_group=None if alone else group)
    except (
        OSError,
        ValueError,
        KeyError,
        TypeError,
        AttributeError,
        IndexError,
        RuntimeError,
        EOFError,
        pickle.UnpicklingError,
        CheckpointException,
    ) as error:
        raise CheckpointError(
            f"{folder} is damaged ({type(error).__name__}: {error}): use another checkpoint"
        ) from error
    return _join(tree, targets)


def _check_sizes(records: Iterable[Any], folder: Path) -> None:
    """Raises ValueError where the tensors of a list claim more bytes than the files beside it have."""
    tensors = [record for record in records if isinstance(record, TensorStorageMetadata)]
    claimed = sum(math.prod(record.size) * record.properties.dtype.itemsize for record in tensors)
    present = sum(file.stat().st_size for file in folder.iterdir() if file.is_file())
    if claimed > present or any(side < 0 for record in tensors for side in record.size):
        raise ValueError(f"its tensors claim {claimed:,} bytes, its files have {present:,}")


def tensor_bytes(state: Any) -> int:
    """Bytes of all tensors in a state, as far as this process holds them."""
    tensors: dict[str, Tensor] = {}
    _split(state, "", tensors)
    return sum(local(tensor).numel() * tensor.element_size() for tensor in tensors.values())


def local(tensor: Tensor) -> Tensor:
    """What this process has of a tensor."""
    to_local = getattr(tensor, "to_local", None)  # DTensor
    return to_local() if to_local is not None else tensor


def _split(value: Any, path: str, tensors: dict[str, Tensor]) -> Any:
    """The JSON form of a state; tensors move to ``tensors`` under their path and leave a reference."""
    if isinstance(value, Tensor):
        name, copies = path or "/", 2
        while name in tensors:  # {"a/b": t, "a": {"b": u}}
            name, copies = f"{path}#{copies}", copies + 1
        tensors[name] = value.detach()
        return {_TENSOR: name}
    if isinstance(value, Mapping):
        entries = [(key, _split(item, f"{path}/{key}".lstrip("/"), tensors)) for key, item in value.items()]
        if all(isinstance(key, str) and not key.startswith("$") for key, _ in entries):
            return dict(entries)
        return {_DICT: [[_split(key, path, tensors), item] for key, item in entries]}
    if isinstance(value, list | tuple):
        items = [_split(item, f"{path}/{i}".lstrip("/"), tensors) for i, item in enumerate(value)]
        return items if isinstance(value, list) else {_TUPLE: items}
    if value is None or type(value) in (bool, int, float, str):
        return value
    raise TypeError(
        f"a checkpoint holds tensors and plain data only, but '{path}' is {type(value).__module__}."
        f"{type(value).__qualname__}: convert it in state_dict()"
    )


def _join(tree: Any, tensors: Mapping[str, Tensor]) -> Any:
    if isinstance(tree, list):
        return [_join(item, tensors) for item in tree]
    if not isinstance(tree, dict):
        return tree
    if _TENSOR in tree:
        return tensors[tree[_TENSOR]]
    if _TUPLE in tree:
        return tuple(_join(item, tensors) for item in tree[_TUPLE])
    if _DICT in tree:
        return {_join(key, tensors): _join(item, tensors) for key, item in tree[_DICT]}
    return {key: _join(item, tensors) for key, item in tree.items()}


def _references(tree: Any) -> list[str]:
    if isinstance(tree, dict):
        if _TENSOR in tree:
            return [tree[_TENSOR]]
        return [name for item in tree.values() for name in _references(item)]
    return [name for item in tree for name in _references(item)] if isinstance(tree, list) else []


class _DigestingFiles(FileSystem):
    """DCP's files, digested while they are written."""

    def __init__(self, digests: dict[str, str]) -> None:
        self._digests = digests

    @contextmanager
    def create_stream(self, path: str | os.PathLike[str], mode: str) -> Iterator[io.IOBase]:
        file = _DigestingFile(path, mode)
        with io.BufferedWriter(file, _BUFFER) as stream:
            yield stream
        self._digests[Path(path).name] = file.digest.hexdigest()

    def rename(self, path: str | os.PathLike[str], new_path: str | os.PathLike[str]) -> None:
        super().rename(path, new_path)
        self._digests[Path(new_path).name] = self._digests.pop(Path(path).name)


class _DigestingFile(io.FileIO):
    """A file that is written from its beginning to its end, as DCP does."""

    def __init__(self, path: str | os.PathLike[str], mode: str) -> None:
        super().__init__(path, mode)
        self.digest = new_digest()

    def write(self, data: Any, /) -> int:
        view = memoryview(data).cast("B")
        done = 0
        while done < len(view):  # a single call takes 2 GiB at most
            written = super().write(view[done:])
            self.digest.update(view[done : done + written])
            done += written
        return done


class _MetadataUnpickler(pickle.Unpickler):
    """Finds DCP's record classes, tensor types and paths, and refuses everything else."""

    def find_class(self, module: str, name: str) -> Any:
        if module == dcp_metadata.__name__:
            found = getattr(dcp_metadata, name, None)
            if inspect.isclass(found) and found.__module__ == module:
                return found
        elif (module, name) == ("torch.distributed.checkpoint.filesystem", "_StorageInfo"):
            return super().find_class(module, name)
        elif module == "torch" and (name == "Size" or isinstance(getattr(torch, name, None), torch.dtype)):
            return getattr(torch, name)
        elif (module, name) == ("torch.serialization", "_get_layout"):
            return super().find_class(module, name)
        elif module in ("pathlib", "pathlib._local") and name in ("Path", "PosixPath", "WindowsPath"):
            return pathlib.PurePath  # only the folder it was written to; not used
        raise pickle.UnpicklingError(f"{module}.{name} has no place in a checkpoint's metadata")


class _Reader(FileSystemReader):
    """DCP's reader with the restricted unpickler."""

    def read_metadata(self, *args: Any, **kwargs: Any) -> Metadata:
        with (Path(self.path) / ".metadata").open("rb") as file:
            try:
                check_pickle(file)
                metadata = _MetadataUnpickler(file).load()
            except OSError:
                raise
            except Exception as error:  # of bytes that are no pickle it raises whatever they lead to
                reason = str(error).splitlines()[0] if str(error) else type(error).__name__
                raise pickle.UnpicklingError(reason) from error
        if not isinstance(metadata, Metadata):
            raise pickle.UnpicklingError("the metadata file holds something else")
        if metadata.storage_meta is None:
            metadata.storage_meta = StorageMeta()
        metadata.storage_meta.load_id = self.load_id
        return metadata
