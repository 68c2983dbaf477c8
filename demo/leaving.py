"""Pages that are left are forgotten, with all that was kept for them."""

from collections.abc import Callable
from typing import Any

import gradio as gr

# Tells the server which page this browser session is; the same id as in assets/common.js.
_PAGE_ID = (
    "() => [window.echoicPage ??= Array.from(crypto.getRandomValues(new Uint32Array(4)), "
    '(n) => n.toString(16).padStart(8, "0")).join("")]'
)


def when_left(page: gr.Blocks, leave: Callable[[str], None]) -> None:
    """Call `leave` with the id of each browser page that is closed or reloaded."""
    page_of: dict[str, str] = {}  # by Gradio's name of the browser session

    def arrive(page_id: Any, request: gr.Request) -> None:
        if request.session_hash and isinstance(page_id, str):
            page_of[request.session_hash] = page_id

    def depart(request: gr.Request) -> None:
        page_id = page_of.pop(request.session_hash or "", None)
        if page_id is not None:
            leave(page_id)

    page_id = gr.JSON(visible=False)
    page.load(arrive, inputs=page_id, js=_PAGE_ID, show_progress="hidden", queue=False)
    page.unload(depart)
