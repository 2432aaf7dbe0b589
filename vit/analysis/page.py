"""The page of a report: one HTML file with every figure, table and setting in it, that needs nothing beside it."""

from __future__ import annotations

import base64
import json
import shlex
from collections.abc import Mapping, Sequence
from dataclasses import dataclass
from functools import cached_property
from html import escape
from typing import Any

from trainer.records.media import png_bytes
from vit.analysis.charts import svg
from vit.analysis.outcome import Outcome

ROWS_SHOWN = 400  # of a table: the CSV beside the page has all


@dataclass(frozen=True)
class Section:
    """One experiment of a report.

    Attributes:
        name, question: of the experiment.
        settings: as plain data.
        command: words that do it alone.
        seconds: that it took.
        outcome: what it found; None: it could not be done.
        problem: why not.
    """

    name: str
    question: str
    settings: Mapping[str, Any]
    command: Sequence[str]
    seconds: float
    outcome: Outcome | None
    problem: str = ""

    @cached_property
    def html(self) -> str:
        """Of the page: drawn once, however often the page is written."""
        return _section(self)


def page(title: str, facts: Mapping[str, Any], machine: Mapping[str, str], sections: Sequence[Section]) -> str:
    """The HTML text.

    Args:
        title: of the page.
        facts: of the study: ``models``, ``split``, ``samples`` (``Study.facts``).
        machine: what it ran on, and when, by name.
        sections: in the order to be shown.
    """
    links = "".join(
        f'<a href="#{escape(each.name)}"{"" if each.outcome else " class=missing"}>{escape(each.name)}</a>'
        for each in sections
    )
    models = _table(
        [{"model": m["label"], "weights": m["weights"], "prepared": m["prepared"]} for m in facts["models"]]
    )
    about = {"pictures": f"{facts['split']}, {facts['samples'] or 'all'}", **machine}
    body = "\n".join(section.html for section in sections)
    lines = "".join(f"<dt>{escape(name)}</dt><dd>{escape(text)}</dd>" for name, text in about.items())
    return _PAGE.format(title=escape(title), style=_STYLE, links=links, models=models, about=lines, body=body)


def _section(section: Section) -> str:
    head = f'<section id="{escape(section.name)}"><h2>{escape(section.name)}</h2>'
    head += f'<p class="question">{escape(section.question)}</p>'
    settings = escape(json.dumps(section.settings, indent=1, ensure_ascii=False))
    foot = (
        f"<details><summary>settings and command ({section.seconds:,.0f} s)</summary>"
        f"<pre>{escape(shlex.join(section.command))}</pre><pre>{settings}</pre></details></section>"
    )
    outcome = section.outcome
    if outcome is None:
        return f'{head}<p class="problem">not done: {escape(section.problem)}</p>{foot}'
    parts = [f'<p class="line">{escape(line)}</p>' for line in outcome.lines]
    charts = [_figure(name, "image/svg+xml", svg(chart).encode()) for name, chart in outcome.charts.items()]
    if charts:
        parts.append(f'<div class="charts">{"".join(charts)}</div>')
    parts += [_figure(name, "image/png", png_bytes(picture)) for name, picture in outcome.pictures.items()]
    parts += [
        f'<figure><video controls loop muted src="data:video/mp4;base64,{_base64(path.read_bytes())}"></video></figure>'
        for path in outcome.files
        if path.suffix == ".mp4"
    ]
    if outcome.values:
        parts.append(_table(by_model(outcome.values)))
    if outcome.records:
        more = len(outcome.records) - ROWS_SHOWN
        note = f"<p>and {more:,} more in {escape(section.name)}.csv</p>" if more > 0 else ""
        parts.append(
            f"<details><summary>table ({len(outcome.records):,} rows)</summary>"
            f"{_table(outcome.records[:ROWS_SHOWN])}{note}</details>"
        )
    return head + "\n".join(parts) + foot


def _figure(name: str, kind: str, content: bytes) -> str:
    return f'<figure><img alt="{escape(name)}" src="data:{kind};base64,{_base64(content)}"></figure>'


def _base64(content: bytes) -> str:
    return base64.b64encode(content).decode()


