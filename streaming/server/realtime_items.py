"""From events to OpenAI's items: text that only grows, and is complete at the end of a turn."""

import secrets
from dataclasses import dataclass, field

from echoic.streaming.events import Event


def new_id(kind: str) -> str:
    """Return a name such as `item_...`."""
    return f"{kind}_{secrets.token_hex(12)}"


@dataclass(slots=True)
class Item:
    """What one turn says; its text is told once, and never taken back.

    Attributes:
        separator: between two finals.
        id: its name.
        closed: text of the finals.
        told: text that the client has.
        begun: whether anything was said.
    """

    separator: str
    id: str = field(default_factory=lambda: new_id("item"))
    closed: str = ""
    told: str = ""
    begun: bool = False

    def add(self, event: Event) -> str:
        """Take an event; return the text that is new and will not change."""
        if event.type == "endpoint":
            return ""
        stable = stable_text(event)
        joined = self._joined(stable)
        if event.type == "final":
            self.closed = joined
        self.begun = self.begun or bool(event.text)
        delta = joined[len(self.told) :] if len(joined) > len(self.told) else ""
        self.told += delta
        return delta

    def _joined(self, text: str) -> str:
        if not self.closed or not text:
            return self.closed or text
        return f"{self.closed}{self.separator}{text}"


def stable_text(event: Event) -> str:
    """Return the front of an event's text that its stable words cover."""
    if event.type == "final" or event.stable == len(event.words):
        return event.text if event.words or event.type == "final" else ""
    end = 0
    for word in event.words[: event.stable]:
        found = event.text.find(word.text, end)
        if found < 0:  # the text is written otherwise than its words: wait for the final
            return ""
        end = found + len(word.text)
    return event.text[:end]
