"""Test sets for streaming recognition: recordings with what was said, and when, where known."""

import math
from collections.abc import Mapping
from dataclasses import dataclass
from itertools import pairwise
from typing import Any, Self

from torch import Tensor

from echoic.asr.languages import language_code
from echoic.asr.source import Source
from echoic.asr.whisper.model import SAMPLE_RATE
from echoic.audio.io import load
from echoic.streaming.events import EventWord


@dataclass(frozen=True, slots=True)
class Row:
    """A recording to evaluate on.

    Attributes:
        name: for messages.
        path: of the recording.
        text: what is said; empty for silence, on which insertions are counted.
        words: the words with times in seconds from the beginning of the stretch; None where the
            test set does not tell.
        language: code; None for English.
        offset: seconds of the recording to leave out at its beginning.
        duration: seconds to read; None for all.
    """

    name: str
    path: str
    text: str
    words: tuple[EventWord, ...] | None = None
    language: str | None = None
    offset: float = 0.0
    duration: float | None = None

    @classmethod
    def from_source(cls, source: Source) -> Self:
        """Read the fields `text`, `words` ([{"text", "start", "end"}]) and `lang` of a manifest.

        Raises:
            ValueError: no text, or fields that are not what they should be.
        """
        fields = source.fields
        words = _words(fields.get("words"))
        text = fields.get("text")
        if text is None and words is not None:
            text = " ".join(word.text for word in words)
        if not isinstance(text, str):
            raise ValueError(f"'text' is {text!r}; write what is said there, or \"\" for silence")
        return cls(
            name=source.name,
            path=source.path,
            text=text,
            words=words,
            language=_language(fields),
            offset=source.offset,
            duration=source.duration,
        )

    def load(self) -> Tensor:
        """Read the sound: (T,) float32 at 16 kHz.

        Raises:
            AudioDecodeError: it is not sound.
            OSError: it cannot be read.
        """
        return load(
            self.path,
            sample_rate=SAMPLE_RATE,
            mono=True,
            offset=self.offset,
            duration=self.duration,
        ).wav[0]


def _words(value: object) -> tuple[EventWord, ...] | None:
    if value is None:
        return None
    if not isinstance(value, list):
        raise ValueError(f"'words' is a {type(value).__name__}; {_EXPECTED}")
    words = tuple(map(_word, value))
    for before, after in pairwise(words):
        if after.end < before.end:
            raise ValueError(
                f"'words' are out of order: {after.text!r} ends at {after.end} s, after a word "
                f"that ends at {before.end} s; sort them by time"
            )
    return words


_EXPECTED = 'expected [{"text": "hello", "start": 0.1, "end": 0.5}, ...] in seconds'


def _word(value: object) -> EventWord:
    if not isinstance(value, Mapping):
        raise ValueError(f"'words' holds {value!r}; {_EXPECTED}")
    text = value.get("text", value.get("word"))
    start, end = _seconds(value.get("start")), _seconds(value.get("end"))
    if not isinstance(text, str) or not text.strip() or start is None or end is None:
        raise ValueError(f"'words' holds {dict(value)!r}; {_EXPECTED}")
    if end < start:
        raise ValueError(f"'words' holds {dict(value)!r}, which ends before it starts; mend it")
    return EventWord(text.strip(), start, end, 1.0)


def _seconds(value: object) -> float | None:
    if isinstance(value, bool) or not isinstance(value, int | float):
        return None
    return float(value) if math.isfinite(value) and value >= 0 else None


def _language(fields: Mapping[str, Any]) -> str | None:
    value = fields.get("lang", fields.get("language"))
    if value is None:
        return None
    if not isinstance(value, str):
        raise ValueError(f"'lang' is {value!r}; expected a code such as \"en\"")
    return language_code(value)
