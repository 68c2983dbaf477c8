"""Decoding that goes on from text already given out: forced prefix, draft, attention as it goes.

What was committed is fed as it is, and the last hypothesis behind it, in one pass of the decoder.
As long as the model would have written the draft's next token itself, that token costs nothing
more; from the first it would not, tokens are decoded one by one. The answer is that of greedy
decoding from the prefix.
"""

from collections.abc import Iterator, Sequence
from dataclasses import dataclass
from typing import NamedTuple

import torch
from torch import Tensor

from echoic.asr.guards import is_looping
from echoic.asr.languages import UNSPACED
from echoic.asr.whisper.beam import beam_search
from echoic.asr.whisper.cache import DecoderCache
from echoic.asr.whisper.encoder import EncodedWindows
from echoic.asr.whisper.hypothesis import SearchTask
from echoic.asr.whisper.model import FRAMES_PER_SECOND, SAMPLE_RATE, WhisperModel
from echoic.asr.whisper.rules import RowHistory, TokenRules
from echoic.asr.whisper.tokenizer import WhisperTokenizer
from echoic.asr.whisper.word_times import CLOSING_MARKS

# So many tokens of one phrase are not waited for to end by themselves.
LOOP_TOKENS = 24


class Heard(NamedTuple):
    """A stretch of sound, encoded.

    Attributes:
        windows: what the encoder made of it, one window.
        seconds: its length.
    """

    windows: EncodedWindows
    seconds: float

    @property
    def num_frames(self) -> int:
        """Encoder frames (20 ms) that hold sound."""
        return max(1, round(self.seconds * FRAMES_PER_SECOND))


class Step(NamedTuple):
    """The next token as the model would write it.

    Attributes:
        token: its id; the end of text is one, too.
        logprob: its log probability, among what may come next.
        confidence: its probability among the words; 0 for the end of text.
        attention: float32 (heads, T), where the alignment heads looked.
    """

    token: int
    logprob: float
    confidence: float
    attention: Tensor


@dataclass(slots=True)
class Reading:
    """A decoding under way.

    Attributes:
        no_speech: probability of silence at the start of transcript.
        rows: float32 (heads, R, T), attention of the tokens from the start of transcript to the
            one before the last of the prefix; the last one's comes with the first step.
        first_row: the row that predicts the first text token, committed or not.
        steps: the answer, lazily: who stops asking saves the rest. Ends with the end of text, in
            a loop, or when there is no room for more.
    """

    no_speech: float
    rows: Tensor
    first_row: int
    steps: Iterator[Step]


class ContinuationRules(TokenRules):
    """Rules for an answer that goes on: at once, nothing may be said, but no word may be split.

    Words that were given out do not change, so what follows them begins a new word; and where
    nothing was said yet, silence is an answer, too.
    """

    def __init__(self, model: WhisperModel, language: str | None, *, opening: bool) -> None:
        generation = model.generation
        super().__init__(generation, model.config.vocab_size, timestamps=False, device=model.device)
        if opening:
            banned = [i for i in generation.begin_suppress_tokens if i != generation.eos_token_id]
        else:
            banned = _not_at_start(model.tokenizer, spaced=(language or "en") not in UNSPACED)
        self._not_at_start = torch.tensor(banned, device=model.device)

    def apply(
        self, scores: Tensor, history: RowHistory, time_limits: Tensor, *, first: bool
    ) -> None:
        """Set the scores of forbidden tokens to -inf; see `TokenRules.apply`."""
        super().apply(scores, history, time_limits, first=False)
        if first:
            scores[:, self._not_at_start] = -torch.inf


def _not_at_start(tokenizer: WhisperTokenizer, *, spaced: bool) -> list[int]:
    """Return the text ids that cannot begin a word."""
    if spaced:
        blank = tokenizer.encode(" ")
        inside = [i for i in range(tokenizer.eot) if not tokenizer.token_bytes(i).startswith(b" ")]
        return [*inside, *blank]
    marks = {mark.encode() for mark in CLOSING_MARKS}
    return [i for i in range(tokenizer.eot) if tokenizer.token_bytes(i) in marks]


