"""What all layouts are: a delay for each code, and how many steps a frame takes."""

from dataclasses import dataclass
from typing import NamedTuple

import torch
from torch import Tensor

from echoic.tts.tokens import FrameFormat

#: Stands in a step where no code is: before a delayed code's first frame, and behind its last.
EMPTY = -1


class LayoutState(NamedTuple):
    """What turns further steps into frames.

    Attributes:
        held: (n, C) the last steps, of which no frame could be made yet.
    """

    held: Tensor


@dataclass(frozen=True, slots=True)
class Layout:
    """Frames (T, Q) as steps (S, C) and back, exactly.

    A step is what a language model emits at once. Either a frame is one step of all its codes, each
    behind by its own delay (parallel, delay and depth), or it is Q steps of one code (flatten).

    Attributes:
        format: of the frames.
        delays: steps by which each code comes later than the first; Q zeros where none does.
        flat: one code a step.
        in_turn: the codes of a step are drawn one after the other, each knowing those before it.

    Raises:
        ValueError: delays that are not one a code, negative, or all above 0; delays of flat frames.
    """

    format: FrameFormat
    delays: tuple[int, ...]
    flat: bool = False
    in_turn: bool = False

    def __post_init__(self) -> None:
        if len(self.delays) != self.format.num_codebooks:
            raise ValueError(
                f"{len(self.delays)} delays for {self.format.num_codebooks} codes: give one each"
            )
        if min(self.delays) != 0 or (self.flat and max(self.delays)):
            raise ValueError(f"delays are {self.delays}: the least must be 0, and all where flat")

    @property
    def channels(self) -> int:
        """C, codes of a step."""
        return 1 if self.flat else self.format.num_codebooks

    @property
    def steps_per_frame(self) -> int:
        """Steps that a frame takes."""
        return self.format.num_codebooks if self.flat else 1

    @property
    def delay(self) -> int:
        """Steps after a frame's first one until all of it is known."""
        return self.format.num_codebooks - 1 if self.flat else max(self.delays)

    def num_steps(self, frames: int) -> int:
        """Return how many steps so many frames take."""
        if self.flat or not frames:
            return frames * self.steps_per_frame
        return frames + self.delay

    def codebook(self, step: int, channel: int) -> int:
        """Return whose code stands in a channel of a step."""
        return step % self.format.num_codebooks if self.flat else channel

    def steps(self, frames: Tensor) -> Tensor:
        """Return the steps (S, C) of frames (T, Q), with `EMPTY` where no code is.

        Raises:
            ValueError: frames of another format.
        """
        self.format.check(frames)
        if self.flat:
            return frames.reshape(-1, 1)
        steps = frames.new_full((self.num_steps(len(frames)), self.channels), EMPTY)
        for q, delay in enumerate(self.delays):
            steps[delay : delay + len(frames), q] = frames[:, q]
        return steps

    def frames(self, steps: Tensor) -> Tensor:
        """Return the frames (T, Q) that are whole in steps (S, C).

        Raises:
            ValueError: steps of another shape, or `EMPTY` where a code should be.
        """
        return self.step(self.initial_state(steps.device), steps)[1]

    def initial_state(self, device: torch.device | str | None = None) -> LayoutState:
        """Return the state before the first step."""
        return LayoutState(torch.empty(0, self.channels, dtype=torch.int64, device=device))

    def step(self, state: LayoutState, steps: Tensor) -> tuple[LayoutState, Tensor]:
        """Take steps (n, C), n >= 0, and return the frames (m, Q) that are whole now.

        Raises:
            ValueError: see `frames`.
        """
        if steps.dim() != 2 or steps.shape[1] != self.channels:
            raise ValueError(f"steps must be (S, {self.channels}): got {tuple(steps.shape)}")
        held = torch.cat([state.held, steps])
        if self.flat:
            count = len(held) // self.format.num_codebooks
            used = count * self.format.num_codebooks
            frames = held[:used].view(count, self.format.num_codebooks)
        else:
            count = used = max(0, len(held) - self.delay)
            columns = [held[d : d + count, q] for q, d in enumerate(self.delays)]
            frames = torch.stack(columns, dim=1)
        self.format.check(frames)
        return LayoutState(held[used:]), frames
