"""docs/architecture.svg: the house as its imports are, so that the drawing cannot drift from the code.

``make docs`` (``python -m tests.helpers.drawing``) draws it anew. A room is a file or a folder of a package; it stands
above all that it imports and says what it rests on directly. Its words are the first sentence of its docstring.
"""

from __future__ import annotations

import ast
import re
import textwrap
from html import escape
from pathlib import Path

from tests.helpers.import_graph import imports, modules
from tests.helpers.paths import ROOT

FILE = ROOT / "docs" / "architecture.svg"
COMMAND = "make docs"
WIDTH, GAP, LINE = 1200, 10, 16
COLOURS = {"top": "#e9e2f3", "vit": "#dcebdd", "vid2vid": "#dbe7f5", "trainer": "#f6e7cd"}
COMMANDS = ".command"  # modules of this name are the scripts' half in a package: imported by name, above everything


def rooms() -> dict[str, set[str]]:
    """Every room of the three packages, and the rooms of the same package that it rests on."""
    found: dict[str, set[str]] = {}
    for module, ours in imports(modules()).items():
        if module.count(".") == 0:
            continue
        room = _room(module)
        found.setdefault(room, set())
        if not module.endswith(COMMANDS):
            found[room] |= {_room(name) for name in ours if name.split(".")[0] == room.split(".")[0]} - {room}
    return {room: {name for name in ours if "." in name} for room, ours in found.items()}


def _room(module: str) -> str:
    return ".".join(module.split(".")[:2])


def below(graph: dict[str, set[str]], room: str) -> set[str]:
    """All that a room rests on, directly or not."""
    seen: set[str] = set()
    waiting = [*graph[room]]
    while waiting:
        name = waiting.pop()
        if name not in seen:
            seen.add(name)
            waiting += graph[name]
    return seen


def floors(graph: dict[str, set[str]], widest: int) -> list[list[str]]:
    """Rooms in rows, the lowest first: each rests on lower rows alone; rooms that rest on each other share one."""
    under = {room: below(graph, room) for room in graph}
    groups = {tuple(sorted({room, *(o for o in under[room] if room in under[o])})) for room in graph}
    rows: list[list[str]] = []
    placed: set[str] = set()
    while groups:
        free = [group for group in groups if under[group[0]] <= placed | set(group)]
        free.sort(key=lambda group: (-sum(group[0] in others for others in under.values()), group))  # most used first
        row: list[str] = []
        for group in free:
            if not row or len(row) + len(group) <= widest:
                row += group
                groups.remove(group)
        rows.append(sorted(row))
        placed |= set(row)
    return rows


def direct(graph: dict[str, set[str]], room: str) -> list[str]:
    """What a room rests on and cannot be told from the rest of the list."""
    ours = graph[room]
    told = {name for name in ours if any(name in below(graph, o) and o not in below(graph, name) for o in ours)}
    return sorted(name.split(".")[1] for name in ours - told)


def path_of(room: str) -> Path:
    """Where a room is: a folder, or a file."""
    path = ROOT / room.replace(".", "/")
    return path if path.is_dir() else path.with_suffix(".py")


def about(room: str) -> tuple[str, str]:
    """A room's name as its path has it, and the first sentence of its docstring."""
    path = path_of(room)
    file = path / "__init__.py" if path.is_dir() else path
    words = " ".join((ast.get_docstring(ast.parse(file.read_text(encoding="utf-8"))) or "").replace("`", "").split())
    return path.name + ("/" if path.is_dir() else ""), re.split(r"(?<=[\w)])\.(?: |$)", words)[0]


