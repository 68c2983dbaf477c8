"""The demo's page: tabs in one Gradio app that needs nothing but this computer."""

from collections.abc import Sequence
from dataclasses import dataclass

import gradio as gr

from echoic.demo.tabs import Tab
from echoic.demo.theme import asset, theme

_HEAD = '<header class="ec-head"><h1>echoic</h1><p>{}</p></header>'
_LOCAL = "Speech on this computer: no sound leaves it."
_REMOTE = "Speech: your sound goes to the computer that runs this page."


@dataclass(frozen=True, slots=True)
class Server:
    """Where the page is served.

    Attributes:
        host: address to listen on; other computers reach only others than 127.0.0.1.
        port: to listen on; None takes a free one from 7860 on.
        share: whether to make a public address by Gradio's servers, through which the sound goes.
        browser: whether to open the page in the browser.
    """

    host: str = "127.0.0.1"
    port: int | None = None
    share: bool = False
    browser: bool = False


def build_app(tabs: Sequence[Tab], *, is_local: bool = True) -> gr.Blocks:
    """Return the page; `launch` serves it.

    Args:
        tabs: in their order.
        is_local: whether sound stays on the computer that shows the page.

    Raises:
        ValueError: without tabs.
    """
    if not tabs:
        raise ValueError("the page has no tabs: expected at least one")
    with gr.Blocks(title="echoic", analytics_enabled=False) as blocks:
        gr.HTML(_HEAD.format(_LOCAL if is_local else _REMOTE), apply_default_css=False)
        if len(tabs) == 1:
            tabs[0].build(blocks)
            return blocks
        with gr.Tabs():
            for tab in tabs:
                # Rendered though not seen: a recording goes on while another tab is looked at.
                with gr.Tab(tab.title, render_children=True):
                    tab.build(blocks)
    return blocks


def launch(blocks: gr.Blocks, tabs: Sequence[Tab], server: Server) -> str:
    """Serve the page in the background and return its address; `blocks.close()` ends it.

    Raises:
        OSError: the port is taken.
    """
    _, address, public = blocks.launch(
        theme=theme(),
        # Gradio holds `css` to the inside of the page; the page itself needs a sheet of its own.
        head=f"<style>{asset('page.css')}</style>",
        css="\n".join([asset("parts.css"), *(tab.css for tab in tabs)]),
        server_name=server.host,
        server_port=server.port,
        share=server.share,
        inbrowser=server.browser,
        prevent_thread_lock=True,
        quiet=True,
        footer_links=[],
        ssr_mode=False,
        show_error=True,
    )
    return public or address
