"""What a second of speech costs in a flow's stream, beside working on all codes again and again.

CosyVoice 2's server gives the flow all codes so far whenever there are some new ones, and keeps the
newest spectra; ours keeps the keys and values of each step instead. Weights are random; both run
the same model with the same chunks, so the spectra are the same too.
"""

from collections.abc import Callable, Sequence

import pytest
import torch
from benchmarks.clock import threads
from benchmarks.measure import Say, align, machine
from benchmarks.pairs import Turns, take_turns
from benchmarks.settings import Settings
from torch import Tensor

from echoic.streaming.module import run_streamed
from echoic.tts.flow import FlowConfig, FlowModel, MelDecoder, SolverConfig
from echoic.tts.flow.solver import generate
from echoic.tts.lm.config import TransformerConfig
from echoic.tts.tokens import FrameFormat

pytestmark = pytest.mark.timeout(0)  # none

SECONDS = (5, 10, 20, 40)
RATE = 50  # frames of codes a second
CHUNK = 25
PACKET = 8  # frames of codes that come at once
# Lengths at which a pass over all codes so far is made; between them its cost is taken as straight.
SAMPLES = 4


def model() -> FlowModel:
    """A flow of 4 M parameters, 100 spectra a second."""
    backbone = TransformerConfig(256, 768, 4, 4, 4, qkv_bias=True, qk_norm=False)
    torch.manual_seed(0)
    return FlowModel(FlowConfig(FrameFormat(8, 1024, RATE), backbone=backbone)).eval()


def codes(seconds: float) -> Tensor:
    """Random codes (1, 8, F)."""
    generator = torch.Generator().manual_seed(0)
    return torch.randint(1024, (1, 8, round(seconds * RATE)), generator=generator)


def streamed(decoder: MelDecoder, own: Tensor) -> Tensor:
    """Return the spectra of codes that come in packets."""
    return run_streamed(decoder, own, [PACKET] * (own.shape[2] // PACKET))


def again(decoder: MelDecoder, own: Tensor, share: float) -> Tensor:
    """Return the spectra of the codes so far, made in one pass a step."""
    so_far = own[..., : round(share * own.shape[2])]
    return generate(decoder.model, so_far, decoder.solver, chunk=CHUNK)


def whole_cost(passes: Sequence[Turns], chunks: int) -> Turns:
    """Return the seconds of passes at every chunk, from those at evenly spaced lengths."""
    means = []
    for turn in zip(*(one.seconds for one in passes), strict=True):
        points = torch.tensor([turn[0] / SAMPLES, *turn])  # next to nothing at length 0
        at = torch.arange(1, chunks + 1) / chunks * SAMPLES
        low = at.floor().long().clamp(max=SAMPLES - 1)
        means.append(float(torch.lerp(points[low], points[low + 1], at - low).sum()))
    return Turns(tuple(means))


def test_streams(settings: Settings, say: Say) -> None:
    """Processor seconds for a second of speech, in one thread, at growing lengths."""
    decoder = MelDecoder(model(), SolverConfig(), CHUNK)
    titles = "speech s|stream s/s|all again s/s|again / stream|min-max|positions"
    lines: list[Sequence[str]] = [titles.split("|")]
    with torch.inference_mode(), threads(1):
        own = codes(SECONDS[0])
        torch.testing.assert_close(
            streamed(decoder, own), again(decoder, own, 1.0), atol=1e-4, rtol=1e-4
        )
        for seconds in SECONDS:
            own = codes(seconds)
            chunks = seconds * RATE // CHUNK
            works: list[Callable[[], object]] = [lambda own=own: streamed(decoder, own)]
            for sample in range(1, SAMPLES + 1):
                works.append(lambda own=own, s=sample / SAMPLES: again(decoder, own, s))
            ours, *passes = take_turns(works, settings.runs)
            theirs = whole_cost(passes, chunks)
            share = (chunks + 1) / 2
            lines.append(
                [
                    str(seconds),
                    f"{ours.median / seconds:.3f}",
                    f"{theirs.median / seconds:.3f}",
                    *theirs.over(ours),
                    f"1 : {share:g}",
                ]
            )
    millions = sum(p.numel() for p in decoder.model.parameters()) / 1e6
    solver = decoder.solver
    say(
        f"## flow, streamed: {millions:.1f} M parameters, {solver.steps} steps, guidance "
        f"{solver.guidance}, chunks of {CHUNK / RATE:g} s, one thread\n"
        f"{machine(['torch'])}\n{align(lines)}"
    )
