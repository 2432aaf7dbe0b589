"""How the page looks: colours of light and dark that can be read, the system's own fonts, one column on a phone."""

from __future__ import annotations

from typing import Any

_SANS = ("system-ui", "-apple-system", "Segoe UI", "Roboto", "Helvetica Neue", "Arial", "sans-serif")
_MONO = ("ui-monospace", "SFMono-Regular", "Menlo", "Consolas", "monospace")

STYLE = """
.gradio-container { max-width: 1200px !important; margin: 0 auto !important; }
"""


def theme() -> Any:
    """gradio's theme, without a font from elsewhere."""
    from gradio.themes import Default

    return Default(font=_SANS, font_mono=_MONO)
