"""What a listener had before their eyes at each moment, and when each word came to stay."""

from collections.abc import Callable, Sequence
from dataclasses import dataclass, field
from typing import NamedTuple

from echoic.asr.latency.log import StreamLog
from echoic.asr.latency.tokens import Token, Tokenizer
from echoic.streaming.events import Event


class Snapshot(NamedTuple):
    """The words on the screen once a feed's events are there.

    Attributes:
        feed: number of the feed.
        audio_time: seconds of sound that had been given.
        wall_time: seconds since the recording began, the work included.
        closed: tokens at the front that final events closed.
        open: the tokens behind them.
        stable: tokens at the front that were promised not to change, the closed ones among them.
    """

    feed: int
    audio_time: float
    wall_time: float
    closed: int
    open: tuple[Token, ...]
    stable: int

    @property
    def length(self) -> int:
        """Number of tokens shown."""
        return self.closed + len(self.open)


@dataclass(frozen=True, slots=True)
class Timeline:
    """All snapshots of a recording, and the tokens it ended with."""

    snapshots: tuple[Snapshot, ...]
    tokens: tuple[Token, ...]

    @classmethod
    def of(cls, log: StreamLog, tokenizer: Tokenizer) -> "Timeline":
        """Replay a log; endpoints show nothing."""
        screen = _Screen(tokenizer)
        snapshots: list[Snapshot] = []
        for number, (feed, wall) in enumerate(zip(log.feeds, log.wall_times(), strict=True)):
            if not feed.events:
                continue
            for event in feed.events:
                screen.show(event)
            snapshots.append(
                Snapshot(
                    feed=number,
                    audio_time=feed.audio_time,
                    wall_time=wall,
                    closed=len(screen.closed),
                    open=screen.open,
                    stable=len(screen.closed) + screen.stable,
                )
            )
        return cls(tuple(snapshots), (*screen.closed, *screen.open))

    def texts(self, snapshot: Snapshot, first: int = 0) -> tuple[str, ...]:
        """Return the tokens that a snapshot shows, from token `first` on, as text."""
        shown = self.tokens[first : snapshot.closed]
        behind = snapshot.open[max(0, first - snapshot.closed) :]
        return tuple(token.text for token in (*shown, *behind))

    def first_words(self) -> Snapshot | None:
        """Return the first snapshot that shows anything."""
        return next((s for s in self.snapshots if s.length), None)

    def shown(self) -> list[int]:
        """Return, for every final token, the number of the first snapshot with it in its place."""
        first: list[int | None] = [None] * len(self.tokens)
        closed = 0
        for number, snapshot in enumerate(self.snapshots):
            texts = self.texts(snapshot, closed)
            for place, text in enumerate(texts[: len(self.tokens) - closed], start=closed):
                if first[place] is None and text == self.tokens[place].text:
                    first[place] = number
            closed = snapshot.closed
        return [number for number in first if number is not None]

    def settled(self) -> list[int]:
        """Return, for every final token, from which snapshot on nothing up to it was revised."""
        result: list[int] = []
        agreed = [self._agreement(snapshot) for snapshot in self.snapshots]
        for i in range(len(agreed) - 2, -1, -1):
            agreed[i] = min(agreed[i], agreed[i + 1])
        for number, length in enumerate(agreed):
            result += [number] * (length - len(result))
        return result

    def promised(self) -> list[int | None]:
        """Return, for every final token, the first snapshot that promised it (`stable`), or None.

        None stands for a token that no event closed, in a log without its last final.
        """
        result: list[int | None] = []
        for number, snapshot in enumerate(self.snapshots):
            result += [number] * (snapshot.stable - len(result))
        result += [None] * (len(self.tokens) - len(result))
        return result[: len(self.tokens)]

    def at(self, audio_time: float) -> Snapshot | None:
        """Return the last snapshot at or before a moment of the audio clock, None before all."""
        low, high = 0, len(self.snapshots)
        while low < high:
            middle = (low + high) // 2
            if self.snapshots[middle].audio_time <= audio_time:
                low = middle + 1
            else:
                high = middle
        return self.snapshots[low - 1] if low else None

    def _agreement(self, snapshot: Snapshot) -> int:
        """How many tokens at the front are the final ones; closed ones are."""
        final = [token.text for token in self.tokens[snapshot.closed : snapshot.length]]
        return snapshot.closed + common_prefix(self.texts(snapshot, snapshot.closed), final)


@dataclass(slots=True)
class _Screen:
    """The words that events add up to."""

    tokenizer: Callable[..., tuple[Token, ...]]
    closed: list[Token] = field(default_factory=list[Token])
    open: tuple[Token, ...] = ()
    stable: int = 0

    def show(self, event: Event) -> None:
        if event.type == "endpoint":
            return
        tokens = self.tokenizer(event.words)
        if event.type == "final":
            self.closed.extend(tokens)
            self.open, self.stable = (), 0
        else:
            self.open = tokens
            self.stable = len(self.tokenizer(event.words[: event.stable]))


def common_prefix(a: Sequence[str], b: Sequence[str]) -> int:
    """Return how many items two sequences have in common at their front."""
    length = 0
    for x, y in zip(a, b, strict=False):
        if x != y:
            break
        length += 1
    return length
