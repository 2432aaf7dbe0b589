"""YAML of anybody as plain data: no tags, no interpolations, no aliases that multiply. Loads no torch."""

from __future__ import annotations

import re
from pathlib import Path
from typing import Any

import yaml

from trainer.untrusted.limits import TooLargeError

LARGEST = 2**22  # bytes; the largest configuration of ours has 20 kB
DEEPEST = 50  # mappings and lists within each other
LONGEST = 3500  # signs of a number; Python writes no number of more than 4,300 digits, which hexadecimal ones can have
_NUMBER = re.compile(r"[-+]?(0[xob])?[0-9a-fA-F_:.]+")
MOST_VALUES = 100_000  # with those that aliases repeat


def read_yaml(path: Path) -> Any:
    """What a file holds: dicts, lists, numbers as OmegaConf reads them (``1e-4`` is one), text, bools, None.

    ``${...}`` stays the text that it is.

    Raises:
        ValueError: no YAML, tags that make objects, a key twice in one mapping, a number of more than
            3,500 digits, nested more than 50 deep, more than
            100,000 values with those that aliases repeat, or more than 4 MiB.
        OSError: it cannot be read.
    """
    with path.open("rb") as file:
        content = file.read(LARGEST + 1)
    if len(content) > LARGEST:
        raise TooLargeError(f"it has more than {LARGEST:,} bytes")
    from omegaconf._utils import get_yaml_loader

    try:
        text = content.decode("utf-8-sig")
        _check_events(text)
        loader = get_yaml_loader()(text)
        try:
            node = loader.get_single_node()
            if node is None:
                return {}
            _check_count(node)
            return loader.construct_document(node)
        finally:
            loader.dispose()
    except yaml.YAMLError as error:
        raise ValueError(" ".join(str(error).split())) from error
    except RecursionError as error:
        raise ValueError("a value lies within itself") from error


def _check_events(text: str) -> None:
    """By events, which PyYAML gives one by one: it builds what they mean by recursion."""
    depth = 0
    for event in yaml.parse(text, Loader=getattr(yaml, "CSafeLoader", yaml.SafeLoader)):
        bare = isinstance(event, yaml.ScalarEvent) and event.implicit[0]  # not in quotes
        if bare and len(event.value) > LONGEST and _NUMBER.fullmatch(event.value[:LONGEST]):
            raise ValueError(f"it has a number of more than {LONGEST:,} digits")
        tag = getattr(event, "tag", None)
        if tag is not None:
            raise ValueError(f"it has a tag, {tag}: tags make objects, and plain values are expected")
        depth += isinstance(event, yaml.CollectionStartEvent) - isinstance(event, yaml.CollectionEndEvent)
        if depth > DEEPEST:
            raise ValueError(f"it is nested more than {DEEPEST} deep")


def _check_count(root: yaml.Node) -> None:
    counted: dict[int, int] = {}
    within: set[int] = set()

    def count(node: yaml.Node) -> int:
        if id(node) in within:
            raise ValueError("an alias stands within what it stands for")
        if id(node) not in counted:
            within.add(id(node))
            parts = node.value if isinstance(node, yaml.CollectionNode) else ()
            inner = [part for item in parts for part in (item if isinstance(item, tuple) else (item,))]
            counted[id(node)] = 1 + sum(map(count, inner))
            within.discard(id(node))
        return counted[id(node)]

    if count(root) > MOST_VALUES:
        raise TooLargeError(f"with what its aliases repeat it holds more than {MOST_VALUES:,} values")
