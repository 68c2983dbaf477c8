"""Whether what a recogniser heard may stand for a text: how sure it was, and whether it can be."""

import math
from dataclasses import dataclass
from typing import NamedTuple

from echoic.asr.guards import compression_ratio
from echoic.asr.transcript import Transcript

#: Why a recording is left out, in the order in which that is looked at.
REASONS = (
    "cannot be read",
    "too long",
    "nothing heard",
    "silence",
    "not sure",
    "repeats itself",
    "too fast",
    "too slow",
)


class Heard(NamedTuple):
    """What a recogniser made of a recording.

    Attributes:
        text: one line.
        confidence: the tokens' probability, their geometric mean, 0 to 1.
        no_speech: highest probability that a part of it is no speech.
        compression: the text's length over its zlib length.
        seconds: how long the recording is.
    """

    text: str
    confidence: float
    no_speech: float
    compression: float
    seconds: float

    @classmethod
    def of(cls, transcript: Transcript) -> "Heard":
        """Sum up a transcript; parts count by their tokens."""
        segments = transcript.segments
        counts = [max(1, len(segment.tokens)) for segment in segments]
        logs = sum(s.avg_logprob * n for s, n in zip(segments, counts, strict=True))
        text = " ".join(transcript.text.split())
        return cls(
            text=text,
            confidence=round(math.exp(logs / sum(counts)), 4) if segments else 0.0,
            no_speech=round(max((s.no_speech_prob for s in segments), default=0.0), 4),
            compression=round(compression_ratio(text), 3),
            seconds=round(transcript.duration, 3),
        )


@dataclass(frozen=True, slots=True)
class Bounds:
    """What is believed.

    Attributes:
        confidence: lowest.
        no_speech: highest.
        compression: highest.
        slowest: fewest characters a second.
        fastest: most characters a second; fast speech in Latin letters has about 25.
        seconds: longest recording, a window of the model at most.
    """

    confidence: float = 0.6
    no_speech: float = 0.6
    compression: float = 2.4
    slowest: float = 2.0
    fastest: float = 30.0
    seconds: float = 30.0

    def __post_init__(self) -> None:
        for name in ("confidence", "no_speech"):
            if not 0 <= getattr(self, name) <= 1:
                raise ValueError(f"{name} is {getattr(self, name)}, expected 0 to 1")
        if not 0 <= self.slowest < self.fastest:
            raise ValueError(
                f"characters a second are {self.slowest} to {self.fastest}, expected 0 <= slowest "
                "< fastest"
            )
        if self.compression <= 0 or not 0 < self.seconds <= 30:
            raise ValueError(
                f"compression is {self.compression} and seconds {self.seconds}, expected above 0, "
                "and 30 at most"
            )

    def reason(self, heard: Heard) -> str | None:
        """Return why it is not believed, one of `REASONS`; None if it is."""
        if not any(letter.isalnum() for letter in heard.text):
            return "nothing heard"
        if heard.no_speech > self.no_speech:
            return "silence"
        if heard.confidence < self.confidence:
            return "not sure"
        if heard.compression > self.compression:
            return "repeats itself"
        speed = len(heard.text) / max(heard.seconds, 1e-3)
        if speed > self.fastest:
            return "too fast"
        return "too slow" if speed < self.slowest else None
