"""What a client of OpenAI's realtime transcription may ask for, in its newer and older spelling."""

from dataclasses import dataclass, replace
from typing import Any

from echoic.streaming.server.errors import invalid, shown

RATE = 24_000
_VADS = ("server_vad", "semantic_vad")


@dataclass(frozen=True, slots=True)
class RealtimeSettings:
    """The session as its client wants it.

    Attributes:
        model: name; None for the server's first.
        language: code; None as the model has it.
        turns: whether silence ends a turn, beside `commit`.
    """

    model: str | None = None
    language: str | None = None
    turns: bool = True

    def updated(self, session: Any) -> "RealtimeSettings":
        """Return the settings after a `session.update`.

        Raises:
            ApiError: it asks for what is not served.
        """
        fields = _object(session, "session")
        if fields.get("type", "transcription") != "transcription":
            raise invalid("only sessions of type transcription are served", "session.type")
        audio = _object(fields.get("audio"), "session.audio")
        sound = _object(audio.get("input"), "session.audio.input")
        _check_format(sound.get("format", fields.get("input_audio_format")))
        written = sound.get("transcription", fields.get("input_audio_transcription"))
        asked = _object(written, "transcription")
        if asked.get("prompt"):
            raise invalid("live models take no prompt: leave it out", "transcription.prompt")
        found = self
        for name in ("model", "language"):
            if (value := asked.get(name)) is not None:
                if not isinstance(value, str):
                    raise invalid(f"{name} is not text", f"transcription.{name}")
                found = replace(found, **{name: value})
        for source in (fields, sound):
            if "turn_detection" in source:
                found = replace(found, turns=_turns(source["turn_detection"]))
        return found

    def to_dict(self, session_id: str, model: str) -> dict[str, Any]:
        """Return the session as the server tells it."""
        return {
            "id": session_id,
            "object": "realtime.transcription_session",
            "type": "transcription",
            "audio": {
                "input": {
                    "format": {"type": "audio/pcm", "rate": RATE},
                    "transcription": {"model": model, "language": self.language},
                    "turn_detection": {"type": "server_vad"} if self.turns else None,
                }
            },
        }


def _object(value: Any, name: str) -> dict[str, Any]:
    if value is None:
        return {}
    if not isinstance(value, dict):
        raise invalid(f"{name} is no object", name)
    return value


def _check_format(value: Any) -> None:
    if isinstance(value, dict):
        fits = value.get("type", "audio/pcm") == "audio/pcm" and value.get("rate", RATE) == RATE
    else:
        fits = value in (None, "pcm16")
    if not fits:
        raise invalid("sound is taken as audio/pcm of 16 bits at 24000 Hz", "format")


def _turns(value: Any) -> bool:
    if value is None:
        return False
    if (kind := _object(value, "turn_detection").get("type")) not in _VADS:
        raise invalid(
            f"turn_detection is {shown(str(kind))}: expected server_vad, or null", "turn_detection"
        )
    return True
