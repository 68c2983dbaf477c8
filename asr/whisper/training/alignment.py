"""When each token of a known text is spoken, and what the offline model thinks of it.

The labels of a causal model are "weak" alignments (Krichli et al. 2025, section 3.2): all that is
asked is when a token has been heard to its end. They come from the cross-attention of the offline
model; where a pause follows a word, from the voice activity, which attention cannot see. Where a
forced aligner has been at work, from its words.
"""

from collections.abc import Sequence
from dataclasses import dataclass

import torch
from torch import Tensor

from echoic.asr.whisper.alignment import SECONDS_PER_FRAME, align
from echoic.asr.whisper.model import SAMPLE_RATE, WhisperModel
from echoic.asr.whisper.tokenizer import WordTokens
from echoic.asr.whisper.training.textgrid import TimedWord, spans_of
from echoic.audio.silero import FRAME_SIZE, SileroVad

# Fewer quiet chunks of 32 ms in a row are a stop consonant, not a pause.
_PAUSE_CHUNKS = 3
_SPEECH = 0.35
_SHORTEST_WORD = 0.06


@dataclass(frozen=True, slots=True)
class AlignedText:
    """The tokens of one utterance in time.

    Attributes:
        tokens: text ids, the first with its leading space.
        starts: seconds at which each begins.
        ends: seconds at which each has been heard: its share of the word's time.
        word_of: number of the word that each token belongs to.
        teacher_ids: (tokens, K) the offline model's likeliest ids where each token is expected.
        teacher_probs: (tokens, K) their probabilities.
        avg_logprob: of the text, by the offline model.
        forced: whether the times are those of a forced aligner.
    """

    tokens: tuple[int, ...]
    starts: tuple[float, ...]
    ends: tuple[float, ...]
    word_of: tuple[int, ...]
    teacher_ids: Tensor
    teacher_probs: Tensor
    avg_logprob: float
    forced: bool = False


class TextAligner:
    """Aligns texts with recordings of at most 30 s.

    Args:
        model: an offline Whisper model with alignment heads; English, or told the language.
        language: code of what is spoken, for multilingual models.
        num_teacher: K, likeliest ids to keep of each position.
    """

    def __init__(
        self, model: WhisperModel, *, language: str | None = None, num_teacher: int = 8
    ) -> None:
        self.model = model
        self.language = language
        self.num_teacher = num_teacher
        self._vad = SileroVad.from_installed()

    @torch.inference_mode()
    def __call__(
        self, wav: Tensor, text: str, timed: Sequence[TimedWord] | None = None
    ) -> AlignedText:
        """Align one utterance.

        Args:
            wav: (N,) float32 at 16 kHz, at most 30 s.
            text: what is said.
            timed: a forced aligner's words; used if they are the words of the text.

        Raises:
            ValueError: no text, or more than the decoder has positions for.
        """
        tokenizer, generation = self.model.tokenizer, self.model.generation
        tokens = tokenizer.encode(" " + text.strip())
        prompt = tokenizer.prompt(self.language)
        fed = [*prompt, *tokens, tokenizer.eot]
        if not tokens or len(fed) > self.model.config.max_target_positions:
            raise ValueError(
                f"the text has {len(tokens)} tokens, expected 1 to "
                f"{self.model.config.max_target_positions - len(prompt) - 1}"
            )
        encoded = self.model.encode([wav])
        cache = self.model.decoder.start(*encoded, capacity=len(fed))
        ids = torch.tensor([fed], device=self.model.device)
        hidden, weights = self.model.decoder.cross_scores(ids, cache, generation.alignment_heads)
        first = len(prompt) - 1
        logits = self.model.decoder.logits(hidden[0, first : first + len(tokens)])
        logits[:, tokenizer.eot :] = -torch.inf
        logprobs = logits.log_softmax(-1)
        chosen = logprobs.gather(1, torch.tensor(tokens, device=logits.device)[:, None])
        teacher = logprobs.exp().topk(self.num_teacher)
        frames = align(
            weights[0],
            first_row=first,
            num_tokens=len(tokens),
            num_frames=max(1, round(len(wav) / SAMPLE_RATE / SECONDS_PER_FRAME)),
        )
        words = tokenizer.split_to_words(tokens, self.language or "en")
        given = None if timed is None else spans_of([word.text for word in words], timed)
        spans = self._word_spans(wav, words, frames.tolist()) if given is None else given
        starts, ends, word_of = _spread(words, spans)
        return AlignedText(
            tokens=tuple(tokens),
            starts=starts,
            ends=ends,
            word_of=word_of,
            teacher_ids=teacher.indices.cpu(),
            teacher_probs=teacher.values.cpu(),
            avg_logprob=float(chosen.mean()),
            forced=given is not None,
        )

    def _word_spans(
        self, wav: Tensor, words: list[WordTokens], frames: list[int]
    ) -> list[tuple[float, float]]:
        """Begin and end of each word in seconds, without the pause that follows it."""
        quiet = _pauses(self._vad(wav[None])[0])
        spans, at = [], 0
        for word in words:
            start = frames[at] * SECONDS_PER_FRAME
            at += len(word.ids)
            end = max(frames[at] * SECONDS_PER_FRAME, start)
            spans.append(_without_pause(start, end, quiet))
        return spans


def _pauses(probabilities: Tensor) -> list[tuple[float, float]]:
    """Stretches without speech, in seconds, that are long enough to be pauses."""
    seconds = FRAME_SIZE / SAMPLE_RATE
    found, begun = [], None
    values = [*probabilities.tolist(), 1.0]
    for i, p in enumerate(values):
        if p < _SPEECH:
            begun = i if begun is None else begun
        elif begun is not None:
            if i - begun >= _PAUSE_CHUNKS:
                found.append((begun * seconds, i * seconds))
            begun = None
    return found


def _without_pause(
    start: float, end: float, pauses: list[tuple[float, float]]
) -> tuple[float, float]:
    for begun, over in pauses:
        if begun <= start + _SHORTEST_WORD and start < over < end:
            start = over  # the word begins behind the pause
        elif start + _SHORTEST_WORD < begun < end:
            return start, begun
    return start, end


def _spread(
    words: list[WordTokens], spans: list[tuple[float, float]]
) -> tuple[tuple[float, ...], tuple[float, ...], tuple[int, ...]]:
    """Tokens share the time of their word equally; marks end with the word before them."""
    starts: list[float] = []
    ends: list[float] = []
    word_of: list[int] = []
    number = -1
    for word, (start, end) in zip(words, spans, strict=True):
        mark = not any(c.isalnum() for c in word.text)
        if mark and ends:
            start = end = ends[-1]
        else:
            number += 1
        share = (end - start) / len(word.ids)
        for i in range(len(word.ids)):
            starts.append(start + i * share)
            ends.append(start + (i + 1) * share)
            word_of.append(max(number, 0))
    for i in range(1, len(ends)):  # what is heard stays heard
        ends[i] = max(ends[i], ends[i - 1])
    return tuple(starts), tuple(ends), tuple(word_of)
