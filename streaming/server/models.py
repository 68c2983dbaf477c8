"""What the server needs of models: live recognisers, transcribers of recordings, and speakers."""

from collections.abc import Iterable, Iterator, Sequence
from dataclasses import dataclass, field
from typing import Any, Literal, NamedTuple, Protocol

import numpy as np

from echoic.streaming.recognizer import Recognizer
from echoic.streaming.server.errors import unknown_model
from echoic.streaming.session import SessionConfig

TextFormat = Literal["json", "text", "srt", "verbose_json", "vtt"]
#: Names that clients of OpenAI's write where they mean whatever there is.
ANY_TRANSCRIBER = ("whisper-1", "gpt-4o-transcribe", "gpt-4o-mini-transcribe")
ANY_SPEAKER = ("tts-1", "tts-1-hd", "gpt-4o-mini-tts")


class Refused(ValueError):
    """A model cannot do what was asked; the message is for the client.

    Args:
        message: what is wrong, and the mend.
        param: the field at fault.
    """

    def __init__(self, message: str, param: str | None = None) -> None:
        super().__init__(message)
        self.param = param


@dataclass(frozen=True, slots=True)
class LiveModel:
    """A recogniser of live streams.

    Attributes:
        name: by which clients ask for it.
        recognizer: what hears.
        language: code of what it writes; None where it finds out by itself.
        config: how streams are heard.
        separator: between two stretches of its text.
    """

    name: str
    recognizer: Recognizer[Any]
    language: str | None = None
    config: SessionConfig = field(default_factory=SessionConfig)
    separator: str = " "


@dataclass(frozen=True, slots=True)
class FileRequest:
    """What is to be written of a recording.

    Attributes:
        path: the file.
        language: code or name; None lets the model find out.
        prompt: text in the style or with the names to expect.
        hotwords: words to expect, with commas between.
        beam_size: hypotheses kept; 1 is greedy.
        vad: leave out what is not speech; None as the model does it.
        translate: write English, whatever is spoken.
        words: time each word.
        max_seconds: of sound that is read.
    """

    path: str
    language: str | None = None
    prompt: str | None = None
    hotwords: str | None = None
    beam_size: int = 1
    vad: bool | None = None
    translate: bool = False
    words: bool = False
    max_seconds: float = 4 * 3600.0


class FileTranscript(NamedTuple):
    """What was said in a recording.

    Attributes:
        text: in one line.
        duration: seconds of sound.
        body: the fields of `verbose_json`.
        srt: as SubRip.
        vtt: as WebVTT.
    """

    text: str
    duration: float
    body: dict[str, Any]
    srt: str
    vtt: str


class FileTranscriber(Protocol):
    """Writes down recordings; called by worker threads."""

    @property
    def name(self) -> str:
        """By which clients ask for it."""
        ...

    def check(self, request: FileRequest, /) -> None:
        """Say early what cannot be done; the file is not looked at.

        Raises:
            Refused: it cannot.
        """
        ...

    def transcribe(self, request: FileRequest, /) -> FileTranscript:
        """Write down all.

        Raises:
            Refused: the file is no sound, or the model cannot do what was asked.
        """
        ...

    def stream(self, request: FileRequest, /) -> Iterator[str]:
        """Yield pieces of text as they are known; joined they are the text.

        Raises:
            Refused: as `transcribe`.
        """
        ...


class Speaker(Protocol):
    """Reads text aloud; called by worker threads."""

    @property
    def name(self) -> str:
        """By which clients ask for it."""
        ...

    @property
    def sample_rate(self) -> int:
        """Hz of its sound."""
        ...

    @property
    def voices(self) -> Sequence[str]:
        """Names of its voices; the first is its own."""
        ...

    def speak(
        self, text: str | Iterable[str], /, *, voice: str, seed: int
    ) -> Iterator[np.ndarray[Any, Any]]:
        """Yield (n,) float32 in [-1, 1] as soon as it is there.

        Args:
            text: all of it, or pieces as they come.
            voice: one of `voices`.
            seed: the same one says the same.

        Raises:
            Refused: the text cannot be read aloud.
            Busy: there is no room; only before the first sound.
        """
        ...


@dataclass(frozen=True, slots=True)
class Catalog:
    """All that is served; the first of a kind is taken where nobody says which.

    Attributes:
        live: recognisers of streams.
        files: transcribers of recordings.
        speakers: voices.
    """

    live: tuple[LiveModel, ...] = ()
    files: tuple[FileTranscriber, ...] = ()
    speakers: tuple[Speaker, ...] = ()

    def names(self) -> dict[str, list[str]]:
        """Return what each model is good for, by its name."""
        found: dict[str, list[str]] = {}
        for use, models in (
            ("stream", self.live),
            ("transcription", self.files),
            ("speech", self.speakers),
        ):
            for model in models:
                found.setdefault(model.name, []).append(use)
        return found

    def live_model(self, name: str | None) -> LiveModel:
        """Return a recogniser by its name.

        Raises:
            ApiError: there is none of that name.
        """
        return _find(self.live, name, ANY_TRANSCRIBER)

    def transcriber(self, name: str | None) -> FileTranscriber:
        """Return a transcriber by its name.

        Raises:
            ApiError: there is none of that name.
        """
        return _find(self.files, name, ANY_TRANSCRIBER)

    def speaker(self, name: str | None) -> Speaker:
        """Return a speaker by its name.

        Raises:
            ApiError: there is none of that name.
        """
        return _find(self.speakers, name, ANY_SPEAKER)


def _find(models: Sequence[Any], name: str | None, any_of: tuple[str, ...]) -> Any:
    if models and (not name or name in any_of):
        return models[0]
    for model in models:
        if model.name == name:
            return model
    raise unknown_model(name or "", [model.name for model in models])
