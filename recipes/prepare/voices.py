"""Voices that read sentences aloud: small synthesisers from the package registry and Debian.

| name | comes with | licence of program and voice |
| --- | --- | --- |
| `hibari:heart`; others it downloads itself | `pip install hibari-tts` | Apache-2.0 |
| `flite:slt`, `rms`, `awb`, `kal16` | Debian `flite` | free (CMU) |
| `festival:cmu_us_slt_arctic_hts`, ... | Debian `festival`, `festvox-us-slt-hts`, ... | free |
| `espeak:en-us`, `espeak:en-gb+f3`, ... | Debian `espeak-ng` | GPL-3 (program) |

Programs get the text as an argument or by a file, never through a shell.
"""

import re
import shutil
import subprocess
from collections.abc import Callable
from dataclasses import dataclass
from functools import lru_cache
from pathlib import Path
from tempfile import TemporaryDirectory
from typing import Any

import torch

from echoic.audio.io import Audio, load

_SECONDS = 60
_WORDS_PER_MINUTE = 170  # espeak-ng's own pace is 175


class VoiceError(RuntimeError):
    """A voice cannot be used, or did not read a text."""


@dataclass(frozen=True, slots=True)
class Voice:
    """One voice of one engine.

    Attributes:
        engine: hibari, flite, festival or espeak.
        name: the engine's name of the voice.
    """

    engine: str
    name: str

    def __post_init__(self) -> None:
        if self.engine not in _ENGINES:
            raise ValueError(f"engine is {self.engine!r}; choose of {', '.join(_ENGINES)}")
        if not re.fullmatch(r"[\w.+-]+", self.name):
            raise ValueError(f"voice is {self.name!r}; give the engine's name of a voice")

    @classmethod
    def parse(cls, text: str) -> "Voice":
        """Read "engine:name".

        Raises:
            ValueError: if it is not of that form or the engine is unknown.
        """
        engine, _, name = text.partition(":")
        return cls(engine, name)

    def __str__(self) -> str:
        return f"{self.engine}:{self.name}"

    def check(self) -> None:
        """Find out whether the voice is installed.

        Raises:
            VoiceError: if it is not; the message says what to install.
        """
        _ENGINES[self.engine].check(self.name)

    def speak(self, text: str, *, speed: float = 1.0, seed: int = 0) -> Audio:
        """Read a sentence aloud.

        Args:
            text: one English sentence.
            speed: 1 is the voice's own pace, 2 twice as fast; HTS voices of festival ignore it.
            seed: of the noise in the voice (hibari only; the others have none).

        Returns:
            (1, T) sound at the engine's own rate.

        Raises:
            VoiceError: if the engine fails or says nothing.
        """
        audio = _ENGINES[self.engine].speak(self.name, text, speed, seed)
        if audio.wav.shape[1] == 0 or not bool(audio.wav.any()):
            raise VoiceError(f"{self} is silent about {text!r}")
        return audio


@dataclass(frozen=True, slots=True)
class _Engine:
    check: Callable[[str], object]
    speak: Callable[[str, str, float, int], Audio]


@lru_cache(maxsize=8)
def _hibari(name: str) -> Any:
    try:
        from hibari import Hibari  # pyright: ignore[reportMissingImports]
    except ImportError as e:
        raise VoiceError(f"hibari:{name} needs: pip install hibari-tts") from e
    try:
        return Hibari(voice=name)
    except (KeyError, OSError, ValueError) as e:
        raise VoiceError(f"hibari:{name} cannot be loaded: {e}") from e


def _hibari_speak(name: str, text: str, speed: float, seed: int) -> Audio:
    voice = _hibari(name)
    return Audio(torch.from_numpy(voice(text, speed, seed)).unsqueeze(0), voice.sample_rate)


def _flite_check(name: str) -> None:
    known = _run(["flite", "-lv"], package="flite").partition(":")[2].split()
    _check_known("flite", name, known, "use one of them")


def _flite_speak(name: str, text: str, speed: float, seed: int) -> Audio:
    del seed
    pace = ["--setf", f"duration_stretch={1 / speed:.4f}"]
    return _to_file(["flite", "-voice", name, *pace, "-t", text, "-o"], package="flite")


def _festival_check(name: str) -> None:
    listed = _run(["festival", "-b", "(print (voice.list))"], package="festival")
    _check_known("festival", name, listed.strip("()\n ").split(), "apt install festvox-...")


def _festival_speak(name: str, text: str, speed: float, seed: int) -> Audio:
    del seed
    setting = f"(begin (voice_{name}) (Parameter.set 'Duration_Stretch {1 / speed:.4f}))"
    return _to_file(["text2wave", "-eval", setting, "-o"], package="festival", stdin=text)


def _espeak_check(name: str) -> None:
    # An unknown variant after the plus would only be ignored.
    listed = _run(["espeak-ng", "--voices=variant"], package="espeak-ng").splitlines()[1:]
    variant = name.partition("+")[2]
    if variant:
        known = [line.rpartition("!v/")[2].strip() for line in listed]
        _check_known("espeak", variant, known, "these follow the plus")
    _run(["espeak-ng", "-q", "-v", name, "a"], package="espeak-ng")


def _espeak_speak(name: str, text: str, speed: float, seed: int) -> Audio:
    del seed
    pace = str(round(_WORDS_PER_MINUTE * speed))
    return _to_file(["espeak-ng", "-v", name, "-s", pace, "-w"], package="espeak-ng", stdin=text)


def _to_file(command: list[str], *, package: str, stdin: str = "") -> Audio:
    with TemporaryDirectory(prefix="echoic-voice-") as folder:
        path = Path(folder, "spoken.wav")
        _run([*command, str(path)], package=package, stdin=stdin)
        if not path.exists():
            raise VoiceError(f"{command[0]} wrote no sound")
        try:
            return load(path, mono=True)
        except ValueError as e:
            raise VoiceError(f"{command[0]} wrote no sound: {e}") from e


def _run(command: list[str], *, package: str, stdin: str = "") -> str:
    if shutil.which(command[0]) is None:
        raise VoiceError(f"the program {command[0]} is missing; apt install {package}")
    try:
        done = subprocess.run(
            command, input=stdin, capture_output=True, text=True, timeout=_SECONDS, check=False
        )
    except subprocess.TimeoutExpired as e:
        raise VoiceError(f"{command[0]} did not end within {_SECONDS} seconds") from e
    if done.returncode != 0:
        reason = " ".join(done.stderr.split())[:200]
        raise VoiceError(f"{command[0]} ended with {done.returncode}: {reason}")
    return done.stdout


def _check_known(engine: str, name: str, known: list[str], remedy: str) -> None:
    if name.lower() not in (k.lower() for k in known):
        raise VoiceError(f"{engine} has no voice {name!r}, only {' '.join(known)}; {remedy}")


_ENGINES = {
    "hibari": _Engine(_hibari, _hibari_speak),
    "flite": _Engine(_flite_check, _flite_speak),
    "festival": _Engine(_festival_check, _festival_speak),
    "espeak": _Engine(_espeak_check, _espeak_speak),
}
