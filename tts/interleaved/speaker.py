"""Text straight to codes: a speech language model whose codes nobody decodes."""

from collections.abc import Sequence
from pathlib import Path
from typing import Protocol, Self

import torch
from torch import Tensor

from echoic.codecs.weights import weights_hash
from echoic.tts.box import find_talker
from echoic.tts.errors import TtsError
from echoic.tts.folders import CONFIG
from echoic.tts.interleaved.spans import seed_of
from echoic.tts.lm.files import load_speech_lm, read_config
from echoic.tts.lm.generation import Generation
from echoic.tts.lm.speech import SpeechLM
from echoic.tts.lm.utterance import Request
from echoic.tts.talker import TalkerSettings
from echoic.tts.text.alphabet import Alphabet, alphabet_from_config
from echoic.tts.text.frontend import Reader
from echoic.tts.text.phonemes import g2p
from echoic.tts.unified.training.example_file import Codes

#: Utterances that are spoken together.
BATCH = 32


class TextToCodes(Protocol):
    """Gives codes of text."""

    @property
    def codes(self) -> Codes:
        """What they mean."""
        ...

    @property
    def print(self) -> str:
        """A name of all that they depend on but text and seeds: another voice has another."""
        ...

    def speak(self, texts: Sequence[str], seeds: Sequence[int]) -> list[Tensor | None]:
        """Return the frames (T, Q) int64 of each text; None where it cannot be spoken well.

        They depend on these texts and seeds alone.
        """
        ...


class TalkerCodes:
    """A talker without its codec, which is not even loaded.

    Args:
        model: in evaluation mode.
        alphabet: of its text.
        settings: how it reads and speaks.

    Raises:
        TtsError: its language or its phonemes need a package that is not there.
    """

    def __init__(self, model: SpeechLM, alphabet: Alphabet, settings: TalkerSettings) -> None:
        self.model = model
        self.alphabet = alphabet
        self.settings = settings
        self.codes = Codes(model.config.frames, settings.codec_hash)
        self.print = f"{weights_hash(model)} {settings.sampling} {settings.rest} {settings.bounds}"
        name = settings.g2p
        try:
            self._reader = Reader(settings.language, g2p(name) if name else None, markup="none")
        except (ValueError, ImportError, RuntimeError) as e:
            raise TtsError(str(e)) from e

    @classmethod
    def from_pretrained(cls, name_or_dir: str | Path, *, device: str = "cpu") -> Self:
        """Load a talker: a name in the box, a folder or a Hugging Face id.

        Raises:
            TtsError: not there, damaged, or of another kind.
        """
        folder = find_talker(name_or_dir)
        values = read_config(folder)
        try:
            settings = TalkerSettings.from_dict(values["talker"])
            alphabet = alphabet_from_config(values["alphabet"])
        except KeyError as e:
            raise TtsError(f"{folder / CONFIG} has no section {e}: it is no talker") from e
        except ValueError as e:
            raise TtsError(f"{folder / CONFIG}: {e}") from e
        return cls(load_speech_lm(folder, device=device), alphabet, settings)

    def speak(self, texts: Sequence[str], seeds: Sequence[int]) -> list[Tensor | None]:
        """Return the frames (T, Q) int64 of each text.

        None where it has nothing to be said, or sounds that the alphabet does not have; or where
        speech did not end by itself, but went on and on or in circles.
        """
        asked: list[Request] = []
        owners: list[int] = []
        unspeakable = set()
        for number, (text, seed) in enumerate(zip(texts, seeds, strict=True)):
            requests = self._requests(text, seed)
            if not requests:
                unspeakable.add(number)
            asked += requests
            owners += [number] * len(requests)
        frames: list[list[Tensor]] = [[] for _ in texts]
        for start in range(0, len(asked), BATCH):
            spoken = self._spoken(asked[start : start + BATCH])
            for owner, found in zip(owners[start:], spoken, strict=False):
                if found is None:
                    unspeakable.add(owner)
                else:
                    frames[owner].append(found)
        return [
            None if number in unspeakable else torch.cat(own) for number, own in enumerate(frames)
        ]

    def _requests(self, text: str, seed: int) -> list[Request]:
        """Return an utterance's request each; none where the text cannot be said."""
        try:
            ids = [self.alphabet.encode(utterance).ids for utterance in self._reader.read(text)]
        except ValueError:
            return []
        settings = self.settings
        return [
            Request(
                torch.tensor(own, dtype=torch.int64),
                sampling=settings.sampling,
                rest=settings.rest,
                bounds=settings.bounds,
                seed=seed_of(seed, number),
            )
            for number, own in enumerate(ids)
            if own
        ]

    def _spoken(self, requests: Sequence[Request]) -> list[Tensor | None]:
        generation = Generation(self.model, requests)
        parts: list[list[Tensor]] = [[] for _ in requests]
        while not generation.done:
            for own, frames in zip(parts, generation.step(), strict=True):
                own.append(frames)
        books = self.codes.format.num_codebooks
        joined = [torch.cat([*own, torch.empty(0, books, dtype=torch.int64)]) for own in parts]
        ended = zip(generation.endings, joined, strict=True)
        return [frames if how == "end" and len(frames) else None for how, frames in ended]
