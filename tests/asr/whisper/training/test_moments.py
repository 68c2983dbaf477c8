"""What training computes is what a stream computes: the same hidden states, moment by moment."""

import itertools
import random
from collections.abc import Sequence
from typing import Any

import pytest
import torch
from random_whisper import random_whisper
from read_one import read_one
from torch import Tensor

from echoic.asr.whisper.streaming.blocks import Blocks
from echoic.asr.whisper.streaming.config import CausalConfig
from echoic.asr.whisper.streaming.decoder import Part, Past, hear, no_past
from echoic.asr.whisper.streaming.engines import Engines, Said
from echoic.asr.whisper.streaming.saying import Speaker, Text
from echoic.asr.whisper.streaming.search import Tail, TailSearch
from echoic.asr.whisper.streaming.window import Window
from echoic.asr.whisper.training.moments import decode
from echoic.asr.whisper.training.plan import Form, Plan, Planner, collate
from echoic.asr.whisper.training.schedule import Schedule, Timing, schedule
from echoic.streaming.work import Work, alone

CUTS = [Blocks(10), Blocks(16, first=30), Blocks(25, first=40), Blocks(5)]
HEARD: list[Tensor] = []


class Recording(TailSearch):
    """Keeps the hidden states of each pass."""

    def _read(self, tokens: Sequence[int], past: Past, sound: Past, first: int) -> Work[Said]:
        said = yield from TailSearch._read(self, tokens, past, sound, first)
        HEARD.append(said.reading.hidden[0])
        return said


class Told(Speaker):
    """A live decoder, with its frozen text, its keys and values, that is told what to say."""

    def __init__(self, tokens: list[int], times: Schedule, config: CausalConfig) -> None:
        super().__init__(random_whisper(), config)
        self.tokens = tokens
        self.times = times
        self._search = Recording(Engines.of(self.model).read, self.rules)

    def _searching(self, text: Text, window: Window) -> Work[Tail]:
        block = self.times.block_ends.index(window.frames)
        assert text.frozen.length == self.times.num_frozen_before(block)
        draft = self.tokens[text.frozen.length : self.times.num_said(block)]
        return (
            yield from self._search(
                [*self.prompt, *text.frozen.ids][text.trunk[0].length :],
                draft,
                [0.0] * len(draft),
                text.trunk,
                window.sound,
                sealed=False,
                budget=0,
                trusted=True,
            )
        )


def example(seed: int, blocks: Blocks, timing: Timing) -> tuple[list[int], Schedule, Tensor]:
    """Tokens, when they are said, and the encoder's frames (1, T, C)."""
    rng, frames = random.Random(seed), 173
    ends = sorted(rng.uniform(0.0, 3.6) for _ in range(14))
    tokens = [rng.randint(200, 20_000) for _ in ends]
    times = schedule(ends, blocks.ends(frames), timing)
    generator = torch.Generator().manual_seed(seed)
    return tokens, times, torch.randn(1, frames, 16, generator=generator)


def branches(plan: Plan, hidden: Tensor, count: int) -> list[Tensor]:
    """The hidden states of each moment, the last `count` stretches of the sequence."""
    starts = sorted(set(plan.branch_starts))[-count:]
    edges = [*starts, len(plan)]
    return [hidden[a:b] for a, b in itertools.pairwise(edges)]


@torch.inference_mode()
def laid_out(
    form: Form, tokens: list[int], times: Schedule, encoded: Tensor
) -> tuple[list[Tensor], list[Tensor]]:
    """Both as the only window of a batch, and beside a longer one."""
    prompt = random_whisper().tokenizer.prompt(None)
    planner = Planner(prompt, 50256, form)
    moments = list(range(len(times.block_ends)))
    plan = planner(tokens, times, moments)
    other = planner([7] * 40, schedule([1.0] * 40, times.block_ends, Timing()), moments)
    assert len(other) > len(plan)
    decoder = random_whisper().decoder
    alone = decode(decoder, collate([plan], 50256), encoded)[0]
    both = decode(
        decoder, collate([other, plan], 50256), torch.cat([torch.randn_like(encoded), encoded])
    )[1]
    return branches(plan, alone, len(moments)), branches(plan, both[: len(plan)], len(moments))


