"""How many frames leave at once: the first ones soon, later ones in larger packets."""

from collections.abc import Callable
from dataclasses import dataclass


@dataclass(frozen=True, slots=True)
class PacketSchedule:
    """Sizes of packets, which grow with what the listener has in store.

    The count begins anew with each request: nothing is kept between two of them.

    Attributes:
        first: frames of the first packet.
        growth: factor from one packet to the next.
        largest: frames of a packet.
        margin: seconds; a packet leaves early when the listener has less than that in store.

    Raises:
        ValueError: sizes that do not grow from 1, or a margin below 0.
    """

    first: int = 1
    growth: float = 2.0
    largest: int = 8
    margin: float = 0.02

    def __post_init__(self) -> None:
        if not 1 <= self.first <= self.largest or self.growth < 1:
            raise ValueError(
                f"packets of {self.first} to {self.largest} frames, growing by {self.growth}: "
                "expected 1 <= first <= largest, and growth of 1 or more"
            )
        if not self.margin >= 0:
            raise ValueError(f"margin is {self.margin}, expected 0 seconds or more")

    def size(self, number: int) -> int:
        """Return the frames of packet `number`, from 0."""
        # Beyond some packets the power is out of every bound.
        grown = self.first * self.growth ** min(number, 64)
        return int(min(self.largest, grown))

    def due(self, number: int, waiting: int, store: float) -> bool:
        """Return whether packet `number` should leave now.

        Args:
            number: of the packet, from 0.
            waiting: frames that are ready.
            store: seconds that the listener has still to play; see `Playback`.
        """
        return waiting >= self.size(number) or (waiting > 0 and number > 0 and store < self.margin)


class Playback:
    """What a listener has in store who plays on from the first sample that reaches him.

    Args:
        sample_rate: Hz.
        clock: seconds, such as `time.monotonic`.
    """

    def __init__(self, sample_rate: int, clock: Callable[[], float]) -> None:
        self._rate = sample_rate
        self._clock = clock
        self._since: float | None = None
        self._sent = 0

    @property
    def store(self) -> float:
        """Seconds that are still to be played; below 0, he has been waiting for so long."""
        if self._since is None:
            return 0.0
        return self._sent / self._rate - (self._clock() - self._since)

    def send(self, samples: int) -> None:
        """Count samples that leave now."""
        now, played = self._clock(), self._sent / self._rate
        # Who had to wait plays on from now: nothing makes up for it.
        if self._since is None or played < now - self._since:
            self._since = now - played
        self._sent += samples
