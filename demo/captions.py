"""The tab with live captions: the microphone in, words out while they are spoken.

The browser keeps sound until the server has it, and the server only puts it into a queue: Gradio's
own streaming microphone leaves out sound behind a slow answer, and may lose the end at Stop.
"""

from typing import Any

import gradio as gr

from echoic.demo.hub import LiveHub
from echoic.demo.tabs import Tab
from echoic.demo.theme import asset

# Tells the server which page this browser session is; the same id as in assets/captions.js.
_PAGE_ID = (
    "() => [window.echoicPage ??= Array.from(crypto.getRandomValues(new Uint32Array(4)), "
    '(n) => n.toString(16).padStart(8, "0")).join("")]'
)


def captions_tab(hub: LiveHub, *, chunk_ms: int) -> Tab:
    """Return the tab.

    Args:
        hub: answers the pages.
        chunk_ms: the chunk size that is chosen at first, one of the hub's.

    Raises:
        ValueError: for another chunk size.
    """
    if chunk_ms not in hub.chunk_choices:
        choices = ", ".join(map(str, hub.chunk_choices))
        raise ValueError(f"chunk_ms is {chunk_ms}, expected one of {choices}")
    return Tab("Live captions", lambda page: _build(page, hub, chunk_ms), asset("captions.css"))


def _build(page: gr.Blocks, hub: LiveHub, chunk_ms: int) -> None:
    def captions(request: Any) -> dict[str, Any]:
        return hub.handle(request)

    gr.HTML(
        html_template=asset("captions.html").replace("CHUNK_OPTIONS", _options(hub, chunk_ms)),
        js_on_load=asset("captions.js"),
        apply_default_css=False,
        server_functions=[captions],
        elem_id="captions-tab",
    )
    _forget_pages_that_are_left(page, hub)


def _options(hub: LiveHub, chosen: int) -> str:
    return "".join(
        f'<option value="{ms}"{" selected" if ms == chosen else ""}>{ms} ms</option>'
        for ms in hub.chunk_choices
    )


def _forget_pages_that_are_left(page: gr.Blocks, hub: LiveHub) -> None:
    page_of: dict[str, str] = {}  # by Gradio's name of the browser session

    def arrive(page_id: Any, request: gr.Request) -> None:
        if request.session_hash and isinstance(page_id, str):
            page_of[request.session_hash] = page_id

    def leave(request: gr.Request) -> None:
        page_id = page_of.pop(request.session_hash or "", None)
        if page_id is not None:
            hub.leave(page_id)

    page_id = gr.JSON(visible=False)
    page.load(arrive, inputs=page_id, js=_PAGE_ID, show_progress="hidden", queue=False)
    page.unload(leave)
