"""A recording of any length as windows that a model can decode at once, cut at pauses.

Memory is bounded by a block and a window, whatever the recording's length.
"""

from collections import deque
from collections.abc import Iterable, Iterator
from dataclasses import dataclass

import torch
from torch import Tensor

from echoic.audio.hysteresis import SpeechSegment
from echoic.audio.silero import FRAME_SIZE, SAMPLE_RATE, SileroVad
from echoic.audio.vad import SegmenterState, SpeechSegmenter, VadConfig

# A pause longer than this is left out, not decoded.
MAX_PAUSE_SECONDS = 2.0


@dataclass(frozen=True, slots=True)
class Window:
    """A stretch of a recording.

    Attributes:
        start: sample of the recording, at 16 kHz, where `wav` begins.
        wav: (N,) float32.
        speech_end: sample of the recording where the last speech in it ends.
    """

    start: int
    wav: Tensor
    speech_end: int

    @property
    def seconds(self) -> float:
        """Length of the sound."""
        return len(self.wav) / SAMPLE_RATE

    def tail(self, seconds: float) -> "Window":
        """Return what is left after the first `seconds`."""
        samples = round(seconds * SAMPLE_RATE)
        return Window(self.start + samples, self.wav[samples:], self.speech_end)


def fixed_windows(blocks: Iterable[Tensor], seconds: float) -> Iterator[Window]:
    """Cut a recording every `seconds`, whatever is said there.

    Args:
        blocks: (1, T) float32 at 16 kHz, in order.
        seconds: length of a window.
    """
    sound = _Buffer()
    size = round(seconds * SAMPLE_RATE)
    for block in blocks:
        sound.append(block[0])
        while sound.end - sound.start >= size:
            end = sound.start + size
            yield Window(sound.start, sound.read(sound.start, end), end)
            sound.forget(end)
    if sound.end > sound.start:
        yield Window(sound.start, sound.read(sound.start, sound.end), sound.end)


def speech_windows(
    blocks: Iterable[Tensor], vad: SileroVad, *, max_seconds: float, config: VadConfig
) -> Iterator[Window]:
    """Cut a recording at pauses and leave silence out.

    Speech segments are joined as long as they fit into one window and no long pause lies between.

    Args:
        blocks: (1, T) float32 at 16 kHz, in order.
        vad: the network that hears speech.
        max_seconds: longest window; `config.max_speech_seconds` must not exceed it.
        config: how speech is found.
    """
    sound = _Buffer()
    segmenter = SpeechSegmenter(config)
    vad_state, machine = vad.initial_state(1), segmenter.initial_state()
    packer = _Packer(round(max_seconds * SAMPLE_RATE), round(MAX_PAUSE_SECONDS * SAMPLE_RATE))
    for block in blocks:
        sound.append(block[0])
        vad_state, probabilities = vad.step(vad_state, block)
        machine, segments = segmenter.step(machine, probabilities[0])
        yield from _cut(sound, packer.add(segments))
        # What the packer and the segmenter hold open is the oldest sound still wanted.
        open_speech = _earliest_start(machine, segmenter.padding)
        yield from _cut(sound, packer.close_before(open_speech))
        sound.forget(open_speech if packer.start is None else min(packer.start, open_speech))
    _, probabilities = vad.finish(vad_state)
    machine, segments = segmenter.step(machine, probabilities[0])
    _, last = segmenter.finish(machine, sound.end)
    yield from _cut(sound, packer.add([*segments, *last]))
    yield from _cut(sound, packer.flush())


def _earliest_start(state: SegmenterState, padding: int) -> int:
    """Return a sample before which no segment that is still to come can begin."""
    if state.held is not None:
        return state.held.start
    speech = state.frames * FRAME_SIZE if state.start is None else state.start
    return speech - padding


class _Packer:
    """Joins neighbouring speech segments into spans of bounded length."""

    def __init__(self, longest: int, max_pause: int) -> None:
        self._longest = longest
        self._max_pause = max_pause
        self._open: SpeechSegment | None = None

    @property
    def start(self) -> int | None:
        """Where the span that still grows begins."""
        return None if self._open is None else self._open.start

    def add(self, segments: Iterable[SpeechSegment]) -> Iterator[SpeechSegment]:
        """Take segments in order; yield the spans that they close."""
        for segment in segments:
            span = self._open
            if span is None:
                self._open = segment
            elif (
                segment.end - span.start <= self._longest
                and segment.start - span.end <= self._max_pause
            ):
                self._open = SpeechSegment(span.start, segment.end)
            else:
                self._open = segment
                yield span

    def close_before(self, sample: int) -> Iterator[SpeechSegment]:
        """Yield the open span if nothing that begins at `sample` or later can join it."""
        if self._open is not None and sample - self._open.end > self._max_pause:
            yield from self.flush()

    def flush(self) -> Iterator[SpeechSegment]:
        """Yield the span that is still open."""
        if self._open is not None:
            yield self._open
        self._open = None


class _Buffer:
    """The newest stretch of a recording."""

    def __init__(self) -> None:
        self._parts: deque[Tensor] = deque()
        self.start = 0
        self.end = 0

    def append(self, wav: Tensor) -> None:
        if len(wav):
            self._parts.append(wav)
            self.end += len(wav)

    def read(self, start: int, end: int) -> Tensor:
        """Return a copy of samples that were not forgotten."""
        found, place = [], self.start
        for part in self._parts:
            low, high = max(start - place, 0), min(end - place, len(part))
            if low < high:
                found.append(part[low:high])
            place += len(part)
        return torch.cat(found)

    def forget(self, before: int) -> None:
        """Drop whole blocks that end before a sample, and trim the first one kept."""
        while self._parts and self.start + len(self._parts[0]) <= before:
            self.start += len(self._parts.popleft())
        if self._parts and before > self.start:
            self._parts[0] = self._parts[0][before - self.start :].clone()
            self.start = before


def _cut(sound: _Buffer, spans: Iterable[SpeechSegment]) -> Iterator[Window]:
    for span in spans:
        yield Window(span.start, sound.read(span.start, span.end), span.end)
