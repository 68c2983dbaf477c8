"""Words as metrics compare them: normalised one by one, so that each keeps its time."""

from collections.abc import Callable, Iterable
from typing import NamedTuple, Protocol

Normalizer = Callable[[str], str]


class Token(NamedTuple):
    """A normalised word with its time in seconds."""

    text: str
    start: float
    end: float


class Timed(Protocol):
    """A word with its time in seconds: of an event, of a manifest, of an alignment."""

    @property
    def text(self) -> str:
        """The word."""
        ...

    @property
    def start(self) -> float:
        """Where it begins."""
        ...

    @property
    def end(self) -> float:
        """Where it ends."""
        ...


class Tokenizer:
    """Turns words into tokens; remembers, because words recur in every event.

    A word may become several tokens ("don't": "do not"), which share its time, or none at all
    ("um"). Numbers of several words are not joined as in whole texts, which is why the word error
    rate of a corpus is counted on texts and not on these.
    """

    def __init__(self, normalizer: Normalizer | None = None) -> None:
        """Wrap a normaliser; None only lowers the case."""
        self._normalizer: Normalizer = normalizer or str.lower
        self._known: dict[str, tuple[str, ...]] = {}

    def __call__(self, words: Iterable[Timed]) -> tuple[Token, ...]:
        """Return the tokens of words, in order."""
        return tuple(
            Token(text, word.start, word.end) for word in words for text in self._split(word.text)
        )

    def count(self, text: str) -> int:
        """Return how many tokens the words of a text make."""
        return sum(len(self._split(word)) for word in text.split())

    def _split(self, word: str) -> tuple[str, ...]:
        if word not in self._known:
            self._known[word] = tuple(self._normalizer(word).split())
        return self._known[word]
