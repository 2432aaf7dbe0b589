"""Which file of a folder holds the weights: folders of other libraries, and where to look where it is none of them."""

from __future__ import annotations

import re
from collections.abc import Iterator
from itertools import islice
from pathlib import Path
from typing import TypeVar

from trainer.checkpoint.contents import META
from trainer.checkpoint.run_folders import several_runs
from trainer.errors import CheckpointError
from trainer.text import few

NAMES = ("model.safetensors", "pytorch_model.bin", "open_clip_pytorch_model.bin", "model.pth", "model.bin")
SHARDS = ("model.safetensors.index.json", "pytorch_model.bin.index.json")

_SUFFIXES = (".safetensors", ".npz", ".pth", ".pt", ".bin", ".ckpt", ".tar", ".t7")
_BESIDE = re.compile(r"(?:optim|sched|scaler|random_states|rng_state|training_args|trainer_state|ds_config).*", re.I)
_DEEPSPEED = "mp_rank_00_model_states.pt"  # of one process for each part of the network, ZeRO up to stage 2
_DEEP = 4  # levels of folders that are looked through for weights
_LOOKED = 200  # folders
_SHOWN = 5

T = TypeVar("T")


def is_own(path: Path) -> bool:
    """Whether a folder is one of our checkpoints or runs, whether or not it has a checkpoint yet."""
    if (path / META).exists():
        return True
    kept = path / "checkpoints"
    written = (path / "train.log").exists() or any(
        kept.glob(f"*/{META}")
    )  # accelerate and Lightning have such a folder
    return kept.is_dir() and (written or not _below(kept))


def weights_file(path: Path) -> Path:
    """The file of a folder that holds its weights; an index of shards where they are several.

    Folders of Hugging Face, timm's hub, OpenCLIP, accelerate and DeepSpeed have one by its name; of another its only
    weights file is taken.

    Raises:
        CheckpointError: none, or several; names those that may be meant, also in folders below.
    """
    pointer = path / "latest"
    if pointer.is_file() and (path / pointer.read_text(errors="replace").strip()).is_dir():  # DeepSpeed's
        path = path / pointer.read_text().strip()
    for name in (*SHARDS, *NAMES):
        if (path / name).exists():
            return path / name
    _refuse_parts(path)
    if (path / _DEEPSPEED).exists():
        return path / _DEEPSPEED
    found = [file for file in sorted(path.iterdir()) if _is_weights(file)]
    if len(found) == 1:
        return found[0]
    if found:
        raise CheckpointError(f"{path} holds {len(found)} weights files: give one of them, {_listed(found)}")
    below = sorted(_below(path), key=lambda place: -place.stat().st_mtime)
    some = f"there are {_listed(below)}: give one of them" if below[1:] else f"is {_listed(below)}: give that"
    hint = f"; below it {some}" if below else ""
    raise CheckpointError(
        several_runs(path) or f"{path} holds no weights: expected a run, a checkpoint, or {NAMES[0]}{hint}"
    )


def _refuse_parts(path: Path) -> None:
    """CheckpointError for folders that hold a network in parts, each of another process."""
    if (path / ".metadata").exists() and any(path.glob("*.distcp")):
        raise CheckpointError(
            f"{path} is a distributed checkpoint of torch, in parts: join them with "
            f"python -m torch.distributed.checkpoint.format_utils dcp_to_torch {path} weights.pth"
        )
    if any(path.glob("zero_pp_rank_*_model_states.pt")):
        raise CheckpointError(
            f"{path} is a checkpoint of DeepSpeed's ZeRO stage 3, in parts: join them with "
            f"python {path.parent}/zero_to_fp32.py {path.parent} weights"
        )
    if (path / _DEEPSPEED.replace("00", "01")).exists():
        raise CheckpointError(f"{path} is a checkpoint of DeepSpeed whose network is split among processes: join it")


def _is_weights(file: Path) -> bool:
    named = file.suffix in _SUFFIXES and not _BESIDE.fullmatch(file.name) and "optim_states" not in file.name
    return named and file.is_file()


def _below(path: Path) -> list[Path]:
    """Folders that are known by their files, and single weights files, in and below a folder; near ones first."""
    found: list[Path] = []
    waiting = [(path, 0)]
    for folder, depth in islice(_growing(waiting), _LOOKED):
        if any((folder / name).exists() for name in (*SHARDS, *NAMES, _DEEPSPEED)):
            found.append(folder)
            continue
        try:
            entries = sorted(folder.iterdir())
        except OSError:
            continue
        found += [file for file in entries if _is_weights(file)]
        if depth < _DEEP:
            inner = (entry for entry in entries if entry.is_dir() and not entry.is_symlink())
            waiting += [(entry, depth + 1) for entry in inner if not entry.name.startswith(".")]
    return found


def _growing(items: list[T]) -> Iterator[T]:
    """Items of a list that grows meanwhile."""
    index = 0
    while index < len(items):
        yield items[index]
        index += 1


def _listed(places: list[Path]) -> str:
    return few(places, _SHOWN)
