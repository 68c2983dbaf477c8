"""Events of a live transcription: the same in Python, as JSON lines, and over a socket."""

import json
import math
from collections.abc import Mapping
from dataclasses import asdict, dataclass, replace
from typing import Any, Literal, Self, get_args

EventType = Literal["partial", "final", "endpoint"]
_TYPES = get_args(EventType)
_DECIMALS = 3


@dataclass(frozen=True, slots=True)
class EventWord:
    """A word that was heard.

    Attributes:
        text: the word without the space before it.
        start: seconds.
        end: seconds.
        confidence: probability that it is right, 0 to 1.
    """

    text: str
    start: float
    end: float
    confidence: float

    def to_dict(self) -> dict[str, Any]:
        """Return plain values; numbers are rounded to 3 decimals."""
        return {name: _rounded(value) for name, value in asdict(self).items()}

    @classmethod
    def from_dict(cls, fields: Mapping[str, Any]) -> Self:
        """Return the word that `to_dict` described.

        Raises:
            ValueError: when a field is missing or is not known.
        """
        return cls(**_checked(fields, cls))

    def shifted(self, seconds: float) -> Self:
        """Return the word at another place in time."""
        return replace(self, start=self.start + seconds, end=self.end + seconds)


@dataclass(frozen=True, slots=True)
class Event:
    """What became known about a stream.

    A `partial` carries all words since the last `final`; a `final` closes its words for ever; an
    `endpoint` has no words and follows the final of an utterance that silence ended.

    Attributes:
        type: partial, final or endpoint.
        text: the words in one line.
        start: where the words begin, in seconds.
        end: where they end, in seconds.
        words: the words with their times.
        stable: how many words at the front will not change any more; all of a final.
        audio_time: seconds of audio that had been heard when the event was made.
        compute_ms: milliseconds that the work behind the event took.
    """

    type: EventType
    text: str
    start: float
    end: float
    words: tuple[EventWord, ...] = ()
    stable: int = 0
    audio_time: float = 0.0
    compute_ms: float = 0.0

    def __post_init__(self) -> None:
        if self.type not in _TYPES:
            raise ValueError(f"type is {self.type!r}: expected one of {', '.join(_TYPES)}")
        if not 0 <= self.stable <= len(self.words):
            raise ValueError(
                f"stable is {self.stable}: expected 0 to {len(self.words)}, the number of words"
            )
        if self.type == "final" and self.stable != len(self.words):
            raise ValueError(
                f"stable is {self.stable} of {len(self.words)} words in a final: a final closes "
                "all its words; give them in a partial while they may change"
            )
        if self.type == "endpoint" and self.words:
            raise ValueError(
                f"an endpoint has {len(self.words)} words, expected none: give them in a final "
                "before it"
            )

    def to_dict(self) -> dict[str, Any]:
        """Return plain values in the order of the JSON lines; numbers have 3 decimals."""
        return {
            "type": self.type,
            "text": self.text,
            "start": _rounded(self.start),
            "end": _rounded(self.end),
            "words": [word.to_dict() for word in self.words],
            "stable": self.stable,
            "audio_time": _rounded(self.audio_time),
            "compute_ms": _rounded(self.compute_ms),
        }

    def to_json(self) -> str:
        """Return one line of JSON, without the line's end."""
        return json.dumps(self.to_dict(), ensure_ascii=False, allow_nan=False)

    @classmethod
    def from_dict(cls, fields: Mapping[str, Any]) -> Self:
        """Return the event that `to_dict` described.

        Raises:
            ValueError: when a field is missing, is not known, or has an impossible value.
        """
        known = _checked(fields, cls)
        return cls(**{**known, "words": tuple(EventWord.from_dict(w) for w in known["words"])})

    def shifted(self, seconds: float) -> Self:
        """Return the event at another place in time: of a stream instead of an utterance."""
        return replace(
            self,
            start=self.start + seconds,
            end=self.end + seconds,
            audio_time=self.audio_time + seconds,
            words=tuple(word.shifted(seconds) for word in self.words),
        )


def _rounded(value: Any) -> Any:
    return round(value, _DECIMALS) if isinstance(value, float) and math.isfinite(value) else value


def _checked(fields: Mapping[str, Any], kind: type) -> dict[str, Any]:
    expected = list(kind.__dataclass_fields__)
    if sorted(fields) != sorted(expected):
        raise ValueError(
            f"an {kind.__name__} has the fields {', '.join(fields) or 'none'}: expected "
            f"{', '.join(expected)}"
        )
    return dict(fields)
