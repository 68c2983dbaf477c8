"""Recordings cut into windows: no speech is lost or heard twice, and memory is bounded."""

from collections.abc import Iterable, Iterator, Sequence
from itertools import pairwise

import pytest
import torch
from hypothesis import given, settings
from hypothesis import strategies as st
from speech_data import novel
from torch import Tensor

from echoic.asr import windows as windows_module
from echoic.asr.transcriber import vad_config
from echoic.asr.windows import MAX_PAUSE_SECONDS, Window, fixed_windows, speech_windows
from echoic.audio.silero import SileroVad
from echoic.audio.vad import speech_segments

RATE = 16_000


@pytest.fixture(scope="module")
def vad() -> SileroVad:
    return SileroVad.from_installed()


def silence(seconds: float) -> Tensor:
    return torch.zeros(round(seconds * RATE))


@pytest.fixture(scope="module")
def talk() -> Tensor:
    """The five sentences with short and long pauses, 60 s."""
    pauses = (2.5, 0.2, 1.5, 12.0, 0.7)
    parts = [p for u, pause in zip(novel(), pauses, strict=True) for p in (u.wav, silence(pause))]
    return torch.cat([silence(1.0), *parts, novel()[1].wav, silence(14.0)])


def cut(wav: Tensor, sizes: Sequence[int]) -> Iterator[Tensor]:
    """Blocks (1, n) of these sizes, over and over."""
    place, turn = 0, 0
    while place < len(wav):
        size = sizes[turn % len(sizes)]
        yield wav[None, place : place + size]
        place, turn = place + size, turn + 1


def spoken(wav: Tensor, vad: SileroVad, longest: float, sizes: Sequence[int]) -> list[Window]:
    config = vad_config(longest)
    return list(speech_windows(cut(wav, sizes), vad, max_seconds=longest, config=config))


@pytest.mark.parametrize("longest", [2.0, 8.0, 30.0])
def test_speech_windows_hold_all_speech_once(talk: Tensor, vad: SileroVad, longest: float):
    found = spoken(talk, vad, longest, [480_000])
    segments = list(speech_segments(talk, vad_config(longest), model=vad))
    assert segments
    for segment in segments:
        holders = [w for w in found if w.start <= segment.start and segment.end <= w.speech_end]
        assert len(holders) == 1
    for window in found:
        assert window.seconds <= longest
        assert torch.equal(window.wav, talk[window.start : window.start + len(window.wav)])
        assert window.speech_end == window.start + len(window.wav)
        assert {window.start, window.speech_end} <= {p for s in segments for p in (s.start, s.end)}
    for before, after in pairwise(found):
        assert before.speech_end <= after.start


def test_long_pauses_are_left_out_and_short_ones_kept(talk: Tensor, vad: SileroVad):
    segments = list(speech_segments(talk, vad_config(30.0), model=vad))
    found = spoken(talk, vad, 30.0, [480_000])
    inside = [
        (a.end, b.start)
        for a, b in pairwise(segments)
        if any(w.start <= a.start and b.end <= w.speech_end for w in found)
    ]
    assert inside
    assert all(end - start <= MAX_PAUSE_SECONDS * RATE for start, end in inside)
    assert sum(w.seconds for w in found) < 40  # of 60 s, 27 of them without speech
    assert len(found) >= 2


@pytest.mark.parametrize("sizes", [[512], [160, 16_000, 7], [100_000], [10_000_000]])
def test_blocks_do_not_matter(talk: Tensor, vad: SileroVad, sizes: list[int]):
    expected = spoken(talk, vad, 12.0, [480_000])
    found = spoken(talk, vad, 12.0, sizes)
    assert [(w.start, w.speech_end) for w in found] == [(w.start, w.speech_end) for w in expected]
    assert all(torch.equal(a.wav, b.wav) for a, b in zip(found, expected, strict=True))


@pytest.mark.parametrize("blocks", [[], [torch.zeros(1, 0)], [torch.zeros(1, 1)]])
def test_nothing_gives_no_window(blocks: list[Tensor], vad: SileroVad):
    assert not list(speech_windows(blocks, vad, max_seconds=30.0, config=vad_config(30.0)))


def test_silence_gives_no_window(vad: SileroVad):
    assert spoken(silence(40), vad, 30.0, [16_000]) == []


class Held:
    """How much sound the buffer holds at its fullest."""

    def __init__(self, monkeypatch: pytest.MonkeyPatch) -> None:
        self.most = 0.0
        buffer = windows_module._Buffer
        append = buffer.append

        def watched(sound: windows_module._Buffer, wav: Tensor) -> None:
            append(sound, wav)
            self.most = max(self.most, sum(map(len, sound._parts)) / RATE)

        monkeypatch.setattr(buffer, "append", watched)


@pytest.mark.parametrize("pause", [0.0, 1.0, 150.0])
def test_memory_is_bounded(monkeypatch: pytest.MonkeyPatch, vad: SileroVad, pause: float):
    held = Held(monkeypatch)

    def blocks() -> Iterable[Tensor]:
        for _ in range(2):
            for u in novel():
                yield from cut(u.wav, [RATE])
            yield from cut(silence(pause), [RATE])
        yield from cut(silence(150.0), [RATE])

    found = list(speech_windows(blocks(), vad, max_seconds=10.0, config=vad_config(10.0)))
    assert len(found) > 3
    assert held.most < 10 + 10 + 2 + 1  # an open span, the speech after it, a pause, a block


@settings(max_examples=50, deadline=None)
@given(
    length=st.integers(0, 50_000),
    sizes=st.lists(st.integers(1, 20_000), min_size=1, max_size=4),
    seconds=st.sampled_from([0.5, 1.0, 1.2345]),
)
def test_fixed_windows_hold_everything(length: int, sizes: list[int], seconds: float):
    wav = torch.arange(float(length))
    found = list(fixed_windows(cut(wav, sizes), seconds))
    assert torch.equal(torch.cat([torch.zeros(0), *(w.wav for w in found)]), wav)
    place = 0
    for window in found:
        assert (window.start, window.speech_end) == (place, place + len(window.wav))
        place += len(window.wav)
    assert all(len(w.wav) == round(seconds * RATE) for w in found[:-1])
    assert all(0 < len(w.wav) <= round(seconds * RATE) for w in found)


def test_the_tail_of_a_window():
    window = Window(1000, torch.arange(32_000.0), 31_000)
    tail = window.tail(0.5)
    assert (tail.start, tail.speech_end, tail.seconds) == (9000, 31_000, 1.5)
    assert tail.wav[0] == 8000
