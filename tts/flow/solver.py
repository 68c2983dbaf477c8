"""Along the flow, from noise to spectra: Euler's steps, guided, and the noise they start from."""

import itertools
import math
from collections.abc import Sequence

import torch
from torch import Tensor

from echoic.audio.augment import generator_for
from echoic.tts.flow.config import SolverConfig
from echoic.tts.flow.masks import chunk_mask, padded_mask
from echoic.tts.flow.model import Conditions, FlowModel
from echoic.tts.flow.prompt import Prompt, place_prompt
from echoic.tts.lm.cache import KeyValueCache

_BLOCK = 64


def warp(time: Tensor) -> Tensor:
    """Return moments between 0 and 1 moved towards 0, where the flow has most to decide."""
    return 1 - torch.cos(time * (math.pi / 2))


def moments(steps: int) -> list[float]:
    """Return the `steps` + 1 moments between which Euler steps, from 0 to 1."""
    return warp(torch.linspace(0, 1, steps + 1, dtype=torch.float64)).tolist()


def noise(seed: int, start: int, count: int, size: int) -> Tensor:
    """Return the noise (count, size) of spectra `start` and on, a function of seed and number."""
    if not count:
        return torch.zeros(0, size)
    first, last = start // _BLOCK, (start + count - 1) // _BLOCK
    blocks = [
        torch.randn(_BLOCK, size, generator=generator_for(seed, f"noise {number}"))
        for number in range(first, last + 1)
    ]
    begin = start - first * _BLOCK
    return torch.cat(blocks)[begin : begin + count]


def solve(
    model: FlowModel,
    given: Conditions,
    solver: SolverConfig,
    *,
    start: int = 0,
    mask: Tensor | None = None,
    caches: Sequence[KeyValueCache] | None = None,
) -> Tensor:
    """Return the spectra (B, T, M) of conditions.

    Args:
        model: in evaluation mode.
        given: conditions of T spectra.
        solver: how.
        start: number of the first spectrum.
        mask: (B, 1, T, T) bool; without caches.
        caches: one for each step, of 2 B rows where there is guidance, see
            `Conditions.with_none`: what earlier chunks were at that moment.
    """
    rows, count, size = given.prompt.shape
    x = noise(solver.seed, start, count, size).to(given.prompt).expand(rows, -1, -1)
    guided = solver.guidance > 0
    both = given.with_none() if guided else given
    times = 2 if guided else 1
    positions = torch.arange(start, start + count, device=x.device).expand(rows * times, -1)
    mask = None if mask is None else mask.repeat_interleave(times, dim=0)
    steps = moments(solver.steps)
    for number, (now, then) in enumerate(itertools.pairwise(steps)):
        velocity = model(
            x.repeat_interleave(times, dim=0),
            x.new_full((rows * times,), now),
            both,
            mask=mask,
            positions=positions,
            cache=None if caches is None else caches[number],
        )
        if guided:
            with_codes, without = velocity.unflatten(0, (rows, 2)).unbind(dim=1)
            velocity = (1 + solver.guidance) * with_codes - solver.guidance * without
        x = x + (then - now) * velocity
    return x


@torch.no_grad()
def generate(
    model: FlowModel,
    codes: Tensor,
    solver: SolverConfig,
    *,
    chunk: int | None = None,
    lengths: Tensor | None = None,
    prompt: Prompt | None = None,
    speaker: Tensor | None = None,
) -> Tensor:
    """Return the spectra (B, F * ratio, M) of whole utterances, all of them in one pass a step.

    Args:
        model: in evaluation mode.
        codes: (B, Q, F).
        solver: how.
        chunk: frames of codes of a chunk, as a stream would have; None for none.
        lengths: (B,) frames of each row; None for all F.
        prompt: that the codes begin with, see there.
        speaker: (B, S); None for nobody in particular.

    Raises:
        ValueError: codes that no book has, or a prompt that is longer than they are.
    """
    rows, frames, ratio = codes.shape[0], codes.shape[2], model.config.ratio
    lengths = torch.full((rows,), frames) if lengths is None else lengths
    keep = torch.arange(frames, device=codes.device) < lengths[:, None].to(codes.device)
    embedded = model.codes(codes, keep)
    given = Conditions(
        embedded,
        place_prompt(prompt, 0, embedded, model.config.mels.mel.num_mels),
        model.no_speaker(rows) if speaker is None else speaker,
    )
    mask = chunk_mask(model.config, frames * ratio, chunk, device=codes.device)
    spread = keep.repeat_interleave(ratio, dim=1)
    return solve(model, given, solver, mask=padded_mask(mask, spread))