def assert_same(found: list[Tensor], expected: list[Tensor]) -> None:
    assert len(found) == len(expected)
    for a, b in zip(found, expected, strict=True):
        assert a.shape == b.shape
        torch.testing.assert_close(a, b, rtol=0, atol=2e-4)


@pytest.mark.parametrize("blocks", CUTS, ids=lambda b: f"{b.size}-{b.first}")
@pytest.mark.parametrize("hold", [0.0, 0.6, 2.0])
def test_the_tail_form_is_the_live_decoder(blocks: Blocks, hold: float) -> None:
    timing = Timing(0.1, hold)
    config = CausalConfig(blocks, hold_seconds=hold)
    for seed in range(3):
        tokens, times, encoded = example(seed, blocks, timing)
        told, decoder = Told(tokens, times, config), random_whisper().decoder
        HEARD.clear()
        text, sound, before = told.open(), no_past(decoder), 0
        with torch.inference_mode():
            for end in times.block_ends:
                (sound,) = hear(decoder, [sound], [encoded[:, before:end]])
                mel: Any = None
                window = Window(0, torch.empty(1, 0), mel, mel, sound, mel)
                text = alone(told.saying(text, window))
                before = end
        assert text.frozen.length > 3 or hold > 1
        for found in laid_out("tail", tokens, times, encoded):
            assert_same(found, HEARD)


@pytest.mark.parametrize("blocks", CUTS, ids=lambda b: f"{b.size}-{b.first}")
def test_the_prefix_form_is_a_decoder_that_begins_anew(blocks: Blocks) -> None:
    decoder = random_whisper().decoder
    prompt = random_whisper().tokenizer.prompt(None)
    for seed in range(3):
        tokens, times, encoded = example(seed, blocks, Timing(0.1, 0.6))
        expected = []
        with torch.inference_mode():
            for block, end in enumerate(times.block_ends):
                (sound,) = hear(decoder, [no_past(decoder)], [encoded[:, :end]])
                ids = torch.tensor([[*prompt, *tokens[: times.num_said(block)]]])
                reading = read_one(decoder, Part(ids, no_past(decoder), sound), ((1, 0),))
                expected.append(reading.hidden[0])
        for found in laid_out("prefix", tokens, times, encoded):
            assert_same(found, expected)


def test_the_forms_differ_where_text_was_frozen() -> None:
    tokens, times, encoded = example(0, CUTS[0], Timing(0.1, 0.6))
    tail = laid_out("tail", tokens, times, encoded)[0]
    prefix = laid_out("prefix", tokens, times, encoded)[0]
    assert_same(tail[:3], prefix[:3])
    assert not torch.allclose(tail[-1][-1], prefix[-1][-1], atol=1e-2)


def test_no_moment_hears_what_comes_after_it() -> None:
    tokens, times, encoded = example(1, CUTS[0], Timing(0.1, 0.6))
    prompt = random_whisper().tokenizer.prompt(None)
    block = 6
    plan = Planner(prompt, 50256, "tail")(tokens, times, [block])
    encoded.requires_grad_()
    hidden = decode(random_whisper().decoder, collate([plan], 50256), encoded)[0]
    branch = branches(plan, hidden, 1)[0]
    weights = torch.randn(branch.shape, generator=torch.Generator().manual_seed(0))
    (gradient,) = torch.autograd.grad((branch * weights).sum(), encoded)
    heard = times.block_ends[block]
    assert gradient[0, heard:].abs().max() == 0
    assert gradient[0, heard - 1].abs().max() > 0