def draw() -> str:
    """The drawing as SVG: scripts on top, the tasks side by side, the trainer as the ground."""
    graph = rooms()
    half = (WIDTH - 3 * GAP) // 2
    scripts = ", ".join(path.stem for path in sorted((ROOT / "scripts").glob("[!_]*.py")))
    train = "composes the configuration, builds the task that it names out of the table TASKS, and trains it"
    verb = "the other verbs: a task's command.py, or a few lines of its own"
    parts, top = [], GAP
    for name, words in (("train.py", train), (f"scripts/  {scripts}", verb)):
        parts.append(_box(GAP, top, WIDTH - 2 * GAP, 3 * LINE, COLOURS["top"], name, [words]))
        top += 3 * LINE + GAP
    parts.append(_arrow(WIDTH // 2, top))
    top += 2 * LINE
    tasks = [_house(graph, name, GAP + i * (half + GAP), top, half, 3) for i, name in enumerate(("vit", "vid2vid"))]
    parts += [svg for svg, _ in tasks]
    top = max(bottom for _, bottom in tasks) + GAP
    parts += [_arrow(GAP + half // 2, top), _arrow(2 * GAP + half + half // 2, top)]
    ground, bottom = _house(graph, "trainer", GAP, top + 2 * LINE, WIDTH - 2 * GAP, 6)
    legend = "Drawn from the imports by make docs. A room names what it rests on, except what these rest on anyway."
    note = f'<text x="{2 * GAP}" y="{bottom + 18}" fill="#3c3c3c">{legend}</text>'
    bottom += 3 * GAP
    size = f'width="{WIDTH}" height="{bottom}" viewBox="0 0 {WIDTH} {bottom}"'
    return "\n".join([
        f'<svg xmlns="http://www.w3.org/2000/svg" {size} font-family="Helvetica, Arial, sans-serif" font-size="12">',
        '<title>Rooms of vivid, and what each rests on</title>',
        '<rect width="100%" height="100%" rx="12" fill="#fdfcf9"/>', *parts, ground, note, "</svg>\n",
    ])  # fmt: skip


def _house(graph: dict[str, set[str]], package: str, left: int, top: int, width: int, widest: int) -> tuple[str, int]:
    """A package with its floors, and where it ends."""
    own = {room: ours for room, ours in graph.items() if room.startswith(f"{package}.")}
    words = textwrap.wrap(about(package)[1], int((width - 90) / 5.6), max_lines=1, placeholder=" ...")[0]
    title = f'<tspan font-size="15" font-weight="bold">{package}/</tspan>  {escape(words)}'
    parts = [f'<text x="{left + GAP}" y="{top + 20}">{title}</text>']
    y = top + 32
    for row in reversed(floors(own, widest)):
        size = (width - GAP * (len(row) + 1)) // len(row)
        boxes = []
        for room in row:
            name, words = about(room)
            rests = direct(own, room)
            lines = textwrap.wrap(words, int(size / 6.7), max_lines=4, placeholder=" ...")
            on = textwrap.wrap(f"rests on {', '.join(rests)}", int(size / 6.2)) if rests else []
            boxes.append((name, lines, on))
        high = LINE * (1 + max(len(lines) + len(on) for _, lines, on in boxes)) + 12
        for i, (name, lines, on) in enumerate(boxes):
            parts.append(_box(left + GAP + i * (size + GAP), y, size, high, "#ffffff", name, lines, on))
        y += high + GAP
    frame = f'<rect x="{left}" y="{top}" width="{width}" height="{y - top}" rx="8" fill="{COLOURS[package]}"/>'
    return "\n".join([frame, *parts]), y


def _box(x: int, y: int, width: int, high: int, fill: str, name: str, lines: list[str], on: list[str] = ()) -> str:  # type: ignore[assignment]
    texts = [f'<text x="{x + 8}" y="{y + 18}" font-size="13" font-weight="bold" fill="#1b1b1b">{escape(name)}</text>']
    for i, line in enumerate([*lines, *on], 1):
        style = 'fill="#3c3c3c"' if i <= len(lines) else 'fill="#8a4b00" font-style="italic"'
        texts.append(f'<text x="{x + 8}" y="{y + 18 + LINE * i}" {style}>{escape(line)}</text>')
    frame = f'<rect x="{x}" y="{y}" width="{width}" height="{high}" rx="5" fill="{fill}" stroke="#b9b2a3"/>'
    return "\n".join([frame, *texts])


def _arrow(x: int, y: int) -> str:
    """Down: rests on."""
    return f'<path d="M{x - 5} {y} v14 h-8 l13 12 l13 -12 h-8 v-14 z" fill="#8d8574"/>'


if __name__ == "__main__":
    FILE.write_text(draw(), encoding="utf-8")
