"""Many texts that one talker speaks at once, in one thread: steps and frames are joined."""

import math
import threading
import time
from collections import deque
from collections.abc import Callable, Generator, Iterable, Iterator
from types import TracebackType
from typing import Any, Self

from echoic.streaming.work import Ask, Outcome, Work
from echoic.streaming.workshop import Workshop, WorkshopConfig
from echoic.tts.lm.sampling import SamplingConfig
from echoic.tts.packets import Playback
from echoic.tts.synthesizer import AudioChunk, Delivery, Part, Sentence, Synthesizer
from echoic.tts.voice import Voice

# Seconds of sound that nobody has taken, beyond which no more is made.
_UNREAD = 30.0


class SpeechScheduler:
    """Speaks many texts side by side; each is what the `Synthesizer` says alone.

    Texts join while others are in mid-sentence, and leave when they are over or their listeners are
    gone. Whoever has sound in store for long lets the others go first. Any number of threads may
    call it, one for each text.

    Attributes:
        synthesizer: what speaks.
        workshop: where.
    """

    def __init__(
        self,
        synthesizer: Synthesizer,
        config: WorkshopConfig | None = None,
        *,
        clock: Callable[[], float] = time.monotonic,
    ) -> None:
        """Start the thread.

        Args:
            synthesizer: what speaks.
            config: how many texts at once; see there.
            clock: seconds, by which listeners play.
        """
        self.synthesizer = synthesizer
        self.workshop = Workshop(config, name="echoic-speech", clock=clock)
        self._clock = clock

    def speak(
        self,
        text: str | Iterable[str],
        *,
        voice: Voice | None = None,
        sampling: SamplingConfig | None = None,
        seed: int = 0,
        said: list[Sentence] | None = None,
    ) -> Generator[AudioChunk, None, None]:
        """Speak, and give out sound as soon as there is some; see `Synthesizer.stream`.

        Text is read, and waited for, where the sound is taken. Nothing is done before the first
        chunk is asked for; closing the iterator ends the speech.

        Raises:
            TtsError: a voice of another codec, or text that cannot be read aloud.
            Busy: there are as many texts as may be; raised with the first chunk.
            ScoresNotFinite: the model's weights are damaged.
            RuntimeError: the scheduler is closed.
        """
        prompt = self.synthesizer.prompt(voice)
        kept = [] if said is None else said

        def say(part: Part, delivery: Delivery) -> Work[None]:
            return self.synthesizer.say(part, delivery, prompt, sampling, seed, kept)

        return self._chunks(text, say)

    def close(self, *, finish: bool = False) -> None:
        """End the thread, see `Workshop.close`; speech that is cut ends by `CancelledError`."""
        self.workshop.close(finish=finish)

    def __enter__(self) -> Self:
        """Return the scheduler."""
        return self

    def __exit__(
        self,
        kind: type[BaseException] | None,
        error: BaseException | None,
        trace: TracebackType | None,
    ) -> None:
        """Close it, and cut what is being said."""
        self.close()

    def _chunks(
        self, text: str | Iterable[str], say: Callable[[Part, Delivery], Work[None]]
    ) -> Generator[AudioChunk, None, None]:
        heard = _Heard(self.synthesizer, say, self._clock)
        job = self.workshop.submit(heard.work(), slack=heard.slack, on_end=heard.end)
        try:
            parts = self.synthesizer.parts(text)
            # Text that is there is read a sentence ahead, once the first sound is out.
            reads_ahead = False
            while not heard.is_over:
                if heard.lacks_text(ahead=reads_ahead):
                    heard.read(parts)
                    job.wake()
                chunk = heard.take()
                if chunk is not None:
                    yield chunk
                    reads_ahead = isinstance(text, str)
                    job.wake()
            heard.check()
        finally:
            job.cancel()


class _Gate:
    """Where a piece of work may be made to wait."""

    stage = 0

    def answer(self, questions: Any, /) -> list[None]:
        return [None for _ in questions]


_GATE = _Gate()


class _Heard:
    """One text between the thread that speaks it and the one that listens."""

    def __init__(
        self,
        synthesizer: Synthesizer,
        say: Callable[[Part, Delivery], Work[None]],
        clock: Callable[[], float],
    ) -> None:
        rate, own = synthesizer.sample_rate, synthesizer.clock
        self._say = say
        self._delivery = Delivery(rate, self._hear, None if own is None else Playback(rate, own))
        self._playback = Playback(rate, clock)
        self._most = _UNREAD * rate
        self._changed = threading.Condition()
        self._parts: deque[Part] = deque()
        self._is_whole = False
        self._waits = True  # for text
        self._text_error: Exception | None = None
        self._ready: deque[AudioChunk] = deque()
        self._unread = 0
        self._outcome: Outcome | None = None

    # What the workshop's thread calls.

    def work(self) -> Work[None]:
        """Speak part by part, and wait for each at the gate."""
        while True:
            with self._changed:
                self._waits = True
                self._changed.notify_all()
            yield Ask(_GATE, None)
            with self._changed:
                self._waits = False
                part = self._parts.popleft() if self._parts else None
            if part is None:
                return
            yield from self._say(part, self._delivery)

    def slack(self) -> float:
        """Return the seconds for which the listener needs no more; see `Workshop.submit`."""
        if (self._waits and self._lacks_text) or self._unread > self._most:
            return math.inf
        return self._playback.store

    def end(self, outcome: Outcome) -> None:
        """Take what became of the work."""
        with self._changed:
            self._outcome = outcome
            self._changed.notify_all()

    def _hear(self, chunk: AudioChunk) -> None:
        self._playback.send(len(chunk.wav))
        with self._changed:
            self._ready.append(chunk)
            self._unread += len(chunk.wav)
            self._changed.notify_all()

    # What the listener's thread calls.

    @property
    def is_over(self) -> bool:
        """Whether nothing more comes."""
        with self._changed:
            return self._outcome is not None and not self._ready

    def lacks_text(self, *, ahead: bool) -> bool:
        """Return whether more text is needed now, or, read ahead, will be needed."""
        with self._changed:
            return self._lacks_text and (self._waits or ahead)

    def read(self, parts: Iterator[Part]) -> None:
        """Read one more part, for as long as that takes; an error is told when all is heard."""
        part = error = None
        try:
            part = next(parts, None)
        except Exception as found:
            error = found
        with self._changed:
            if part is not None:
                self._parts.append(part)
            else:
                self._is_whole, self._text_error = True, error

    def take(self) -> AudioChunk | None:
        """Wait for a chunk, and return it; None at the end, and where text is needed first."""
        with self._changed:
            while not self._ready:
                if self._outcome is not None or (self._waits and self._lacks_text):
                    return None
                self._changed.wait()
            chunk = self._ready.popleft()
            self._unread -= len(chunk.wav)
            return chunk

    def check(self) -> None:
        """Raise what ended the speech, if it was an error."""
        if self._outcome is not None and self._outcome.error is not None:
            raise self._outcome.error
        if self._text_error is not None:
            raise self._text_error

    @property
    def _lacks_text(self) -> bool:
        return not self._parts and not self._is_whole
