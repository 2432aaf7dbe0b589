"""The page with the tab of runs and one to try it with: an upload that is decoded, work that takes a while.

python -m tests.helpers.tried_page app.port=0 runs=FOLDER
"""

from __future__ import annotations

import sys
import time
from pathlib import Path

from trainer.page.command import read_arguments
from trainer.page.server import compose, prepare, serve

if __name__ == "__main__":
    arguments = read_arguments(sys.argv[1:], __doc__ or "")
    folder = prepare()

    import gradio as gr

    from trainer.data.pictures.decode import decode
    from trainer.page import runs
    from trainer.page.contract import Limits, Page, Tab

    def build(page: Page) -> None:
        def read(path: str, request: gr.Request) -> str:
            picture = page.upload(path)
            height, width = decode(picture.read_bytes(), picture.name).shape[-2:]
            (page.temporary(request) / "seen").touch()
            return f"{height} x {width}"

        def wait(name: str) -> str:
            time.sleep(0.2)
            return f"waited {name}"

        given, size = gr.File(label="Picture", type="filepath"), gr.Textbox(label="Size")
        given.upload(page.guarded(read), given, size)
        name, waited = gr.Textbox(label="Name"), gr.Textbox(label="Waited")
        gr.Button("Wait").click(page.guarded(wait), name, waited)

    limits = Limits(arguments.app.max_upload_mb, arguments.app.max_waiting)
    page = Page(Path(arguments.runs), [Path(run) for run in arguments.run], folder=folder, limits=limits)
    tabs = [Tab("try", "Try", build), runs.tab]
    serve(compose(tabs, page), page, arguments, lambda line: print(line, flush=True))