def by_model(values: Mapping[str, float]) -> list[dict[str, Any]]:
    """``MODEL/NAME`` values as rows: ``figure``, and a column for each model (``all``: of none)."""
    rows: dict[str, dict[str, Any]] = {}
    for key, value in values.items():
        model, slash, name = key.partition("/")
        row = rows.setdefault(name if slash else key, {"figure": name if slash else key})
        row[model if slash else "all"] = value
    return list(rows.values())


def _table(records: Sequence[Mapping[str, Any]]) -> str:
    columns = list(dict.fromkeys(key for record in records for key in record))
    head = "".join(f"<th>{escape(column)}</th>" for column in columns)
    rows = "".join("<tr>" + "".join(_cell(record.get(column)) for column in columns) + "</tr>" for record in records)
    return f'<div class="wide"><table><thead><tr>{head}</tr></thead><tbody>{rows}</tbody></table></div>'


def _cell(value: Any) -> str:
    if value is None:
        return "<td></td>"
    if isinstance(value, float):
        return f'<td class="number">{value:.4g}</td>'
    return f'<td class="number">{value}</td>' if isinstance(value, int) else f"<td>{escape(str(value))}</td>"


_STYLE = """
  :root { color-scheme: light dark; --ink: #1d2126; --soft: #5d6570; --line: #dfe2e6; --back: #fff; --mark: #2f6db3; }
  @media (prefers-color-scheme: dark) {
    :root { --ink: #e6e6e3; --soft: #a2a8b1; --line: #33383f; --back: #16181c; --mark: #7fb2ea; }
    img { background: #fff; border-radius: 4px; }
  }
  body { margin: 0; font: 16px/1.55 system-ui, sans-serif; color: var(--ink); background: var(--back); }
  main { max-width: 1080px; margin: 0 auto; padding: 28px 22px 80px; }
  h1 { font-size: 27px; margin: 0 0 12px; }
  h2 { font-size: 21px; margin: 0; }
  section { border-top: 1px solid var(--line); margin-top: 34px; padding-top: 22px; scroll-margin-top: 46px; }
  nav { position: sticky; top: 0; z-index: 1; background: var(--back); border-bottom: 1px solid var(--line);
        padding: 9px 0; margin-top: 14px; display: flex; flex-wrap: wrap; gap: 4px 18px; font-size: 15px; }
  a { color: var(--mark); text-decoration: none; }
  a.missing { color: var(--soft); text-decoration: line-through; }
  .question { margin: 3px 0 14px; color: var(--soft); }
  .line { margin: 1px 0; font: 13px/1.5 ui-monospace, monospace; white-space: pre-wrap; }
  .problem { border-left: 3px solid #c8553d; padding-left: 12px; }
  .charts { display: grid; grid-template-columns: repeat(auto-fit, minmax(440px, 1fr)); gap: 8px; }
  .charts figure { max-width: 640px; }
  video { max-width: 100%; }
  figure { margin: 10px 0; overflow-x: auto; }
  .charts img { width: 100%; }
  img { max-width: 100%; }
  .wide { overflow-x: auto; }
  table { border-collapse: collapse; font-size: 14px; margin: 12px 0; }
  th, td { text-align: left; padding: 3px 14px 3px 0; border-bottom: 1px solid var(--line); vertical-align: top; }
  th { color: var(--soft); font-weight: 600; }
  .number { font-variant-numeric: tabular-nums; }
  details { margin: 10px 0; }
  summary { cursor: pointer; color: var(--soft); font-size: 14px; }
  pre { overflow-x: auto; font-size: 13px; line-height: 1.45; white-space: pre-wrap; }
  dl { display: grid; grid-template-columns: max-content 1fr; gap: 1px 16px; font-size: 14px; margin: 10px 0; }
  dt { color: var(--soft); } dd { margin: 0; }
"""

_PAGE = """<!doctype html>
<html lang="en">
<meta charset="utf-8">
<meta name="viewport" content="width=device-width, initial-scale=1">
<title>{title}</title>
<style>{style}</style>
<main>
<h1>{title}</h1>
{models}
<dl>{about}</dl>
<nav>{links}</nav>
{body}
</main>
</html>
"""
