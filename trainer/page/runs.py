"""The tab of all runs: what each is doing and how far it is, and of the chosen ones curves, pictures and settings.

It reads the runs' folders and nothing else, again and again while they train.
"""

from __future__ import annotations

import html
import socket
from pathlib import Path
from typing import Any

import gradio as gr

from trainer.page import tables
from trainer.page.contract import Page, Tab
from trainer.page.diagrams import Diagrams
from trainer.page.following import Following, Seen
from trainer.page.media import Copies
from trainer.records.compare import RunRecord

EVERY_S = 2.0  # between two looks
MOST_CHOSEN = 12
_NOTHING = "<p>Choose runs above.</p>"


class Runs:
    """What the tab shows, for all visitors together: what one has had read or drawn, the next one is given.

    Args:
        page: whose runs they are.
    """

    def __init__(self, page: Page) -> None:
        self.page = page
        self._following, self._diagrams, self._copies = Following(settings=page.settings), Diagrams(), Copies(page)

    def look(self) -> list[Seen]:
        """All runs now."""
        return self._following.look(self.page.all_runs())

    def details(self, names: list[str]) -> tuple[str, str, str, str]:
        """HTML of curves, media and settings of the chosen runs, and the commands to go on with them."""
        seen = {run.name: run for run in self.look()}
        chosen = [seen[name] for name in sorted(set(names) & seen.keys())][:MOST_CHOSEN]  # colours stay
        if not chosen:
            return _NOTHING, "", "", ""
        records = [tables.named(self._following.record(run.path), run.name) for run in chosen]
        others = [RunRecord(Path("/", run.name), self.page.settings.of(run.path), [], "") for run in seen.values()]
        key = tuple((run.name, run.version) for run in chosen)
        shown = [f"<h3>{html.escape(run.name)}</h3>{self._copies.show(run.name, run.path)}" for run in chosen]
        return (
            self._diagrams.of(records, key),
            "".join(shown),
            tables.settings(records, others, self.page.hidden),
            tables.commands(chosen, {run.name: self.place(run) for run in chosen}, socket.gethostname()),
        )

    def place(self, run: Seen) -> str:
        """A run's path as a command takes it, in the folder that the page was started in."""
        path, here = run.path, Path.cwd()
        if path.is_absolute() and path.is_relative_to(here):
            path = path.relative_to(here)
        return (Path("PATH", path.name) if path.is_absolute() else path).as_posix()


def build(page: Page) -> None:
    """Its components and events."""
    runs = Runs(page)
    overview = gr.HTML(elem_id="runs-overview", padding=False)
    chosen = gr.CheckboxGroup(
        [], label="Runs to look at", info="Several are put beside each other.", elem_id="runs-chosen"
    )
    gr.HTML("<h2>Curves</h2>", padding=False)
    diagrams = gr.HTML(elem_id="runs-curves", padding=False)
    gr.HTML("<h2>Latest pictures and videos</h2>", padding=False)
    media = gr.HTML(elem_id="runs-media", padding=False)
    gr.HTML("<h2>Settings that differ, and results</h2>", padding=False)
    settings = gr.HTML(elem_id="runs-settings", padding=False)
    commands = gr.Textbox(
        label="Commands to go on", lines=2, max_lines=16, interactive=False, buttons=["copy"], elem_id="runs-commands"
    )
    shown = gr.State({})  # what the visitor sees already
    details = [diagrams, media, settings, commands]

    def fresh(values: dict[str, Any], before: dict[str, Any]) -> list[Any]:
        """The values that are not shown yet; the others stay as they are."""
        return [gr.skip() if before.get(name) == value else value for name, value in values.items()]

    def refresh(names: list[str], before: dict[str, Any]) -> list[Any]:
        seen = runs.look()
        known = [run.name for run in seen]
        first = not before.get("known")
        if first:
            names = known[:1]
        if set(known) == set(before.get("known", [])):
            choice: Any = gr.skip()
            known = before["known"]
        else:
            names = [name for name in names if name in known]
            choice = gr.CheckboxGroup(choices=known, value=names)
        values = _values(tables.overview(seen), runs.details(names))
        return [choice, *fresh(values, before), {"known": known, **values}]

    def choose(names: list[str], before: dict[str, Any]) -> list[Any]:
        values = _values(before.get("overview", ""), runs.details(names))
        return [*fresh(values, before)[1:], {**before, **values}]

    inputs, outputs = [chosen, shown], [chosen, overview, *details, shown]
    quiet: dict[str, Any] = {"show_progress": "hidden", "queue": False}
    page.on_load(page.guarded(refresh), inputs, outputs, **quiet)
    gr.Timer(EVERY_S).tick(page.guarded(refresh), inputs, outputs, **quiet)
    chosen.input(page.guarded(choose), inputs, [*details, shown], **quiet)


def _values(overview: str, details: tuple[str, str, str, str]) -> dict[str, Any]:
    return dict(zip(("overview", "curves", "media", "settings", "commands"), (overview, *details), strict=True))


tab = Tab("runs", "Runs", build)
