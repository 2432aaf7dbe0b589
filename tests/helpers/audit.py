"""Hashes of the pinned versions, from the index: ``python tests/helpers/audit.py write`` or ``check``.

``constraints.hashes`` has every pin of ``constraints.txt`` with the SHA-256 of the files that Python 3.11 may install,
as the index gives them (the JSON form of its simple pages, PEP 691). A file that is replaced there no longer fits.
Only the standard library is used: this runs before anything is installed.
"""

from __future__ import annotations

import json
import os
import re
import sys
import urllib.error
import urllib.request
from collections.abc import Iterable
from concurrent.futures import ThreadPoolExecutor
from pathlib import Path
from typing import Any

ROOT = Path(__file__).resolve().parents[2]
PINS, HASHES = ROOT / "constraints.txt", ROOT / "constraints.hashes"
INDEX = os.environ.get("AUDIT_INDEX", "https://pypi.org/simple")
ACCEPT = "application/vnd.pypi.simple.v1+json"
HEAD = "# Written by `make hashes`: the pins of constraints.txt with the SHA-256 of their files for Python 3.11.\n"
_SUITS = re.compile(r"-(cp311-(cp311|abi3)|cp3\d+-abi3|(py2\.)?py3(\d+)?-none)-[^-]+\.whl$|\.tar\.gz$|\.zip$")


def pins(text: str) -> dict[str, str]:
    """Version by normalised name of ``NAME==VERSION`` lines; comments and hashes are passed over."""
    found = re.findall(r"^([A-Za-z0-9._-]+)==(\S+)", text, re.MULTILINE)
    return {re.sub(r"[-_.]+", "-", name).lower(): version for name, version in found}


def hashes_of(text: str) -> dict[str, set[str]]:
    """SHA-256 by normalised name of a requirements file with hashes."""
    found: dict[str, set[str]] = {}
    name = ""
    for line in text.splitlines():
        name = next(iter(pins(line)), name)
        found.setdefault(name, set()).update(re.findall(r"--hash=sha256:([0-9a-f]{64})", line))
    return {name: hashes for name, hashes in found.items() if name}


def files_of(page: dict[str, Any], version: str) -> list[str]:
    """SHA-256 of a version's files that Python 3.11 may install, from an index's page of a project."""
    start = re.compile(rf"^[^-]+(-[^-]+)*-{re.escape(version)}(-|\.tar\.gz$|\.zip$)")
    suiting = [item for item in page["files"] if start.match(item["filename"]) and _SUITS.search(item["filename"])]
    return sorted({item["hashes"]["sha256"] for item in suiting})


def fetched(known: dict[str, str]) -> dict[str, list[str]]:
    """What the index says of every pin."""

    def ask(name: str) -> list[str]:
        request = urllib.request.Request(f"{INDEX}/{name}/", headers={"Accept": ACCEPT})
        with urllib.request.urlopen(request, timeout=60) as answer:
            return files_of(json.load(answer), known[name])

    with ThreadPoolExecutor(8) as pool:
        return dict(zip(known, pool.map(ask, known), strict=True))


def written(known: dict[str, str], found: dict[str, list[str]]) -> str:
    """The text of ``constraints.hashes``."""
    rows = [
        " \\\n".join([f"{name}=={known[name]}", *(f"    --hash=sha256:{one}" for one in found[name])]) for name in known
    ]
    return HEAD + "\n".join(rows) + "\n"


def problems(known: dict[str, str], kept: str, found: dict[str, Iterable[str]] | None) -> list[str]:
    """What does not agree between the pins, the file of hashes and, where it was asked, the index; a line each."""
    told, ours = hashes_of(kept), pins(kept)
    lines = [
        f"{name}=={known[name]}: constraints.hashes has {ours.get(name)}"
        for name in known
        if ours.get(name) != known[name]
    ]
    lines += [f"{name}: constraints.hashes has it, constraints.txt has not" for name in ours if name not in known]
    lines += [f"{name}: has no hash" for name in ours if not told.get(name)]
    for name in found or {}:
        gone = told.get(name, set()) - set((found or {})[name])
        if gone:
            lines.append(f"{name}: the index no longer has the files of {', '.join(sorted(gone))}")
    return lines


def main(word: str) -> int:
    known = pins(PINS.read_text(encoding="utf-8"))
    try:
        found = fetched(known)
    except (urllib.error.URLError, OSError, ValueError) as error:
        sys.stderr.write(f"error: {INDEX} cannot be asked ({error}); give another one with AUDIT_INDEX=URL\n")
        return 2
    if word == "write":
        lacking = [name for name in known if not found[name]]
        if lacking:
            sys.stderr.write(f"error: {INDEX} has no file for Python 3.11 of {', '.join(lacking)}\n")
            return 2
        HASHES.write_text(written(known, found), encoding="utf-8")
        sys.stdout.write(f"{len(known)} pins, {sum(map(len, found.values()))} hashes: {HASHES.name}\n")
        return 0
    wrong = problems(known, HASHES.read_text(encoding="utf-8"), {name: set(one) for name, one in found.items()})
    sys.stdout.write("\n".join(wrong or [f"hashes: {len(known)} pins agree with {INDEX}"]) + "\n")
    return 2 if wrong else 0


if __name__ == "__main__":
    sys.exit(main(sys.argv[1] if len(sys.argv) > 1 else "check"))
