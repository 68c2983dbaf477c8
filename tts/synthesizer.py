"""From text to sound while it is generated."""

import logging
import math
from collections.abc import Callable, Iterable, Iterator
from dataclasses import replace
from typing import NamedTuple

import torch
from torch import Tensor

from echoic.tts.errors import TtsError
from echoic.tts.lm.generation import Generation
from echoic.tts.lm.guard import Ending
from echoic.tts.lm.sampling import SamplingConfig
from echoic.tts.lm.utterance import Request
from echoic.tts.packets import PacketSchedule, Playback
from echoic.tts.talker import Talker
from echoic.tts.text.pieces import Pause, Utterance, Word
from echoic.tts.voice import Voice
from echoic.tts.words import SaidWord, said_words

log = logging.getLogger(__name__)

_CUT = {
    "limit": "was cut: it took longer than any reading of its text",
    "loop": "was cut: the voice said the same over and over",
}


class AudioChunk(NamedTuple):
    """Sound that is ready.

    Attributes:
        wav: (n,) float32 in [-1, 1].
        start: seconds of its first sample from the start of all.
        sentence: number of the sentence it belongs to; -1 for a pause.
    """

    wav: Tensor
    start: float
    sentence: int


class Sentence(NamedTuple):
    """What was said in one go.

    Attributes:
        text: as it was read, numbers in words.
        start: seconds.
        end: seconds.
        ending: "end" where the voice came to it by itself.
        words: with their times, by talkers whose text runs along with their speech; else none.
    """

    text: str
    start: float
    end: float
    ending: Ending
    words: tuple[SaidWord, ...] = ()


class Speech(NamedTuple):
    """Everything that was said.

    Attributes:
        wav: (n,) float32 in [-1, 1].
        sample_rate: Hz.
        sentences: in their order.
    """

    wav: Tensor
    sample_rate: int
    sentences: list[Sentence]


