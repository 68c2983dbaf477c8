"""Windows of sound as a live stream would bring them, put together from short utterances.

A window holds utterances one after the other, with pauses between them, begins with a little
silence or in the middle of a sentence (as after a re-anchoring), and ends wherever it ends.
"""

import random
from bisect import bisect_right
from collections import defaultdict
from collections.abc import Callable, Sequence
from dataclasses import dataclass
from pathlib import Path

import torch
from torch import Tensor
from torch.nn import functional

from echoic.asr.whisper.training.corpus import SAMPLE_RATE, Utterance

# Changes the sound of a window, not its length; the seed decides how.
SoundChange = Callable[[Tensor, int], Tensor]


@dataclass(frozen=True, slots=True)
class WindowConfig:
    """How windows are put together; times in seconds.

    Attributes:
        lead: most silence before the first utterance.
        longest_gap: most silence between utterances.
        same_speaker: share of utterances that are by the speaker of the one before.
        mid_sentence: share of windows that begin inside a sentence.
        stop_early: chance, after each utterance, that silence fills the rest.
        speed: utterances play at a rate between 1 / speed and speed.
        empty: share of windows without any speech.
        whole_words: a word's tokens are all heard when the word is, so that no half word is ever
            said; else each takes its share of the word's time, as in the paper.
    """

    lead: float = 0.6
    longest_gap: float = 1.0
    same_speaker: float = 0.7
    mid_sentence: float = 0.25
    stop_early: float = 0.1
    speed: float = 1.12
    empty: float = 0.02
    whole_words: bool = True


@dataclass(frozen=True, slots=True)
class TrainingWindow:
    """A window of sound and what is said in it.

    Attributes:
        wav: (N,) float32 at 16 kHz.
        tokens: text ids.
        ends: seconds at which each has been heard.
        teacher_ids: int64 (tokens, K).
        teacher_probs: (tokens, K).
    """

    wav: Tensor
    tokens: tuple[int, ...]
    ends: tuple[float, ...]
    teacher_ids: Tensor
    teacher_probs: Tensor


class WindowMaker:
    """Puts windows together; the same seed makes the same window.

    Args:
        utterances: with audio paths relative to `folder`.
        folder: see above.
        config: how.
        change: what else happens to the sound.
        max_tokens: room in the decoder.
    """

    def __init__(
        self,
        utterances: Sequence[Utterance],
        folder: Path,
        config: WindowConfig,
        *,
        change: SoundChange | None = None,
        max_tokens: int = 220,
    ) -> None:
        if not utterances:
            raise ValueError("0 utterances, expected 1 or more: check the aligned manifest")
        self.utterances = list(utterances)
        self.folder = folder
        self.config = config
        self.change = change
        self.max_tokens = max_tokens
        self._by_speaker: dict[str, list[Utterance]] = defaultdict(list)
        for utterance in self.utterances:
            self._by_speaker[utterance.speaker].append(utterance)
        self._width = len(self.utterances[0].teacher_ids[0])

    def __call__(self, seconds: float, seed: int) -> TrainingWindow:
        """Make a window of `seconds` from `seed`."""
        rng = random.Random(seed)
        builder = _Builder(round(seconds * SAMPLE_RATE), self._width, self.config.whole_words)
        if rng.random() >= self.config.empty:
            self._fill(builder, rng)
        window = builder.build()
        wav = window.wav + 10 ** rng.uniform(-5, -3.3) * _noise(len(window.wav), rng)
        if self.change is not None:
            wav = self.change(wav, rng.getrandbits(62))
        return TrainingWindow(
            wav, window.tokens, window.ends, window.teacher_ids, window.teacher_probs
        )

    def _fill(self, builder: "_Builder", rng: random.Random) -> None:
        utterance = rng.choice(self.utterances)
        inside = rng.random() < self.config.mid_sentence
        if not inside:
            builder.silence(rng.uniform(0.02, self.config.lead))
        while True:
            skip = _word_boundary(utterance, rng) if inside else 0
            builder.add(utterance, utterance.load(self.folder), skip, self._rate(rng))
            inside = False
            if builder.full or len(builder.tokens) > self.max_tokens - 100:
                return
            if rng.random() < self.config.stop_early:
                return
            builder.silence(rng.uniform(0.0, self.config.longest_gap))
            same = rng.random() < self.config.same_speaker
            utterance = rng.choice(self._by_speaker[utterance.speaker] if same else self.utterances)
            if len(builder.tokens) + len(utterance.tokens) > self.max_tokens:
                return

    def _rate(self, rng: random.Random) -> float:
        return self.config.speed ** rng.uniform(-1, 1)


