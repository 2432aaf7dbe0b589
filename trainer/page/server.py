"""The page as a server: its tabs in one gradio application, which gives away nothing that it does not have to.

What gradio would do of its own accord is turned off here: statistics, version check, fonts and scripts from elsewhere,
its pages of the interface, sharing by a tunnel. It serves files of the page's temporary folder and no others.
"""

from __future__ import annotations

import hmac
import os
import signal
import tempfile
import threading
import time
from collections.abc import Callable, Sequence
from pathlib import Path
from typing import TYPE_CHECKING, Any

from trainer.page.command import Arguments, free_port, is_own
from trainer.page.offline import stay_offline

if TYPE_CHECKING:
    from trainer.page.contract import Page, Tab

SETTINGS = {
    "GRADIO_ANALYTICS_ENABLED": "False",
    "GRADIO_SHARE": "False",
    "GRADIO_MCP_SERVER": "False",
    "GRADIO_RUN_HISTORY": "False",
    "GRADIO_ALLOWED_PATHS": "",
    "GRADIO_DEBUG": "0",
    "HF_HUB_OFFLINE": "1",
    "HF_HUB_DISABLE_TELEMETRY": "1",
}
TITLE = "vivid"
_ATTEMPTS, _PAUSE_S = 10, 60.0  # wrong passwords, of all visitors together, and how long none is right after them
_HOUR_S = 3600


def prepare() -> Path:
    """Makes the page's temporary folder and sets what gradio reads while it is imported: to be called before that.

    Returns:
        The folder; only this user may look into it.
    """
    folder = Path(tempfile.mkdtemp(prefix="vivid-page-")).resolve()
    os.environ.update(SETTINGS)
    os.environ["GRADIO_TEMP_DIR"] = str(folder)
    os.environ["GRADIO_EXAMPLES_CACHE"] = str(folder / "examples")
    return folder


def compose(tabs: Sequence[Tab], page: Page) -> Any:
    """The application (``gradio.Blocks``), not yet served."""
    import gradio as gr

    with gr.Blocks(title=TITLE, analytics_enabled=False, delete_cache=(_HOUR_S, 24 * _HOUR_S), fill_width=True) as demo:
        gr.HTML(f"<h1>{TITLE}</h1>", elem_id="heading", padding=False)
        with gr.Tabs(elem_id="tabs"):
            for tab in tabs:
                with gr.Tab(tab.title, id=tab.name, elem_id=f"tab-{tab.name}"):
                    tab.build(page)
        demo.unload(page.leave)
    for function in demo.fns.values():  # the page itself calls them, and nobody has to know them
        function.api_visibility = "private"
    return demo.queue(max_size=page.limits.waiting, api_open=False)


def serve(demo: Any, page: Page, arguments: Arguments, say: Callable[[str], Any]) -> None:
    """Serves until it is interrupted, then removes the page's temporary folder.

    Args:
        say: takes a line for the user.

    Raises:
        ConfigError: the address cannot be listened at.
    """
    from starlette.middleware import Middleware
    from starlette.middleware.trustedhost import TrustedHostMiddleware

    from trainer.page.look import HEAD, STYLE, theme

    app = arguments.app
    port = free_port(app.host, app.port)
    stay_offline(app.host)
    # A page of another site could have its own name lead to this machine and read what is answered here.
    hosts = ["localhost", "127.0.0.1", "[::1]", app.host] if is_own(app.host) else ["*"]
    closed = {"docs_url": None, "redoc_url": None, "openapi_url": None}
    demo.launch(
        server_name=app.host, server_port=port, share=False, quiet=True, prevent_thread_lock=True, inbrowser=False,
        auth=None if app.password is None else Password(app.password),
        auth_message="Any name, and the password that the page was started with.",
        max_file_size=int(app.max_upload_mb * 2**20), allowed_paths=[], blocked_paths=_blocked(Path.cwd(), page.root),
        show_error=False, footer_links=[], run_history=False, enable_monitoring=False, ssr_mode=False, pwa=False,
        mcp_server=False, strict_cors=True, theme=theme(), css=STYLE, head=HEAD,
        app_kwargs={"middleware": [Middleware(TrustedHostMiddleware, allowed_hosts=hosts)], **closed},
    )  # fmt: skip
    say(f"the page is at http://{f'[{app.host}]' if ':' in app.host else app.host}:{port} (Ctrl-C ends it)")
    demo.server.config.timeout_graceful_shutdown = 1  # seconds: a browser that is open keeps its connections for ever
    ended = threading.Event()
    signal.signal(signal.SIGTERM, lambda *_: ended.set())
    try:
        ended.wait()
    finally:
        signal.signal(signal.SIGINT, signal.SIG_IGN)  # one more would end threads in the middle of their work
        page.end()
        demo.close(verbose=False)
        page.close()


class Password:
    """Whether a password is the right one; after ten wrong ones within a minute nobody's is, for a minute.

    Args:
        right: it.
    """

    def __init__(self, right: str) -> None:
        self._right = right.encode()
        self._wrong: list[float] = []
        self._lock = threading.Lock()

    def __call__(self, name: str, password: str) -> bool:
        now = time.monotonic()
        with self._lock:
            self._wrong = [then for then in self._wrong if now - then < _PAUSE_S]
            if len(self._wrong) >= _ATTEMPTS:
                return False
            if hmac.compare_digest(password.encode(), self._right):
                return True
            self._wrong.append(now)
        return False


def _blocked(working: Path, temporary: Path) -> list[str]:
    """Folders of which gradio serves nothing and copies nothing: the one that it is started in, unless it has to."""
    return [] if temporary.is_relative_to(working) else [str(working)]
