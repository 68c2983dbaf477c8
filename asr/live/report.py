"""What a stream took, in a line for people."""

from echoic.asr.live.lag import WordLag
from echoic.streaming.stats import SessionStats

# Less than this is the length of a block, and no delay.
_FIRST_NOTE = 2.0
_CAUGHT_UP = 0.5


def statistics_line(
    stats: SessionStats, lag: WordLag, *, behind: float | None, lost: float = 0.0
) -> str:
    """Return the statistics of a stream.

    Args:
        stats: of the session.
        lag: of its words.
        behind: the most seconds that the work was behind the sound; None for sound that waits.
        lost: seconds of sound that nobody heard.
    """
    work = f"{stats.audio_seconds:.1f} s of audio in {stats.compute_seconds:.1f} s of work"
    parts = [f"{work} (RTF {stats.rtf:.3f})"]
    if stats.first_word_latency is not None:
        parts.append(f"first word after {stats.first_word_latency:.2f} s")
    if lag.mean is not None:
        parts.append(f"words {lag.mean:.2f} s after their ends")
    if stats.chunks:
        parts.append(
            f"{stats.chunks} chunks (p50 {stats.chunk_ms_p50:.0f} ms, "
            f"p95 {stats.chunk_ms_p95:.0f} ms)"
        )
    if behind is not None:
        parts.append(f"at most {behind:.1f} s behind")
    if lost:
        parts.append(f"{lost:.1f} s lost")
    return ", ".join(parts)


class Behind:
    """Watches how far the work is behind the sound, and says so rarely.

    Attributes:
        most: seconds, so far.
    """

    def __init__(self) -> None:
        self.most = 0.0
        self._next = _FIRST_NOTE

    def note(self, seconds: float) -> str | None:
        """Return a line when it has become serious, twice as bad, or good again."""
        self.most = max(self.most, seconds)
        if seconds >= self._next:
            self._next = 2 * seconds
            return f"behind by {seconds:.1f} s"
        if self._next > _FIRST_NOTE and seconds < _CAUGHT_UP:
            self._next = _FIRST_NOTE
            return "has caught up"
        return None