def _noise(samples: int, rng: random.Random) -> Tensor:
    generator = torch.Generator().manual_seed(rng.getrandbits(62))
    return torch.randn(samples, generator=generator)


def _word_boundary(utterance: Utterance, rng: random.Random) -> int:
    """Return a token that begins a word, not the first of the utterance where it has others."""
    words = utterance.word_of
    heads = [i for i in range(1, len(words)) if words[i] != words[i - 1]]
    return rng.choice(heads) if heads else 0


def _word_ends(utterance: Utterance) -> list[float]:
    """Return the end of each token's word."""
    ends = dict(zip(utterance.word_of, utterance.ends, strict=True))  # the last of each wins
    return [ends[word] for word in utterance.word_of]


class _Builder:
    """A window that grows."""

    def __init__(self, samples: int, teacher_width: int, whole_words: bool) -> None:
        self.samples = samples
        self.whole_words = whole_words
        self.tokens: list[int] = []
        self._pieces: list[Tensor] = []
        self._at = 0
        self._ends: list[float] = []
        self._ids: list[Tensor] = [torch.zeros(0, teacher_width, dtype=torch.int64)]
        self._probs: list[Tensor] = [torch.zeros(0, teacher_width)]

    @property
    def full(self) -> bool:
        """Whether no other word fits."""
        return self._at > self.samples - SAMPLE_RATE // 4

    def silence(self, seconds: float) -> None:
        """Append silence."""
        self._append(torch.zeros(round(seconds * SAMPLE_RATE)))

    def add(self, utterance: Utterance, wav: Tensor, skip: int, rate: float) -> None:
        """Append an utterance from its token `skip` on, played at `rate`."""
        cut = 0.0 if skip == 0 else max(0.0, utterance.starts[skip] - 0.04)
        wav = wav[round(cut * SAMPLE_RATE) :]
        if not len(wav):
            return
        played = _at_rate(wav, rate)
        offset, scale = self._at / SAMPLE_RATE, len(played) / len(wav)
        ids, probs = utterance.teacher()
        limit = self.samples / SAMPLE_RATE
        heard_at = _word_ends(utterance) if self.whole_words else utterance.ends
        ends = [offset + max(0.0, end - cut) * scale for end in heard_at[skip:]]
        heard = bisect_right(ends, limit)
        self.tokens += utterance.tokens[skip : skip + heard]
        self._ends += ends[:heard]
        self._ids.append(ids[skip : skip + heard])
        self._probs.append(probs[skip : skip + heard])
        self._append(played)

    def build(self) -> TrainingWindow:
        """Fill up with silence and return the window."""
        self._append(torch.zeros(max(0, self.samples - self._at)))
        return TrainingWindow(
            torch.cat(self._pieces)[: self.samples],
            tuple(self.tokens),
            tuple(self._ends),
            torch.cat(self._ids),
            torch.cat(self._probs),
        )

    def _append(self, piece: Tensor) -> None:
        self._pieces.append(piece)
        self._at += len(piece)


def _at_rate(wav: Tensor, rate: float) -> Tensor:
    """Play faster (pitch and all) by linear interpolation, quick and good enough to train on."""
    samples = max(1, round(len(wav) / rate))
    return functional.interpolate(wav[None, None], size=samples, mode="linear")[0, 0]
