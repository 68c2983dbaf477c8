"""From words to phonemes: the protocol, and the programs that can do it.

None of them is needed: a voice may read letters as bytes. `HibariG2P` comes with the extra `tts`
(Apache-2.0). `EspeakG2P` runs the program `espeak-ng` (GPL-3.0) if somebody has installed it and
asks for it by name; nothing of it is part of this package.
"""

import shutil
import subprocess
from collections.abc import Callable, Sequence
from typing import Any, Protocol

_SECONDS = 60


class G2PError(RuntimeError):
    """Phonemes cannot be had; the message says what to install or to write."""


class G2P(Protocol):
    """Knows how words sound."""

    alphabet: str
    """What its phonemes are written in: "misaki" or "ipa"."""

    def __call__(self, tokens: Sequence[str]) -> list[str]:
        """Give the phonemes of the words of one sentence.

        Args:
            tokens: N words and, for the melody of the sentence, marks.

        Returns:
            N strings; of marks, and of words without a sound, the empty one.

        Raises:
            G2PError: the program behind it fails.
        """
        ...


class HibariG2P:
    """English phonemes by the lexicons and the small network of hibari-tts (Apache-2.0).

    They are those of misaki: IPA, but for one capital letter for each diphthong.

    Args:
        british: read like a Briton.

    Raises:
        G2PError: hibari-tts is not installed.
    """

    alphabet = "misaki"

    def __init__(self, *, british: bool = False) -> None:
        try:
            from hibari.g2p import G2P as Hibari  # pyright: ignore[reportMissingImports]
        except ImportError as e:
            raise G2PError("phonemes by hibari need: pip install 'echoic[tts]'") from e
        self._g2p: Any = Hibari(british=british)

    def __call__(self, tokens: Sequence[str]) -> list[str]:
        """Give the phonemes of the words of one sentence; they depend on its other words."""
        line = " ".join(tokens)
        starts = _starts(tokens)
        said = [""] * len(tokens)
        at = owner = 0
        for found in self._g2p.phonemize_tokens(self._g2p.tokenize(line)):
            at = line.index(found.text, at)
            while owner + 1 < len(starts) and starts[owner + 1] <= at:
                owner += 1
            at += len(found.text)
            said[owner] += found.phonemes or ""
        return ["" if _is_mark(t) else s.strip() for t, s in zip(tokens, said, strict=True)]


class EspeakG2P:
    """Phonemes in IPA by the program espeak-ng, which is GPL-3.0 and not part of this package.

    Each word is asked for alone, so that phonemes can be told apart: "read" has one sound only.

    Args:
        voice: espeak-ng's name of a language, "en-us" or "de".

    Raises:
        G2PError: the program is missing, or does not know the voice.
    """

    alphabet = "ipa"

    def __init__(self, voice: str = "en-us") -> None:
        if shutil.which("espeak-ng") is None:
            raise G2PError("the program espeak-ng (GPL-3.0) is missing; apt install espeak-ng")
        self._voice = voice
        self._run("a")

    def __call__(self, tokens: Sequence[str]) -> list[str]:
        """Give the phonemes of the words of one sentence, each as it sounds alone."""
        words = [t for t in tokens if not _is_mark(t)]
        # A blank line ends a paragraph, and each is answered by a line of its own.
        said = iter(self._run("\n\n".join(words)) if words else [])
        return ["" if _is_mark(t) else next(said) for t in tokens]

    def _run(self, text: str) -> list[str]:
        command = ["espeak-ng", "--ipa", "-q", "-v", self._voice, "--stdin"]
        try:
            done = subprocess.run(
                command,
                input=text.encode(errors="replace"),
                capture_output=True,
                timeout=_SECONDS,
                check=False,
            )
        except (OSError, subprocess.TimeoutExpired) as e:
            raise G2PError(f"espeak-ng could not be run: {e}") from e
        if done.returncode:
            reason = " ".join(done.stderr.decode(errors="replace").split())
            raise G2PError(f"espeak-ng ended with {done.returncode}: {reason[:200]}")
        lines = [line.strip() for line in done.stdout.decode(errors="replace").splitlines()]
        asked = text.count("\n\n") + 1
        if len(lines) != asked:
            raise G2PError(f"espeak-ng answered {asked} words with {len(lines)} lines")
        return lines


_G2PS: dict[str, Callable[[], G2P]] = {
    "hibari": HibariG2P,
    "hibari-gb": lambda: HibariG2P(british=True),
    "espeak": EspeakG2P,
}


def g2p(name: str) -> G2P:
    """Return the G2P of a name: "hibari", "hibari-gb", "espeak" or "espeak:VOICE".

    Raises:
        ValueError: there is no such G2P.
        G2PError: it is not installed.
    """
    kind, _, voice = name.partition(":")
    if kind == "espeak" and voice:
        return EspeakG2P(voice)
    if name not in _G2PS:
        raise ValueError(f"no G2P {name!r}; there are {', '.join(_G2PS)} and espeak:VOICE")
    return _G2PS[name]()


def _starts(tokens: Sequence[str]) -> list[int]:
    starts, at = [], 0
    for token in tokens:
        starts.append(at)
        at += len(token) + 1
    return starts


def _is_mark(token: str) -> bool:
    return not any(c.isalpha() for c in token)
