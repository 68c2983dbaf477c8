"""A block costs the same at any time: all is computed once; only attention reads the past."""

import itertools
from collections import Counter
from collections.abc import Sequence

import pytest
import torch
from random_whisper import random_whisper
from torch.utils.flop_counter import FlopCounterMode

from echoic.asr.whisper.streaming import encoder
from echoic.asr.whisper.streaming.blocks import Blocks
from echoic.asr.whisper.streaming.causal import CausalWhisper
from echoic.asr.whisper.streaming.config import CausalConfig
from echoic.asr.whisper.streaming.saying import Text
from echoic.asr.whisper.streaming.search import Tail
from echoic.asr.whisper.streaming.window import Window
from echoic.streaming.work import Work

BLOCK = 5120  # 320 ms
LINEAR = ("mm", "addmm", "convolution")


class Steady(CausalWhisper):
    """Says one new token in every block, for real, so that blocks can be compared."""

    def __init__(self) -> None:
        super().__init__(random_whisper(), CausalConfig(Blocks(16)))
        speaker = self._speaker
        words = self.model.tokenizer.encode(" one two three four five six seven eight")

        def say_one_more(text: Text, window: Window) -> Work[Tail]:
            draft = [*text.tail.ids, words[window.frames // 16 % 8]]
            return speaker._search(
                [*speaker.prompt, *text.frozen.ids][text.trunk[0].length :],
                draft,
                [0.0] * len(draft),
                text.trunk,
                window.sound,
                sealed=False,
                budget=0,
                trusted=True,
            )

        speaker._searching = say_one_more


def work_of_blocks(numbers: Sequence[int]) -> list[Counter[str]]:
    """Return the floating point operations of some blocks of a window, by kind."""
    recognizer = Steady()
    generator = torch.Generator().manual_seed(0)
    sound = 0.01 * torch.randn(1, 200 + (max(numbers) + 1) * BLOCK, generator=generator)
    state, _ = recognizer.step(recognizer.initial_state(), sound[:, :200])
    work = []
    for start in range(200, sound.shape[1], BLOCK):
        block = sound[:, start : start + BLOCK]
        if start // BLOCK not in numbers:
            state, _ = recognizer.step(state, block)
            continue
        with FlopCounterMode(display=False) as counter:
            state, _ = recognizer.step(state, block)
        counts = counter.get_flop_counts()["Global"]
        work.append(Counter({str(op).rpartition(".")[2]: n for op, n in counts.items()}))
    assert state.window.start == 0
    assert state.text.frozen.length > max(numbers) - 5
    return work


def test_linear_work_of_a_block_is_the_same_at_second_2_and_second_20() -> None:
    early, late = round(2 / 0.32), round(20 / 0.32)
    work = work_of_blocks([*range(early, early + 4), *range(late, late + 4)])
    linear = [sum(n for op, n in counts.items() if op in LINEAR) for counts in work]
    reading = [sum(n for op, n in counts.items() if op not in LINEAR) for counts in work]
    assert len(set(linear)) == 1
    assert linear[0] > 0
    # What is read of the past grows with it, and no faster late than early.
    grown = [b - a for a, b in itertools.pairwise(reading)]
    assert len({*grown[:3], *grown[4:]}) == 1
    assert grown[0] > 0
    assert reading[4] < 10 * reading[0]


@pytest.mark.parametrize("context", [None, 48])
def test_every_frame_is_encoded_once(context: int | None, monkeypatch: pytest.MonkeyPatch) -> None:
    frames: list[int] = []
    feed_forward = encoder.feed_forward

    def count(layer, x, *others):
        frames.append(x.shape[0])
        return feed_forward(layer, x, *others)

    monkeypatch.setattr(encoder, "feed_forward", count)
    recognizer = CausalWhisper(random_whisper(), CausalConfig(Blocks(16, left_context=context)))
    recognizer.step(recognizer.initial_state(), torch.zeros(1, 200 + 30 * BLOCK))
    layers = len(random_whisper().encoder.layers)
    assert frames == [16] * 30 * layers


def test_a_hypothesis_that_stays_is_checked_in_one_pass() -> None:
    recognizer = CausalWhisper(random_whisper(), CausalConfig(Blocks(16)))
    passes: list[int] = []
    choose = recognizer._speaker._searching

    def count(text: Text, window: Window) -> Work[Tail]:
        tail = yield from choose(text, window)
        # One pass for all that was said, and one for each token that is new.
        assert tail.passes == 1 + len(tail.tokens) - tail.checked
        passes.append(tail.passes)
        return tail

    recognizer._speaker._searching = count
    end = recognizer._speaker.rules.end
    recognizer._speaker.rules.never[end] = 1e4
    recognizer.step(recognizer.initial_state(), torch.zeros(1, 200 + 20 * BLOCK))
    assert passes == [1] * 20
