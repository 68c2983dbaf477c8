"""Logs of live recognition for tests, written by hand: what was on the screen, and when."""

from echoic.asr.latency.log import Feed, StreamLog
from echoic.asr.latency.tokens import Token
from echoic.streaming.events import Event, EventType, EventWord


def event(kind: EventType, text: str, stable: int = 0, at: float = 0.0, ms: float = 0.0) -> Event:
    """An event whose words last 0.1 s each."""
    words = tuple(
        EventWord(word, 0.1 * i, 0.1 * i + 0.1, 1.0) for i, word in enumerate(text.split())
    )
    stable = len(words) if kind == "final" else stable
    return Event(kind, text, 0.0, 0.1 * len(words), words, stable, at, ms)


def feed(at: float, *events: Event, compute: float = 0.0) -> Feed:
    """A piece of sound and what came of it."""
    return Feed(at, compute, events)


def partials(duration: float, *screens: tuple[float, str], compute: float = 0.0) -> StreamLog:
    """A log of partials, closed by a final with the last text at the end."""
    feeds = [feed(at, event("partial", text), compute=compute) for at, text in screens]
    last = event("final", screens[-1][1]) if screens[-1][1] else event("endpoint", "")
    return StreamLog(duration, (*feeds, feed(duration, last, compute=compute)))


def spoken(*words: tuple[str, float, float]) -> tuple[Token, ...]:
    """Reference words with times."""
    return tuple(Token(*word) for word in words)


def evenly(text: str, each: float = 0.5, start: float = 0.0) -> tuple[Token, ...]:
    """Reference words that take the same time each."""
    return tuple(
        Token(word, start + i * each, start + (i + 1) * each) for i, word in enumerate(text.split())
    )
