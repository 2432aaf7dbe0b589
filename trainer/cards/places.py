"""Texts that go to others, without the places of this machine and without its user's name."""

from __future__ import annotations

import getpass
import re
from collections.abc import Mapping
from functools import cache
from pathlib import Path
from typing import Any

from trainer.config.schema import CONFIGS

PLACE, USER = "PATH", "USER"  # what stands for them
_GENERIC = {"root", "user", "admin", "ubuntu", "home"}  # users that are nobody, and words of their own
# how a place begins: an address, a drive, a server, an absolute path, a home, or what leads out of its folder
_BEGIN = r"(?:[A-Za-z][\w+.-]*://|[A-Za-z]:[\\/]|\\\\|/|~[\w.-]*/|(?:\.\./)+)(?=\S)"
_WHOLE = re.compile(rf"(?P<key>[\w.+@~-]+=)?(?P<quote>['\"]?)(?P<place>{_BEGIN}.+)(?P=quote)", re.DOTALL)
# names of files have spaces: within a text a place goes on until a sign that ends one
_WITHIN = re.compile(rf"(?<![\w./\\~-]){_BEGIN}[^,;'\"\])}}\r\n]+")
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
    """What the user is called here: the login, and the folder that is home; none where that tells nobody.

    A name that is also one of a configuration (``street``) stays: settings that lack it cannot be read again.
    """
    found = {Path.home().name}
    try:
        found.add(getpass.getuser())
    except (KeyError, OSError, ImportError):  # a user without a name
        found.discard("")
    return {name for name in found if len(name) > 2 and name.lower() not in _GENERIC | _own_words()}


@cache
def _own_words() -> frozenset[str]:
    return frozenset(file.stem for file in CONFIGS.rglob("*.yaml"))


def _of_text(text: str) -> str:
    whole = _WHOLE.fullmatch(text)
    if whole is not None and not whole["place"].startswith(_LINKS):  # one place, whatever signs it has
        text = f"{whole['key'] or ''}{PLACE}"
    else:
        text = _WITHIN.sub(lambda match: match[0] if match[0].startswith(_LINKS) else PLACE, text)
    for name in user_names():
        text = re.sub(rf"(?<![^\W_]){re.escape(name)}(?![^\W_])", USER, text, flags=re.IGNORECASE)
    return text
