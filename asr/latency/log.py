"""What was given to a live recogniser, when, what that cost, and what came out."""

from collections.abc import Iterable
from dataclasses import dataclass
from itertools import groupby

from echoic.streaming.events import Event


@dataclass(frozen=True, slots=True)
class Feed:
    """One piece of sound that a recogniser was given.

    Attributes:
        audio_time: seconds of the recording that had been given, this piece included.
        compute: seconds that the recogniser worked on it.
        events: what it said; all of it appears when the work is done.
    """

    audio_time: float
    compute: float = 0.0
    events: tuple[Event, ...] = ()

    def __post_init__(self) -> None:
        if not self.audio_time >= 0 or not self.compute >= 0:
            raise ValueError(
                f"a feed at {self.audio_time} s that cost {self.compute} s: expected 0 or more"
            )


@dataclass(frozen=True, slots=True)
class StreamLog:
    """The live recognition of one recording.

    Attributes:
        duration: of the recording, in seconds.
        feeds: in order; the last ones may stand at the same time, as the end of a stream does.
    """

    duration: float
    feeds: tuple[Feed, ...]

    def __post_init__(self) -> None:
        if not self.duration >= 0:
            raise ValueError(f"duration is {self.duration}: expected seconds, 0 or more")
        for before, after in zip(self.feeds, self.feeds[1:], strict=False):
            if after.audio_time < before.audio_time:
                raise ValueError(
                    f"a feed at {after.audio_time} s follows one at {before.audio_time} s: give "
                    "them in the order in which they happened"
                )

    @classmethod
    def from_events(cls, events: Iterable[Event], duration: float) -> "StreamLog":
        """Build the log of a recording of which only the events were kept.

        Events of the same `audio_time` came from the same piece of sound, and each of them carries
        the whole piece's `compute_ms`: the largest counts.

        Args:
            events: in order.
            duration: of the recording, in seconds.

        Raises:
            ValueError: events out of order.
        """
        feeds = []
        for time, group in groupby(events, key=lambda event: event.audio_time):
            together = tuple(group)
            feeds.append(Feed(time, max(e.compute_ms for e in together) / 1000, together))
        return cls(duration, tuple(feeds))

    @property
    def compute(self) -> float:
        """Seconds of work in all."""
        return sum(feed.compute for feed in self.feeds)

    def wall_times(self) -> list[float]:
        """Return when each feed's events appear to somebody who listens along.

        A piece of sound exists once it has been recorded, and is worked on when the pieces before
        it are done: a feed's events appear at max(its time, end of the work before) + its work.
        """
        times: list[float] = []
        free = 0.0
        for feed in self.feeds:
            free = max(feed.audio_time, free) + feed.compute
            times.append(free)
        return times

    def compute_by_chunk(self, seconds: float) -> list[float]:
        """Return the work per stretch of sound, in seconds, the last and shorter one included.

        Args:
            seconds: length of a stretch; what the recogniser calls a chunk.

        Raises:
            ValueError: a length that is not positive.
        """
        if not seconds > 0:
            raise ValueError(f"a chunk of {seconds} s: expected more than 0")
        sums: dict[int, float] = {}
        for feed in self.feeds:
            # A feed that ends on a boundary belongs to the chunk it completes, however it rounds.
            number = max(0, -int(-(feed.audio_time / seconds - 1e-6) // 1) - 1)
            sums[number] = sums.get(number, 0.0) + feed.compute
        return [sums[number] for number in sorted(sums)]
