"""Names of tensors without what stands before and between them: prefixes of wrappers, of a network inside another."""

from __future__ import annotations

import re
from collections.abc import Iterable, Mapping

from torch import Tensor

from trainer.errors import CheckpointError
from vit.weights.names.heads import settle, stands_beside

Tensors = dict[str, Tensor]

PREFERRED = ("teacher", "ema", "target")  # among several copies of a network in one file: the averaged one

# what torch.compile, FSDP, checkpointing and data parallelism put into names, wherever they wrap a module
_WRAPPED = re.compile(r"(?:_orig_mod|_fsdp_wrapped_module|_checkpoint_wrapped_module|_forward_module)\.")
_PARALLEL = re.compile(r"(?<=\.)module\.")


def unwrap_names(tensors: Mapping[str, Tensor]) -> Tensors:
    """Names without what wrappers of modules put into them.

    Raises:
        CheckpointError: shards of flattened parameters.
    """
    flat = next((name for name in tensors if name.endswith("_flat_param")), None)
    if flat is not None:
        raise CheckpointError(
            f"{flat}: parameters flattened by FSDP, of which this file has a share: save the whole network with "
            "FSDP.state_dict_type(model, StateDictType.FULL_STATE_DICT)"
        )
    found = {_PARALLEL.sub("", _WRAPPED.sub("", name)): tensor for name, tensor in tensors.items()}
    first = [name for name in found if name.startswith("module.")]
    if 2 * len(first) < len(found):  # a module at the root was wrapped; of most names it is the prefix of the network
        found = {name.removeprefix("module."): tensor for name, tensor in found.items()}
    return found


def without_prefix(tensors: Mapping[str, Tensor], known: Iterable[str], head: tuple[str, int] | None = None) -> Tensors:
    """Tensors under a model's own names, which a prefix may stand before: that with most of the names.

    Of several copies that have as many the averaged one is taken. Without any name that is known all stay; where all
    that are known are there, only these do.

    Args:
        head: the model's last layer and the width of its input: one linear layer of that width that stands beside a
            network without a head takes its place.
    """
    tensors, known = unwrap_names(tensors), set(known)
    counts: dict[str, int] = {}
    for name in tensors:
        parts = name.split(".")
        for index in range(len(parts)):
            if ".".join(parts[index:]) in known:
                prefix = "".join(f"{part}." for part in parts[:index])
                counts[prefix] = counts.get(prefix, 0) + 1
    if not counts:
        return tensors
    best = max(counts, key=lambda p: (counts[p], any(word in p for word in PREFERRED), -len(p)))
    inside = {name.removeprefix(best): tensor for name, tensor in tensors.items() if name.startswith(best)}
    if head is not None and f"{head[0]}.weight" not in inside:
        beside = {name: tensor for name, tensor in tensors.items() if stands_beside(name, best)}
        settle(beside, list(beside), head[1])
        inside.update({name.replace("head", head[0], 1): tensor for name, tensor in beside.items()})
    return {name: inside[name] for name in inside if name in known} if known <= set(inside) else inside
