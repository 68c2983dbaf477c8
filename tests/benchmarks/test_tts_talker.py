"""A frame of a talker beside the same frame by transformers' `generate`, with the same weights.

A small language model that writes a code at a time spends its time between the operations, so it is
not the arithmetic that is compared, but all that stands around it: `generate` is what most talkers
are run by. Time is printed, never judged; codes that differ fail.
"""

import statistics
import time
from collections.abc import Sequence
from itertools import pairwise

import pytest
import torch
from benchmarks.clock import threads
from benchmarks.measure import Say, align, machine
from benchmarks.settings import Settings
from benchmarks.talker_rivals import DRAWN, LIKELIEST, Pair, Speak, backbone, in_depth, one_book

from echoic.tts.lm.packed import fitting_arithmetic

pytestmark = pytest.mark.timeout(0)  # none

FRAMES = 50
COMPARED = 12  # frames; the longer, the likelier roundings turn a tie
BATCHES = (1, 4)
SIZES = {"10 M": (256, 1536, 6), "40 M": (512, 2560, 8)}
DEPTHS = (4, 16)


def frame_ms(speak: Speak, batch: int) -> list[float]:
    """Return the processor's ms of each frame of one speech, but for the first."""
    stamps: list[float] = []
    said = speak(batch, FRAMES, DRAWN, lambda: stamps.append(time.process_time()))
    assert said.shape[:2] == (batch, FRAMES)
    assert len(stamps) == FRAMES
    return [1000 * (after - before) for before, after in pairwise(stamps)]


def compare(title: str, pair: Pair, settings: Settings, say: Say) -> None:
    """Print a line a batch: ms a frame in one thread, and how many times ours the rival takes.

    They take turns. Ours in float32 says the rival's codes; a column beside is in the arithmetic
    that talkers take here. On a busy machine others push weights out of the caches, so the last
    column is of the shortest frames.
    """
    usual = fitting_arithmetic()
    columns = f"batch|echoic ms|{usual}|rival ms|rival / echoic|rival / {usual}|of the shortest"
    lines: list[Sequence[str]] = [columns.split("|")]
    with torch.inference_mode(), threads(1):
        for batch in BATCHES:
            said = pair.ours(batch, COMPARED, LIKELIEST)
            assert torch.equal(said, pair.theirs(batch, COMPARED, LIKELIEST)), "other work"
            taken: list[list[float]] = [[], [], []]
            for _ in range(settings.runs):
                for kept, speak in zip(taken, (pair.ours, pair.usual, pair.theirs), strict=True):
                    kept += frame_ms(speak, batch)
            ours, packed, theirs = (statistics.median(one) for one in taken)
            least = min(taken[2]) / min(taken[1])
            shown = [f"{one:.2f}" for one in (ours, packed, theirs)]
            ratios = [f"{one:.2f}" for one in (theirs / ours, theirs / packed, least)]
            lines.append([str(batch), *shown, *ratios])
    about = f"{pair.parameters / 1e6:.1f} M parameters, one thread, float32 and {usual}"
    drawn = f"temperature {DRAWN.temperature}, top-k {DRAWN.top_k}, top-p {DRAWN.top_p}"
    say(
        f"## talker, {title}, against {pair.rival}: a frame of all rows; {about}, {drawn}\n"
        f"{machine(['torch', 'transformers'])}\n{align(lines)}"
    )


@pytest.mark.parametrize("size", SIZES)
def test_one_code_a_frame(size: str, settings: Settings, say: Say) -> None:
    """Qwen3's shape, one book."""
    compare(f"{size}, one code a frame", one_book(backbone(*SIZES[size])), settings, say)


@pytest.mark.parametrize("books", DEPTHS)
def test_codes_in_depth(books: int, settings: Settings, say: Say) -> None:
    """Llama's shape, and two layers in depth, as Sesame's CSM has them."""
    dim, ffn_dim, layers = SIZES["10 M"]
    depth = backbone(dim, 3 * dim, 2, llama=True)
    pair = in_depth(backbone(dim, ffn_dim, layers, llama=True), depth, books)
    compare(f"{books} codes a frame in turn", pair, settings, say)
