"""Answers of a unified model: frames of codes, or text.

Speech is drawn book by book: at each place only the codes of the book whose turn it is can come,
and before a frame the end. Keys and values are kept, so each code costs one position.
"""

from collections.abc import Iterator
from dataclasses import dataclass, field
from typing import Any, NamedTuple

import torch
from torch import Tensor

from echoic.tts.lm.guard import Bounds, Ending, loops
from echoic.tts.lm.sampling import SamplingConfig, draw
from echoic.tts.unified.model import UnifiedLM
from echoic.tts.unified.sequences import Segment, Sequencer

GREEDY = SamplingConfig(temperature=0, window=0)


@dataclass(frozen=True, slots=True)
class SpeakRequest:
    """What is to be spoken, and how.

    Attributes:
        prompt: (N,) int64 ids up to the begin of speech, see `Sequencer.prompt`.
        units: of text that is to be heard, such as letters: `bounds` counts in them.
        prefix: (T, Q) frames that the speech goes on from, in the same voice; what they say begins
            the prompt's text, and does not count among the units.
        sampling: of the first book.
        rest: of all others; as the first, without looking back for repetitions, for None.
        bounds: of the length.
        seed: of the random numbers.
    """

    prompt: Tensor
    units: int
    prefix: Tensor | None = None
    sampling: SamplingConfig = field(default_factory=SamplingConfig)
    rest: SamplingConfig | None = None
    bounds: Bounds = field(default_factory=Bounds)
    seed: int = 0

    @classmethod
    def of(
        cls, sequencer: Sequencer, text: str, *, voice: tuple[str, Tensor] | None = None
    ) -> "SpeakRequest":
        """Return a request to read a text aloud; letters are its units.

        Args:
            sequencer: of the model.
            text: to be read.
            voice: whose: what somebody said, and its frames (T, Q); the speech goes on from there.

        Raises:
            ValueError: no text.
        """
        if not text:
            raise ValueError("the text is empty: say something")
        said, prefix = ("", None) if voice is None else voice
        whole = f"{said.rstrip()} {text}" if said else text
        return cls(sequencer.prompt([Segment(whole)], "audio"), len(text), prefix)


class Spoken(NamedTuple):
    """What was said.

    Attributes:
        frames: (T, Q) int64, without a prefix.
        ending: why it ended.
    """

    frames: Tensor
    ending: Ending


@dataclass(slots=True)
class _Voice:
    """One of several answers to a prompt, on its way."""

    request: SpeakRequest
    fewest: int
    most: int
    rate: float
    random: torch.Generator
    firsts: list[int] = field(default_factory=list)
    frame: list[int] = field(default_factory=list)
    ending: Ending | None = None
    done: bool = False

    def choose(self, book: int, scores: Tensor) -> int | None:
        """Return the next code; None where speech has ended. Scores: of the book, then the end."""
        if self.done:
            return None
        if book == 0:
            return self._first(scores)
        rest = self.request.rest
        code = draw(scores, self._plain if rest is None else rest, self.random)
        self.frame.append(code)
        return code

    def _first(self, scores: Tensor) -> int | None:
        self.frame = []
        end = len(scores) - 1
        if self.ending is None and len(self.firsts) >= self.most:
            self.ending = "limit"
        if self.ending is None:
            if len(self.firsts) < self.fewest:
                scores = scores.clone()
                scores[end] = -torch.inf
            code = draw(scores, self.request.sampling, self.random, self.firsts)
            if code != end:
                self.firsts.append(code)
                self.frame.append(code)
                if loops(self.firsts, self.request.bounds, self.rate):
                    self.ending = "loop"  # after the frame that has begun
                return code
            self.ending = "end"
        self.done = True
        return None

    @property
    def _plain(self) -> SamplingConfig:
        own = self.request.sampling
        return SamplingConfig(own.temperature, own.top_k, own.top_p, own.min_p, window=0)


