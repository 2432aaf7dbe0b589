"""The Video tab of the page: label maps painted, moved or taken from clips, and videos made of them."""

from __future__ import annotations

from typing import TYPE_CHECKING, Any

if TYPE_CHECKING:
    from vid2vid.page.video_tab import tab as tab


def __getattr__(name: str) -> Any:
    """``tab`` when it is asked for: it needs gradio, which nothing else here does."""
    if name == "tab":
        from vid2vid.page.video_tab import tab

        return tab
    raise AttributeError(f"module {__name__!r} has no attribute {name!r}")
