"""From text to sound while it is generated."""

import logging
import math
from collections import deque
from collections.abc import Callable, Iterable, Iterator
from dataclasses import replace
from typing import NamedTuple

import torch
from torch import Tensor

from echoic.streaming.grouping import Step, StepEngine
from echoic.streaming.work import Ask, Rounds, Work
from echoic.tts.errors import TtsError
from echoic.tts.lm.engine import TalkerEngine
from echoic.tts.lm.guard import Ending
from echoic.tts.lm.rows import Row
from echoic.tts.lm.sampling import SamplingConfig
from echoic.tts.lm.utterance import Request
from echoic.tts.lm.utterance import Utterance as Spoken
from echoic.tts.packets import PacketSchedule, Playback
from echoic.tts.talker import Talker
from echoic.tts.text.pieces import Pause, Utterance, Word
from echoic.tts.voice import Voice
from echoic.tts.words import SaidWord, said_words

log = logging.getLogger(__name__)

Part = Utterance | float
"""What is said in one go, or seconds of silence."""

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


class Prompt(NamedTuple):
    """What speech goes on from.

    Attributes:
        ids: (L,) of what was said.
        frames: (T, Q) of how; None for the talker's own voice, which needs no prompt.
        starts: (L,) the first frame of each id, where text runs along.
    """

    ids: Tensor
    frames: Tensor | None
    starts: Tensor | None = None


class Delivery:
    """The sound of one text on its way out.

    Attributes:
        sample_rate: Hz.
        playback: what the listener has in store; None where nobody waits.
        samples: that have left.
        packets: that have left, pauses not counted.
        sentences: that were begun.

    Args:
        sample_rate: Hz.
        hear: is given each chunk when it is ready.
        playback: see there.
    """

    def __init__(
        self,
        sample_rate: int,
        hear: Callable[[AudioChunk], object],
        playback: Playback | None = None,
    ) -> None:
        self.sample_rate = sample_rate
        self.playback = playback
        self.samples = self.packets = self.sentences = 0
        self._hear = hear

    @property
    def seconds(self) -> float:
        """Of sound that has left."""
        return self.samples / self.sample_rate

    @property
    def store(self) -> float:
        """Seconds that the listener has still to play; infinite where nobody waits."""
        return math.inf if self.playback is None else self.playback.store

    def send(self, wav: Tensor, sentence: int) -> None:
        """Send samples (n,), of a sentence or of a pause; none are no packet."""
        if not len(wav):
            return
        self.packets += sentence >= 0
        if self.playback is not None:
            self.playback.send(len(wav))
        start = self.seconds
        self.samples += len(wav)
        self._hear(AudioChunk(wav, start, sentence))


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
        # Codes wait for those of others, but for a listener's first ones: they go before all.
        form = talker.model.config.frames
        self._decoder = talker.decoder.streaming_decoder(form.num_codebooks)
        self._soon = StepEngine(self._decoder, stage=0)
        self._engine = TalkerEngine(talker.speaking, stage=1)
        self._late = StepEngine(self._decoder, stage=2)

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
        prompt = self.prompt(voice)
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
        prompt: Prompt,
        sampling: SamplingConfig | None,
        seed: int,
        said: list[Sentence],
    ) -> Iterator[AudioChunk]:
        ready: deque[AudioChunk] = deque()
        playback = None if self.clock is None else Playback(self.sample_rate, self.clock)
        delivery = Delivery(self.sample_rate, ready.append, playback)
        for part in self.parts(text):
            rounds = Rounds()
            rounds.add(self.say(part, delivery, prompt, sampling, seed, said))
            while len(rounds):
                ended = rounds.turn()
                while ready:
                    yield ready.popleft()
                for _, outcome in ended:
                    if outcome.error is not None:
                        raise outcome.error

    def parts(self, text: str | Iterable[str]) -> Iterator[Part]:
        """Yield what is said in one go, and the seconds of silence that are asked for between.

        SSML has to be whole; other text is read as it comes.
        """
        utterances = self.reader.read(text) if isinstance(text, str) else self.reader.stream(text)
        return _parts(utterances)

    def prompt(self, voice: Voice | None) -> Prompt:
        """Return what is gone on from in a voice; nothing for the talker's own.

        Raises:
            TtsError: a voice of another codec, or that says nothing.
        """
        if voice is None:
            return Prompt(torch.empty(0, dtype=torch.int64), None)
        voice.fits(self.talker)
        ids = [self.talker.ids(u) for u in self.reader.read(voice.text)]
        if not ids:
            raise TtsError(f"what voice {voice.name!r} says has no words: make it again")
        books = self.talker.model.config.frames.num_codebooks
        said, frames = torch.cat(ids), voice.frames[:, :books]
        return Prompt(said, frames, self.talker.align(said, frames))

    def say(
        self,
        part: Part,
        delivery: Delivery,
        prompt: Prompt,
        sampling: SamplingConfig | None,
        seed: int,
        said: list[Sentence],
    ) -> Work[None]:
        """Say a part of a text, or nothing for so long; the parts of a text follow each other.

        Args:
            part: see `parts`.
            delivery: where the sound goes; the same one for all parts of a text.
            prompt: see `prompt`.
            sampling: how codes are drawn; None as the talker's settings say.
            seed: of the whole text.
            said: gets the sentence when it is over.
        """
        if not isinstance(part, Utterance):
            delivery.send(torch.zeros(round(part * self.sample_rate)), -1)
            return
        number, start = delivery.sentences, delivery.seconds
        delivery.sentences += 1
        row = Row(self._engine.model, self._request(part, prompt, sampling, seed + number))
        yield from self._sound(row, delivery, number)
        ending = row.utterance.ending
        assert ending is not None
        if ending != "end":
            log.warning("%r %s", part.text, _CUT[ending])
        words = self._words(part, prompt, row.utterance, start)
        said.append(Sentence(part.text, start, delivery.seconds, ending, words))

    def _sound(self, row: Row, delivery: Delivery, number: int) -> Work[None]:
        """Send the sound of a row, packet by packet."""
        device = self.talker.decoder.device
        state = self._decoder.initial_state(1, device=device, dtype=torch.float32)
        ready: list[Tensor] = []
        packet = delivery.packets
        while row.utterance.speaks:
            frames = yield Ask(self._engine, row)
            ready.append(frames)
            waiting = sum(len(frames) for frames in ready)
            due = self.packets.due(packet, waiting, delivery.store)
            if waiting and (due or not row.utterance.speaks):
                codes = torch.cat(ready).T[None].to(device)
                state, wav = yield Ask(self._codec(packet), Step(state, codes))
                ready, packet = [], packet + 1
                delivery.send(wav[0].float().cpu(), number)
        _, wav = yield Ask(self._codec(packet), Step(state, None))
        delivery.send(wav[0].float().cpu(), number)

    def _codec(self, packet: int) -> StepEngine:
        """Return the engine of a packet: small ones are waited for, large ones can be gathered."""
        return self._late if self.packets.size(packet) == self.packets.largest else self._soon

    def _words(
        self, utterance: Utterance, prompt: Prompt, row: Spoken, start: float
    ) -> tuple[SaidWord, ...]:
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
        prompt: Prompt,
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


def _parts(utterances: Iterable[Utterance]) -> Iterator[Part]:
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