@torch.inference_mode()
def stream(model: UnifiedLM, request: SpeakRequest, count: int = 1) -> Iterator[list[list[int]]]:
    """Yield a frame (Q codes) of each of `count` answers, as soon as it is whole.

    An answer that has ended yields an empty list; the iterator ends with the last. Its value is the
    list of endings.

    Raises:
        ValueError: no prompt, or a prefix of another format.
        ScoresNotFinite: the model's weights are damaged.
    """
    from transformers import DynamicCache

    vocabulary = model.vocabulary
    books, form = vocabulary.format.num_codebooks, vocabulary.format
    fewest, most = request.bounds.frames(request.units, form.frame_rate)
    voices = [
        _Voice(request, fewest, most, form.frame_rate, torch.Generator().manual_seed(seed))
        for seed in range(request.seed, request.seed + count)
    ]
    cache: Any = DynamicCache()
    known = _known(model, request)
    states = model.states(known.expand(count, -1).to(model.device), cache=cache)[:, -1]
    heard = known.shape[1]
    end = range(vocabulary.end_audio, vocabulary.end_audio + 1)
    while True:
        for book in range(books):
            ids = vocabulary.book(book)
            scores = model.scores_of(states, ids)
            if book == 0:
                scores = torch.cat([scores, model.scores_of(states, end)], dim=-1)
            scores = scores.float().cpu()
            codes = [voice.choose(book, own) for voice, own in zip(voices, scores, strict=True)]
            if all(voice.done for voice in voices):
                return [voice.ending for voice in voices]  # pyright: ignore[reportReturnType]
            # What comes after an end is not heard by anybody.
            chosen = [vocabulary.end_audio if c is None else ids.start + c for c in codes]
            if book == books - 1:
                yield [[] if voice.done else voice.frame for voice in voices]
            step = torch.tensor(chosen, device=model.device)[:, None]
            place = torch.full((1, 1), heard, device=model.device)
            states = model.states(step, place, cache=cache)[:, -1]
            heard += 1


def speak(model: UnifiedLM, request: SpeakRequest, count: int = 1) -> list[Spoken]:
    """Return `count` answers to a prompt, drawn with the seeds from the request's on.

    Raises:
        ValueError: see `stream`.
        ScoresNotFinite: see `stream`.
    """
    said: list[list[list[int]]] = [[] for _ in range(count)]
    frames = stream(model, request, count)
    while True:
        try:
            for own, frame in zip(said, next(frames), strict=True):
                if frame:
                    own.append(frame)
        except StopIteration as stop:
            books = model.vocabulary.format.num_codebooks
            made = [torch.tensor(own, dtype=torch.int64).view(-1, books) for own in said]
            return [Spoken(*both) for both in zip(made, stop.value, strict=True)]


@torch.inference_mode()
def write(
    model: UnifiedLM,
    prompt: Tensor,
    *,
    words: int,
    longest: int = 512,
    sampling: SamplingConfig = GREEDY,
    seed: int = 0,
) -> list[int]:
    """Return the ids of a text that answers a prompt.

    Args:
        model: that writes.
        prompt: (N,) int64 ids up to the control, see `Sequencer.prompt`.
        words: ids of the text that may come: the size of its tokenizer.
        longest: ids, after which it is cut.
        sampling: how they are drawn.
        seed: of the random numbers.

    Raises:
        ValueError: no prompt.
        ScoresNotFinite: the model's weights are damaged.
    """
    from transformers import DynamicCache

    generator = torch.Generator().manual_seed(seed)
    cache: Any = DynamicCache()
    _check(prompt)
    ids, written = prompt[None].to(model.device), []
    end = range(model.vocabulary.end, model.vocabulary.end + 1)
    for heard in range(len(prompt), len(prompt) + longest):
        places = torch.arange(heard - ids.shape[1], heard, device=model.device)[None]
        state = model.states(ids, places, cache=cache)[0, -1]
        scores = model.backbone.get_output_embeddings()(state)[:words]
        scores = torch.cat([scores, model.scores_of(state, end)]).float().cpu()
        code = draw(scores, sampling, generator, written)
        if code == words:
            break
        written.append(code)
        ids = torch.tensor([[code]], device=model.device)
    return written


def _known(model: UnifiedLM, request: SpeakRequest) -> Tensor:
    _check(request.prompt)
    known = request.prompt.cpu()
    if request.prefix is not None and len(request.prefix):
        codes = model.vocabulary.merged.ids(request.prefix.cpu())[1:-1]
        known = torch.cat([known, codes])
    return known[None]


def _check(prompt: Tensor) -> None:
    if prompt.dim() != 1 or prompt.dtype != torch.int64 or not len(prompt):
        raise ValueError(
            f"a prompt must be int64 (N,) with something in it: got {prompt.dtype} "
            f"{tuple(prompt.shape)}"
        )
