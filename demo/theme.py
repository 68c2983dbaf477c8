"""Looks of the demo: a quiet theme with fonts that come with Gradio, so that nothing is fetched."""

import re
from importlib.resources import files

from gradio.themes import Base, Font
from gradio.themes.utils.fonts import LocalFont


def theme() -> Base:
    """Return the theme; light or dark as the browser wishes."""
    # In Gradio's own folder the weight 600 of Plex Sans lacks the Latin letters, 700 has them.
    sans = LocalFont("IBM Plex Sans", weights=(400, 700))
    return Base(
        primary_hue="blue",
        neutral_hue="slate",
        radius_size="lg",
        font=(sans, Font("system-ui"), Font("sans-serif")),
        font_mono=(LocalFont("IBM Plex Mono"), Font("ui-monospace"), Font("monospace")),
    ).set(
        body_background_fill="#f6f7f9",
        body_background_fill_dark="#0b0d12",
        body_text_color="#0b0d12",
        body_text_color_dark="#f6f7f9",
    )


def asset(name: str) -> str:
    """Return the text of a file in the folder `assets` beside this one."""
    return files("echoic.demo").joinpath("assets", name).read_text(encoding="utf-8")


def html(name: str) -> str:
    """Return a file of `assets` in which `INCLUDE(part)` stands for the file `part.html`."""
    return re.sub(r"INCLUDE\((\w+)\)", lambda m: asset(f"{m[1]}.html").strip(), asset(name))


def script(*names: str) -> str:
    """Return the scripts `common` and `names` of `assets` as one."""
    return "\n".join(asset(f"{name}.js") for name in ("common", *names))
