"""The tab of pictures: which network, which pictures; what it says, where it looks, what hiding patches changes."""

from __future__ import annotations

import html
from collections.abc import Callable
from pathlib import Path
from typing import Any

import gradio as gr
from gradio.context import Context

from trainer.errors import DataError, UserError
from trainer.page.contract import Page, Tab
from vit.analysis.occlusion.dropping import Fill
from vit.page.classifier import ROLLOUT, Classifier
from vit.page.drawing import STYLE, message
from vit.page.patch_grid import patch_grid
from vit.page.segmented import Segmentation
from vit.page.shelf import UPLOADS, Kind, Shelf, Source, weights_in
from vit.page.visit import MEAN, SIDES, Visit, heads, layers

_TASKS = {"vit": Kind.run, "segmentation": Kind.segmentation}
_NONE = (
    "There is no trained classifier in the folder of runs: python train.py model=vit_ti16 name=first trains one on "
    "built-in pictures. Or upload weights."
)
_FILLS = {
    "mean colour of the normalisation": Fill.mean,
    "black": Fill.zero,
    "noise": Fill.noise,
}
# What gradio's File lacks: its button is called otherwise than what stands on it; the one for more files has another
# button inside (axe-core: nested-interactive), so files are cleared before others are given; its links are pale.
_FILES = """
const mend = () => document.querySelectorAll('#picture-files .upload-container, #picture-weights .upload-container')
  .forEach(button => button.removeAttribute('aria-label'));
new MutationObserver(mend).observe(element.closest('#tab-picture') || document.body, {childList: true, subtree: true});
mend();
"""
_FILES_STYLE = """
#picture-files .icon-button:has(button), #picture-weights .icon-button:has(button) { display: none; }
#picture-files .download-link, #picture-weights .download-link { color: var(--body-text-color); }
"""
_LIVE = "element.setAttribute('aria-live', 'polite');"
_SEPARATOR = ":"


def sources(page: Page) -> list[tuple[str, str]]:
    """Words and names of what a visitor may choose: classifiers, segmentations, weights in the folder of runs."""
    found = []
    for task, kind in _TASKS.items():
        more = "" if kind is Kind.run else " (segmentation)"
        found += [(f"{name}{more}", f"{kind.value}{_SEPARATOR}{name}") for name in page.names(task)]
    files = [path.name for path in weights_in(page.runs)]
    return found + [(f"{name} (weights)", f"{Kind.weights.value}{_SEPARATOR}{name}") for name in files]


def source_of(page: Page, chosen: str | None, uploaded: str | None) -> Source | None:
    """Where the network comes from that a visitor has chosen; uploaded weights come first. None: nothing is chosen.

    Raises:
        UserError: there is no such network on this page.
    """
    if uploaded:
        path = page.upload(uploaded)
        if path.suffix not in UPLOADS:
            raise DataError(f"{path.name}: give weights as {' or '.join(UPLOADS)}; scripts/convert.py writes both")
        return Source(Kind.weights, path, path.name)
    if not chosen:
        return None
    kind, _, name = chosen.partition(_SEPARATOR)
    if kind == Kind.weights.value:
        path = next((path for path in weights_in(page.runs) if path.name == name), None)
        if path is None:
            raise UserError(f"there are no weights {name[:80]!r} on this page: choose some of the list")
        return Source(Kind.weights, path, name)
    task = next((task for task, own in _TASKS.items() if own.value == kind), None)
    if task is None or name not in page.names(task):
        raise UserError(f"there is no run {name[:80]!r} of this kind on this page: choose one of the list")
    return Source(_TASKS[task], page.folder(name), name)


