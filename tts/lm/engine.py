"""Steps of many requests at once, whoever they are: rows may come and go between any two steps."""

from collections.abc import Sequence
from typing import NamedTuple

import torch
from torch import Tensor

from echoic.streaming.work import Failure
from echoic.tts.layouts import EMPTY
from echoic.tts.lm.cache import JoinedCache
from echoic.tts.lm.products import apart
from echoic.tts.lm.rows import Row
from echoic.tts.lm.sampling import ScoresNotFinite, draw_each
from echoic.tts.lm.speech import SpeechLM


class _Scored(NamedTuple):
    """What the networks say of the next steps of B rows, before anything is drawn.

    Attributes:
        states: (B, dim) of the backbone.
        scores: (B, H, V) of the channels that the backbone scores.
        moves: (B,) chances that a row's unit of text ends with this step; ones where text does not
            run along.
    """

    states: Tensor
    scores: Tensor
    moves: Tensor


class TalkerEngine:
    """Takes the next step of each of several rows; rows of any length, layout's phase or voice.

    Products are computed for all rows at once, attention for each by itself on its own cache, and
    random numbers are the row's own. So a row says what it says alone: bit for bit in the packed
    arithmetic of eight bits, whose products do not depend on how many rows they have, with
    everything else computed row by row; to within rounding in others.

    What a row has to read before it can speak is read in pieces, beside the steps of the others:
    one row's in each call, so that nobody waits for longer than a piece takes.

    Args:
        model: in evaluation mode.
        piece: positions of a piece.
        stage: see `echoic.streaming.work.Engine`.
    """

    def __init__(self, model: SpeechLM, piece: int = 96, stage: int = 1) -> None:
        if piece < 1:
            raise ValueError(f"pieces of {piece} positions, expected 1 or more")
        self.model = model
        self.piece = piece
        self.stage = stage

    @torch.inference_mode()
    def answer(self, questions: Sequence[Row], /) -> list[Tensor | Failure]:
        """Return the frames (n, Q) of each row that are whole now and were not.

        A prompt's own frames are not among them, and there are none while it is being read. A row
        fails that waits for its text, and one whose scores are not finite.
        """
        answers: list[Tensor | Failure] = [self._nothing for _ in questions]
        rows: list[int] = []
        for number, row in enumerate(questions):
            if len(row.ahead):
                continue
            if row.utterance.waits:
                waits = RuntimeError("a row waits for its text: feed it before the next step")
                answers[number] = Failure(waits)
            else:
                rows.append(number)
        reading = next((row for row in questions if len(row.ahead)), None)
        if rows or reading is not None:
            stepping = [questions[number] for number in rows]
            said = self._speak(stepping, self._think(stepping, reading))
            for number, frames in zip(rows, said, strict=True):
                answers[number] = frames
        return answers

    @property
    def _nothing(self) -> Tensor:
        return torch.empty(0, self.model.config.frames.num_codebooks, dtype=torch.int64)

    def _think(self, rows: Sequence[Row], reading: Row | None) -> _Scored:
        """Read each row's last step, and a piece of what one row has to read before its first."""
        every = [*rows, *([] if reading is None else [reading])]
        lengths = [row.cache.length for row in every]
        try:
            states = self._read(rows, reading)
            scored = _Scored(states, self._scores(rows, states), self._moves(states))
        except Exception:
            # As if nothing had been asked: what lies behind a cache's length is not there.
            for row, length in zip(every, lengths, strict=True):
                row.cache.length = length
            raise
        if reading is not None:
            reading.ahead = reading.ahead[self.piece :]
            reading.numbers = reading.numbers[self.piece :]
        return scored

    def _read(self, rows: Sequence[Row], reading: Row | None) -> Tensor:
        device = self.model.device
        counts, caches = [1] * len(rows), [row.cache for row in rows]
        parts = [self._inputs(rows)] if rows else []
        numbers = [torch.tensor([row.utterance.number for row in rows], device=device)]
        if reading is not None:
            parts.append(reading.ahead[: self.piece])
            numbers.append(reading.numbers[: self.piece])
            counts.append(len(parts[-1]))
            caches.append(reading.cache)
        x, positions = (p[0] if len(p) == 1 else torch.cat(p) for p in (parts, numbers))
        cache = JoinedCache(caches, counts)
        states = self.model.backbone(x[None], positions=positions[None].long(), cache=cache)
        return states[0, : len(rows)]

    def _inputs(self, rows: Sequence[Row]) -> Tensor:
        """Return what the model reads of each row's last step, and of its text beside, (B, dim)."""
        model = self.model
        last = torch.stack([row.last for row in rows])[:, None].to(model.device)
        before = torch.tensor([row.utterance.number - 1 for row in rows], device=model.device)
        x = model.embed_steps(last, before)[:, 0]
        if model.config.text == "beside":
            units = torch.tensor([row.beside for row in rows], device=model.device)
            x = x + model.embed_text(units)
        if model.config.text == "along":
            units, elapsed = zip(*(row.said for row in rows), strict=True)
            x = x + model.beside_step(
                torch.stack(units), torch.tensor(elapsed, device=model.device)
            )
        return x

    def _scores(self, rows: Sequence[Row], states: Tensor) -> Tensor:
        """Return the scores (B, H, V) of the rows' next steps."""
        if not rows:
            return states.new_empty(0, 0, 0)
        model = self.model
        if model.layout.flat:
            books = [row.utterance.book(0) for row in rows]
            made = [apart(model.heads[book], states[i : i + 1]) for i, book in enumerate(books)]
            return torch.stack(made).cpu()
        heads = model.heads.flatten(0, 1)
        return apart(heads, states).unflatten(1, model.heads.shape[:2]).float().cpu()

    def _moves(self, states: Tensor) -> Tensor:
        mover = self.model.mover
        if mover is None or not len(states):
            return torch.ones(len(states))
        return (apart(mover.weight, states)[:, 0] + mover.bias).float().sigmoid().cpu()

    def _speak(self, rows: Sequence[Row], scored: _Scored) -> list[Tensor | Failure]:
        """Draw the step of each row, and go on to the next.

        Random numbers are gone when they are drawn, so from here on nothing can be asked twice: an
        error is the answer.
        """
        failures: dict[int, Exception] = {}
        steps = torch.full((len(rows), self.model.layout.channels), EMPTY)
        try:
            for channel in range(scored.scores.shape[1]):
                self._choose(rows, range(len(rows)), channel, scored.scores[:, channel], steps,
                             failures)  # fmt: skip
            self._choose_in_turn(rows, scored.states, steps, failures)
        except Exception as error:
            return [Failure(error)] * len(rows)
        return [
            Failure(failures[number]) if number in failures else self._advance(row, step, chance)
            for number, (row, step, chance) in enumerate(
                zip(rows, steps, scored.moves.tolist(), strict=True)
            )
        ]

    def _advance(self, row: Row, step: Tensor, chance: float) -> Tensor | Failure:
        if row.utterance.along is not None:
            if chance != chance:
                message = "the model's scores are not finite: its weights are damaged"
                return Failure(ScoresNotFinite(message))
            row.utterance.move(chance)
        row.last = step
        return row.utterance.advance()

    def _choose_in_turn(
        self, rows: Sequence[Row], states: Tensor, steps: Tensor, failures: dict[int, Exception]
    ) -> None:
        depth = self.model.depth
        speaking = [number for number in range(len(rows)) if int(steps[number, 0]) != EMPTY]
        if depth is None or not speaking:
            return
        if len(speaking) < len(rows):
            states = states[speaking]
        cache, scores = depth.start(states, steps[speaking, 0].to(states.device))
        for channel in range(1, steps.shape[1]):
            if channel > 1:
                known = steps[speaking, channel - 1].to(states.device)
                scores = depth.next(cache, channel - 1, known)
            self._choose(rows, speaking, channel, scores.float().cpu(), steps, failures)

    def _choose(
        self,
        rows: Sequence[Row],
        numbers: Sequence[int],
        channel: int,
        scores: Tensor,
        steps: Tensor,
        failures: dict[int, Exception],
    ) -> None:
        """Draw the code of a channel for some of the rows, from scores (n, V)."""
        drawn, draws = [], []
        for place, number in enumerate(numbers):
            wanted = EMPTY if number in failures else rows[number].utterance.wanted(channel)
            if isinstance(wanted, int):
                steps[number, channel] = wanted
            else:
                drawn.append(place)
                draws.append(wanted)
        if not drawn:
            return
        scores = scores if len(drawn) == len(scores) else scores[drawn]
        for place, code in zip(drawn, draw_each(scores, draws), strict=True):
            number = numbers[place]
            if isinstance(code, ScoresNotFinite):
                failures[number] = code
            else:
                steps[number, channel] = rows[number].utterance.take(channel, code)