class Synthesizer:
    """Speaks; any number of requests, none of which knows the others.

    Args:
        talker: what speaks.
        packets: how soon sound leaves.
        clock: seconds, by which a listener plays: packets leave early when he runs dry. None where
            nobody waits: then the same request has the same packets, and the same bits.
    """

    def __init__(
        self,
        talker: Talker,
        packets: PacketSchedule | None = None,
        clock: Callable[[], float] | None = None,
    ) -> None:
        self.talker = talker
        self.packets = PacketSchedule() if packets is None else packets
        self.clock = clock
        self.reader = talker.reader()
        self.sample_rate = talker.decoder.sample_rate

    def stream(
        self,
        text: str | Iterable[str],
        *,
        voice: Voice | None = None,
        sampling: SamplingConfig | None = None,
        seed: int = 0,
        said: list[Sentence] | None = None,
    ) -> Iterator[AudioChunk]:
        """Speak, and give out sound as soon as there is some.

        Args:
            text: all of it, or pieces as they come from a keyboard or a language model.
            voice: to speak with; None for the talker's own.
            sampling: how codes are drawn; None as the talker's settings say.
            seed: of the random numbers: the same one says the same.
            said: gets each sentence when it is over.

        Raises:
            TtsError: a voice of another codec, or text that cannot be read aloud.
            ScoresNotFinite: the model's weights are damaged.
        """
        if voice is not None:
            voice.fits(self.talker)
        prompt = _Prompt.of(self, voice)
        return self._stream(text, prompt, sampling, seed, [] if said is None else said)

    def speak(
        self,
        text: str,
        *,
        voice: Voice | None = None,
        sampling: SamplingConfig | None = None,
        seed: int = 0,
    ) -> Speech:
        """Speak a whole text; for the arguments and errors see `stream`.

        Raises:
            TtsError: there is nothing to say.
        """
        said: list[Sentence] = []
        chunks = list(self.stream(text, voice=voice, sampling=sampling, seed=seed, said=said))
        if not chunks:
            raise TtsError("there is nothing to say: the text has no words")
        wav = torch.cat([chunk.wav for chunk in chunks])
        return Speech(wav, self.sample_rate, said)

    def _stream(
        self,
        text: str | Iterable[str],
        prompt: "_Prompt",
        sampling: SamplingConfig | None,
        seed: int,
        said: list[Sentence],
    ) -> Iterator[AudioChunk]:
        # SSML has to be whole; other text is read as it comes.
        utterances = self.reader.read(text) if isinstance(text, str) else self.reader.stream(text)
        samples = number = packet = 0
        playback = None if self.clock is None else Playback(self.sample_rate, self.clock)
        for part in _parts(utterances):
            if not isinstance(part, Utterance):
                silence = torch.zeros(round(part * self.sample_rate))
                if playback is not None:
                    playback.send(len(silence))
                yield AudioChunk(silence, samples / self.sample_rate, -1)
                samples += len(silence)
                continue
            start = samples / self.sample_rate
            request = self._request(part, prompt, sampling, seed + number)
            generation = Generation(self.talker.speaking, [request])
            for wav in self._sound(generation, packet, playback):
                packet += 1
                if playback is not None:
                    playback.send(len(wav))
                yield AudioChunk(wav, samples / self.sample_rate, number)
                samples += len(wav)
            (ending,) = generation.endings
            assert ending is not None
            if ending != "end":
                log.warning("%r %s", part.text, _CUT[ending])
            words = self._words(part, prompt, generation, start)
            said.append(Sentence(part.text, start, samples / self.sample_rate, ending, words))
            number += 1

    def _sound(
        self, generation: Generation, packet: int, playback: Playback | None
    ) -> Iterator[Tensor]:
        """Yield the sound of a generation, packet by packet."""
        form, device = self.talker.model.config.frames, self.talker.decoder.device
        decoder = self.talker.decoder.streaming_decoder(form.num_codebooks)
        state = decoder.initial_state(1, device=device)
        ready: list[Tensor] = []
        while not generation.done:
            ready += generation.step()
            waiting = sum(len(frames) for frames in ready)
            store = math.inf if playback is None else playback.store
            due = self.packets.due(packet, waiting, store)
            if waiting and (due or generation.done):
                codes = torch.cat(ready).T[None].to(device)
                state, wav = decoder.step(state, codes)
                ready, packet = [], packet + 1
                if wav.shape[1]:
                    yield wav[0].float().cpu()
        _, wav = decoder.finish(state)
        if wav.shape[1]:
            yield wav[0].float().cpu()

    def _words(
        self, utterance: Utterance, prompt: "_Prompt", generation: Generation, start: float
    ) -> tuple[SaidWord, ...]:
        (row,) = generation.rows
        if row.along is None:
            return ()
        heard = 0 if prompt.frames is None else len(prompt.frames)
        begins = [begin - heard for begin in row.along.begins[len(prompt.ids) :]]
        pieces = self.talker.encode(utterance).pieces
        rate = self.talker.codec.frame_rate
        return tuple(said_words(utterance, pieces, begins, row.frames - heard, rate, start))

    def _request(
        self,
        utterance: Utterance,
        prompt: "_Prompt",
        sampling: SamplingConfig | None,
        seed: int,
    ) -> Request:
        settings = self.talker.settings
        ids = self.talker.ids(utterance)
        rest = settings.rest
        if sampling is not None and sampling.temperature == 0:
            rest = replace(rest, temperature=0.0)
        return Request(
            torch.cat([prompt.ids, ids]),
            prompt=prompt.frames,
            prompt_units=len(prompt.ids),
            prompt_starts=prompt.starts,
            sampling=sampling or settings.sampling,
            rest=rest,
            bounds=settings.bounds,
            seed=seed,
        )


class _Prompt(NamedTuple):
    ids: Tensor
    frames: Tensor | None
    starts: Tensor | None = None

    @classmethod
    def of(cls, synthesizer: Synthesizer, voice: Voice | None) -> "_Prompt":
        if voice is None:
            return cls(torch.empty(0, dtype=torch.int64), None)
        talker = synthesizer.talker
        ids = [talker.ids(u) for u in synthesizer.reader.read(voice.text)]
        if not ids:
            raise TtsError(f"what voice {voice.name!r} says has no words: make it again")
        books = talker.model.config.frames.num_codebooks
        said, frames = torch.cat(ids), voice.frames[:, :books]
        return cls(said, frames, talker.align(said, frames))


def _parts(utterances: Iterable[Utterance]) -> Iterator[Utterance | float]:
    """Yield what is said in one go, and the seconds of silence that the text asks for between."""
    for utterance in utterances:
        pieces = []
        for piece in utterance.pieces:
            if not isinstance(piece, Pause):
                pieces.append(piece)
                continue
            if any(isinstance(p, Word) for p in pieces):
                yield Utterance(tuple(pieces), utterance.span)
            pieces = []
            yield piece.seconds
        if any(isinstance(p, Word) for p in pieces):
            yield Utterance(tuple(pieces), utterance.span)
