"""The hysteresis behind `echoic.audio.vad`: probabilities in, segments out, one at a time.

The rules are those of `get_speech_timestamps` in silero-vad 6.2 (one threshold to enter speech, a
lower one to leave it, shortest speech and silence, shared padding), made to run on sound that has
not ended, with a different treatment of overlong speech; see `echoic.audio.vad`.
"""

from collections.abc import Sequence
from dataclasses import dataclass

import torch
from torch import Tensor

from echoic.audio.silero import FRAME_SIZE, SAMPLE_RATE


@dataclass(frozen=True, slots=True, order=True)
class SpeechSegment:
    """A stretch of speech: samples at 16 kHz, `end` excluded."""

    start: int
    end: int

    @property
    def start_seconds(self) -> float:
        """Where the speech begins, in seconds."""
        return self.start / SAMPLE_RATE

    @property
    def end_seconds(self) -> float:
        """Where the speech ends, in seconds."""
        return self.end / SAMPLE_RATE


@dataclass(frozen=True, slots=True)
class SegmenterState:
    """What the state machine remembers; all positions are samples at 16 kHz.

    Its size is bounded by `max_speech_seconds`, and constant where that is infinite.

    Attributes:
        frames: probabilities seen so far.
        start: where the open speech began, without padding; None outside of speech.
        silence: where the silence at the end of the open speech began, if there is one.
        previous_end: unpadded end of the last segment.
        remainder: the open or next speech goes on with speech that was cut, so it is never too
            short to be kept.
        held: the last segment, whose end waits to learn how much room the next one leaves.
        silences: (start, end) of the silences inside the open speech to cut at.
        quiet: (probability, start) of chunks of the open speech, both rising: its first entry
            after any position is the least likely speech after it.
    """

    frames: int = 0
    start: int | None = None
    silence: int | None = None
    previous_end: int | None = None
    remainder: bool = False
    held: SpeechSegment | None = None
    silences: tuple[tuple[int, int], ...] = ()
    quiet: tuple[tuple[float, int], ...] = ()


def exit_threshold(threshold: float, neg_threshold: float | None) -> float:
    """Return the probability below which speech pauses, as silero-vad chooses it.

    Raises:
        ValueError: when the thresholds are not probabilities, or the wrong way round.
    """
    if not 0 < threshold < 1:
        raise ValueError(f"threshold is {threshold}: expected a value between 0 and 1")
    if neg_threshold is None:
        return max(threshold - 0.15, 0.01)
    if not 0 < neg_threshold <= threshold:
        raise ValueError(
            f"neg_threshold is {neg_threshold}: expected more than 0 and at most the threshold, "
            f"{threshold}; leave it out for threshold - 0.15"
        )
    return neg_threshold


def as_floats(probabilities: Tensor | Sequence[float]) -> list[float]:
    """Return probabilities (N,) as Python floats.

    Raises:
        ValueError: when a tensor is not one-dimensional.
    """
    if not isinstance(probabilities, Tensor):
        return list(probabilities)
    if probabilities.dim() != 1:
        raise ValueError(
            f"probabilities have shape {tuple(probabilities.shape)}: expected (N,), one stream; "
            "keep one state per row of a batch"
        )
    # float64: upstream compares Python floats of float32 values, and so do we.
    return probabilities.to(torch.float64).tolist()


@dataclass(frozen=True, slots=True)
class Limits:
    """The rules, with all lengths in samples at 16 kHz.

    Attributes:
        enter: probability from which on there is speech.
        exit: probability below which there is silence.
        min_speech: speech that is not longer is dropped.
        min_silence: silence that ends speech.
        min_cut: silence that must be exceeded to cut overlong speech in it.
        pad: added on both sides of a segment.
        max_speech: longest speech without padding; None: any.
    """

    enter: float
    exit: float
    min_speech: int
    min_silence: int
    min_cut: int
    pad: int
    max_speech: int | None