class ContinuationDecoder:
    """Decodes one window of sound from a prefix of text.

    Args:
        model: any Whisper.
        task: "transcribe", or "translate" into English.
        beam_size: of `search`; 1 is greedy.
    """

    def __init__(self, model: WhisperModel, *, task: str = "transcribe", beam_size: int = 1):
        self.model = model
        self.task = task
        self.beam_size = beam_size
        self._rules: dict[tuple[bool, bool], ContinuationRules] = {}

    def listen(self, sound: Tensor, language: str = "") -> Heard:
        """Encode a stretch of sound (N,), 16 kHz, not longer than a window of the model.

        Args:
            sound: of it.
            language: code, which chooses an adapter where the model has some; "" if not known.
        """
        windows = self.model.encode([sound], languages=[language])
        return Heard(windows, len(sound) / SAMPLE_RATE)

    def detect_language(self, heard: Heard) -> tuple[str, float]:
        """Return the likeliest language and its probability."""
        generation = self.model.generation
        start = torch.tensor([[generation.decoder_start_token_id]], device=self.model.device)
        cache = self.model.decoder.start(*heard.windows, capacity=1)
        logits = self.model.decoder.logits(self.model.decoder(start, cache)[0])[0]
        ids = torch.tensor(list(generation.lang_to_id.values()), device=logits.device)
        probability, index = logits[ids].softmax(-1).max(-1)
        return list(generation.lang_to_id)[int(index)], float(probability)

    def read(
        self,
        heard: Heard,
        *,
        language: str | None,
        history: Sequence[int],
        committed: Sequence[int],
        draft: Sequence[int],
        budget: int,
    ) -> Reading:
        """Begin to decode.

        Args:
            heard: the sound.
            language: spoken in it; None for models that know English only.
            history: tokens said before it.
            committed: tokens said in it, at its beginning: fed as they are.
            draft: what was heard behind them before, to be verified.
            budget: most tokens of the answer.
        """
        prefix = self._prefix(language, history, committed)
        rules = self._rules_of(language, opening=not committed)
        room = self.model.config.max_target_positions - len(prefix.tokens) - 1
        budget = max(0, min(budget, room))
        if self.beam_size > 1 and budget:
            draft = self._search(heard, prefix, rules, budget)
        run = _Run(self.model, rules, prefix, tuple(draft[:budget]), budget)
        return run.start(heard, forced=self.beam_size > 1)

    def _prefix(
        self, language: str | None, history: Sequence[int], committed: Sequence[int]
    ) -> "_Prefix":
        start = self.model.tokenizer.prompt(language, self.task)
        before = [self.model.generation.prev_sot_token_id, *history] if history else []
        return _Prefix([*before, *start, *committed], len(before), len(start))

    def _rules_of(self, language: str | None, *, opening: bool) -> ContinuationRules:
        key = (opening, (language or "en") in UNSPACED)
        if key not in self._rules:
            self._rules[key] = ContinuationRules(self.model, language, opening=opening)
        return self._rules[key]

    def _search(
        self, heard: Heard, prefix: "_Prefix", rules: ContinuationRules, budget: int
    ) -> tuple[int, ...]:
        generation, device = self.model.generation, self.model.device
        task = SearchTask(
            decoder=self.model.decoder,
            cache=self.model.decoder.start(
                *heard.windows, capacity=len(prefix.tokens) + budget + 1
            ),
            prompts=torch.tensor([prefix.tokens], device=device),
            rules=rules,
            time_limits=torch.zeros(1, dtype=torch.int64, device=device),
            budgets=[budget],
            no_speech=generation.no_speech_token_id,
            start=generation.decoder_start_token_id,
            end=generation.eos_token_id,
        )
        found = beam_search(task, beam_size=self.beam_size, patience=1.0, length_penalty=None)
        return found[0].tokens


class _Prefix(NamedTuple):
    """Tokens that are fed as they are; the start of transcript is at `start`."""

    tokens: list[int]
    start: int
    num_start: int


@dataclass(slots=True)
class _Run:
    """One call of `ContinuationDecoder.read`."""

    model: WhisperModel
    rules: ContinuationRules
    prefix: _Prefix
    draft: tuple[int, ...]
    budget: int

    def start(self, heard: Heard, *, forced: bool) -> Reading:
        fixed = len(self.prefix.tokens)
        cache = self.model.decoder.start(*heard.windows, capacity=fixed + self.budget + 1)
        hidden, weights = self._feed([*self.prefix.tokens, *self.draft], cache)
        rows = torch.cat([hidden[self.prefix.start, None], hidden[fixed - 1 :]])
        scores = self.model.decoder.logits(rows)
        silence = scores[0].softmax(-1)[self.model.generation.no_speech_token_id]
        return Reading(
            no_speech=float(silence),
            rows=weights[:, self.prefix.start : fixed - 1],
            first_row=self.prefix.num_start - 1,
            steps=self._steps(scores[1:], weights[:, fixed - 1 :], cache, forced=forced),
        )

    def _steps(
        self, scores: Tensor, weights: Tensor, cache: DecoderCache, *, forced: bool
    ) -> Iterator[Step]:
        """Walk along the draft, then alone; `scores` and `weights` are those of the draft."""
        fixed = len(self.prefix.tokens)
        written: list[int] = []
        for at in range(self.budget + 1):
            row = at if at < len(scores) else -1
            ruled = self._ruled(scores[row], first=at == 0)
            drafted = self.draft[at] if at < len(self.draft) else None
            token = drafted if forced and drafted is not None else int(ruled.argmax())
            yield self._step(token, scores[row], ruled, weights[:, row])
            written.append(token)
            if token == self.model.generation.eos_token_id or at == self.budget:
                return
            if is_looping(written, min_tokens=LOOP_TOKENS):
                return
            if token != drafted:
                self.draft = ()
                cache.length = fixed + at  # forget the rest of the draft
                hidden, weights = self._feed([token], cache)
                scores = self.model.decoder.logits(hidden)

    def _feed(self, tokens: Sequence[int], cache: DecoderCache) -> tuple[Tensor, Tensor]:
        hidden, weights = self.model.decoder.cross_scores(
            torch.tensor([tokens], device=self.model.device),
            cache,
            self.model.generation.alignment_heads,
        )
        return hidden[0], weights[0]

    def _ruled(self, scores: Tensor, *, first: bool) -> Tensor:
        ruled = scores[None].clone()
        self.rules.apply(ruled, _no_history(scores.device), _no_limit(scores.device), first=first)
        return ruled[0]

    def _step(self, token: int, scores: Tensor, ruled: Tensor, attention: Tensor) -> Step:
        end = self.model.generation.eos_token_id
        logprob = float(ruled[token] - ruled.logsumexp(0))
        confidence = (
            float((scores[token] - scores[:end].logsumexp(0)).exp()) if token < end else 0.0
        )
        return Step(token, logprob, confidence, attention)


def _no_history(device: torch.device) -> RowHistory:
    return RowHistory.start(1, device)  # only times need one


def _no_limit(device: torch.device) -> Tensor:
    return torch.zeros(1, dtype=torch.int64, device=device)
