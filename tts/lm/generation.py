"""Speech that is being generated: some texts together, step by step, until each has ended."""

from collections.abc import Sequence

import torch
from torch import Tensor
from torch.nn.utils.rnn import pad_sequence

from echoic.tts.layouts import EMPTY
from echoic.tts.lm.cache import KeyValueCache
from echoic.tts.lm.guard import Ending
from echoic.tts.lm.sampling import ScoresNotFinite
from echoic.tts.lm.speech import SpeechLM, places
from echoic.tts.lm.utterance import Along, Request, Utterance


class Generation:
    """Speaks some texts together, each as it would be spoken alone.

    Caches, random numbers and counts belong to this generation alone: what one does changes nothing
    for another, nor for the next one.

    Args:
        model: in evaluation mode.
        requests: what to say.

    Raises:
        ValueError: see `Utterance.of`; text that is not whole, or shorter than its prompt, where
            the model needs it.
    """

    def __init__(self, model: SpeechLM, requests: Sequence[Request]) -> None:
        self.model = model
        self.rows = [
            Utterance.of(request, model.layout, model.end, self._start(request))
            for request in requests
        ]
        if not self.rows:
            raise ValueError("nothing to say: give one text at least")
        for row in self.rows:
            self._check(row)
        self._vectors = [self._read_text(row) for row in self.rows]
        self._last = torch.full((len(self.rows), model.layout.channels), EMPTY)
        self._cache = self._prefill()

    @property
    def done(self) -> bool:
        """Whether every row has ended."""
        return not any(row.speaks for row in self.rows)

    @property
    def waits(self) -> bool:
        """Whether a row cannot go on before more of its text has come."""
        return any(row.waits for row in self.rows)

    @property
    def endings(self) -> list[Ending | None]:
        """Why each row ended."""
        return [row.ending for row in self.rows]

    def feed(self, row: int, text: Tensor, *, whole: bool = False) -> None:
        """Give a row more of its text, (L,) ids.

        Raises:
            ValueError: its text was whole.
        """
        utterance = self.rows[row]
        if utterance.whole:
            raise ValueError("the text was said to be whole: no more can come")
        utterance.text = torch.cat([utterance.text, text.to("cpu", torch.int64)])
        utterance.whole = whole
        self._vectors[row] = self._read_text(utterance)

    @torch.inference_mode()
    def step(self) -> list[Tensor]:
        """Take one step, and return the frames (n, Q) of each row that are whole now.

        A prompt's own frames are not among them.

        Raises:
            RuntimeError: a row waits for its text.
            ScoresNotFinite: the model's weights are damaged.
        """
        if self.waits:
            raise RuntimeError("a row waits for its text: feed it before the next step")
        states = self._read()
        steps = torch.full_like(self._last, EMPTY)
        scores = self.model.scores(states[:, None], self._phase)[:, 0].float().cpu()
        for index, row in enumerate(self.rows):
            if row.speaks:
                for channel in range(scores.shape[1]):
                    steps[index, channel] = row.choose(channel, scores[index, channel])
        self._choose_in_turn(states, steps)
        self._move(states)
        self._last = steps
        return [row.advance() for row in self.rows]

    @property
    def _phase(self) -> int:
        """The number of the next step, as far as a flat layout's books depend on it."""
        return self.rows[0].number % self.model.config.frames.num_codebooks

    def _choose_in_turn(self, states: Tensor, steps: Tensor) -> None:
        depth = self.model.depth
        speaking = (steps[:, 0] != EMPTY).nonzero()[:, 0]
        if depth is None or not len(speaking):
            return
        states = states[speaking.to(states.device)]
        cache, scores = depth.start(states, steps[speaking, 0].to(states.device))
        for channel in range(1, steps.shape[1]):
            if channel > 1:
                known = steps[speaking, channel - 1].to(states.device)
                scores = depth.next(cache, channel - 1, known)
            drawn = scores.float().cpu()
            for place, index in enumerate(speaking.tolist()):
                steps[index, channel] = self.rows[index].choose(channel, drawn[place])

    def _read(self) -> Tensor:
        """Read each row's last step, and return the states (B, dim) of the next."""
        device = self.model.device
        x = self.model.embed_steps(self._last[:, None].to(device), self._phase - 1)
        numbers = torch.tensor([[row.number] for row in self.rows], device=device)
        if self.model.config.text == "beside":
            x = x + self._units([range(row.number, row.number + 1) for row in self.rows])
        if self.model.config.text == "along":
            x = x + self._said()[:, None]
        return self.model.backbone(x, positions=numbers, cache=self._cache)[:, 0]

    def _start(self, request: Request) -> Along | None:
        reader = self.model.reader
        return None if reader is None else Along.of(request, reader.config.ahead)

    @torch.inference_mode()
    def _read_text(self, row: Utterance) -> Tensor:
        """Return the vectors (L, dim) of a text that runs along; no rows of any other."""
        text = row.text.to(self.model.device)
        if self.model.reader is None:
            return self.model.embed_text(text[:0])
        return self.model.read_along(text[None], torch.tensor([len(text)], device=text.device))[0]

    def _said(self) -> Tensor:
        """Return what the next step of each row is given of its text, (B, dim)."""
        places = [row.along for row in self.rows if row.along is not None]
        units = torch.stack([v[p.unit] for v, p in zip(self._vectors, places, strict=True)])
        elapsed = torch.tensor([place.elapsed for place in places], device=units.device)
        return self.model.beside_step(units, elapsed)

    def _said_before(self, along: Along, row: int, count: int) -> Tensor:
        """Return what the first `count` steps of a row were given of its text, (count, dim)."""
        starts = torch.tensor([along.begins], device=self.model.device)
        steps = torch.arange(count, device=starts.device)
        numbers = places(starts, torch.tensor([len(along.begins)], device=starts.device), steps)[0]
        return self.model.beside_step(self._vectors[row][numbers], steps - starts[0][numbers])

    def _move(self, states: Tensor) -> None:
        if self.model.config.text != "along":
            return
        chances = self.model.moves(states).float().sigmoid().cpu()
        if not bool(chances.isfinite().all()):
            raise ScoresNotFinite("the model's scores are not finite: its weights are damaged")
        for row, chance in zip(self.rows, chances.tolist(), strict=True):
            row.move(chance)

    def _prefill(self) -> KeyValueCache:
        """Read texts and prompts, up to the step before the last one that is known."""
        model, device = self.model, self.model.device
        cache = model.backbone.new_cache(len(self.rows))
        parts, places = [], []
        with torch.inference_mode():
            for index, row in enumerate(self.rows):
                known = torch.cat([self._last[index : index + 1], row.prompt_steps])
                if len(known) > 1:
                    self._last[index] = known[-1]
                heard = model.embed_steps(known[None, :-1].to(device), -1)
                numbers = torch.arange(row.number, device=device)
                if model.config.text == "beside":
                    heard = heard + self._units([range(row.number)], index)
                elif row.along is not None:
                    heard = heard + self._said_before(row.along, index, row.number)
                else:
                    text = torch.cat([row.text, row.text.new_tensor([model.text_end])]).to(device)
                    heard = torch.cat([model.embed_text(text)[None], heard], dim=1)
                    numbers = torch.cat([torch.arange(len(text), device=device), numbers])
                parts.append(heard[0])
                places.append(numbers)
            lengths = torch.tensor([len(part) for part in parts], device=device)
            if int(lengths.max()):
                x, positions = pad_sequence(parts, True), pad_sequence(places, True)
                model.backbone(x, positions=positions, cache=cache, counts=lengths)
        return cache

    def _units(self, steps: Sequence[range], first: int = 0) -> Tensor:
        """Return embeddings (B, S, dim) of the text beside steps of the rows from `first` on."""
        end = self.model.text_end
        units = [
            [self.rows[first + index].unit(step, end) for step in numbers]
            for index, numbers in enumerate(steps)
        ]
        text = torch.tensor(units, dtype=torch.int64, device=self.model.device)
        return self.model.embed_text(text.view(len(steps), -1))

    def _check(self, row: Utterance) -> None:
        if row.text.numel() and not 0 <= int(row.text.min()) <= int(row.text.max()) < (
            self.model.config.text_size
        ):
            raise ValueError(
                f"text of ids {int(row.text.min())} to {int(row.text.max())}, expected 0 to "
                f"{self.model.config.text_size - 1}"
            )
        if self.model.config.text == "before" and not row.whole:
            raise ValueError("this model reads all of a text first: give it whole")
        if not row.whole and row.number > len(row.text):
            raise ValueError(
                f"a prompt of {row.number} steps needs as many units of text beside it, or the "
                f"whole text: got {len(row.text)}"
            )
