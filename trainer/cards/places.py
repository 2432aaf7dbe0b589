"""Texts that go to others, without the places of this machine and without its user's name."""

from __future__ import annotations

import getpass
import re
from collections.abc import Mapping
from pathlib import Path
from typing import Any

PLACE, USER = "PATH", "USER"  # what stands for them
_GENERIC = {"root", "user", "admin", "ubuntu", "home"}  # users that are nobody, and words of their own
# an absolute path, one of a home, one that leads out of its folder, one of another system, or an address
_PLACES = re.compile(
    r"(?:[A-Za-z][\w+.-]*://[^\s,;'\"\])}]+)|(?:[A-Za-z]:\\[^\s,;'\"\])}]+)"
    r"|(?:(?<![\w./~-])(?:/|~[\w.-]*/|(?:\.\./)+)[^\s,;:'\"\])}]+)"
)
_LINKS = ("https://arxiv.org/", "https://spdx.org/")


def without_places(value: Any) -> Any:
    """Plain data, or a text, whose paths, addresses and user's name are replaced by ``PATH`` and ``USER``.

    Keys of mappings stay. A relative path below the working folder stays too, unless it names the user.
    """
    if isinstance(value, Mapping):
        return {key: without_places(part) for key, part in value.items()}
    if isinstance(value, list | tuple):
        return [without_places(part) for part in value]
    if isinstance(value, Path):
        return without_places(str(value))
    return _of_text(value) if isinstance(value, str) else value


def user_names() -> set[str]:
    """What the user is called here: the login, and the folder that is home; none where that tells nobody."""
    found = {Path.home().name}
    try:
        found.add(getpass.getuser())
    except (KeyError, OSError, ImportError):  # a user without a name
        found.discard("")
    return {name for name in found if len(name) > 2 and name.lower() not in _GENERIC}


def _of_text(text: str) -> str:
    text = _PLACES.sub(lambda match: match[0] if match[0].startswith(_LINKS) else PLACE, text)
    for name in user_names():
        text = re.sub(rf"(?<![^\W_]){re.escape(name)}(?![^\W_])", USER, text, flags=re.IGNORECASE)
    return text