def build(page: Page) -> None:
    """Makes the tab's components and events."""
    shelf, there = Shelf(), sources(page)
    visit = gr.State(Visit())
    gr.HTML(f"<style>{STYLE}{_FILES_STYLE}</style>", padding=False, js_on_load=_FILES)
    with gr.Row():
        with gr.Column(min_width=280):
            chosen = gr.Dropdown(
                there, value=there[0][1] if there else None, label="Network", elem_id="picture-network",
                info="a run of a classifier or a segmentation, or weights in the folder of runs",
            )  # fmt: skip
            with gr.Accordion("Upload weights instead", open=False):
                uploaded = gr.File(label="Weights (.safetensors or .npz)", elem_id="picture-weights", height=130)
        with gr.Column(min_width=280):
            files = gr.File(label="Pictures; or films for a network of clips", file_count="multiple", height=180,
                            elem_id="picture-files")  # fmt: skip
    about = gr.HTML(message("Drop a picture to begin." if there else _NONE), elem_id="picture-about")
    which = gr.Radio([], label="Picture", visible=False, elem_id="picture-which")
    segmented = gr.HTML(visible=False, elem_id="picture-segmented")
    with gr.Column(visible=False) as classified:
        with gr.Row(equal_height=False):
            with gr.Column(min_width=280):
                gr.HTML('<h2 class="vp-title">Hide patches</h2>', padding=False)
                grid = patch_grid(elem_id="picture-grid")
            with gr.Column(min_width=280):
                gr.HTML('<h2 class="vp-title">What it says</h2>', padding=False)
                bars = gr.HTML(elem_id="picture-bars", js_on_load=_LIVE)
                with gr.Row():
                    side = gr.Radio(
                        [(f"{n} x {n}", n) for n in SIDES],
                        value=1,
                        label="A cell in patches",
                        min_width=200,
                        elem_id="picture-side",
                    )
                    fill = gr.Radio(list(_FILLS), value=next(iter(_FILLS)), label="In the place of hidden cells",
                                    min_width=200, elem_id="picture-fill")  # fmt: skip
        with gr.Row(equal_height=False):
            with gr.Column(min_width=280):
                gr.HTML('<h2 class="vp-title">Where it looks</h2>', padding=False)
                seen = gr.HTML(elem_id="picture-attention")
                with gr.Row():
                    layer = gr.Dropdown([], label="Layer", min_width=200, elem_id="picture-layer")
                    head = gr.Dropdown([], label="Head", min_width=200, elem_id="picture-head")
            with gr.Column(min_width=280):
                gr.HTML('<h2 class="vp-title">What each cell is worth</h2>', padding=False)
                falls = gr.HTML(elem_id="picture-falls")
                measure = gr.Button("Hide each cell in turn", elem_id="picture-measure")

    def network_of(own: Visit) -> Classifier:
        network = own.network(shelf)
        if not isinstance(network, Classifier) or own.sample is None:
            raise DataError("drop a picture first")
        return network

    def worth() -> Any:
        return message("How the likeliest class changes when a cell alone is hidden: one look at the picture for each.")

    def current(own: Visit, serial: int, answer: dict[Any, Any]) -> dict[Any, Any]:
        """An answer, unless another picture or grid has come meanwhile: several events of a visitor run at once."""
        return {visit: own, **(answer if own.serial == serial else {})}

    def picture(own: Visit) -> dict[Any, Any]:
        """Everything of the picture that is shown."""
        network = own.network(shelf)
        if own.segmented:
            return {segmented: own.segmented[own.chosen][1]}
        assert isinstance(network, Classifier)
        found = own.maps(network)
        some = bool(found)
        return {
            grid: own.grid(network),
            bars: own.bars(network),
            layer: gr.Dropdown(layers(found) if some else [], value=ROLLOUT if some else None, visible=some),
            head: gr.Dropdown(heads(found, ROLLOUT) if some else [], value=MEAN if some else None, visible=some),
            seen: own.attention(network, ROLLOUT, MEAN),
            falls: worth(),
        }

    def ask(own: Visit, name: str | None, weights: str | None, given: list[str] | None) -> dict[Any, Any]:
        source = source_of(page, name, weights)
        nothing = {
            which: gr.Radio(visible=False), segmented: gr.HTML("", visible=False), classified: gr.Column(visible=False),
        }  # fmt: skip
        if source is None or not given:
            fresh = Visit(serial=own.serial)
            if source is None:
                return {visit: fresh, about: message(_NONE), **nothing}
            shelf.get(source)
            return {visit: fresh, about: message(f"{source.name} is ready. Drop a picture to begin."), **nothing}
        own.ask(shelf, source, [(page.upload(path), Path(path).name) for path in given])
        network = own.network(shelf)
        names = own.choices(network)
        for line in own.bad:
            gr.Warning(html.escape(page.hidden(line), quote=False))  # it would be HTML
        is_mask = isinstance(network, Segmentation)
        return {
            visit: own,
            about: own.about(network, page.hidden),
            **nothing,
            which: gr.Radio(names, value=0, visible=len(names) > 1),
            **picture(own),
            **({segmented: gr.HTML(own.segmented[0][1], visible=True)} if is_mask else {}),
            classified: gr.Column(visible=not is_mask),
        }

    def choose(own: Visit, number: int | None) -> dict[Any, Any]:
        own.choose(int(number or 0))
        return current(own, own.serial, picture(own))

    def resize(own: Visit, cell: int) -> dict[Any, Any]:
        network = network_of(own)
        own.choose(own.chosen, cell if cell in SIDES else 1)
        return current(own, own.serial, {grid: own.grid(network), bars: own.bars(network), falls: worth()})

    def hide(own: Visit, event: gr.EventData) -> dict[Any, Any]:
        network = network_of(own)
        if event.serial != own.serial:  # of a picture that is shown no more
            return {visit: own}
        own.hidden = [int(number) for number in event.hidden]
        return current(own, event.serial, {bars: own.bars(network)})

    def refill(own: Visit, words: str) -> dict[Any, Any]:
        own.fill = _FILLS[words]
        serial, more = own.serial, {bars: own.bars(network_of(own))} if own.sample else {}
        return current(own, serial, {falls: worth(), **more})

    def look(own: Visit, of_layer: str, of_head: str) -> dict[Any, Any]:
        network, serial = network_of(own), own.serial
        there = heads(own.maps(network), of_layer)
        kept = of_head if of_head in [value for _, value in there] else MEAN
        shown = own.attention(network, of_layer, kept)
        return current(own, serial, {head: gr.Dropdown(there, value=kept), seen: shown})

    def measured(own: Visit, progress: gr.Progress = gr.Progress()) -> dict[Any, Any]:  # noqa: B008  # gradio finds it so
        network, serial = network_of(own), own.serial
        found = own.falls(network, lambda share: progress(share, desc="hiding each cell"))
        return current(own, serial, {falls: found})

    shown = [grid, bars, layer, head, seen, falls]
    everything = [visit, about, which, segmented, classified, *shown]

    def on(events: list[Any], function: Callable[..., Any], inputs: list[Any], outputs: list[Any], **more: Any) -> None:
        gr.on(events, page.guarded(function), inputs, outputs, trigger_mode="always_last", **more)

    on([files.change, uploaded.change, chosen.input], ask, [visit, chosen, uploaded, files], everything)
    on([which.input], choose, [visit, which], [visit, segmented, *shown])
    on([side.input], resize, [visit, side], [visit, grid, bars, falls])
    # An event of the component's own, which gr.on does not take.
    grid.hide(page.guarded(hide), [visit], [visit, bars], trigger_mode="always_last", show_progress="hidden")
    on([fill.input], refill, [visit, fill], [visit, bars, falls], show_progress="hidden")
    on([layer.input, head.input], look, [visit, layer, head], [visit, head, seen], show_progress="hidden")
    on([measure.click], measured, [visit], [visit, falls])

    def refreshed(now: str | None) -> Any:
        choices = sources(page)
        names = [value for _, value in choices]
        return gr.Dropdown(choices, value=now if now in names else names[0] if names else None)

    whole = Context.root_block  # a tab is built inside the page
    assert whole is not None
    whole.load(page.guarded(refreshed), [chosen], [chosen], show_progress="hidden")


tab = Tab("picture", "Picture", build)
