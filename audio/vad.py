"""Speech segments: where somebody speaks, from speech probabilities, whole files or live.

`speech_segments` is the short way. `SpeechSegmenter` is the state machine behind it. Its rules are
those of `get_speech_timestamps` in silero-vad 6.2, and so are its boundaries, except where running
speech exceeds `max_speech_seconds`; there, silero-vad cuts through words or forgets silences:

- a silence that is still running counts as a place to cut, and of equally long ones the latest
  wins;
- silences after the cut stay candidates for the next cut;
- where there is no silence, the cut falls on the quietest chunk of the last third, and not on
  whatever is being said when the limit is reached; the two pieces touch, nothing is lost;
- a remainder after a cut is kept even when it is shorter than `min_speech_seconds`.
"""

import math
from collections.abc import Iterable, Iterator, Sequence
from dataclasses import dataclass
from itertools import chain

from torch import Tensor

from echoic.audio.hysteresis import (
    Limits,
    Machine,
    SegmenterState,
    SpeechSegment,
    as_floats,
    exit_threshold,
)
from echoic.audio.silero import FRAME_SIZE, SAMPLE_RATE, SileroVad

__all__ = ["SegmenterState", "SpeechSegment", "SpeechSegmenter", "VadConfig", "speech_segments"]


@dataclass(frozen=True, slots=True)
class VadConfig:
    """How speech probabilities become segments.

    The defaults keep short words and soft endings, for recognisers that would lose them: of 20
    minutes of acted speech and telephone prompts they missed 0.2 % of what sounds, silero-vad's
    own (min_speech 0.25, min_silence 0.1, pad 0.03) 1.5 %. A threshold of 0.35 with
    min_speech_seconds 0 and speech_pad_seconds 0.3 missed 0.06 %.

    Attributes:
        threshold: speech begins at a probability of at least this.
        neg_threshold: inside speech, silence begins below this; None: `threshold` - 0.15.
        min_speech_seconds: speech that is not longer than this is dropped.
        min_silence_seconds: silence that ends a segment; shorter pauses stay inside.
        max_speech_seconds: longest segment, padding included; longer speech is cut at its longest
            silence, or else where speech is least likely.
        speech_pad_seconds: added before and after a segment; neighbours share a gap too small.
        min_cut_silence_seconds: silence that is long enough to cut overlong speech in.
    """

    threshold: float = 0.5
    neg_threshold: float | None = None
    min_speech_seconds: float = 0.1
    min_silence_seconds: float = 0.5
    max_speech_seconds: float = math.inf
    speech_pad_seconds: float = 0.2
    min_cut_silence_seconds: float = 0.098

    def __post_init__(self) -> None:
        exit_threshold(self.threshold, self.neg_threshold)
        for name in (
            "min_speech_seconds",
            "min_silence_seconds",
            "speech_pad_seconds",
            "min_cut_silence_seconds",
        ):
            value = getattr(self, name)
            if not 0 <= value < math.inf:
                raise ValueError(f"{name} is {value}: expected seconds, 0 or more")
        least = 2 * self.speech_pad_seconds + 8 * FRAME_SIZE / SAMPLE_RATE
        if not self.max_speech_seconds >= least:
            raise ValueError(
                f"max_speech_seconds is {self.max_speech_seconds}: expected at least {least:g} "
                f"with speech_pad_seconds {self.speech_pad_seconds}; pad less or allow more"
            )

    def limits(self) -> Limits:
        """Return the rules in samples."""
        pad = _samples(self.speech_pad_seconds)
        longest = None
        if self.max_speech_seconds < math.inf:
            # The limit is noticed one chunk late, and padding counts.
            longest = _samples(self.max_speech_seconds) - FRAME_SIZE - 2 * pad
        return Limits(
            enter=self.threshold,
            exit=exit_threshold(self.threshold, self.neg_threshold),
            min_speech=_samples(self.min_speech_seconds),
            min_silence=_samples(self.min_silence_seconds),
            min_cut=_samples(self.min_cut_silence_seconds),
            pad=pad,
            max_speech=longest,
        )


