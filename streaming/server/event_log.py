"""The events of a session that its client may not have seen yet."""

from collections import deque
from typing import Any

# Events that are kept for a client that acknowledges none; words that are final are never many.
_MAX_EVENTS = 2000


class EventLog:
    """Numbers events, and keeps those that are not acknowledged.

    A partial says again all that the partial before it said, so only the last one is kept.

    Attributes:
        next_seq: number of the next event; the first is 1.
    """

    def __init__(self, next_seq: int = 1, kept: list[dict[str, Any]] | None = None) -> None:
        self.next_seq = next_seq
        self._kept: deque[dict[str, Any]] = deque(kept or (), maxlen=_MAX_EVENTS)

    def add(self, event: dict[str, Any]) -> None:
        """Number an event and keep it."""
        if self._kept and self._kept[-1]["type"] == "partial":
            self._kept.pop()
        self._kept.append({**event, "seq": self.next_seq})
        self.next_seq += 1

    def since(self, seq: int) -> list[dict[str, Any]]:
        """Return the events after a number."""
        return [event for event in self._kept if event["seq"] > seq]

    def acknowledge(self, seq: int) -> None:
        """Forget the events up to a number."""
        while self._kept and self._kept[0]["seq"] <= seq:
            self._kept.popleft()

    def to_list(self) -> list[dict[str, Any]]:
        """Return what is kept, as JSON can hold it."""
        return list(self._kept)
