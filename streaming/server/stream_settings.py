"""What a client says about the stream that it sends: in the address, or in its first message."""

import re
from collections.abc import Mapping
from dataclasses import dataclass, fields
from typing import Any, Literal, get_args

from echoic.streaming.server.errors import ApiError, invalid, shown
from echoic.streaming.sound import checked_rate

Encoding = Literal["pcm_s16le", "f32le", "opus"]
MAX_CHANNELS = 8
SESSION_ID = re.compile(r"[A-Za-z0-9_-]{22}")
_WHOLE = re.compile(r"[0-9]{1,15}")
# The field of a start message that has another name here.
_NAMES = {"from": "from_position"}
_MOST = 2**53  # whole numbers of JSON's that everybody can read


@dataclass(frozen=True, slots=True)
class StreamSettings:
    """How a stream is coded, and whether it goes on from before.

    Attributes:
        sample_rate: Hz of the sound; also positions are counted at this rate.
        encoding: of binary messages; Opus in an Ogg stream.
        channels: interleaved; they are averaged.
        model: name; None for the server's first.
        language: code; None as the model has it.
        resume: id of a session to go on with.
        from_position: first sample that the client still has.
        seq: number of the last event that the client has seen.
    """

    sample_rate: int = 16_000
    encoding: Encoding = "pcm_s16le"
    channels: int = 1
    model: str | None = None
    language: str | None = None
    resume: str | None = None
    from_position: int = 0
    seq: int = 0

    def __post_init__(self) -> None:
        for name in ("sample_rate", "channels", "from_position", "seq"):
            if type(value := getattr(self, name)) is not int or not 0 <= value < _MOST:
                raise invalid(f"{_said(name)} is not a whole number", _said(name))
        for name in ("model", "language", "resume"):
            if not isinstance(getattr(self, name), str | None):
                raise invalid(f"{name} is not text", name)
        try:
            checked_rate(self.sample_rate)
        except ValueError as error:
            raise invalid(str(error), "sample_rate") from error
        if self.encoding not in get_args(Encoding):
            choices = ", ".join(get_args(Encoding))
            raise invalid(f"encoding is unknown: expected {choices}", "encoding")
        if not 1 <= self.channels <= MAX_CHANNELS:
            raise invalid(f"channels is {self.channels}: expected 1 to {MAX_CHANNELS}", "channels")
        if self.resume is not None and not SESSION_ID.fullmatch(self.resume):
            raise lost()

    @classmethod
    def read(cls, query: Mapping[str, str], message: Mapping[str, Any] | None) -> "StreamSettings":
        """Read the address' parameters, and the start message, which has the last word.

        Raises:
            ApiError: unknown names, or values that cannot be.
        """
        known = {field.name for field in fields(cls)}
        values: dict[str, Any] = {}
        for source in (query, message or {}):
            for name, value in source.items():
                ours = _NAMES.get(name, name)
                if name == "type" and source is message:
                    continue
                if ours not in known or name in _NAMES.values():
                    raise invalid(f"{shown(name)} is no parameter of a stream", name[:80])
                values[ours] = _number(value) if source is query else value
        for name in ("model", "language", "resume"):
            if isinstance(values.get(name), int):  # a name of digits in an address
                values[name] = query[name]
        return cls(**{name: value for name, value in values.items() if value is not None})


def lost() -> ApiError:
    """Return the error of a session that is not there."""
    return ApiError(
        404,
        "no such session is kept: it ended, or its time is over; begin another one",
        code="session_not_found",
        param="resume",
    )


def _number(value: str) -> int | str:
    return int(value) if _WHOLE.fullmatch(value) else value


def _said(name: str) -> str:
    return next((said for said, ours in _NAMES.items() if ours == name), name)