class Machine:
    """A segmenter's state while it is being worked on; see `SegmenterState` for the fields.

    Attributes:
        out: the segments that were closed.
    """

    def __init__(self, limits: Limits, state: SegmenterState) -> None:
        self.limits = limits
        self.frames, self.start, self.silence = state.frames, state.start, state.silence
        self.previous_end, self.remainder = state.previous_end, state.remainder
        self.held = state.held
        self.silences, self.quiet = list(state.silences), list(state.quiet)
        self.out: list[SpeechSegment] = []

    def freeze(self) -> SegmenterState:
        """Return the state as a value."""
        return SegmenterState(
            self.frames,
            self.start,
            self.silence,
            self.previous_end,
            self.remainder,
            self.held,
            tuple(self.silences),
            tuple(self.quiet),
        )

    def push(self, probability: float) -> None:
        """Take the probability of the next chunk."""
        now = self.frames * FRAME_SIZE
        self.frames += 1
        if probability >= self.limits.enter:
            self._speech(now)
        if self.start is not None and self.limits.max_speech is not None:
            if now - self.start > self.limits.max_speech:
                self._cut(now, self.start, self.limits.max_speech)
            if self.start is not None:
                self._note(probability, now)
        if probability < self.limits.exit:
            self._quiet(now)
        self._release(now)

    def end(self, num_samples: int) -> None:
        """End the stream, of this many samples."""
        if self.start is not None:
            self._close(num_samples)
        if self.held is not None:
            end = min(num_samples, self.held.end + self.limits.pad)
            self.out.append(SpeechSegment(self.held.start, end))
            self.held = None

    def _speech(self, now: int) -> None:
        if self.start is None:
            self.start = now
        elif self.silence is not None:
            if self.limits.max_speech is not None and now - self.silence > self.limits.min_cut:
                self.silences.append((self.silence, now))
            self.silence = None

    def _quiet(self, now: int) -> None:
        if self.start is not None:
            self.silence = now if self.silence is None else self.silence
            if now - self.silence >= self.limits.min_silence:
                self._close(self.silence)
        elif self.previous_end is not None:
            # Cut in a silence that has now lasted: without the cut, speech would have ended too.
            self.remainder &= now - self.previous_end < self.limits.min_silence

    def _note(self, probability: float, now: int) -> None:
        while self.quiet and self.quiet[-1][0] >= probability:
            self.quiet.pop()
        self.quiet.append((probability, now))

    def _cut(self, now: int, start: int, longest: int) -> None:
        """End overlong speech at its longest silence, or else where it is quietest."""
        running = self.silence
        silences = list(self.silences)
        if running is not None and now - running > self.limits.min_cut:
            silences.append((running, now))
        if silences:
            end, resumed = max(silences, key=lambda s: (s[1] - s[0], s[0]))
        else:
            late = start + 2 * longest // 3
            end = next(at for _, at in self.quiet if at >= late) + FRAME_SIZE // 2
            resumed = end
        if running is not None and end >= running:
            self._close(running, cut=True)  # nothing was said since
            return
        rest = [s for s in self.silences if s[0] > resumed]
        quiet = [q for q in self.quiet if q[1] > resumed]
        self._close(end, cut=True)
        self.start, self.silence, self.silences, self.quiet = resumed, running, rest, quiet

    def _close(self, end: int, *, cut: bool = False) -> None:
        """End the open speech at `end`, unpadded; drop it when it is too short."""
        start = self.start
        assert start is not None
        if cut or self._lasts(start, end):
            if self.held is not None:
                self._emit(start - self.held.end)
            self.held = SpeechSegment(self._padded_start(start), end)
            self.previous_end = end
        self.remainder = cut
        self.start = self.silence = None
        self.silences, self.quiet = [], []

    def _lasts(self, start: int, end: int) -> bool:
        return self.remainder or end - start > self.limits.min_speech

    def _padded_start(self, start: int) -> int:
        room = start if self.previous_end is None else (start - self.previous_end)
        if self.previous_end is not None and room < 2 * self.limits.pad:
            return start - room // 2
        return max(0, start - self.limits.pad)

    def _release(self, now: int) -> None:
        """Emit the held segment once the room behind it is certain."""
        if self.held is None:
            return
        # Whatever comes starts no earlier than this; a short start may yet be dropped.
        room = (now if self.start is None else self.start) - self.held.end
        if room >= 2 * self.limits.pad:
            self._emit(room)
        elif self.start is not None:
            heard = now if self.silence is None else self.silence
            if self._lasts(self.start, heard):
                self._emit(room)

    def _emit(self, room: int) -> None:
        assert self.held is not None
        pad = room // 2 if room < 2 * self.limits.pad else self.limits.pad
        self.out.append(SpeechSegment(self.held.start, self.held.end + pad))
        self.held = None
