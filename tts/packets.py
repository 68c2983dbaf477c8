"""How many frames leave at once: the first ones soon, later ones in larger packets."""

from dataclasses import dataclass


@dataclass(frozen=True, slots=True)
class PacketSchedule:
    """Sizes of packets, which grow with what the listener has in store.

    The count begins anew with each request: nothing is kept between two of them.

    Attributes:
        first: frames of the first packet.
        growth: factor from one packet to the next.
        largest: frames of a packet.

    Raises:
        ValueError: sizes that do not grow from 1.
    """

    first: int = 1
    growth: float = 2.0
    largest: int = 8

    def __post_init__(self) -> None:
        if not 1 <= self.first <= self.largest or self.growth < 1:
            raise ValueError(
                f"packets of {self.first} to {self.largest} frames, growing by {self.growth}: "
                "expected 1 <= first <= largest, and growth of 1 or more"
            )

    def size(self, number: int) -> int:
        """Return the frames of packet `number`, from 0."""
        # Beyond some packets the power is out of every bound.
        grown = self.first * self.growth ** min(number, 64)
        return int(min(self.largest, grown))
