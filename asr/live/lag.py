"""How late words come, without a reference: against the ends that the recogniser gives them."""

from echoic.streaming.events import Event


class WordLag:
    """Measures events as they come, in memory of constant size.

    A word counts as told by the first event from which on it stood in its place; the work behind
    that event is added. `mean` and `count` are of all final words.
    """

    def __init__(self) -> None:
        self._open: list[tuple[str, float]] = []  # text, and since when it has stood there
        self._sum = 0.0
        self.count = 0

    @property
    def mean(self) -> float | None:
        """Seconds from the end of a word until it was told; None without words."""
        return self._sum / self.count if self.count else None

    def take(self, event: Event) -> None:
        """Take the next event."""
        if event.type == "endpoint":
            return
        now = event.audio_time + event.compute_ms / 1000
        standing = []
        for place, word in enumerate(event.words):
            before = self._open[place] if place < len(self._open) else ("", now)
            standing.append((word.text, before[1] if before[0] == word.text else now))
        if event.type == "partial":
            self._open = standing
            return
        for word, (_, since) in zip(event.words, standing, strict=True):
            self._sum += since - word.end
            self.count += 1
        del self._open[: len(event.words)]
