"""A picture under a grid whose cells are hidden by a click, by dragging the mouse, or by the keyboard.

The browser holds which cells are hidden, with undo; it tells the page, which answers with what the classifier says. It
is gradio's own ``HTML`` component with a script of a few lines: nothing is built and nothing is fetched.
"""

from __future__ import annotations

from itertools import pairwise
from typing import Any

from torch import Tensor

from vit.page.drawing import data_url, enlarged, plain

EVENT = "hide"  # its data: {"hidden": numbers of cells row by row from 0, "serial": of the picture}

SCRIPT = """
let trail = [], serial = null, timer = null, drag = null;
const frame = () => element.querySelector('.vp-cells');
const all = () => Array.from(element.querySelectorAll('.vp-cell'));
const isHidden = cell => cell.getAttribute('aria-selected') === 'true';
const say = text => { const box = element.querySelector('.vp-told'); if (box) box.textContent = text; };
const hiddenNow = () => all().flatMap((cell, number) => isHidden(cell) ? [number] : []);
function set(cell, hide) { cell.setAttribute('aria-selected', hide ? 'true' : 'false'); }
function fresh() {
  const box = frame();
  if (box && box.dataset.serial !== serial) { serial = box.dataset.serial; trail = []; drag = null; }
}
function buttons() {
  const some = hiddenNow().length;
  const undo = element.querySelector('.vp-undo'), clear = element.querySelector('.vp-clear');
  if (undo) undo.setAttribute('aria-disabled', trail.length ? 'false' : 'true');
  if (clear) clear.setAttribute('aria-disabled', some ? 'false' : 'true');
  const total = all().length;
  say(some ? `${some} of ${total} cells are hidden` : 'Nothing is hidden');
}
function tell() {
  buttons();
  clearTimeout(timer);
  timer = setTimeout(() => trigger('hide', {hidden: hiddenNow(), serial: Number(serial)}), 120);
}
function change(cells, hide) {
  const turned = cells.filter(cell => isHidden(cell) !== hide);
  if (!turned.length) return;
  trail.push(turned.map(cell => [Number(cell.dataset.number), !hide]));
  turned.forEach(cell => set(cell, hide));
  tell();
}
function undo() {
  const last = trail.pop();
  if (!last) return;
  const cells = all();
  last.forEach(([number, hide]) => set(cells[number], hide));
  tell();
}
function visit(cell) {
  all().forEach(other => { if (other.tabIndex === 0 && other !== cell) other.tabIndex = -1; });
  cell.tabIndex = 0;
  cell.focus({preventScroll: false});
}
element.addEventListener('pointerdown', event => {
  const cell = event.target.closest('.vp-cell');
  fresh();
  if (!cell || event.button) return;
  if (event.pointerType !== 'mouse') return;
  event.preventDefault();
  drag = !isHidden(cell);
  visit(cell);
  change([cell], drag);
});
element.addEventListener('pointerover', event => {
  const cell = event.target.closest('.vp-cell');
  if (cell && drag !== null && event.buttons & 1) change([cell], drag);
});
window.addEventListener('pointerup', () => { drag = null; });
element.addEventListener('click', event => {
  fresh();
  if (event.target.closest('.vp-undo')) { undo(); return; }
  if (event.target.closest('.vp-clear')) { change(all(), false); return; }
  const cell = event.target.closest('.vp-cell');
  if (cell && event.pointerType !== 'mouse') { visit(cell); change([cell], !isHidden(cell)); }
});
element.addEventListener('keydown', event => {
  const cell = event.target.closest('.vp-cell');
  fresh();
  if ((event.ctrlKey || event.metaKey) && event.key === 'z' && element.contains(event.target)) {
    event.preventDefault(); undo(); return;
  }
  if (!cell || event.ctrlKey || event.metaKey || event.altKey) return;
  const columns = Number(frame().dataset.columns), cells = all(), number = cells.indexOf(cell);
  const row = Math.floor(number / columns), column = number % columns, rows = cells.length / columns;
  const places = {
    ArrowLeft: row * columns + Math.max(0, column - 1),
    ArrowRight: row * columns + Math.min(columns - 1, column + 1),
    ArrowUp: Math.max(0, row - 1) * columns + column,
    ArrowDown: Math.min(rows - 1, row + 1) * columns + column,
    Home: row * columns, End: row * columns + columns - 1,
    PageUp: column, PageDown: (rows - 1) * columns + column,
  };
  if (event.key in places) {
    event.preventDefault();
    const hide = isHidden(cell), next = cells[places[event.key]];
    visit(next);
    if (event.shiftKey) change([next], hide);
  } else if (event.key === ' ' || event.key === 'Enter') {
    event.preventDefault(); change([cell], !isHidden(cell));
  } else if (event.key === 'u') { undo(); } else if (event.key === 'Escape') { change(all(), false); }
});
watch('value', () => { fresh(); buttons(); });
fresh();
"""

