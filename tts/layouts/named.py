"""The layouts by the names that the field gives them."""

from collections.abc import Sequence
from typing import Literal, get_args

from echoic.tts.layouts.layout import Layout
from echoic.tts.tokens import FrameFormat

LayoutName = Literal["flatten", "delay", "parallel", "depth"]
LAYOUTS: tuple[str, ...] = get_args(LayoutName)


def layout(name: str, frames: FrameFormat, delays: Sequence[int] | None = None) -> Layout:
    """Return a layout.

    Args:
        name: "flatten", a code a step; "delay", all codes a step, each residual layer a step behind
            the one before (Copet et al. 2023, "MusicGen", section 2.2); "parallel", all codes a
            step; "depth", all codes a step, drawn in turn by a small network (Qwen3-Omni's MTP,
            Moshi's depth transformer).
        frames: their format.
        delays: of "delay": other than the residual layer of each code.

    Raises:
        ValueError: an unknown name, or delays that do not fit.
    """
    if name not in LAYOUTS:
        raise ValueError(f"unknown layout {name!r}: one of {', '.join(LAYOUTS)}")
    if delays is not None and name != "delay":
        raise ValueError(f"layout {name!r} has no delays: leave them out, or take 'delay'")
    zeros = (0,) * frames.num_codebooks
    if name == "delay":
        return Layout(frames, frames.depths if delays is None else tuple(delays))
    return Layout(frames, zeros, flat=name == "flatten", in_turn=name == "depth")
