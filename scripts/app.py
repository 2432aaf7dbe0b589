"""A page in the browser: its own films and pictures through trained runs, and all runs while they train.

python scripts/app.py
python scripts/app.py run=runs/demo run=elsewhere/first
python scripts/app.py runs=runs/SWEEP app.port=8080
python scripts/app.py app.host=0.0.0.0 app.password=WORD

Needs gradio (pip install -e '.[demo]'; make page installs it). The page is at http://127.0.0.1:7860, for this machine
alone; it opens no connection to any other. What is uploaded and made there is removed when it ends.
"""

from __future__ import annotations

import _setup  # first: passive OpenMP threads, the repository on the path

import logging
import sys
from importlib import import_module
from pathlib import Path

from train import TASKS
from trainer.cli import guarded
from trainer.page.command import read_arguments


@guarded
def main() -> None:
    logging.basicConfig(format="%(message)s", level=logging.WARNING)
    arguments = read_arguments(sys.argv[1:], __doc__ or "")

    from trainer.page.server import compose, prepare, serve

    folder = prepare()

    from trainer.page import runs
    from trainer.page.contract import Limits, Page, Tab

    # A task that has something to show has a room `page` with a `tab`.
    rooms = [f"{task}.page" for task in TASKS if Path(_setup.ROOT, task, "page", "__init__.py").is_file()]
    shown = [module.tab for module in map(import_module, rooms) if hasattr(module, "tab")]
    tabs: list[Tab] = [*shown, runs.tab]

    limits = Limits(arguments.app.max_upload_mb, arguments.app.max_waiting)
    page = Page(Path(arguments.runs), [Path(run) for run in arguments.run], folder=folder, limits=limits)
    try:
        demo = compose(tabs, page)
        serve(demo, page, arguments, lambda line: print(line, flush=True))
    finally:
        page.close()


if __name__ == "__main__":
    main()
