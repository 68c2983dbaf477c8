"""The tab with live captions: the microphone in, words out while they are spoken.

The browser keeps sound until the server has it, and the server only puts it into a queue: Gradio's
own streaming microphone leaves out sound behind a slow answer, and may lose the end at Stop.
"""

from typing import Any

import gradio as gr

from echoic.demo.hub import LiveHub
from echoic.demo.leaving import when_left
from echoic.demo.tabs import Tab
from echoic.demo.theme import asset, script


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
    return Tab("Live captions", lambda page: _build(page, hub, chunk_ms))


def _build(page: gr.Blocks, hub: LiveHub, chunk_ms: int) -> None:
    def captions(request: Any) -> dict[str, Any]:
        return hub.handle(request)

    gr.HTML(
        html_template=asset("captions.html").replace("CHUNK_OPTIONS", _options(hub, chunk_ms)),
        js_on_load=script("microphone", "captions"),
        apply_default_css=False,
        server_functions=[captions],
        elem_id="captions-tab",
    )
    when_left(page, hub.leave)


def _options(hub: LiveHub, chosen: int) -> str:
    return "".join(
        f'<option value="{ms}"{" selected" if ms == chosen else ""}>{ms} ms</option>'
        for ms in hub.chunk_choices
    )
