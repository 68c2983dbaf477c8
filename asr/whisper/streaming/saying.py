"""What a causal Whisper says: frozen text, and a tail that every block of sound may mend."""

import copy
import math
from collections.abc import Sequence
from dataclasses import replace
from typing import NamedTuple

import torch
from torch import Tensor

from echoic.asr.guards import is_looping
from echoic.asr.languages import UNSPACED, language_code
from echoic.asr.whisper.model import FRAMES_PER_SECOND, SAMPLE_RATE, WhisperModel
from echoic.asr.whisper.streaming.config import CausalConfig
from echoic.asr.whisper.streaming.decoder import Part, Past, no_past
from echoic.asr.whisper.streaming.engines import ReadEngine, Saying
from echoic.asr.whisper.streaming.search import Tail, TailRules, TailSearch
from echoic.asr.whisper.streaming.tail_beam import beam_tail
from echoic.asr.whisper.streaming.times import token_times
from echoic.asr.whisper.streaming.track import Track, no_track, track
from echoic.asr.whisper.streaming.window import Window
from echoic.streaming.layers.key_values import KeyValues
from echoic.streaming.work import Ask, Work

# Fast speech has some 6.5 tokens a second; nobody says more than this, a loop does.
MAX_TOKENS_PER_SECOND = 12
TOKENS_AT_ONCE = 6
LOOP_TOKENS = 18
LOOP_PERIOD = 6


class Text(NamedTuple):
    """The text of a window.

    Attributes:
        trunk: keys and values of the prompt and the frozen text but its last token, which is read
            again with every block, for what follows it.
        frozen: what is mended no more.
        tail: what still may be.
        scores: float32 (1, n), raw scores of the tail at the last block.
        sealed: whether the last frozen word is complete, so that a new one must follow.
    """

    trunk: Past
    frozen: Track
    tail: Track
    scores: Tensor
    sealed: bool


