"""How the page looks: colours of light and dark that can be read, the system's own fonts, one column on a phone."""

from __future__ import annotations

from typing import Any

_SANS = ("system-ui", "-apple-system", "Segoe UI", "Roboto", "Helvetica Neue", "Arial", "sans-serif")
_MONO = ("ui-monospace", "SFMono-Regular", "Menlo", "Consolas", "monospace")

STYLE = """
.gradio-container { width: 100% !important; max-width: 1240px !important; margin: 0 auto !important; }
#heading h1 { margin: 0.2em 0 0; font-size: 1.6rem; }
.gradio-container h2 { margin: 0.8em 0 -0.3em; font-size: 1.15rem; font-weight: 600; }
.gradio-container h3 { margin: 0.8em 0 0.3em; font-size: 1rem; font-weight: 600; }
footer { display: none !important; }

.wide { overflow-x: auto; border: 1px solid var(--border-color-primary); border-radius: 8px; }
.wide:focus-visible { outline: 2px solid var(--color-accent); outline-offset: 2px; }
.wide table { border-collapse: collapse; border: 0 !important; width: 100%; margin: 0; font-size: 0.9rem; }
.wide tr { border: 0 !important; }
.wide th, .wide td { text-align: left; padding: 0.45em 0.8em; white-space: nowrap; font-weight: 400;
  border: 0; border-top: 1px solid var(--border-color-primary); vertical-align: top; }
.wide thead th { border-top: 0; font-weight: 600; background: var(--background-fill-secondary); }
.wide tbody th { font-weight: 600; }
table.runs td:nth-child(3) { font-variant-numeric: tabular-nums; }
.note { display: block; min-width: 9em; font-size: 0.8rem; color: var(--body-text-color-subdued); white-space: normal; }
.state { font-weight: 600; }
.state::before { content: ""; display: inline-block; width: 0.6em; height: 0.6em; margin-right: 0.45em;
  border-radius: 50%; background: #6b7280; }
.state.training::before { background: #2563eb; animation: breathe 2s ease-in-out infinite; }
.state.done::before { background: #16a34a; }
.state.stopped::before { background: #d97706; border-radius: 2px; }
.state.failed::before { background: #dc2626; border-radius: 0; transform: rotate(45deg); }
@keyframes breathe { 50% { opacity: 0.35; } }
@media (prefers-reduced-motion: reduce) { .state::before { animation: none !important; } }
.bar { display: inline-block; width: 5em; height: 0.5em; margin-right: 0.5em; border-radius: 4px; overflow: hidden;
  background: var(--border-color-primary); vertical-align: middle; }
.bar span { display: block; height: 100%; background: var(--color-accent); }

#runs-chosen .wrap { max-height: 11em; overflow-y: auto; }
.diagrams { display: grid; grid-template-columns: repeat(auto-fill, minmax(280px, 1fr)); gap: 0.8em; }
.diagram { margin: 0; padding: 0.4em; border: 1px solid var(--border-color-primary); border-radius: 8px; }
.diagram svg[role] { display: block; width: 100%; height: auto; }
.diagram svg text { fill: currentColor; font-size: 11px; opacity: 0.85; }
.diagram svg text.title { font-size: 12.5px; font-weight: 600; opacity: 1; }
.diagram svg .grid line { stroke: currentColor; opacity: 0.18; }
.diagram svg line.stage { stroke: currentColor; opacity: 0.5; stroke-dasharray: 2 3; }
.diagram polyline, .legend polyline { fill: none; stroke-width: 1.8; stroke-linejoin: round; }
.legend { display: flex; flex-wrap: wrap; gap: 0.1em 1.2em; margin: 0.2em 0 0.6em; padding: 0; list-style: none;
  font-size: 0.85rem; }
.diagram .legend { margin: 0.2em 0 0.2em 0.4em; font-size: 0.75rem; }
.legend svg { display: inline-block; width: 24px; height: 6px; margin-right: 0.4em; vertical-align: middle; }
.media { display: grid; grid-template-columns: repeat(auto-fill, minmax(240px, 1fr)); gap: 0.8em; }
.media { align-items: start; }
.media figure { margin: 0; }
.media a { display: block; }
.media img, .media video { display: block; margin: 0 !important; width: 100%; max-height: 320px;
  object-fit: contain; border-radius: 6px;
  background: var(--background-fill-secondary); }
.media figcaption { font-size: 0.8rem; color: var(--body-text-color-subdued); }
@media (max-width: 640px) { .gradio-container { padding: 0.4em !important; } }
"""

# gradio calls the places for uploads by other words than it writes on them: who steers by voice says what is written.
HEAD = """<script>
new MutationObserver(() => {
  for (const place of document.querySelectorAll("button.upload-container[aria-label]"))
    if (place.textContent.trim()) place.removeAttribute("aria-label");
}).observe(document, { subtree: true, childList: true, attributes: true, attributeFilter: ["aria-label"] });
</script>"""


def theme() -> Any:
    """gradio's theme, without a font from elsewhere."""
    from gradio.themes import Default

    grey, light = "#4b5563", "#b6bdc9"  # of secondary texts: gradio's own are too pale to be read
    return Default(primary_hue="blue", neutral_hue="slate", font=_SANS, font_mono=_MONO).set(
        body_text_color_subdued=grey,
        body_text_color_subdued_dark=light,
        block_title_text_color="#1f2937",
        block_label_text_color=grey,
        block_label_text_color_dark=light,
        block_info_text_color=grey,
        block_info_text_color_dark=light,
        button_primary_background_fill="#2563eb",  # white on gradio's own blue has a contrast of 3.7
        button_primary_background_fill_hover="#1d4ed8",
    )
