"""The page's tab of pictures: what a classifier says of them, where it looks, and what hiding patches changes.

``classifier``, ``segmented`` and ``shelf`` answer, ``drawing`` and ``patch_grid`` show, ``visit`` holds what one
visitor asks, ``picture`` puts it on the page. Importing this loads neither torch nor gradio.
"""

from typing import Any


def __getattr__(name: str) -> Any:
    if name == "tab":
        from vit.page.picture import tab

        return tab
    raise AttributeError(f"module {__name__!r} has no attribute {name!r}")
