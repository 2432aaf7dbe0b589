"""Readers of weights, checkpoints and what lies beside them."""

from __future__ import annotations

import io
import tempfile
from collections.abc import Callable
from functools import cache
from pathlib import Path
from typing import Any

import torch

from tests.fuzz.reader import Reader


@cache
def _tiny() -> dict[str, Any]:
    """Contents of files by name: a small classifier in each format, and a checkpoint of its run."""
    from tests.helpers.made_classifier import make_run, mu_config
    from vit.weights.conversion import convert

    found: dict[str, Any] = {}
    with tempfile.TemporaryDirectory() as scratch:
        run = Path(scratch) / "run"
        make_run(run, mu_config("model.depth=1"))
        for name, target in (("npz", "w.npz"), ("timm", "timm"), ("hf", "hf"), ("torchvision", "w.pth")):
            for _ in convert(run, Path(scratch) / target, name):  # type: ignore[union-attr]
                pass
        for path in sorted(Path(scratch).rglob("*")):
            if path.is_file():
                found[str(path.relative_to(scratch))] = path.read_bytes()
    return found


def _content(*endings: str) -> Callable[[Path], list[bytes]]:
    def seeds(folder: Path) -> list[bytes]:
        found = [data for name, data in _tiny().items() if name.endswith(endings)]
        assert found, endings
        return found

    return seeds


def _beside(name: str, *others: str) -> Callable[[Path], list[bytes]]:
    """One file is fuzzed, and others of the same place lie beside it, whole."""

    def seeds(folder: Path) -> list[bytes]:
        for other in others:
            (folder / Path(other).name).write_bytes(_tiny()[other])
        return [_tiny()[name]]

    return seeds


def _read(path: Path) -> None:
    """A classifier's weights, from whatever they are to named tensors."""
    from vit.weights.reading import read

    read(path)


def _read_folder(path: Path) -> None:
    _read(path.parent)


def _torch_file(folder: Path) -> list[bytes]:
    contents = []
    for old in (False, True):
        stream = io.BytesIO()
        state = {"model": {"a.weight": torch.ones(2, 3), "a.bias": torch.zeros(2)}, "epoch": 3}
        torch.save(state, stream, _use_new_zipfile_serialization=not old)
        contents.append(stream.getvalue())
    return [*contents, _tiny()["w.pth"]]


def _plain(path: Path) -> None:
    from trainer.checkpoint.trained import load_weights

    load_weights(path)


def _state_files() -> dict[str, bytes]:
    from trainer.checkpoint.tensors import TREE, save_tensors

    state = {"step": 3, "optimizers": {"main": {"w": {"exp_avg": torch.ones(3, 4), "step": torch.tensor(2.0)}}}}
    with tempfile.TemporaryDirectory() as scratch:
        tree = save_tensors(Path(scratch) / "state", state)
        (Path(scratch) / "state" / TREE).write_text(tree)
        return {path.name: path.read_bytes() for path in (Path(scratch) / "state").iterdir()}


def _part_of_state(name: str) -> Callable[[Path], list[bytes]]:
    def seeds(folder: Path) -> list[bytes]:
        files = _state_files()
        for other, data in files.items():
            (folder / other).write_bytes(data)
        return [files[name]]

    return seeds


def _state(path: Path) -> None:
    from trainer.checkpoint.tensors import load_state

    load_state(path.parent)


def _meta(folder: Path) -> list[bytes]:
    return [data for name, data in _tiny().items() if name.endswith("meta.json")]


def _checkpoint(path: Path) -> None:
    """What resuming and every script ask of a checkpoint's description."""
    from trainer.checkpoint.contents import damage, read_meta

    damage(path.parent)
    read_meta(path.parent)
    _plain(path.parent)


def _with_weights(folder: Path) -> list[bytes]:
    for name, data in _tiny().items():
        if "/checkpoints/step-" in name:
            place = folder / name.partition("/step-")[2].partition("/")[2]
            place.parent.mkdir(exist_ok=True)
            place.write_bytes(data)
    return _meta(folder)


def _dump(folder: Path) -> list[bytes]:
    from trainer.nonfinite.dump import write_dump

    content = {
        **{"step": 3, "samples_seen": 12, "stage": "all", "rank": 0, "phases": ["main"], "failed": "main"},
        **{
            "weights": {"model.a": torch.ones(2)},
            "streams": {},
            "data": [{"data": {"picture": torch.zeros(1, 3, 4, 4)}}],
        },
    }
    write_dump(folder, content, None)
    return [(folder / "rank0.pt").read_bytes()]


def _replay(path: Path) -> None:
    from trainer.nonfinite.dump import load_dump

    load_dump(path.parent, 0, torch.device("cpu"))


def _segmenter(folder: Path) -> list[bytes]:
    from vid2vid.segmenter.file import SegmenterFacts, save_segmenter
    from vid2vid.segmenter.network import UNet

    facts = SegmenterFacts((1, 2), ("a", "b"), (8, 8), (32, 64), "made", 3, 2, 0.5, 0.6, (0.4, None))
    save_segmenter(folder / "made.safetensors", UNet(2, (8, 8)), facts)
    return [(folder / "made.safetensors").read_bytes()]


def _facts(path: Path) -> None:
    from vid2vid.segmenter.file import load_segmenter

    load_segmenter(path, torch.device("cpu"))


READERS = [
    Reader("weights, .npz", "weights.npz", _content("w.npz"), _read),
    Reader(
        "weights, the sidecar of .npz", "w.npz.json", _beside("w.npz.json", "w.npz"), lambda p: _read(p.with_suffix(""))
    ),
    Reader("weights, safetensors", "weights.safetensors", _content("model.safetensors"), _read),
    Reader(
        "weights, Hugging Face's config.json",
        "config.json",
        _beside("hf/config.json", "hf/model.safetensors"),
        _read_folder,
    ),
    Reader(
        "weights, timm's config.json",
        "config.json",
        _beside("timm/config.json", "timm/model.safetensors"),
        _read_folder,
    ),
    Reader("weights, .pth", "weights.pth", _torch_file, _read),
    Reader("weights of any network", "weights.safetensors", _content(".safetensors"), _plain),
    Reader("checkpoint, meta.json", "meta.json", _with_weights, _checkpoint),
    Reader("checkpoint, tree.json", "tree.json", _part_of_state("tree.json"), _state),
    Reader("checkpoint, .metadata", ".metadata", _part_of_state(".metadata"), _state),
    Reader("checkpoint, tensors", "__0_0.distcp", _part_of_state("__0_0.distcp"), _state),
    Reader("dump of a step", "rank0.pt", _dump, _replay),
    Reader("segmenter", "segmenter.safetensors", _segmenter, _facts),
]
