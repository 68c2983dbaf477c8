"""One `echoic stream`, from what was asked for to the exit code."""

import time
import traceback
from collections.abc import Callable, Iterator, Sequence
from dataclasses import dataclass, field
from typing import Any

import torch
from torch import Tensor

from echoic.asr.batch.console import Console
from echoic.asr.batch.errors import OutputError, UsageError, describe
from echoic.asr.batch.job import ALL_DONE, INTERRUPTED, SOME_FAILED, WRONG_USAGE
from echoic.asr.batch.notices import warnings_in_lines
from echoic.asr.live.inputs import Pace, sound_blocks
from echoic.asr.live.lag import WordLag
from echoic.asr.live.microphone import hear_microphone
from echoic.asr.live.printers import Printer, choose_printer
from echoic.asr.live.report import Behind, statistics_line
from echoic.asr.live.request import LiveRequest
from echoic.asr.live.stopping import Stop
from echoic.audio.devices import AudioDeviceError, list_devices
from echoic.audio.endpoint import EndpointConfig
from echoic.audio.errors import AudioDecodeError
from echoic.audio.silero import SAMPLE_RATE
from echoic.streaming.events import Event
from echoic.streaming.gate import GateConfig
from echoic.streaming.recognizer import Recognizer
from echoic.streaming.session import Session, SessionConfig

Load = Callable[[], Recognizer[Any]]


@dataclass(frozen=True, slots=True)
class Time:
    """The clock of `--realtime`.

    Attributes:
        clock: seconds.
        sleep: waits for seconds of that clock.
    """

    clock: Callable[[], float] = time.monotonic
    sleep: Callable[[float], None] = time.sleep


def run_live(request: LiveRequest, load: Load, timing: Time | None = None) -> int:
    """Do what was asked for; return the exit code.

    0 all done, 1 something failed, 2 the command makes no sense, 130 interrupted.

    Args:
        request: what was asked for.
        load: returns the recogniser; its ValueError, OSError and ImportError are wrong usage.
        timing: None for the computer's clock.
    """
    console, stop = Console(quiet=request.quiet), Stop()
    try:
        with warnings_in_lines(console, debug=request.debug):
            return _run(request, load, console, stop, timing or Time())
    except UsageError as e:
        console.note_error(str(e))
        return WRONG_USAGE
    except BrokenPipeError:  # `| head` has seen enough
        return SOME_FAILED
    except OutputError as e:
        console.error(e.path, str(e))
        return SOME_FAILED
    except KeyboardInterrupt:  # before the first sound, or for the second time
        console.note_error("interrupted")
        return INTERRUPTED
    except Exception as e:
        _tell_problem(e, request, console)
        return SOME_FAILED


def _run(request: LiveRequest, load: Load, console: Console, stop: Stop, timing: Time) -> int:
    sound: Iterator[Tensor] = iter(())
    if request.is_microphone:
        list_devices()  # told before a model is loaded: the library is missing
    else:
        sound = sound_blocks(request, SAMPLE_RATE, lambda: stop.requested)
    session = _session(request, load)
    printer = choose_printer(console, json_lines=request.json_lines)
    stream = _Stream(request, session, console, printer, stop)
    with stop.signals():
        try:
            if request.is_microphone:
                stream.hear_microphone()
            else:
                stream.hear(sound, timing)
        finally:
            printer.close()
        return stream.report()


def _session(request: LiveRequest, load: Load) -> Session[Any]:
    if request.threads is not None:
        torch.set_num_threads(request.threads)
    silence = EndpointConfig(
        silence_after_speech_seconds=request.endpoint_ms / 1000,
        max_utterance_seconds=GateConfig().endpoint.max_utterance_seconds,
    )
    config = SessionConfig(GateConfig(enabled=request.vad, endpoint=silence))
    try:
        recognizer = load()
    except (ValueError, OSError, ImportError) as e:
        raise UsageError(describe(e, "", expected=(ValueError, ImportError))) from e
    return Session(recognizer, sample_rate=SAMPLE_RATE, config=config)


def _tell_problem(error: Exception, request: LiveRequest, console: Console) -> None:
    if request.debug:
        console.raw_error("".join(traceback.format_exception(error)))
    name = "" if request.is_microphone else request.name
    text = describe(error, name, expected=(AudioDecodeError, AudioDeviceError))
    if name:
        console.error(name, text)
    else:
        console.note_error(text)


@dataclass(slots=True)
class _Stream:
    """A stream on its way through a session to a printer."""

    request: LiveRequest
    session: Session[Any]
    console: Console
    printer: Printer
    stop: Stop
    lag: WordLag = field(default_factory=WordLag)
    behind: Behind = field(default_factory=Behind)
    lost: float = 0.0
    problem: Exception | None = None

    def hear(self, sound: Iterator[Tensor], timing: Time) -> None:
        """Take all of a file or a pipe, and tell what it says."""
        pace = Pace(SAMPLE_RATE, lambda: self.stop.requested, timing.clock, timing.sleep)
        good = self._until_problem(sound)
        for block in pace.hold(good) if self.request.realtime else good:
            self.tell(self.session.feed(block))
            if self.request.realtime:
                self.watch(pace.behind)
        self.tell(self.session.finish())

    def hear_microphone(self) -> None:
        """Listen until the user wants to stop."""
        self.console.note("listening; Ctrl-C ends it")
        try:
            self.lost = hear_microphone(
                self.session,
                self.request.input_device,
                self.stop,
                tell=self.tell,
                watch=self.watch,
            )
        except AudioDeviceError as e:
            self.problem = e

    def report(self) -> int:
        """Say what became of it; return the exit code."""
        is_live = self.request.is_microphone or self.request.realtime
        stats = self.session.stats
        if stats.audio_seconds:
            behind = self.behind.most if is_live else None
            self.console.note(statistics_line(stats, self.lag, behind=behind, lost=self.lost))
        if self.problem is not None:
            _tell_problem(self.problem, self.request, self.console)
            return SOME_FAILED
        if self.stop.requested and not self.request.is_microphone:
            self.console.note_error("interrupted")
        return INTERRUPTED if self.stop.requested else ALL_DONE

    def tell(self, events: Sequence[Event]) -> None:
        """Show events."""
        for event in events:
            self.lag.take(event)
            self.printer.show(event)

    def watch(self, seconds: float) -> None:
        """Hear how far the work is behind."""
        line = self.behind.note(seconds)
        if line is not None:
            self.printer.aside(lambda: self.console.note(line))

    def _until_problem(self, sound: Iterator[Tensor]) -> Iterator[Tensor]:
        """Yield what can be read: what was heard before a problem is told, too."""
        try:
            yield from sound
        except (AudioDecodeError, OSError) as e:
            self.problem = e
