"""What goes into a batch and what comes out: a `Source` to transcribe, and its `Outcome`."""

from collections.abc import Mapping
from dataclasses import dataclass, field
from typing import Any, NamedTuple

from echoic.asr.transcript import Transcript

STDIN = "-"


@dataclass(frozen=True, slots=True)
class Source:
    """A recording, or a stretch of one, that is to be transcribed.

    Attributes:
        key: unique name inside its batch, and the path of its outputs below the output folder
            without their suffix; "/" between folders on every system.
        path: file to read, or "-" for sound on standard input.
        name: how messages call it: the path as the user gave it, or the manifest's id.
        offset: where to begin, in seconds.
        duration: how much to read, in seconds; None reads to the end.
        fields: the manifest's other fields as they stood there (`id`, `text`, `lang`...).
    """

    key: str
    path: str
    name: str
    offset: float = 0.0
    duration: float | None = None
    fields: Mapping[str, Any] = field(default_factory=dict[str, Any])

    def __post_init__(self) -> None:
        if not self.key:
            raise ValueError(f"the key of source {self.path!r} is empty; give it a unique name")
        if self.offset < 0:
            raise ValueError(f"offset is {self.offset} s in {self.name!r}; it must be 0 or more")
        if self.duration is not None and self.duration <= 0:
            raise ValueError(
                f"duration is {self.duration} s in {self.name!r}; "
                "it must be above 0, or None to read to the end"
            )

    @property
    def is_stdin(self) -> bool:
        """Whether the sound comes from standard input."""
        return self.path == STDIN


class Outcome(NamedTuple):
    """How a source ended: exactly one of `transcript` and `error` is set."""

    source: Source
    transcript: Transcript | None
    error: Exception | None
