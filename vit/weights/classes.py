"""A trained head's classes and those of the data: compared by name, brought into one order, or refused."""

from __future__ import annotations

import re
from collections.abc import Sequence
from dataclasses import dataclass

import torch
from torch import Tensor, nn

from trainer.errors import ConfigError
from trainer.text import ends
from vit.config import ClassOrder
from vit.data.class_names import class_keys, in_order, unnamed
from vit.data.info import DataInfo


@dataclass(frozen=True)
class Match:
    """How a head's classes and those of the data go together.

    Attributes:
        order: int64 (K,): the head's class for each of the data's, where names tell it; None: taken to be the same.
        problem: why they do not go together; empty where they do.
        note: a line for the user; empty where nothing is to be said.
    """

    order: Tensor | None = None
    problem: str = ""
    note: str = ""


def match(head: Sequence[str] | None, info: DataInfo, own: bool) -> Match:
    """Compare the classes of a head with as many of the data.

    Args:
        head: names by index; None: nothing tells them.
        info: of the data, with as many classes.
        own: whether the head is one of our runs', whose names are those of its data.
    """
    data = info.classes
    if head is not None and list(head) == list(data):
        return Match()
    if head is None or unnamed(head) or (unnamed(data) and not own):
        return Match(note=_order_warning(info))
    theirs, ours = class_keys(head), class_keys(data)
    if len(set(theirs)) == len(theirs) and set(theirs) == set(ours):
        if theirs == ours:
            return Match()
        order = torch.tensor([theirs.index(name) for name in ours])
        return Match(order, note=f"classes are matched by name: the head has them in another order ({ends(head)})")
    if same_words(head, data):
        return Match()
    gone, new = ([name for name in a if name not in set(b)] for a, b in ((theirs, ours), (ours, theirs)))
    if own or len(new) < len(ours):
        return Match(problem=f"the head's classes are not those of the data: gone {ends(gone)}; new {ends(new)}")
    return Match(
        note=f"warning: the head's classes are called {ends(head)}, those of the data {ends(data)}; they are taken "
        "to be the same in the same order. data.class_map tells which is which in an evaluation; model.head=reset "
        "starts a new head"
    )


def reorder(model: nn.Module, names: Sequence[str], order: Tensor) -> None:
    """Put a head's rows into another order, in place.

    Args:
        names: of the parameters, first dimension K.
        order: int64 (K,): the row that each place gets.
    """
    with torch.no_grad():
        for name in names:
            parameter = model.get_parameter(name)
            parameter.copy_(parameter[order.to(parameter.device)])


def imagenet_ids() -> list[str]:
    """WordNet ids of ImageNet-1k's classes in the order of every published head."""
    from timm.data.imagenet_info import ImageNetInfo

    return list(ImageNetInfo("imagenet-1k").label_names())


def head_names(told: Sequence[str] | None, count: int, info: DataInfo | None = None) -> tuple[list[str] | None, str]:
    """Names of a head's classes: as the file tells, else ImageNet-1k's WordNet ids for 1000 without, or its words.

    Args:
        told: by the file; None: nothing tells them.
        count: of the head.
        info: of the data, as seen under the ids; None: not looked at yet. Data that are not called by ids need none.

    Returns:
        (names, a line for the user where they are not the file's).
    """
    names = None if told is None else list(told)
    if count != 1000 or (info is not None and class_keys(info.classes) != imagenet_ids()):
        return names, ""
    ids = imagenet_ids()
    if names is None or unnamed(names) or (class_keys(names) != ids and same_words(names, ids)):
        return ids, "the head's 1000 classes are taken as ImageNet-1k's in the order of their WordNet ids"
    return names, ""


def one_class(info: DataInfo) -> None:
    """Raise ConfigError where there is nothing to tell apart."""
    if len(info.classes) == 1 and not info.multilabel:
        raise ConfigError(
            f"the data have one class, '{info.classes[0]}', and there is nothing to tell it from: give data.root the "
            "folder (or table) that has all classes side by side"
        )


def same_words(head: Sequence[str], data: Sequence[str]) -> bool:
    """Whether ImageNet's classes stand in one order, with their WordNet ids on one side only."""

    def first(name: str) -> str:
        return re.sub(r"^n\d{8}\s+", "", name).partition(",")[0].strip().lower()

    if len(data) == 1000:  # where folders are called by ids alone
        from vit.data.sources.folders import with_words

        head, data = (with_words(list(names)) for names in (head, data))
    return sum(first(a) == first(b) != "" for a, b in zip(head, data, strict=True)) > 0.9 * len(data)


def _order_warning(info: DataInfo) -> str:
    """What must be said where a head without names meets classes that can be put in two orders."""
    orders = {order: in_order(info.classes, order) for order in ClassOrder}
    natural, ascii_ = orders[ClassOrder.natural], orders[ClassOrder.ascii]
    if info.order is None or natural == ascii_ or info.classes not in (natural, ascii_):
        return ""
    here = info.order
    other = ClassOrder.ascii if here is ClassOrder.natural else ClassOrder.natural
    return (
        f"warning: nothing names the head's classes, which are taken in {here.value} order ({ends(orders[here])}). In "
        f"{other.value} order they are {ends(orders[other])}: torchvision's ImageFolder, and so DeiT, MAE and "
        f"older timm, number them in ascii order. If the head was trained so, set data.class_order={other.value}"
    )
