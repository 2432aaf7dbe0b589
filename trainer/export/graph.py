"""A traced network in a file: ONNX, or torch.export's .pt2; written, and run again to be compared.

Inputs and outputs have names. A file is handed over only when whoever writes it has found it right (`draft`).
"""

from __future__ import annotations

import importlib
import inspect
import json
import os
import re
import warnings
from collections.abc import Callable, Iterator, Mapping, Sequence
from contextlib import contextmanager
from pathlib import Path
from tempfile import TemporaryDirectory
from typing import Any

import torch
from torch import Tensor, nn

from trainer.errors import ConfigError, UserError
from trainer.export import Format

EXTRA = "pip install -e '.[export]'"
METADATA = "metadata.json"  # among a .pt2's extra files
SUFFIX = {Format.onnx: ".onnx", Format.torch_export: ".pt2"}

Tensors = Mapping[str, Tensor]
Run = Callable[[Tensors], dict[str, Tensor]]  # inputs by name to outputs by name
Shapes = Mapping[str, Mapping[int, Any]]  # input -> axis -> torch.export.Dim: what is not fixed


def check_kind(path: Path, kind: Format) -> None:
    """ConfigError for another suffix than the kind's; UserError where packages are missing, before any work."""
    if path.suffix != SUFFIX[kind]:
        other = path.parent / f"{path.stem}{SUFFIX[kind]}"
        raise ConfigError(f"out={path}: format={kind.name} writes {SUFFIX[kind]} files: out={other}")
    if kind is not Format.onnx:
        return
    missing = []
    for name in ("onnx", "onnxscript", "onnxruntime"):
        try:
            importlib.import_module(name)
        except ImportError:
            missing.append(name)
    if missing:
        raise UserError(f"format=onnx needs {', '.join(missing)}, not installed here: {EXTRA}")


def beside(path: Path) -> Path:
    """Where the description of an exported file lies."""
    return path.with_name(path.name + ".json")


def write_description(path: Path, description: Mapping[str, Any]) -> None:
    """Writes the description of the file at ``path`` beside it."""
    beside(path).write_text(json.dumps(description, indent=1, ensure_ascii=False) + "\n", encoding="utf-8")


@contextmanager
def draft(path: Path) -> Iterator[Path]:
    """A place for a file of this name, and others beside it, that are moved to ``path`` when the block is left.

    Where it is left by an error, what stands at ``path`` stays, and nothing else does. Missing folders are made.
    """
    path.parent.mkdir(parents=True, exist_ok=True)
    with TemporaryDirectory(prefix=".export-", dir=path.parent) as folder:
        yield Path(folder) / path.name
        for file in sorted(Path(folder).iterdir()):  # from 2 GB on ONNX keeps tensors in a file of their own
            os.replace(file, path.with_name(file.name))


def weight_of(path: Path) -> int:
    """Bytes of a file and of those that carry its name beside it, but for its description."""
    files = [file for file in path.parent.iterdir() if file.name.startswith(path.name) and file != beside(path)]
    return sum(file.stat().st_size for file in files)


def write_graph(
    module: nn.Module,
    path: Path,
    kind: Format,
    example: Tensors,
    outputs: Sequence[str],
    shapes: Shapes | None,
    description: Mapping[str, Any],
    remedy: str = "",
) -> None:
    """Traces a network and writes it.

    Args:
        module: its ``forward`` takes the inputs in the order of ``example``, as arguments of its own or as ``*inputs``,
            and returns one tensor or a tuple of as many as there are ``outputs``.
        shapes: axes that may differ from the example's; None: none may.
        description: plain data that goes into the file.
        remedy: ends the message where the network cannot be traced.

    Raises:
        UserError: the network cannot be traced.
    """
    told = _told(module, [dict(shapes.get(name, {})) or None for name in example]) if shapes else None
    with _traced(remedy):
        # What sizes have in common is checked when the graph runs, not proven: proofs fail on halvings and doublings.
        program = torch.export.export(
            module, tuple(example.values()), dynamic_shapes=told, prefer_deferred_runtime_asserts_over_guards=True
        )
        onnx = None
        if kind is Format.onnx:
            onnx = torch.onnx.export(
                program, dynamo=True, verbose=False, input_names=list(example), output_names=list(outputs)
            )
    if onnx is None:  # a failing disk is not a failing trace
        torch.export.save(program, path, extra_files={METADATA: json.dumps(description)})
        return
    _name_axes(onnx.model.graph, shapes or {})
    for key, value in description.items():
        onnx.model.metadata_props[key] = value if isinstance(value, str) else json.dumps(value, ensure_ascii=False)
    onnx.save(path)


def open_graph(path: Path, kind: Format, inputs: Sequence[str], outputs: Sequence[str]) -> Run:
    """What runs a file that `write_graph` has just written, on the CPU; files of others may be programs.

    Args:
        inputs: names in the order of the network's arguments.
        outputs: names in the order of what it returns.
    """
    if kind is Format.torch_export:
        with warnings.catch_warnings():
            warnings.simplefilter("ignore")  # of buffers that it maps; the graph is compared
            module = torch.export.load(path).module()

        def run_torch(given: Tensors) -> dict[str, Tensor]:
            made = module(*(given[name] for name in inputs))
            return dict(zip(outputs, (made,) if isinstance(made, Tensor) else made, strict=True))

        return run_torch
    import onnxruntime

    options = onnxruntime.SessionOptions()
    options.log_severity_level = 3  # errors only
    session = onnxruntime.InferenceSession(str(path), options, providers=["CPUExecutionProvider"])

    def run_onnx(given: Tensors) -> dict[str, Tensor]:
        made = session.run(list(outputs), {name: given[name].numpy() for name in inputs})
        return {name: torch.from_numpy(value) for name, value in zip(outputs, made, strict=True)}

    return run_onnx


def _told(module: nn.Module, axes: list[Any]) -> tuple[Any, ...]:
    """The axes that may differ, nested as the arguments of ``forward`` are."""
    kinds = [parameter.kind for parameter in inspect.signature(module.forward).parameters.values()]
    return (tuple(axes),) if inspect.Parameter.VAR_POSITIONAL in kinds else tuple(axes)


def _name_axes(graph: Any, shapes: Shapes) -> None:
    """Calls the axes of an ONNX graph what ``shapes`` calls them, where tracing made up symbols."""
    names: dict[str, str] = {}
    for value in graph.inputs:
        for axis, dim in shapes.get(value.name, {}).items():
            symbols, own = (re.findall(r"[a-zA-Z_]\w*", text) for text in (str(value.shape[axis]), dim.__name__))
            names |= dict(zip(symbols, own, strict=True))
    made = (value for node in graph.all_nodes() for value in node.outputs)
    for value in (*graph.inputs, *made):
        for axis, dim in enumerate(value.shape or ()):
            if isinstance(text := getattr(dim, "value", None), str):  # a number is itself
                value.shape[axis] = re.sub(r"[a-zA-Z_]\w*", lambda match: names.get(match[0], match[0]), text)


@contextmanager
def _traced(remedy: str) -> Iterator[None]:
    """What tracing raises, in words that help; its warnings are of torch's own doing, and the graph is compared."""
    try:
        with warnings.catch_warnings():
            warnings.simplefilter("ignore")
            yield
    except Exception as error:
        reason = (str(error).strip().splitlines() or [type(error).__name__])[0][:300]
        raise UserError(f"the network cannot be exported ({type(error).__name__}: {reason}){remedy}") from error
