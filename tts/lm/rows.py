"""One request in the hands of a model: what is said of it, and what the model has read of it."""

import torch
from torch import Tensor

from echoic.tts.layouts import EMPTY
from echoic.tts.lm.speech import SpeechLM, places
from echoic.tts.lm.utterance import Along, Request, Utterance


class Row:
    """A request that a `TalkerEngine` steps; it belongs to one engine's model.

    Attributes:
        utterance: what is said so far.
        cache: what the model has read, up to the step before the last that is known.
        last: (C,) the last step that is known, which is read next.
        ahead: (N, dim) what is to be read before the first step: text, and the prompt's steps.
        numbers: (N,) int64 their positions.

    Args:
        model: in evaluation mode.
        request: what to say.

    Raises:
        ValueError: see `Utterance.of`; text that is not whole, or shorter than its prompt, where
            the model needs it.
    """

    @torch.inference_mode()
    def __init__(self, model: SpeechLM, request: Request) -> None:
        self._model = model
        reader = model.reader
        along = None if reader is None else Along.of(request, reader.config.ahead)
        self.utterance = Utterance.of(request, model.layout, model.end, along)
        self._check()
        self.cache = model.backbone.new_cache(1)
        self._vectors = self._read_text()
        self.last = torch.full((model.layout.channels,), EMPTY)
        known = torch.cat([self.last[None], self.utterance.prompt_steps])
        self.last = known[-1]
        self.ahead, self.numbers = self._known(known[:-1])

    @property
    def said(self) -> tuple[Tensor, int]:
        """The vector (dim,) of the unit that the next step says, and the frames since it began."""
        along = self.utterance.along
        assert along is not None
        return self._vectors[along.unit], along.elapsed

    @property
    def beside(self) -> int:
        """The id that stands beside the next step."""
        return self.utterance.unit(self.utterance.number, self._model.text_end)

    def feed(self, text: Tensor, *, whole: bool = False) -> None:
        """Take more of the text, (L,) ids.

        Raises:
            ValueError: its text was whole.
        """
        utterance = self.utterance
        if utterance.whole:
            raise ValueError("the text was said to be whole: no more can come")
        utterance.text = torch.cat([utterance.text, text.to("cpu", torch.int64)])
        utterance.whole = whole
        with torch.inference_mode():
            self._vectors = self._read_text()

    def _read_text(self) -> Tensor:
        """Return the vectors (L, dim) of a text that runs along; no rows of any other."""
        model = self._model
        text = self.utterance.text.to(model.device)
        if model.reader is None:
            return model.embed_text(text[:0])
        return model.read_along(text[None], torch.tensor([len(text)], device=text.device))[0]

    def _known(self, steps: Tensor) -> tuple[Tensor, Tensor]:
        """Return what is read before the first step that is chosen: steps (S, C), and text."""
        model, device, row = self._model, self._model.device, self.utterance
        heard = model.embed_steps(steps[None].to(device), -1)[0]
        numbers = torch.arange(row.number, device=device)
        if row.along is not None:
            return heard + self._said_before(row.along, row.number), numbers
        if model.config.text == "beside":
            units = [row.unit(step, model.text_end) for step in range(row.number)]
            text = torch.tensor(units, dtype=torch.int64, device=device)
            return heard + model.embed_text(text), numbers
        text = torch.cat([row.text, row.text.new_tensor([model.text_end])]).to(device)
        heard = torch.cat([model.embed_text(text), heard])
        return heard, torch.cat([torch.arange(len(text), device=device), numbers])

    def _said_before(self, along: Along, count: int) -> Tensor:
        """Return what the first `count` steps were given of the text, (count, dim)."""
        starts = torch.tensor([along.begins], device=self._model.device)
        steps = torch.arange(count, device=starts.device)
        numbers = places(starts, torch.tensor([len(along.begins)], device=starts.device), steps)[0]
        return self._model.beside_step(self._vectors[numbers], steps - starts[0][numbers])

    def _check(self) -> None:
        row, config = self.utterance, self._model.config
        least, most = int(row.text.min()), int(row.text.max())
        if not 0 <= least <= most < config.text_size:
            raise ValueError(f"text of ids {least} to {most}, expected 0 to {config.text_size - 1}")
        if config.text == "before" and not row.whole:
            raise ValueError("this model reads all of a text first: give it whole")
        if not row.whole and row.number > len(row.text):
            raise ValueError(
                f"a prompt of {row.number} steps needs as many units of text beside it, or the "
                f"whole text: got {len(row.text)}"
            )
