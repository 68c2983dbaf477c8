"""What a live session needs of a recogniser: the Streaming contract for one utterance."""

from typing import Any, Protocol, TypeVar, runtime_checkable

import torch
from torch import Tensor

from echoic.streaming.events import Event
from echoic.streaming.work import Work

S = TypeVar("S")


class Recognizer(Protocol[S]):
    """Turns the sound of one utterance of one stream into events; obeys the Streaming contract.

    Times of its events are seconds from the utterance's first sample, and `audio_time` is the end
    of the block of sound that made the event, so that events do not depend on how the sound was
    cut; `compute_ms` is 0, and the session fills it in.

    Within an utterance, a `partial` carries all words since the last `final`, and its stable words
    come again in every event until they are final. It makes no `endpoint`: where an utterance ends
    is the session's to say.
    """

    @property
    def sample_rate(self) -> int:
        """Hz of the sound that `step` takes."""
        ...

    @property
    def frame_size(self) -> int:
        """Samples of the blocks that it works in."""
        ...

    @property
    def lookahead(self) -> int:
        """Samples beyond the end of a block that the events of the block need."""
        ...

    def initial_state(
        self,
        batch_size: int = 1,
        *,
        device: torch.device | str | None = None,
        dtype: torch.dtype = torch.float32,
    ) -> S:
        """Return the state of an utterance of which nothing has been heard; a state tree."""
        ...

    def step(self, state: S, wav: Tensor, /) -> tuple[S, list[Event]]:
        """Hear more of the utterance.

        Args:
            state: what `initial_state` or the step before returned; left unchanged.
            wav: (1, T) float32 in [-1, 1], any T >= 0.

        Returns:
            The next state, and the events that the sound made, in order.
        """
        ...

    def finish(self, state: S) -> tuple[S, list[Event]]:
        """End the utterance.

        Returns:
            The last state, and one final event with the words that are open; none when nothing was
            said since the last final.
        """
        ...


@runtime_checkable
class CompactRecognizer(Protocol):
    """A recogniser whose state can be made small where it is to be kept."""

    def compact(self, state: Any, /) -> Any:
        """Return a state that goes on in the same way, and takes less room."""
        ...


@runtime_checkable
class SociableRecognizer(Protocol):
    """A recogniser whose steps can be done beside those of other streams, in one batch."""

    def stepping(self, state: Any, wav: Tensor, /) -> Work[tuple[Any, list[Event]]]:
        """`Recognizer.step` as work that may have company."""
        ...

    def finishing(self, state: Any, /) -> Work[tuple[Any, list[Event]]]:
        """`Recognizer.finish` as work that may have company."""
        ...


def stepping(recognizer: Recognizer[S], state: S, wav: Tensor) -> Work[tuple[S, list[Event]]]:
    """Let any recogniser hear, in company where it can."""
    if isinstance(recognizer, SociableRecognizer):
        return (yield from recognizer.stepping(state, wav))
    with torch.no_grad():
        return recognizer.step(state, wav)


def finishing(recognizer: Recognizer[S], state: S) -> Work[tuple[S, list[Event]]]:
    """Let any recogniser end an utterance, in company where it can."""
    if isinstance(recognizer, SociableRecognizer):
        return (yield from recognizer.finishing(state))
    with torch.no_grad():
        return recognizer.finish(state)
