"""What visitors see of answers and maps: pictures as text for HTML, bars of probabilities, bars of colour.

Names of classes and files may be anybody's: here they are escaped.
"""

from __future__ import annotations

import base64
from collections.abc import Sequence
from html import escape

import torch
import torch.nn.functional as F
from torch import Tensor

from trainer.records.media import png_bytes
from trainer.untrusted.shown import one_line
from vit.analysis.attention.overlays import as_colour, overlay, stretched

SIDE = 448  # pixels of the longer side below which pictures are enlarged, so that maps over them are smooth
_STOPS = 17  # of a bar of colour


def plain(text: str) -> str:
    """A text of anybody's for HTML."""
    return escape(one_line(text))


def data_url(picture: Tensor) -> str:
    """uint8 (H, W, 3) as a PNG in an address."""
    return "data:image/png;base64," + base64.b64encode(png_bytes(picture)).decode()


def enlarged(picture: Tensor, side: int = SIDE) -> Tensor:
    """(C, H, W) uint8 as (3, H', W'), about ``side`` long, with pixels that stay squares; large ones as they are."""
    factor = max(1, round(side / max(picture.shape[-2:])))
    shown = as_colour(picture)
    return shown.repeat_interleave(factor, -2).repeat_interleave(factor, -1)


def reduced(picture: Tensor, side: int) -> Tensor:
    """(C, H, W) uint8 as (3, h, w), the longer side at most ``side`` pixels."""
    shown, scale = as_colour(picture), side / max(picture.shape[-2:])
    if scale >= 1:
        return shown
    size = [max(1, round(length * scale)) for length in shown.shape[-2:]]
    return F.interpolate(shown[None].float(), size, mode="area")[0].round().byte()


def under_map(picture: Tensor, values: Tensor, side: int = SIDE) -> Tensor:
    """A picture (C, H, W) under a map of attention (h, w) or (H, W): uint8 (H', W', 3), about ``side`` long."""
    shown = enlarged(picture, side)
    size = (shown.shape[-2], shown.shape[-1])
    return overlay(shown, stretched(values, size)).permute(1, 2, 0)


def under_falls(picture: Tensor, values: Tensor) -> tuple[Tensor, float]:
    """A picture under falls and rises of a probability, each cell in one colour.

    Args:
        values: (h, w), below 0 for rises.

    Returns:
        uint8 (H', W', 3), and the value of the strongest colour; the middle colour is 0.
    """
    from matplotlib import colormaps

    shown = enlarged(picture).float()
    most = max(float(values.abs().max()), 1e-6)
    size = (shown.shape[-2], shown.shape[-1])
    wide = F.interpolate(values[None, None].float(), size, mode="nearest-exact")[0, 0]
    colour = torch.from_numpy(colormaps["RdBu_r"]((0.5 + 0.5 * wide / most).numpy())[..., :3].copy()) * 255
    ground = shown.mean(dim=0, keepdim=True)  # grey, so that colours are the map's
    share = 0.25 + 0.5 * (wide.abs() / most)[..., None]
    return torch.lerp(ground.permute(1, 2, 0), colour.float(), share).round().byte(), most


def colour_bar(colours: str, low: str, high: str, title: str) -> str:
    """HTML: a bar of one of Matplotlib's maps of colours, with the values at its ends."""
    from matplotlib import colormaps
    from matplotlib.colors import to_hex

    stops = ",".join(to_hex(colormaps[colours](place / (_STOPS - 1))) for place in range(_STOPS))
    return (
        f'<div class="vp-scale"><div class="vp-ramp" style="background:linear-gradient(90deg,{stops})"></div>'
        f'<div class="vp-ends"><span>{escape(low)}</span><span>{escape(title)}</span><span>{escape(high)}</span>'
        "</div></div>"
    )


def figure(picture: Tensor, words: str, below: str = "") -> str:
    """HTML: a picture uint8 (H, W, 3), what it shows in words, and HTML below it."""
    return (
        f'<figure class="vp-figure"><img class="vp-picture" src="{data_url(picture)}" alt="{plain(words)}">'
        f"{below}<figcaption>{plain(words)}</figcaption></figure>"
    )


def tiles(pictures: Sequence[tuple[str, Tensor]], words: str) -> str:
    """HTML: small pictures uint8 (H, W, 3), each with its name, and what they show in words."""
    items = "".join(
        f'<li><img src="{data_url(picture)}" alt=""><span>{plain(name)}</span></li>' for name, picture in pictures
    )
    return (
        f'<figure class="vp-figure"><ul class="vp-tiles">{items}</ul><figcaption>{plain(words)}</figcaption></figure>'
    )


