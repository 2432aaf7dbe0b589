"""What a disk may hold after the power failed: everything that was flushed, and any part of what was not.

A run is traced: what its folder holds before every file operation, and what each ``fsync`` has made durable. Out of the
trace come the states that a crash at any operation may leave, as CrashMonkey builds them (Mohan et al., "Finding
crash-consistency bugs with bounded black-box crash testing", OSDI 2018), with the least that POSIX promises: a flushed
file keeps its content, a flushed folder its names. A file that was not flushed may be empty, cut short, full of zeros
or whole; the names in a folder that was not flushed may be those of any moment since it was, each folder for itself.
"""

from __future__ import annotations

import hashlib
import os
import pickle
import random
import stat
import threading
from collections.abc import Callable, Mapping
from dataclasses import dataclass, field
from pathlib import Path

Node = tuple[int, int]  # inode, and how often its number was given anew
KINDS = ("flushed", "names", "zeros", "torn", "mixed", "mixed again")


@dataclass
class Moment:
    """The folder before one operation.

    Attributes:
        before: the operation.
        names: of each folder, and what they mean.
        contents: of each file, by digest.
        lasting_names, lasting_contents: what is flushed; of a folder the number of the moment whose names are.
        promises: how many checkpoints were reported as saved.
    """

    before: str
    names: dict[Node, dict[str, Node]]
    contents: dict[Node, str]
    lasting_names: dict[Node, int]
    lasting_contents: dict[Node, str]
    promises: int


@dataclass
class Trace:
    """All moments of a process's work below a folder.

    Args:
        folder: exists; what is in it counts as flushed.

    Attributes:
        promises: the steps of the checkpoints that were reported as saved, in order.
    """

    folder: Path
    moments: list[Moment] = field(default_factory=list)
    data: dict[str, bytes] = field(default_factory=dict)
    root: Node = (0, 0)
    promises: list[int] = field(default_factory=list)

    def __post_init__(self) -> None:
        self._generation: dict[int, int] = {}
        self._seen: set[int] = set()
        self._known: dict[Node, tuple[tuple[int, int], str]] = {}
        self._lasting_names: dict[Node, int] = {}
        self._lasting_contents: dict[Node, str] = {}
        self._local, self._lock = threading.local(), threading.RLock()
        self.before("", "")
        first = self.moments[0]
        self.root = self._node(self.folder.stat())
        self._lasting_names = dict.fromkeys(first.names, 0)
        self._lasting_contents = dict(first.contents)

    def before(self, kind: str, path: str) -> None:
        """To be called before every operation."""
        if getattr(self._local, "busy", False):
            return
        with self._lock:
            self._local.busy = True
            try:
                self._look(f"{kind} {os.path.relpath(path, self.folder)}" if path else kind)
            finally:
                self._local.busy = False

    def synced(self, file: int) -> None:
        """To be called after every fsync."""
        with self._lock:
            status = os.fstat(file)
            node = self._node(status)
            moment = self.moments[-1]
            if node in moment.names:
                self._lasting_names[node] = len(self.moments) - 1
            elif node in moment.contents:
                self._lasting_contents[node] = moment.contents[node]

    def promise(self, step: int) -> None:
        """A checkpoint was reported as saved."""
        with self._lock:
            self.promises.append(step)

    def save(self, path: Path) -> None:
        """To a file, for ``load``."""
        self.before("end", "")
        self._local.busy = True
        path.write_bytes(pickle.dumps((self.folder, self.moments, self.data, self.root, self.promises)))

    @staticmethod
    def load(path: Path) -> Trace:
        trace = Trace.__new__(Trace)
        trace.folder, trace.moments, trace.data, trace.root, trace.promises = pickle.loads(path.read_bytes())
        return trace

    def _node(self, status: os.stat_result) -> Node:
        return status.st_ino, self._generation.get(status.st_ino, 0)

    def _look(self, before: str) -> None:
        names: dict[Node, dict[str, Node]] = {}
        found: list[tuple[Path, os.stat_result]] = [(self.folder, self.folder.stat())]
        folders = [self.folder]
        for folder in folders:
            for entry in os.scandir(folder):
                status = entry.stat(follow_symlinks=False)
                found.append((Path(entry.path), status))
                if entry.is_dir(follow_symlinks=False):
                    folders.append(Path(entry.path))
        inodes = {status.st_ino for _, status in found}
        for inode in inodes - self._seen:
            self._generation[inode] = self._generation.get(inode, -1) + 1
        self._seen = inodes
        by_path = {path: self._node(status) for path, status in found}
        contents: dict[Node, str] = {}
        for path, status in found:
            node = by_path[path]
            if path != self.folder:
                names.setdefault(by_path[path.parent], {})[path.name] = node
            if stat.S_ISDIR(status.st_mode):
                names.setdefault(node, {})
            else:
                contents[node] = self._content(path, node, status)
        lasting = dict(self._lasting_names), dict(self._lasting_contents)
        self.moments.append(Moment(before, names, contents, *lasting, len(self.promises)))

    def _content(self, path: Path, node: Node, status: os.stat_result) -> str:
        mark = status.st_size, status.st_mtime_ns
        known = self._known.get(node)
        if known is not None and known[0] == mark and status.st_size > 1 << 15:
            return known[1]
        data = path.read_bytes()
        digest = hashlib.sha256(data).hexdigest()
        self.data[digest] = data
        self._known[node] = mark, digest
        return digest

    def build(self, number: int, kind: str, folder: Path, chance: random.Random) -> None:
        """Makes a state that a crash may leave.

        Args:
            number: of the moment of the crash.
            kind: one of ``KINDS``: nothing but what is flushed; all names, and files that were not flushed empty; with
                zeros; cut short; folders and files each at random.
            folder: to be made.
            chance: for the random ones.
        """
        moment = self.moments[number]
        mixed = kind.startswith("mixed")

        def names(node: Node) -> Mapping[str, Node]:
            lasting = moment.lasting_names.get(node)
            if kind == "flushed":
                return {} if lasting is None else self.moments[lasting].names[node]
            if not mixed:
                return moment.names.get(node, {})
            first = 0 if lasting is None else lasting
            had = [m.names[node] for m in self.moments[first : number + 1] if node in m.names]
            return chance.choice(had) if had else {}

        def content(node: Node) -> bytes:
            lasting = self.data[moment.lasting_contents[node]] if node in moment.lasting_contents else b""
            digest = moment.contents.get(node)
            latest = lasting if digest is None else self.data[digest]
            if latest == lasting:
                return lasting
            choices: dict[str, Callable[[], bytes]] = {
                "flushed": lambda: lasting,
                "names": lambda: lasting,
                "zeros": lambda: lasting + bytes(max(0, len(latest) - len(lasting))),
                "torn": lambda: latest[: (len(lasting) + len(latest)) // 2],
                "whole": lambda: latest,
            }
            return choices[chance.choice(sorted(choices)) if mixed else kind]()

        files = {node for m in self.moments for node in m.contents}

        def fill(node: Node, place: Path) -> None:
            place.mkdir()
            for name, child in sorted(names(node).items()):
                if child in files:
                    (place / name).write_bytes(content(child))
                else:
                    fill(child, place / name)

        fill(self.root, folder)
