"""One text that is being spoken: what was asked for, and which codes its frames have so far."""

from dataclasses import dataclass, field
from itertools import pairwise

import torch
from torch import Tensor

from echoic.tts.layouts import EMPTY
from echoic.tts.layouts.layout import Layout
from echoic.tts.lm.guard import Bounds, Ending, loops
from echoic.tts.lm.sampling import Draw, SamplingConfig


@dataclass(frozen=True, slots=True)
class Request:
    """What to say, and how.

    Attributes:
        text: (L,) int64 ids, all that have come so far.
        whole: whether that is all; only where text runs beside speech may more come.
        prompt: (T, Q) frames that speech goes on from; `text` starts with what they say.
        prompt_units: how many ids of `text` that is.
        prompt_starts: (prompt_units,) the first frame of each, where text runs along.
        sampling: of the first book.
        rest: of all others; as the first for None.
        bounds: of the length.
        seed: of the random numbers.
    """

    text: Tensor
    whole: bool = True
    prompt: Tensor | None = None
    prompt_units: int = 0
    prompt_starts: Tensor | None = None
    sampling: SamplingConfig = field(default_factory=SamplingConfig)
    rest: SamplingConfig | None = None
    bounds: Bounds = field(default_factory=Bounds)
    seed: int = 0


@dataclass(slots=True)
class Along:
    """Where speech is in a text that runs along with it.

    A unit lasts until it is likelier over than not: the median of what the model believes, and no
    dice, which would make it limp.

    Attributes:
        ahead: units that have to be known behind the one that is said.
        unit: that is said.
        elapsed: frames since it began.
        begins: the first frame of each unit so far.
    """

    ahead: int
    unit: int = 0
    elapsed: int = 0
    begins: list[int] = field(default_factory=lambda: [0])
    _lasts: float = 1.0

    @classmethod
    def of(cls, request: Request, ahead: int) -> "Along":
        """Start with the unit behind what the prompt says.

        Raises:
            ValueError: a prompt that it is not known of when it says what, or that says all.
        """
        if request.prompt is None:
            return cls(ahead)
        starts = request.prompt_starts
        if starts is None or len(starts) != request.prompt_units or not request.prompt_units:
            raise ValueError("a prompt here needs the first frame of each unit that it says")
        if not request.prompt_units < len(request.text):
            raise ValueError("the prompt says all of the text: give more of it")
        frames = len(request.prompt)
        rising = [*starts.tolist(), frames]
        if rising[0] != 0 or any(a >= b for a, b in pairwise(rising)):
            raise ValueError(f"units of a prompt of {frames} frames cannot begin at {rising[:-1]}")
        return cls(ahead, request.prompt_units, begins=rising)

    @property
    def needs(self) -> int:
        """The number of the last unit that the next step depends on."""
        return self.unit + self.ahead

    def move(self, chance: float, frames: int, units: int) -> bool:
        """Take a frame, and return whether the text is over.

        Args:
            chance: that the frame is its unit's last.
            frames: there are now.
            units: of the text.
        """
        self.elapsed += 1
        self._lasts *= 1 - chance
        if self._lasts >= 0.5:
            return False
        if self.unit + 1 == units:
            return True
        self.unit += 1
        self.elapsed, self._lasts = 0, 1.0
        self.begins.append(frames)
        return False