class SpeechSegmenter:
    """Turns the probabilities of one stream into segments, as soon as each is known to be closed.

    A segment comes out when `min_silence_seconds` of silence have followed it (or it was cut) and
    it is known that no neighbour takes part of its padding.

    Attributes:
        config: the rules.
    """

    def __init__(self, config: VadConfig | None = None) -> None:
        self.config = VadConfig() if config is None else config
        self._limits = self.config.limits()

    @property
    def padding(self) -> int:
        """Samples that a segment may reach back before the speech in it."""
        return self._limits.pad

    def initial_state(self) -> SegmenterState:
        """Return the state before the first probability."""
        return SegmenterState()

    def step(
        self, state: SegmenterState, probabilities: Tensor | Sequence[float]
    ) -> tuple[SegmenterState, list[SpeechSegment]]:
        """Take more probabilities.

        Args:
            state: what `initial_state` or the step before returned; left unchanged.
            probabilities: one per 512 samples, (N,), any N >= 0.

        Returns:
            The new state, and the segments that are now closed, in order.

        Raises:
            ValueError: when `probabilities` has more than one dimension.
        """
        machine = Machine(self._limits, state)
        for probability in as_floats(probabilities):
            machine.push(probability)
        return machine.freeze(), machine.out

    def finish(
        self, state: SegmenterState, num_samples: int | None = None
    ) -> tuple[SegmenterState, list[SpeechSegment]]:
        """End the stream.

        Args:
            state: the last state.
            num_samples: length of the audio, so that no segment reaches beyond it; None: the last
                chunk was full.

        Returns:
            The state of a stream that has not begun, and the segments that were still open.

        Raises:
            ValueError: when `num_samples` does not end inside the last chunk.
        """
        full = state.frames * FRAME_SIZE
        if num_samples is None:
            num_samples = full
        if not full - FRAME_SIZE < num_samples <= full:
            raise ValueError(
                f"num_samples is {num_samples}: {state.frames} probabilities stand for "
                f"{max(0, full - FRAME_SIZE + 1)} to {full} samples; pass every probability first"
            )
        machine = Machine(self._limits, state)
        machine.end(num_samples)
        return self.initial_state(), machine.out


def speech_segments(
    audio: Tensor | Iterable[Tensor],
    config: VadConfig | None = None,
    *,
    model: SileroVad | None = None,
) -> Iterator[SpeechSegment]:
    """Find the speech in a recording, in constant memory when it comes in blocks.

    Args:
        audio: float wav at 16 kHz, (T,) or (1, T), or blocks of it in order, of any lengths.
        config: the rules.
        model: the network; None: the installed one, on the CPU.

    Yields:
        The segments, in order, as soon as each is known.

    Raises:
        ValueError: when a block is not mono.
    """
    model = SileroVad.from_installed() if model is None else model
    segmenter = SpeechSegmenter(config)
    blocks = [audio] if isinstance(audio, Tensor) else audio
    return _run(chain.from_iterable(_mono_blocks(b) for b in blocks), segmenter, model)


def _run(
    blocks: Iterable[Tensor], segmenter: SpeechSegmenter, model: SileroVad
) -> Iterator[SpeechSegment]:
    state, machine, samples = model.initial_state(1), segmenter.initial_state(), 0
    for block in blocks:
        samples += block.shape[1]
        state, probabilities = model.step(state, block)
        machine, segments = segmenter.step(machine, probabilities[0])
        yield from segments
    state, probabilities = model.finish(state)
    machine, segments = segmenter.step(machine, probabilities[0])
    yield from segments
    yield from segmenter.finish(machine, samples)[1]


def _mono_blocks(wav: Tensor) -> Iterator[Tensor]:
    """Cut (T,) or (1, T) into pieces (1, <= 32 s), so that segments come out on the way."""
    if wav.dim() > 2 or (wav.dim() == 2 and wav.shape[0] != 1):
        raise ValueError(
            f"wav has shape {tuple(wav.shape)}: expected (T,) or (1, T); average the channels "
            "with wav.mean(0), or look for speech in each of them"
        )
    yield from wav.reshape(1, -1).split(1024 * FRAME_SIZE, dim=1)


def _samples(seconds: float) -> int:
    return round(seconds * SAMPLE_RATE)