STYLE = """
.vp-canvas { position: relative; max-width: 448px; margin: 0 auto; line-height: 0; user-select: none; }
.vp-cells { position: absolute; inset: 0; display: grid; }
.vp-row { display: contents; }
.vp-cell {
  box-sizing: border-box; cursor: pointer; border: 0 solid rgb(255 255 255 / 35%); border-width: 0 1px 1px 0;
  touch-action: manipulation;
}
.vp-cell:hover { background: rgb(255 255 255 / 30%); }
.vp-cell[aria-selected="true"] {
  background: repeating-linear-gradient(45deg, #6b6b6b 0 6px, #8a8a8a 6px 8px);
}
.vp-cell:focus-visible {
  outline: 3px solid #ffb000; outline-offset: -1px; box-shadow: 0 0 0 5px #000a; z-index: 1; position: relative;
}
.vp-tools { display: flex; flex-wrap: wrap; gap: 8px; align-items: center; max-width: 448px; margin: 8px auto 0; }
.vp-tools button {
  border: 1px solid var(--border-color-primary); border-radius: 6px; padding: 4px 12px; font: inherit; cursor: pointer;
  background: var(--button-secondary-background-fill); color: var(--button-secondary-text-color);
}
.vp-tools button[aria-disabled="true"] { opacity: 0.55; cursor: default; }
.vp-told { flex: 1; text-align: right; color: var(--body-text-color); }
.vp-keys {
  max-width: 448px; margin: 6px auto 0; font-size: 0.85em;
  color: color-mix(in srgb, var(--body-text-color) 78%, transparent);
}
"""


def grid_html(picture: Tensor, grid: tuple[int, int], serial: int, words: str) -> str:
    """HTML of a picture (C, H, W) uint8 with nothing hidden.

    Args:
        grid: rows and columns of cells.
        serial: another one for each picture or grid, so that answers to an earlier one are told apart.
        words: what the picture shows.
    """
    shown = enlarged(picture)
    rows, columns = grid
    sharp = " vp-sharp" if shown.shape[-1] != picture.shape[-1] else ""
    lines = "".join(
        '<div class="vp-row" role="row">'
        + "".join(
            f'<div class="vp-cell" role="gridcell" tabindex="{0 if row == column == 0 else -1}" aria-selected="false" '
            f'data-number="{row * columns + column}" aria-label="row {row + 1}, column {column + 1}"></div>'
            for column in range(columns)
        )
        + "</div>"
        for row in range(rows)
    )
    return (
        '<div class="vp-canvas">'
        f'<img class="vp-picture{sharp}" src="{data_url(shown.permute(1, 2, 0))}" alt="{plain(words)}" '
        'draggable="false">'
        f'<div class="vp-cells" role="grid" aria-multiselectable="true" '
        'aria-label="cells of the picture; chosen ones are hidden" '
        f'data-serial="{serial}" data-columns="{columns}" '
        f'style="grid-template-columns:{_tracks(picture.shape[-1], columns)};'
        f'grid-template-rows:{_tracks(picture.shape[-2], rows)}">{lines}</div></div>'
        '<div class="vp-tools"><button type="button" class="vp-undo" aria-disabled="true">Undo</button>'
        '<button type="button" class="vp-clear" aria-disabled="true">Clear</button>'
        '<span class="vp-told" role="status">Nothing is hidden</span></div>'
        '<p class="vp-keys">Click or drag. Keys: arrows move, space hides and shows, shift with an arrow goes on so, '
        "U undoes, Escape clears.</p>"
    )


def _tracks(length: int, parts: int) -> str:
    """Sizes of CSS tracks, to a pixel as ``vit.analysis.occlusion.cells.spread`` cuts a side into cells."""
    edges = [-(-part * length // parts) for part in range(parts + 1)]
    sizes = [f"{end - start}fr" for start, end in pairwise(edges)]
    return f"repeat({parts},{sizes[0]})" if len(set(sizes)) == 1 else " ".join(sizes)


def patch_grid(**more: Any) -> Any:
    """The component, empty; its value is ``grid_html``."""
    import gradio as gr

    return gr.HTML("", html_template="${value}", css_template=STYLE, js_on_load=SCRIPT, **more)