def percent(share: float) -> str:
    """0.1234 as 12.3 %; what is above 0 never as 0."""
    if 0 < share < 0.0005:
        return "< 0.1 %"
    return f"{100 * share:.1f} %"


def bars(rows: Sequence[tuple[str, float, float | None]], title: str, note: str = "") -> str:
    """HTML: a bar for each class.

    Args:
        rows: class, probability of the whole picture, and with some patches hidden (None: nothing is hidden).
        note: a line below.
    """
    items = []
    for name, whole, now in rows:
        shown = whole if now is None else now
        was = "" if now is None else f' <span class="vp-was">whole {percent(whole)}</span>'
        before = "" if now is None else f'<div class="vp-before" style="width:{100 * whole:.2f}%"></div>'
        items.append(
            f'<li><div class="vp-line"><span class="vp-class">{plain(name)}</span>'
            f'<span class="vp-share" data-share="{shown:.6g}">{percent(shown)}{was}</span></div>'
            f'<div class="vp-track" aria-hidden="true">{before}<div class="vp-now" style="width:{100 * shown:.2f}%">'
            "</div></div></li>"
        )
    below = f'<p class="vp-note">{plain(note)}</p>' if note else ""
    return f'<div class="vp-bars"><h3>{plain(title)}</h3><ol>{"".join(items)}</ol>{below}</div>'


def legend(shares: Sequence[tuple[str, tuple[int, int, int], float]]) -> str:
    """HTML: classes with their colours and shares of the picture."""
    items = "".join(
        f'<li><span class="vp-key" style="background:rgb({r},{g},{b})" aria-hidden="true"></span>'
        f'<span class="vp-class">{plain(name)}</span> <span>{percent(share)}</span></li>'
        for name, (r, g, b), share in shares
    )
    return f'<ul class="vp-legend">{items}</ul>'


def message(text: str) -> str:
    """HTML: a sentence in the place of what cannot be shown."""
    return f'<p class="vp-note">{plain(text)}</p>'


STYLE = """
.vp-title { margin: 8px 0 0; }
.vp-picture { width: 100%; height: auto; display: block; }
.vp-sharp { image-rendering: pixelated; }
.vp-figure { max-width: 448px; margin: 0 auto; }
.vp-figure figcaption, .vp-note { font-size: 0.9em; margin: 6px 0 0; }
.vp-figure figcaption, .vp-note, .vp-was { color: color-mix(in srgb, var(--body-text-color) 78%, transparent); }
.vp-note { overflow-wrap: anywhere; }
.vp-ramp { height: 14px; border-radius: 3px; margin-top: 8px; }
.vp-ends { display: flex; justify-content: space-between; gap: 8px; font-size: 0.85em; color: var(--body-text-color); }
.vp-bars h3 { margin: 0 0 8px; font-size: 1.05em; color: var(--body-text-color); }
.vp-bars ol, .vp-legend, .vp-tiles { margin: 0 !important; padding: 0 !important; }
.vp-bars li, .vp-legend li, .vp-tiles li { list-style: none !important; margin-left: 0; }
.vp-bars li { margin: 0 0 12px; }
.vp-line { display: flex; justify-content: space-between; gap: 12px; color: var(--body-text-color); }
.vp-class { overflow-wrap: anywhere; }
.vp-share { white-space: nowrap; font-variant-numeric: tabular-nums; }
.vp-was { font-size: 0.85em; margin-left: 8px; }
.vp-track {
  position: relative; height: 12px; border-radius: 6px; background: var(--border-color-primary); overflow: hidden;
}
.vp-now { position: absolute; inset: 0 auto 0 0; background: var(--color-accent); border-radius: 6px; }
.vp-before { position: absolute; inset: 0 auto 0 0; background: var(--body-text-color); opacity: 0.35; }
.vp-legend { display: flex; flex-wrap: wrap; gap: 4px 16px; margin-top: 8px; color: var(--body-text-color); }
.vp-legend li { display: flex; align-items: center; gap: 6px; }
.vp-key { width: 16px; height: 16px; border: 1px solid var(--body-text-color); border-radius: 3px; }
.vp-tiles { display: grid; grid-template-columns: repeat(auto-fill, minmax(96px, 1fr)); gap: 8px; }
.vp-tiles img { width: 100%; display: block; }
.vp-tiles span { font-size: 0.85em; color: var(--body-text-color); }
"""