@dataclass(slots=True)
class Utterance:
    """A request on its way.

    Attributes:
        request: its origin; text that came later is in `text`.
        layout: of its steps.
        end: the value of the first book that ends speech.
        text: (L,) ids.
        whole: whether that is all.
        number: of its next step.
        ending: why speech ended, once it has.
        along: where in the text its next step is, if text runs along.
    """

    request: Request
    layout: Layout
    end: int
    text: Tensor
    whole: bool
    number: int = 0
    ending: Ending | None = None
    along: "Along | None" = None
    _firsts: list[int] = field(default_factory=list)
    _frames: list[list[int]] = field(default_factory=list)
    _given: int = 0
    _random: torch.Generator = field(default_factory=torch.Generator)

    @classmethod
    def of(
        cls, request: Request, layout: Layout, end: int, along: Along | None = None
    ) -> "Utterance":
        """Start with a request.

        Args:
            request: what to say.
            layout: of the steps.
            end: the value of the first book that ends speech.
            along: where text runs along, its first unit.

        Raises:
            ValueError: no text, or a prompt that does not fit.
        """
        if request.text.dim() != 1 or request.text.dtype != torch.int64:
            raise ValueError(f"text must be int64 (L,): got {tuple(request.text.shape)}")
        if not len(request.text):
            raise ValueError("the text is empty: say something")
        made = cls(request, layout, end, request.text.cpu(), request.whole, along=along)
        made._random.manual_seed(request.seed)
        if request.prompt is not None:
            layout.format.check(request.prompt)
            made._frames = request.prompt.tolist()
            made._given = len(made._frames)
            made.number = made._given * layout.steps_per_frame
        return made

    @property
    def prompt_steps(self) -> Tensor:
        """The steps (S, C) before the first that is to be chosen."""
        if self.request.prompt is None:
            return torch.empty(0, self.layout.channels, dtype=torch.int64)
        return self.layout.steps(self.request.prompt.cpu())[: self._prompted]

    @property
    def frames(self) -> int:
        """How many frames there are so far, the prompt's among them."""
        return len(self._frames)

    @property
    def speaks(self) -> bool:
        """Whether a code is still to come."""
        return self.ending is None or self._given < len(self._frames)

    @property
    def waits(self) -> bool:
        """Whether the next step needs text that has not come yet."""
        needed = self.number if self.along is None else self.along.needs
        return self.speaks and not self.whole and needed >= len(self.text)

    def unit(self, step: int, text_end: int) -> int:
        """Return what stands beside a step: an id, the text's end, or -1 behind it."""
        if step < len(self.text):
            return int(self.text[step])
        return text_end if step == len(self.text) and self.whole else -1

    def move(self, chance: float) -> None:
        """Go on in a text that runs along, if it is time.

        Args:
            chance: that the frame which was just chosen is its unit's last.
        """
        assert self.along is not None
        if self.ending is None and self.along.move(chance, len(self._frames), len(self.text)):
            self.ending = "end"

    def book(self, channel: int) -> int:
        """Return whose code the next step has in a channel."""
        return self.layout.codebook(self.number, channel)

    def wanted(self, channel: int) -> Draw | int:
        """Return how the code of a channel of the next step is to be drawn, or the code itself.

        Args:
            channel: all of them come in their order, each `take`n before the next.

        Returns:
            `EMPTY` where there is none.
        """
        if not self.speaks:
            return EMPTY
        book, frame = self.book(channel), self._frame(channel)
        if frame < 0:
            return EMPTY
        if frame < self._prompted // self.layout.steps_per_frame:
            return self._frames[frame][book]
        if book == 0:
            return self._wanted_first()
        if frame >= len(self._frames):  # the first book ended before
            return EMPTY
        sampling = self.request.rest or self.request.sampling
        return Draw(self.end, sampling, self._random)

    def take(self, channel: int, code: int) -> int:
        """Keep the code that was drawn for a channel; return it, `EMPTY` where speech ends."""
        book = self.book(channel)
        if book == 0:
            return self._take_first(code)
        self._frames[self._frame(channel)][book] = code
        return code

    def advance(self) -> Tensor:
        """Go to the next step, and return the frames (n, Q) that are whole now and were not."""
        self.number += 1
        books = self.layout.format.num_codebooks
        end = self._given
        while end < len(self._frames) and EMPTY not in self._frames[end]:
            end += 1
        whole, self._given = self._frames[self._given : end], end
        return torch.tensor(whole, dtype=torch.int64).view(-1, books)

    @property
    def _prompted(self) -> int:
        prompt = self.request.prompt
        return 0 if prompt is None else len(prompt) * self.layout.steps_per_frame

    def _frame(self, channel: int) -> int:
        if self.layout.flat:
            return self.number // self.layout.format.num_codebooks
        return self.number - self.layout.delays[channel]

    def _wanted_first(self) -> Draw | int:
        if self.ending is not None:
            return EMPTY
        rate, bounds = self.layout.format.frame_rate, self.request.bounds
        units = len(self.text) - self.request.prompt_units
        fewest, most = bounds.frames(units, rate)
        if len(self._firsts) >= most and self.whole:
            self.ending = "limit"
            return EMPTY
        goes_on = self.along is not None or len(self._firsts) < fewest or not self.whole
        barred = self.end if goes_on else None
        return Draw(self.end + 1, self.request.sampling, self._random, self._firsts, barred)

    def _take_first(self, code: int) -> int:
        if code == self.end:
            self.ending = "end"
            return EMPTY
        self._firsts.append(code)
        self._frames.append([code, *[EMPTY] * (self.layout.format.num_codebooks - 1)])
        if loops(self._firsts, self.request.bounds, self.layout.format.frame_rate):
            self.ending = "loop"
        return code
