"""What a recogniser returns: words, segments and whole transcripts, with times in seconds.

The fields carry the names that users of faster-whisper and openai-whisper know.
"""

from dataclasses import dataclass


@dataclass(frozen=True, slots=True)
class Word:
    """A spoken word; `word` keeps the leading space that the tokenizer gave it."""

    start: float
    end: float
    word: str
    probability: float


@dataclass(frozen=True, slots=True)
class Segment:
    """A stretch of speech that was decoded together.

    Attributes:
        id: running number inside the transcript, from 0.
        start: seconds from the beginning of the audio.
        end: seconds from the beginning of the audio.
        text: what was said, with the tokenizer's leading space.
        tokens: ids of the text tokens, without special ones.
        avg_logprob: mean log probability of the tokens.
        compression_ratio: length of the text over its zlib length; high for loops.
        no_speech_prob: probability that the window holds no speech.
        temperature: sampling temperature of the accepted decoding.
        words: word times, when they were asked for.
    """

    id: int
    start: float
    end: float
    text: str
    tokens: tuple[int, ...]
    avg_logprob: float
    compression_ratio: float
    no_speech_prob: float
    temperature: float
    words: tuple[Word, ...] | None = None


@dataclass(frozen=True, slots=True)
class Transcript:
    """A whole recording: `duration` in seconds, `language` as a two-letter code."""

    language: str
    language_probability: float
    duration: float
    segments: tuple[Segment, ...]

    @property
    def text(self) -> str:
        """The segments' text in one line."""
        return "".join(segment.text for segment in self.segments).strip()