class Speaker:
    """Keeps the text of a window up with its sound.

    Args:
        model: with a causal decoder.
        config: how.
        engine: reads, for others too; None for one of its own.

    Raises:
        ValueError: a language that the model does not know.
    """

    def __init__(
        self, model: WhisperModel, config: CausalConfig, engine: ReadEngine | None = None
    ) -> None:
        self.model = model
        self.config = config
        self.language = language_code(config.language or "en")
        multilingual = model.generation.is_multilingual
        if not multilingual and self.language != "en":
            raise ValueError(f"language is {config.language!r}, but this model knows English only")
        self.prompt = model.tokenizer.prompt(self.language if multilingual else None)
        self.rules = tail_rules(model, self.language)
        if engine is None:
            engine = ReadEngine(model.decoder, model.generation.alignment_heads)
        self._engine = engine
        self._search = TailSearch(engine, self.rules, config.keep)

    def adapted(self, adapter: int) -> "Speaker":
        """Return one that reads with a LoRA adapter, by its stamp, and shares all else."""
        other = copy.copy(self)
        other._search = replace(self._search, adapter=adapter)
        return other

    def open(self) -> Text:
        """Return the text of a window in which nothing was said."""
        past = no_past(self.model.decoder, self.model.device)
        return Text(past, no_track(), no_track(), torch.empty(1, 0), True)

    def continuing(self, text: Text, window: Window, first: int) -> Work[Text]:
        """Return the text of a new window that begins with the frozen token `first`."""
        frozen = text.frozen.slice(first)
        fed = [*self.prompt, *frozen.ids][:-1]
        trunk = no_past(self.model.decoder, self.model.device)
        if frozen.length:
            ids = torch.tensor([fed], device=self.model.device)
            part = Part(ids, trunk, window.sound)
            question = Saying(part, len(fed), self._search.adapter)
            trunk = (yield Ask(self._engine, question)).reading.past
        return text._replace(trunk=trunk, frozen=frozen)

    def saying(self, text: Text, window: Window) -> Work[Text]:
        """Return the text after a block of sound."""
        tail = yield from self._searching(text, window)
        said = self._said(text, tail, window)
        return self._freeze(text, said, tail, window.heard)

    def _searching(self, text: Text, window: Window) -> Work[Tail]:
        fed = [*self.prompt, *text.frozen.ids][text.trunk[0].length :]
        draft, scores = text.tail.ids, text.scores[0].tolist()
        budget = self._budget(text, window)
        heard = {"past": text.trunk, "sound": window.sound, "sealed": text.sealed}
        tail = yield from self._search(fed, draft, scores, budget=budget, **heard)
        if self.config.beam_size > 1:
            longest = len(draft) + budget
            best = yield from beam_tail(
                self._search, fed, beam_size=self.config.beam_size, budget=longest, **heard
            )
            if best is not None and best.mean_logprob > tail.mean_logprob:
                # It is read once more for its keys and values.
                chosen = best.tokens
                unknown = [-math.inf] * len(chosen)
                tail = yield from self._search(
                    fed, chosen, unknown, budget=0, trusted=True, **heard
                )
        recent = [*text.frozen.ids[-LOOP_TOKENS:], *tail.tokens]
        if tail.tokens and is_looping(recent, max_period=LOOP_PERIOD, min_tokens=LOOP_TOKENS):
            tail = tail.shortened(0)
        return tail

    def _budget(self, text: Text, window: Window) -> int:
        """Return how many tokens may be new: nobody speaks faster."""
        said = text.frozen.length + text.tail.length
        room = self.model.config.max_target_positions - len(self.prompt) - said - 1
        seconds = window.frames / FRAMES_PER_SECOND
        fast = TOKENS_AT_ONCE + int(seconds * MAX_TOKENS_PER_SECOND) - said
        block = TOKENS_AT_ONCE + int(self.config.blocks.seconds * MAX_TOKENS_PER_SECOND)
        return max(0, min(room, fast, block))

    def _said(self, text: Text, tail: Tail, window: Window) -> Track:
        now, offset = window.heard, window.start / SAMPLE_RATE
        after = float(text.frozen.begins[0, -1]) if text.frozen.length else offset
        times = token_times(
            tail.attention, len(tail.tokens), offset=offset, after=max(after, offset), now=now
        )
        same = _common(tail.tokens, text.tail.ids)
        said = text.tail.said[0, :same].tolist() + [now] * (len(tail.tokens) - same)
        return track(tail.tokens, tail.probabilities, said, *times)

    def _freeze(self, text: Text, said: Track, tail: Tail, now: float) -> Text:
        # A hair less than the hold: block ends are sums of floats.
        due = said.said[0] + self.config.hold_seconds <= now + 1e-6
        count = int(due.sum())
        scores = torch.tensor([tail.scores[count:]], dtype=torch.float32)
        if not count:
            sealed = text.sealed and not (said.length and self._joins(said.ids[0]))
            return text._replace(tail=said, scores=scores, sealed=sealed)
        frozen = text.frozen.join(said.slice(0, count))
        rest = said.slice(count)
        length = len(self.prompt) + frozen.length - 1
        trunk = tuple(
            KeyValues(p.keys[:, :, :length].clone(), p.values[:, :, :length].clone())
            for p in tail.past
        )
        sealed = not (rest.length and self._joins(rest.ids[0]))
        return Text(trunk, frozen, rest, scores, sealed)

    def _joins(self, token: int) -> bool:
        return bool(self.rules.joins[token])


def tail_rules(model: WhisperModel, language: str) -> TailRules:
    """Return what may be said: words, no annotations, no control tokens, no times, no lone space.

    Args:
        model: whose tokens.
        language: code; says what goes on with the word before it.
    """
    tokenizer, size = model.tokenizer, model.config.vocab_size
    never = torch.zeros(size)
    suppressed = model.generation.suppress_tokens or tokenizer.suppressed_by_default
    never[[i for i in suppressed if 0 <= i < size]] = -torch.inf
    never[tokenizer.eot + 1 :] = -torch.inf
    spelled = [tokenizer.token_bytes(i) for i in range(tokenizer.eot)]
    never[[i for i, spelling in enumerate(spelled) if not spelling.strip()]] = -torch.inf
    joins = torch.zeros(size, dtype=torch.bool)
    goes_on = _completes if language in UNSPACED else _spaceless
    joins[: tokenizer.eot] = torch.tensor([goes_on(spelling) for spelling in spelled])
    return TailRules(never.to(model.device), joins.to(model.device), tokenizer.eot)


def _spaceless(spelling: bytes) -> bool:
    return not spelling.startswith(b" ")


def _completes(spelling: bytes) -> bool:
    """Whether a token goes on with a word where every character is one: rests of it, and marks."""
    text = spelling.decode("utf-8", errors="ignore")
    rest = 0x80 <= spelling[0] < 0xC0
    return rest or bool(text and not text[0].isspace() and not any(map(str.isalnum, text)))


def _common(a: Sequence[int], b: Sequence[int]) -> int:
    count = 0
    for x, y in zip(a, b, strict=False):
        if x != y:
            break
        count += 1
    return count
