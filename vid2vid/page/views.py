"""What the Video tab shows, as HTML: pictures as they come, how far it is, what a run can do. No word is trusted."""

from __future__ import annotations

import base64
import html
import io
from collections.abc import Mapping

import numpy as np
from PIL import Image

from trainer.records.media import png_bytes
from vid2vid.flow.picture import colour_wheel
from vid2vid.page.model import Model
from vid2vid.page.upload import wanted

CSS = """
.vt-live { display: grid; gap: 12px; grid-template-columns: repeat(auto-fit, minmax(min(100%, 150px), 1fr)); }
.vt-live figure { margin: 0; min-width: 0; }
.vt-live img { width: 100%; height: auto; display: block; image-rendering: pixelated; border-radius: 6px; }
.vt-live figcaption { font-size: 14px; color: var(--body-text-color); padding: 4px 0; display: flex; gap: 8px;
  align-items: center; min-height: 32px; }
.vt-live figcaption img { width: 24px; border-radius: 50%; }
.vt-progress { display: grid; gap: 4px; color: var(--body-text-color); }
.vt-progress progress { width: 100%; height: 10px; appearance: none; border: 0; border-radius: 5px; overflow: hidden;
  background: var(--border-color-primary); }
.vt-progress progress::-webkit-progress-bar { background: var(--border-color-primary); }
.vt-progress progress::-webkit-progress-value { background: #2563eb; }
.vt-progress progress::-moz-progress-bar { background: #2563eb; }
.vt-facts { display: flex; flex-wrap: wrap; gap: 4px 16px; color: var(--body-text-color); font-size: 14px; }
.vt-facts strong { font-weight: 600; }
#video-refresh, #video-load, #video-add { align-self: center; max-height: 48px; }
#video-result video, #video-panels video { max-height: 420px; }
.vt-empty { padding: 24px 16px; border: 1px dashed var(--body-text-color); border-radius: 8px;
  color: var(--body-text-color); }
.vt-empty code { overflow-wrap: anywhere; }
"""
TITLES = {
    "source": "Label map", "result": "Result", "real": "Real frame",
    "flow": "Flow", "mask": "Mask", "hallucination": "Hallucination",
}  # fmt: skip
MEANINGS = {
    "flow": "where each pixel has come from the frame before: hue is its direction, white rests",
    "mask": "white: hallucinated anew; black: taken from the frame before along the flow",
    "hallucination": "what the network would draw without the frame before",
}
_LARGE = 256 * 512  # pixels from which on pictures are sent as JPEG while they come
COMMAND = "python train.py experiment=vid2vid/demo name=demo"


def no_runs() -> str:
    """What to do where there is no run to generate with."""
    return (
        '<div class="vt-empty" role="status">There is no video run with a checkpoint here yet. <code>make demo</code> '
        f"trains a street in about ten minutes on two cores; <code>{COMMAND}</code> does so without a video at the "
        "end. Then press Refresh.</div>"
    )


def facts(model: Model) -> str:
    """A run in one line."""
    height, width = model.size
    parts = [
        ("Size", f"{height} x {width} (height x width)"),
        ("Takes", f"label maps of {len(model.loaded.encoder.ids)} classes" if model.paints else _condition(model)),
        ("Checkpoint", f"step {model.loaded.step}" if model.loaded.step else "weights of another origin"),
        ("Foreground network", "yes" if model.config.model.foreground.value != "off" else "no"),
        ("Scales", str(model.loaded.scales or model.config.model.scales)),
        ("Styles", "yes" if model.has_styles else "no"),
    ]
    words = "".join(f"<span><strong>{name}</strong> {html.escape(value)}</span>" for name, value in parts)
    note = ""
    if not model.paints:
        note = (
            f"<p>This run takes {html.escape(_condition(model))}; label maps cannot be painted for it. Take a clip of "
            "its data, or upload one.</p>"
        )
    return f'<div class="vt-facts">{words}</div>{note}'


def upload_label(model: Model) -> str:
    """What may be uploaded for a run, in words."""
    if model.paints:
        return "Label maps: pictures with a table of their colours if they need one, a zip of them, or a film"
    return f"Clip: {_condition(model)}"


def _condition(model: Model) -> str:
    return ("label maps and " if model.has_labels else "") + wanted(model.config)


def progress(done: int, total: int | None, rate: float) -> str:
    """A bar with words; ``rate`` in frames per second, 0 where it is not known."""
    words = f"Frame {done}" + (f" of {total}" if total else "") + (f", {rate:.1f} frames/s" if rate else "")
    bar = f'<progress max="{total or 1}" value="{done if total else 0}" aria-label="Frames generated"></progress>'
    return f'<div class="vt-progress">{bar}<span role="status">{words}</span></div>'


def message(words: str) -> str:
    """A line about what has happened."""
    return f'<div class="vt-progress"><span role="status">{html.escape(words)}</span></div>'


def pictures(shown: Mapping[str, np.ndarray], labels: bool, strongest: float) -> str:
    """The pictures of one frame side by side, below each other on a phone.

    Args:
        shown: (H, W, 3) uint8 by name, see `vid2vid.page.generation.COLUMNS`.
        labels: the source is a label map.
        strongest: [pixels] of motion that has the strongest colour.
    """
    figures = []
    for name, picture in shown.items():
        title = "Source" if name == "source" and not labels else TITLES[name]
        legend = ""
        if name == "flow":
            alt = f"colour wheel: motion of {strongest:g} pixels a frame has the strongest colour"
            legend = f'<img alt="{alt}" title="{alt}" src="{_WHEEL}">'
        meaning = f' title="{MEANINGS[name]}"' if name in MEANINGS else ""
        figures.append(
            f'<figure data-name="{name}"><img alt="{title} of the frame" src="{data_uri(picture)}">'
            f"<figcaption{meaning}>{legend}{title}</figcaption></figure>"
        )
    return f'<div class="vt-live">{"".join(figures)}</div>'


def data_uri(picture: np.ndarray) -> str:
    """A picture (H, W, 3) uint8 within HTML."""
    if picture.shape[0] * picture.shape[1] < _LARGE:
        return "data:image/png;base64," + base64.b64encode(png_bytes(picture)).decode()
    buffer = io.BytesIO()
    Image.fromarray(picture).save(buffer, "JPEG", quality=88)
    return "data:image/jpeg;base64," + base64.b64encode(buffer.getvalue()).decode()


_WHEEL = data_uri(colour_wheel(48).numpy())
