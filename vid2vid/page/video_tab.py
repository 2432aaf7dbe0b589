"""The Video tab: its components, and which event calls what."""

from __future__ import annotations

from collections.abc import Iterator
from typing import Any

import gradio as gr
from gradio.context import Context

from trainer.errors import UserError, user_message
from trainer.page.canvas import label_canvas
from trainer.page.contract import Page, Tab
from vid2vid.page import views
from vid2vid.page.edit_list import ACTIONS, BECOMES, REMOVED, class_choices
from vid2vid.page.generation import MOST_FRAMES
from vid2vid.page.handlers import CLIP, PAINT, TASK, UPLOAD, Answer, Handlers

FRAMES = 48
WAITING = "Waiting for its turn ..."
_FAILED = "the page failed"
_FORM = ("run", "kind", "clip", "canvas", "uploaded", "edits", "style", "seed", "picture", "frames")


def build(page: Page) -> None:
    """Its components and events."""
    does = Handlers(page)
    gr.HTML(f"<style>{views.CSS}</style>", padding=False)
    with gr.Row(equal_height=True):
        run = gr.Dropdown([], label="Run", elem_id="video-run", scale=4, interactive=True)
        refresh = gr.Button("Refresh", elem_id="video-refresh", scale=1, min_width=100)
    about = gr.HTML(elem_id="video-about")
    with gr.Column(visible=False) as work:
        kind = gr.Radio([PAINT, CLIP, UPLOAD], value=PAINT, label="Where the clip comes from", elem_id="video-kind")
        with gr.Column() as data_part, gr.Row(equal_height=True):
            clip = gr.Dropdown([], label="Clip of the run's data", elem_id="video-clip", scale=3)
            frame = gr.Number(0, label="Frame", minimum=0, precision=0, scale=1, min_width=90, elem_id="video-frame")
            load = gr.Button("Load it to paint on", elem_id="video-load", scale=2)
        with gr.Column(visible=False) as upload_part:
            files = gr.File(
                label="Label maps (pictures, a zip or a film of them), or what the run takes",
                file_count="multiple", elem_id="video-files", height=140,
            )  # fmt: skip
        uploaded_words = gr.HTML(elem_id="video-uploaded")  # outside: one label map leads on to the canvas at once
        with gr.Column() as paint_part:
            canvas = label_canvas(label="Label map: paint, and move objects along paths", elem_id="video-canvas")
        with gr.Accordion("Swap and remove classes", open=False, elem_id="video-changes") as changes:
            with gr.Row(equal_height=True):
                first = gr.Dropdown([], label="Class", elem_id="video-first")
                action = gr.Dropdown(list(ACTIONS), value=BECOMES, label="What happens", elem_id="video-action")
                second = gr.Dropdown([], label="Other class", elem_id="video-second")
                add = gr.Button("Add", elem_id="video-add", min_width=90)
            edits = gr.Textbox(
                label="Edit list, one change a line (YAML: docs/editing.md)", lines=3, max_lines=12,
                elem_id="video-edits", placeholder="edits:\n  - {replace: vegetation, class: building}",
            )  # fmt: skip
        with gr.Row(equal_height=True):
            frames = gr.Slider(1, MOST_FRAMES, FRAMES, step=1, label="Frames", elem_id="video-frames", scale=2)
            style = gr.Dropdown(
                [("drawn by the seed", "sample"), ("the mean of each class", "mean")], value="sample", label="Style",
                visible=False, elem_id="video-style",
            )  # fmt: skip
            seed = gr.Number(0, label="Seed", precision=0, minimum=0, visible=False, elem_id="video-seed")
        with gr.Column(visible=False) as picture_part:
            picture = gr.File(label="Picture to begin from", elem_id="video-picture", height=120)
        with gr.Row():
            start = gr.Button("Generate", variant="primary", elem_id="video-generate", scale=3)
            stop = gr.Button("Stop", elem_id="video-stop", interactive=False, scale=1)
        progress = gr.HTML(elem_id="video-progress")
        stopped = gr.HTML(elem_id="video-stopped")  # of its own: a frame on its way would overwrite its words
        live = gr.HTML(elem_id="video-live")
        with gr.Column(visible=False) as results:
            result = gr.Video(
                label="Result", interactive=False, autoplay=True, loop=True, elem_id="video-result",
                buttons=["download"],
            )  # fmt: skip
            panels = gr.Video(
                label="Side by side", show_label=False, interactive=False, autoplay=True, loop=True,
                elem_id="video-panels", buttons=["download"],
            )  # fmt: skip
            with gr.Row():
                save_result = gr.DownloadButton("Download the result (mp4)", elem_id="video-save-result")
                save_panels = gr.DownloadButton("Download side by side (mp4)", elem_id="video-save-panels")
                save_edits = gr.DownloadButton("Download the edit list (yaml)", elem_id="video-save-edits")
                save_labels = gr.DownloadButton("Download the clip's files (zip)", elem_id="video-save-labels")
            command = gr.Textbox(
                label="The command that makes the same video, where the edit list and the unpacked zip lie",
                interactive=False, lines=2, buttons=["copy"], elem_id="video-command",
            )  # fmt: skip
    uploaded = gr.State(None)

    reasons: dict[str | None, str] = {}  # the newest video of a visitor was not made

    def names(chosen: str | None) -> tuple[Any, Any, Any]:
        found = page.names(TASK)
        value = chosen if chosen in found else next(iter(found), None)
        if value is None:
            return gr.update(choices=[], value=None), views.no_runs(), gr.update(visible=False)
        return gr.update(choices=found, value=value), gr.skip(), gr.skip()

    def choose(name: str | None, written: str | None) -> tuple[Any, ...]:
        if not name:
            return (gr.skip(),) * len(choosing)
        model = does.model(name)
        clips, why = does.clip_names(model)
        kinds = [*([PAINT] if model.paints else []), *([CLIP] if clips else []), UPLOAD]
        choices = class_choices(model.classes)
        about_it = views.facts(model) + (views.message(why) if why else "")
        return (
            about_it,
            gr.update(visible=True),
            gr.update(choices=kinds, value=kinds[0]),
            gr.update(choices=clips, value=clips[0][1] if clips else None),
            does.blank(model),
            gr.update(visible=model.has_labels),
            gr.update(choices=choices, value=None),
            gr.update(choices=choices, value=None),
            "" if written else gr.skip(),  # what is typed while a run is loaded is for that run
            gr.update(visible=model.has_styles, value="sample" if model.fitted else "mean"),
            gr.update(visible=model.has_styles),
            gr.update(visible=model.wants_picture),
            gr.update(label=views.upload_label(model), value=None),
            None,
            "",
            "",
            "",
            "",
            gr.update(visible=False),
        )

    def parts(chosen: str) -> tuple[Any, ...]:
        return (
            gr.update(visible=chosen != UPLOAD),
            gr.update(visible=chosen == UPLOAD),
            gr.update(visible=chosen == PAINT),
            *(gr.update(visible=chosen == PAINT) for _ in range(2)),
            gr.update(visible=chosen != CLIP),
        )

    def upload(name: str | None, given: Any, wanted: float, request: gr.Request) -> tuple[Any, ...]:
        clip_of, value, words = does.upload(name, given, wanted, request)
        shown = views.message(words)
        if value is not None:
            return clip_of, value, gr.update(value=PAINT), shown
        return clip_of, gr.skip(), gr.skip(), shown

    def update(answer: Answer) -> tuple[Any, ...]:
        if not answer.done:
            return answer.progress, answer.live or gr.skip(), *(gr.skip(),) * 8
        saved = (answer.result, answer.panels, answer.edits, answer.labels)
        return (
            answer.progress, answer.live, gr.update(visible=True), str(answer.result), str(answer.panels),
            *(gr.update(value=None if path is None else str(path), visible=path is not None) for path in saved),
            answer.command,
        )  # fmt: skip

    def generate(request: gr.Request, *values: Any) -> Iterator[tuple[Any, ...]]:
        form: dict[str, Any] = dict(zip(_FORM, values, strict=True))
        try:
            for answer in does.generate(form, request):
                yield update(answer)
        except Exception as error:
            reasons[request.session_hash] = (
                page.hidden(user_message(error)) if isinstance(error, UserError) else _FAILED
            )
            raise

    def failed(request: gr.Request) -> tuple[Any, ...]:
        # An event of its own: what is yielded right before an error is not always shown.
        return *_working(False), views.message(f"Nothing was made: {reasons.pop(request.session_hash, _FAILED)}")

    choosing = [
        about, work, kind, clip, canvas, changes, first, second, edits, style, seed, picture_part, files,
        uploaded, uploaded_words, progress, stopped, live, results,
    ]  # fmt: skip
    listed = {"fn": page.guarded(names), "inputs": run, "outputs": [run, about, work], "show_progress": "hidden"}
    assert Context.root_block is not None  # a tab is built within the page
    gr.on([Context.root_block.load, refresh.click], **listed)
    run.change(page.guarded(choose), [run, edits], choosing, concurrency_limit=1)
    kind.change(parts, kind, [data_part, upload_part, paint_part, frame, load, uploaded_words], show_progress="hidden")
    load.click(page.guarded(does.frame_of_clip), [run, clip, frame], canvas)
    files.upload(page.guarded(upload), [run, files, frames], [uploaded, canvas, kind, uploaded_words])
    add.click(page.guarded(does.add_edit), [run, first, action, second, edits], edits, show_progress="hidden")
    action.change(lambda chosen: gr.update(interactive=chosen != REMOVED), action, second, show_progress="hidden")
    form = [run, kind, clip, canvas, uploaded, edits, style, seed, picture, frames]
    out = [progress, live, results, result, panels, save_result, save_panels, save_edits, save_labels, command]
    locked = [run, refresh, start, stop]  # of another run than the one chosen nothing is ever shown
    busy = start.click(
        lambda: (*_working(True), views.message(WAITING), ""),
        None, [*locked, progress, stopped], show_progress="hidden", queue=False,
    )  # fmt: skip
    making = busy.then(
        page.guarded(generate), form, out, show_progress="hidden", concurrency_limit=1, concurrency_id="generate"
    )
    idle = (lambda: _working(False), None, locked)
    making.success(*idle, show_progress="hidden", queue=False)
    making.failure(failed, None, [*locked, progress], show_progress="hidden", queue=False)
    stopping = stop.click(
        lambda: views.message("Stopped: nothing of it is kept. Generate begins anew."), None, stopped,
        cancels=[making], queue=False, show_progress="hidden",
    )  # fmt: skip
    stopping.then(*idle, show_progress="hidden", queue=False)


def _working(busy: bool) -> tuple[Any, ...]:
    """Whether run, Refresh, Generate and Stop can be used while a video is made, or is not."""
    return *(gr.update(interactive=not busy) for _ in range(3)), gr.update(interactive=busy)


tab = Tab("video", "Video", build)
