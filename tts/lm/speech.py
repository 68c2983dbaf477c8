"""The language model of speech: text in, steps of codes out."""

from typing import NamedTuple

import torch
from torch import Tensor, nn
from torch.nn.utils.rnn import pad_sequence

from echoic.tts.layouts import EMPTY
from echoic.tts.lm.depth import DepthDecoder
from echoic.tts.lm.reader import TextReader
from echoic.tts.lm.speech_config import SpeechLMConfig
from echoic.tts.lm.transformer import Transformer

_ELAPSED = 64  # steps, after which how long a unit has lasted is told no longer


class Spoken(NamedTuple):
    """What the model thinks of steps that are known.

    Attributes:
        states: (B, S + 1, C) of the backbone: state s is for step s; the last is for the end.
        scores: (B, S + 1, H, V) of the codes that the backbone scores itself: all channels of a
            step, or the first where codes are drawn in turn. Channel 0 has one more value, the end.
        moves: (B, S) logits, where text runs along: whether the step after one says the next unit.
    """

    states: Tensor
    scores: Tensor
    moves: Tensor | None = None


class SpeechLM(nn.Module):
    """Scores steps of codes by the text and by the steps before.

    Args:
        config: see there.
    """

    def __init__(self, config: SpeechLMConfig) -> None:
        super().__init__()
        self.config = config
        self.layout = config.steps
        frames, dim = config.frames, config.backbone.dim
        # Two ids behind the text's own: where it ends, and that nothing comes any more.
        self.text_embedding = nn.Embedding(config.text_size + 2, dim)
        # Behind each book's codes: that there is none, which also stands before the first step.
        self.code_embedding = nn.Embedding(frames.num_codebooks * (frames.codebook_size + 1), dim)
        self.backbone = Transformer(config.backbone)
        scored = 1 if self.layout.in_turn else frames.num_codebooks
        along = config.text == "along"
        self.reader = TextReader(config.reader, dim) if along else None
        self.elapsed = nn.Embedding(_ELAPSED, dim) if along else None
        self.mover = nn.Linear(dim, 1) if along else None
        # The last row is the end of speech; only that of the first book is ever asked for.
        self.heads = nn.Parameter(torch.empty(scored, frames.codebook_size + 1, dim))
        deep = self.layout.in_turn and frames.num_codebooks > 1
        self.depth = (
            DepthDecoder(config.depth, dim, frames.num_codebooks, frames.codebook_size)
            if deep
            else None
        )
        self.reset()

    @property
    def text_end(self) -> int:
        """The id that stands behind a text."""
        return self.config.text_size

    @property
    def end(self) -> int:
        """The value of the first channel that says that speech is over."""
        return self.config.frames.codebook_size

    @property
    def device(self) -> torch.device:
        """Where the weights are."""
        return self.heads.device

    def reset(self) -> None:
        """Draw all weights anew."""
        self.backbone.reset()
        if self.depth is not None:
            self.depth.reset()
        for table in (self.text_embedding.weight, self.code_embedding.weight, self.heads):
            nn.init.normal_(table, std=0.02)
        if self.reader is not None and self.elapsed is not None and self.mover is not None:
            self.reader.reset()
            nn.init.normal_(self.elapsed.weight, std=0.02)
            self.mover.reset_parameters()

    def embed_steps(self, steps: Tensor, first: int | Tensor = 0) -> Tensor:
        """Return the sum of the embeddings (B, S, dim) of the codes of steps (B, S, C).

        Args:
            steps: codes, `EMPTY` where none is.
            first: number of the first of these steps, or (B,) of each row's, which tells a flat
                layout's books.
        """
        size = self.config.frames.codebook_size + 1
        codes = torch.where(steps == EMPTY, size - 1, steps)
        return self.code_embedding(codes + self.books(steps.shape[1], first) * size).sum(2)

    def embed_text(self, text: Tensor) -> Tensor:
        """Return embeddings (..., dim) of ids (...); -1 stands for no text any more."""
        return self.text_embedding(torch.where(text < 0, self.config.text_size + 1, text))

    def read_along(self, text: Tensor, lengths: Tensor) -> Tensor:
        """Return the vectors (B, L, dim) of the units (B, L) of texts that run along."""
        assert self.reader is not None
        return self.reader(self.text_embedding(text), lengths)

    def beside_step(self, units: Tensor, elapsed: Tensor) -> Tensor:
        """Return what a step is given of a text that runs along.

        Args:
            units: (..., dim) of `read_along`, those that the steps say.
            elapsed: (...) int64, steps since each began.
        """
        assert self.elapsed is not None
        return units + self.elapsed(elapsed.clamp(0, _ELAPSED - 1))

    def moves(self, states: Tensor) -> Tensor:
        """Return logits (...) of states (..., dim): whether the next step says the next unit."""
        assert self.mover is not None
        return self.mover(states)[..., 0]

    def forward(
        self,
        text: Tensor,
        text_lengths: Tensor,
        steps: Tensor,
        step_lengths: Tensor,
        starts: Tensor | None = None,
    ) -> Spoken:
        """Score steps that are known.

        Args:
            text: (B, L) int64 ids.
            text_lengths: (B,) of them that count.
            steps: (B, S, C) int64.
            step_lengths: (B,) of them that count.
            starts: (B, L) the first step of each id, where text runs along.

        Raises:
            ValueError: ids or codes outside their ranges; no starts where they are needed.
        """
        self._check(text, text_lengths, steps)
        count = steps.shape[1]
        begin = steps.new_full((len(steps), 1, self.layout.channels), EMPTY)
        # State s comes of step s - 1; a flat layout's step -1 stands for the book before the first.
        before = torch.cat([self.embed_steps(begin, -1), self.embed_steps(steps, 0)], dim=1)
        if self.config.text == "along":
            if starts is None:
                raise ValueError("text runs along speech here: say where each of its units starts")
            units = self.read_along(text, text_lengths)
            states = self.backbone(before + self._along(units, starts, text_lengths, count + 1))
            return Spoken(states, self.scores(states, 0), self.moves(states[:, :-1]))
        with_end = nn.functional.pad(text, (0, 1))
        with_end.scatter_(1, text_lengths[:, None], self.text_end)
        if self.config.text == "beside":
            track = _beside(with_end, text_lengths + 1, count + 1)
            states = self.backbone(before + self.embed_text(track))
        else:
            states = self._after_text(with_end, text_lengths + 1, before, step_lengths + 1)
        return Spoken(states, self.scores(states, 0))

    def scores(self, states: Tensor, first: int) -> Tensor:
        """Return the scores (B, S, H, V + 1) of states (B, S, C) for steps from `first` on.

        Only the first book's last score, the end, means something.
        """
        if not self.layout.flat:
            return torch.einsum("bsc,hvc->bshv", states, self.heads)
        books = self.books(states.shape[1], first)[:, 0]
        return torch.einsum("bsc,svc->bsv", states, self.heads[books])[:, :, None]

    def _after_text(
        self, text: Tensor, text_lengths: Tensor, before: Tensor, lengths: Tensor
    ) -> Tensor:
        embedded = self.embed_text(text)
        rows, places = [], []
        for row, (n, m) in enumerate(zip(text_lengths.tolist(), lengths.tolist(), strict=True)):
            rows.append(torch.cat([embedded[row, :n], before[row, :m]]))
            numbers = (torch.arange(n, device=text.device), torch.arange(m, device=text.device))
            places.append(torch.cat(numbers))
        # What lies behind a row's end is seen by nobody: everyone looks back only.
        x, positions = pad_sequence(rows, True), pad_sequence(places, True)
        read = self.backbone(x, positions=positions)
        states = [
            read[row, n : n + m]
            for row, (n, m) in enumerate(zip(text_lengths.tolist(), lengths.tolist(), strict=True))
        ]
        return nn.functional.pad(
            pad_sequence(states, True), (0, 0, 0, before.shape[1] - int(lengths.max()))
        )

    def _along(self, units: Tensor, starts: Tensor, lengths: Tensor, count: int) -> Tensor:
        steps = torch.arange(count, device=starts.device)
        numbers = places(starts, lengths, steps)
        vectors = units.gather(1, numbers[:, :, None].expand(-1, -1, units.shape[2]))
        return self.beside_step(vectors, steps - starts.gather(1, numbers))

    def books(self, count: int, first: int | Tensor) -> Tensor:
        """Return whose codes stand in steps, (S, C); (B, S, C) of rows that begin each its own."""
        if self.layout.flat:
            steps = torch.arange(count, device=self.device)
            steps = steps + (first[:, None] if isinstance(first, Tensor) else first)
            return (steps % self.config.frames.num_codebooks)[..., None]
        return torch.arange(self.layout.channels, device=self.device).expand(count, -1)

    def _check(self, text: Tensor, text_lengths: Tensor, steps: Tensor) -> None:
        heard = torch.arange(text.shape[1], device=text.device) < text_lengths[:, None]
        ids = text[heard]
        if len(ids) and not 0 <= int(ids.min()) <= int(ids.max()) < self.config.text_size:
            raise ValueError(
                f"text of ids {int(ids.min())} to {int(ids.max())}, expected 0 to "
                f"{self.config.text_size - 1}"
            )
        size = self.config.frames.codebook_size
        if steps.shape[2] != self.layout.channels or bool((steps >= size).any()):
            raise ValueError(
                f"steps must be (B, S, {self.layout.channels}) of codes below {size}: got "
                f"{tuple(steps.shape)}"
            )


def places(starts: Tensor, lengths: Tensor, steps: Tensor) -> Tensor:
    """Return which unit (B, S) of texts steps (S,) say.

    Args:
        starts: (B, L) the first step of each unit.
        lengths: (B,) of the units that count; behind the last one it goes on.
        steps: their numbers.
    """
    begun = (starts[:, None] <= steps[:, None]).sum(2)
    return torch.minimum(begun, lengths[:, None]).clamp(min=1) - 1


def _beside(text: Tensor, lengths: Tensor, count: int) -> Tensor:
    """Return the unit of text beside each of `count` steps, (B, count), -1 behind the last.

    What is longer than the steps is dropped: nobody could hear it.
    """
    track = text.new_full((len(text), max(count, text.shape[1])), -1)
    heard = torch.arange(text.shape[1], device=text.device) < lengths[:, None]
    track[:, : text.shape[1]] = torch.where(heard, text, -1)
    return track[:, :count]
