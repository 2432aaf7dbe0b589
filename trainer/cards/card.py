"""``README.md`` of an exported model: a card in the form that model hubs show."""

from __future__ import annotations

import re
from collections.abc import Iterable, Sequence
from dataclasses import dataclass, field

from trainer.cards.recipe import Recipe

UNLICENSED = "not stated by its maker"
_IDENTIFIER = re.compile(r"[A-Za-z0-9][A-Za-z0-9.+-]*")


@dataclass(frozen=True)
class Card:
    """What stands on a card.

    Attributes:
        title: of the model.
        about: what it does, one paragraph.
        recipe: how it was made.
        load: (what with, code) for each way to load it; the first is ours.
        facts: (what, value) of the network: parameters, sizes.
        notes: what differs where it is loaded elsewhere, and what is not to be had, one line each.
        sample: (file beside the card, caption); None: there is none.
        licence: of the weights, as their maker says; None: not told.
        library, pipeline: of the model hub, for its header.
        files: (name, what is in it).
    """

    title: str
    about: str
    recipe: Recipe
    load: Sequence[tuple[str, str]]
    facts: Sequence[tuple[str, str]] = ()
    notes: Sequence[str] = ()
    sample: tuple[str, str] | None = None
    licence: str | None = None
    library: str = ""
    pipeline: str = ""
    files: Sequence[tuple[str, str]] = field(default_factory=list)


def render(card: Card) -> str:
    """The card as Markdown, with the header in YAML that model hubs read."""
    recipe, parts = card.recipe, [_header(card), f"# {card.title}", card.about]
    if card.sample is not None:
        name, caption = card.sample
        shown = f"![{caption}]({name})" if name.endswith((".png", ".gif", ".jpg")) else f"[{caption}]({name})"
        parts.append(shown)
    parts.append("## How to load it")
    for what, code in card.load:
        parts += [f"{what}:", f"```python\n{code.strip()}\n```"]
    if card.notes:
        parts.append("\n".join(f"- {line}" for line in card.notes))
    parts += ["## Data", _table(recipe.data) or "Not known: these weights are of no run of vivid that tells."]
    parts.append("## Recipe")
    if recipe.command:
        parts.append(f"```bash\n{recipe.command}\n```")
    elif recipe.rows:
        parts.append("The command was not kept; `config.json` has every setting.")
    parts.append(_table([*recipe.rows, *card.facts]) or "Not known.")
    parts.append("## Metrics")
    if recipe.metrics:
        rows = [(name, "no number" if value is None else f"{value:.6g}") for name, value in recipe.metrics.items()]
        parts.append(_table(rows))
        parts += ["What they are of (`eval.json` of the run):", _table(recipe.measured)] if recipe.measured else []
    else:
        parts.append("None: the run was not evaluated (`scripts/evaluate.py run=...`).")
    parts += ["## Licence", f"Licence of the weights: {card.licence or UNLICENSED}."]
    if card.files:
        parts += ["## Files", _table([(f"`{name}`", what) for name, what in card.files])]
    return "\n\n".join(parts) + "\n"


def _header(card: Card) -> str:
    lines = [
        f"{key}: {value}" for key, value in (("library_name", card.library), ("pipeline_tag", card.pipeline)) if value
    ]
    if card.licence and _IDENTIFIER.fullmatch(card.licence):
        lines.append(f"license: {card.licence.lower()}")
    return "\n".join(["---", *lines, "tags:", "- vivid", "---"])


def _table(rows: Iterable[tuple[str, str]]) -> str:
    cells = [(_cell(what), _cell(value)) for what, value in rows]
    return "\n".join(["| | |", "|---|---|", *(f"| {what} | {value} |" for what, value in cells)]) if cells else ""


def _cell(text: str) -> str:
    return " ".join(str(text).split()).replace("|", "\\|").replace("<", "&lt;")
