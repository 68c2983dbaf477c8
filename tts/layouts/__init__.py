"""How frames of codes become the steps of a language model, and steps become frames again."""

from echoic.tts.layouts.layout import EMPTY, Layout, LayoutState
from echoic.tts.layouts.named import LAYOUTS, LayoutName, layout

__all__ = ["EMPTY", "LAYOUTS", "Layout", "LayoutName", "LayoutState", "layout"]
