"""Talkers as `echoic serve` takes them."""

import time
from collections.abc import Iterable, Iterator
from contextlib import closing
from pathlib import Path
from typing import Any

import numpy as np

from echoic.streaming.server.models import Refused
from echoic.tts.box import find_talker
from echoic.tts.errors import TtsError
from echoic.tts.speech_scheduler import SpeechScheduler
from echoic.tts.synthesizer import Synthesizer
from echoic.tts.talker import Talker
from echoic.tts.text.phonemes import G2PError
from echoic.tts.text.script import TextError
from echoic.tts.voice import Voice

#: The talker's own voice.
OWN_VOICE = "default"


class ServedTalker:
    """A synthesizer behind `Speaker`: many texts at once, in one batch.

    Args:
        name: by which clients ask for it.
        synthesizer: what speaks.
        voices: others than its own, by name.

    Attributes:
        name: by which clients ask for it.
        sample_rate: Hz.
        voices: names; the first is its own.
    """

    def __init__(
        self, name: str, synthesizer: Synthesizer, voices: dict[str, Voice] | None = None
    ) -> None:
        self.name = name
        self.sample_rate = synthesizer.sample_rate
        self._scheduler = SpeechScheduler(synthesizer)
        self._voices = {} if voices is None else voices
        self.voices = (OWN_VOICE, *self._voices)

    @classmethod
    def load(cls, name: str, **settings: Any) -> "ServedTalker":
        """Load a talker with the voices in its folder.

        Args:
            name: see `Talker.from_pretrained`.
            **settings: see there.

        Raises:
            TtsError: see there.
        """
        talker = Talker.from_pretrained(name, **settings)
        files = sorted((find_talker(name) / "voices").glob("*.voice"))
        shown = Path(name).name if Path(name).is_dir() else name
        synthesizer = Synthesizer(talker, clock=time.monotonic)  # somebody listens
        return cls(shown, synthesizer, {file.stem: Voice.load(file) for file in files})

    def speak(
        self, text: str | Iterable[str], *, voice: str, seed: int
    ) -> Iterator[np.ndarray[Any, Any]]:
        """Yield sound as soon as there is some; see `Speaker`."""
        try:
            chosen = self._voices.get(voice)
            # Who leaves costs nothing more.
            with closing(self._scheduler.speak(text, voice=chosen, seed=seed)) as chunks:
                for chunk in chunks:
                    yield chunk.wav.numpy()
        except (TtsError, TextError, G2PError) as error:
            raise Refused(str(error), "input") from error
