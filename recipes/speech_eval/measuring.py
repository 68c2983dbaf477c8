"""A talker speaks, a recogniser writes down what it hears, and clocks run meanwhile."""

import contextlib
import time
from collections.abc import Callable, Iterable
from dataclasses import dataclass
from typing import NamedTuple

import torch
from torch import Tensor

from echoic.codecs.codec import Codec
from echoic.codecs.metrics.scorers import Found
from echoic.recipes.speech_eval.report import Row, Take, Version
from echoic.recipes.speech_eval.sentences import Failure, Sentence
from echoic.tts.lm.guard import Ending
from echoic.tts.synthesizer import Sentence as Said
from echoic.tts.synthesizer import Synthesizer
from echoic.tts.text.phonemes import G2PError
from echoic.tts.voice import Voice

Hear = Callable[[Tensor, int], str]
"""Writes down what is said in samples (T,) of a rate in Hz."""
Keep = Callable[[Sentence, Version, Tensor], None]
"""Is given each version (T,) of a sentence."""


class Spoken(NamedTuple):
    """A sentence that was spoken.

    Attributes:
        wav: (T,) float32.
        first_audio: seconds from the request to the first sound.
        compute: seconds that all of it took.
        endings: of each of its parts.
    """

    wav: Tensor
    first_audio: float
    compute: float
    endings: tuple[Ending, ...]


def speak(synthesizer: Synthesizer, text: str, voice: Voice | None, seed: int) -> Spoken:
    """Speak a sentence as it is streamed to a listener, and look at the clock.

    Raises:
        ValueError: there is nothing to say, or it cannot be said.
    """
    said: list[Said] = []
    wavs: list[Tensor] = []
    first = None
    start = time.perf_counter()
    try:
        for chunk in synthesizer.stream(text, voice=voice, seed=seed, said=said):
            if first is None and chunk.sentence >= 0:  # what the text has in pauses is no sound
                first = time.perf_counter() - start
            wavs.append(chunk.wav)
    except G2PError as e:
        raise ValueError(str(e)) from e
    compute = time.perf_counter() - start
    if first is None:
        raise ValueError("there is nothing to say: the text has no words")
    return Spoken(torch.cat(wavs), first, compute, tuple(sentence.ending for sentence in said))


@dataclass(frozen=True, slots=True)
class Judge:
    """What is measured with.

    Attributes:
        synthesizer: of the talker that is judged.
        hear: the recogniser.
        found: scores of other packages; those that are not blind compare with the recording.
        voice: to speak with.
        seed: of every sentence: each is what `echoic speak --seed` makes of it.
    """

    synthesizer: Synthesizer
    hear: Hear
    found: Found
    voice: Voice | None = None
    seed: int = 0

    def judge(
        self,
        entries: Iterable[Sentence | Failure],
        told: Callable[[Row | Failure], None] = lambda _: None,
        keep: Keep = lambda *_: None,
    ) -> tuple[list[Row], list[Failure]]:
        """Measure sentences; what fails is told, and the others go on.

        A sentence whose recording cannot be read is measured without, and is a failure as well.

        Args:
            entries: what to say.
            told: is told each result as it comes.
            keep: is given the sound.
        """
        entries = list(entries)
        self._warm_up(entries)
        rows: list[Row] = []
        failures: list[Failure] = []
        for entry in entries:
            for result in self._measure(entry, keep):
                if isinstance(result, Failure):
                    failures.append(result)
                else:
                    rows.append(result)
                told(result)
        return rows, failures

    def _warm_up(self, entries: list[Sentence | Failure]) -> None:
        """Let everything that a first call does once be done."""
        for entry in entries:
            with contextlib.suppress(Exception):  # told when it is the sentence's turn
                if isinstance(entry, Sentence):
                    speak(self.synthesizer, entry.text, self.voice, self.seed)
                    return

    def _measure(self, entry: Sentence | Failure, keep: Keep) -> list[Row | Failure]:
        if isinstance(entry, Failure):
            return [entry]
        results: list[Row | Failure] = []
        try:
            recording = self._recording(entry)
        except Exception as e:  # whatever a damaged file makes of its reader
            recording = None
            results.append(Failure(entry.name, e))
        try:
            results.append(self._row(entry, recording, keep))
        except Exception as e:  # a sentence must not take the others with it
            results.append(Failure(entry.name, e))
        return results

    def _recording(self, sentence: Sentence) -> Tensor | None:
        if sentence.recording is None:
            return None
        return sentence.recording.load(self.synthesizer.sample_rate)

    def _row(self, sentence: Sentence, recording: Tensor | None, keep: Keep) -> Row:
        spoken = speak(self.synthesizer, sentence.text, self.voice, self.seed)
        versions: dict[Version, Tensor] = {"talker": spoken.wav}
        if recording is not None:
            talker = self.synthesizer.talker
            books = talker.model.config.frames.num_codebooks
            versions["codec"] = through_codec(talker.codec, recording, books)
            versions["recording"] = recording
        for version, wav in versions.items():
            keep(sentence, version, wav)
        return Row(
            name=sentence.name,
            text=sentence.text,
            first_audio=spoken.first_audio,
            compute=spoken.compute,
            endings=spoken.endings,
            takes={v: self._take(v, wav, recording) for v, wav in versions.items()},
        )

    def _take(self, version: Version, wav: Tensor, recording: Tensor | None) -> Take:
        rate = self.synthesizer.sample_rate
        scores: dict[str, float | None] = {}
        for scorer in self.found.scorers:
            if scorer.kind.blind:
                scores[scorer.kind.name] = scorer(wav, wav)
            elif recording is not None and version != "recording":
                scores[scorer.kind.name] = scorer(recording, wav)
        return Take(self.hear(wav, rate), len(wav) / rate, scores)


def through_codec(codec: Codec, wav: Tensor, books: int) -> Tensor:
    """Return a recording (T,) at the codec's rate as so many codes a frame have it."""
    codes = codec.encode(wav[None].to(codec.device), n_q=books)
    return codec.decode(codes)[0].float().cpu()
