"""What the demo's page is made of."""

from collections.abc import Callable
from typing import NamedTuple

import gradio as gr


class Tab(NamedTuple):
    """A part of the page with a subject of its own.

    Attributes:
        title: on the tab.
        build: makes its components on the page that it is given.
        css: its looks.
    """

    title: str
    build: Callable[[gr.Blocks], None]
    css: str = ""
