"""`echoic speak`: from text to a file, or to standard output while it is generated."""

import contextlib
import json
import os
import sys
import time
from collections.abc import Callable, Iterator
from dataclasses import dataclass, replace
from typing import Any, Literal, Protocol, get_args

import torch
from torch import Tensor

from echoic.audio.write import SOUND_SUFFIXES, SoundWriter
from echoic.codecs.jobs.console import Console
from echoic.codecs.jobs.errors import ALL_DONE, SOME_FAILED, OutputError, UsageError
from echoic.codecs.jobs.pcm import PcmStream
from echoic.codecs.jobs.places import STDIO, check_output, open_output
from echoic.tts.box import find_talker, find_voice
from echoic.tts.errors import TtsError
from echoic.tts.lm.packed import Arithmetic
from echoic.tts.lm.sampling import SamplingConfig
from echoic.tts.synthesizer import Sentence, Synthesizer
from echoic.tts.talker import Talker
from echoic.tts.text.phonemes import G2PError
from echoic.tts.text.script import TextError
from echoic.tts.voice import Voice
from echoic.tts.words import SaidWord

_TIMES = (".json", ".srt")


@dataclass(frozen=True, slots=True)
class SpeakRequest:
    """What to say, and where the sound goes; see the command's options."""

    text: str | None
    model: str
    output: str | None
    raw: bool = False
    timestamps: str | None = None
    voice: str | None = None
    flow: str | None = None
    seed: int = 0
    temperature: float | None = None
    device: str = "cpu"
    dtype: str = "auto"
    threads: int = 1
    overwrite: bool = False


class _Sink(Protocol):
    def write(self, wav: Tensor) -> None: ...


def speak(request: SpeakRequest, console: Console, check: Callable[[], None]) -> int:
    """Speak; returns the exit code.

    Raises:
        UsageError: options that exclude each other, a talker, a voice or an output that cannot be.
        TtsError: text that cannot be read aloud.
        OSError: the output cannot be written.
    """
    _check(request)
    # A step of a small talker is too little to be shared: waking another thread takes longer.
    torch.set_num_threads(request.threads)
    try:
        talker = Talker.from_pretrained(
            request.model,
            flow=request.flow,
            device=request.device,
            arithmetic=_arithmetic(request.dtype),
        )
        # Somebody may be listening to what goes to standard output.
        synthesizer = Synthesizer(talker, clock=time.monotonic if request.raw else None)
        voice = None
        if request.voice is not None:
            voice = Voice.load(find_voice(request.voice, find_talker(request.model)))
        sampling = _sampling(request, talker.settings.sampling)
    except (TtsError, ValueError, RuntimeError) as e:
        raise UsageError(str(e)) from e
    said: list[Sentence] = []
    text = _lines() if request.text is None else request.text
    spoken = 0
    try:
        stream = synthesizer.stream(
            text, voice=voice, sampling=sampling, seed=request.seed, said=said
        )
    except TtsError as e:
        raise UsageError(str(e)) from e
    with _open(request, synthesizer.sample_rate, console) as sink:
        try:
            for chunk in stream:
                sink.write(chunk.wav[None])
                spoken += len(chunk.wav)
                check()
        except (TextError, G2PError) as e:
            raise ValueError(str(e)) from e
        if not spoken:
            raise ValueError("there is nothing to say: the text has no words")
    if request.timestamps is not None:
        _write_times(request.timestamps, said)
    cut = [sentence for sentence in said if sentence.ending != "end"]
    for sentence in cut:
        console.problem(f"{sentence.text!r} was cut ({sentence.ending}); try another --seed")
    console.note(f"{spoken / synthesizer.sample_rate:.1f} s of speech, {len(said)} sentences")
    return SOME_FAILED if cut else ALL_DONE


def _check(request: SpeakRequest) -> None:
    if request.raw == (request.output is not None):
        raise UsageError("say where the sound goes: -o FILE, or --raw for standard output")
    if request.output is not None:
        suffixes = () if request.output == STDIO else SOUND_SUFFIXES
        check_output(request.output, suffixes, overwrite=request.overwrite)
    else:
        check_output(STDIO, ())
    if request.timestamps is not None:
        check_output(request.timestamps, _TIMES, overwrite=request.overwrite)


def _arithmetic(dtype: str) -> Arithmetic | Literal["auto"]:
    for known in ("auto", *get_args(Arithmetic)):
        if dtype == known:
            return known
    names = ", ".join(get_args(Arithmetic))
    raise UsageError(f"--dtype is {dtype!r}, expected auto, {names}")


def _sampling(request: SpeakRequest, usual: SamplingConfig) -> SamplingConfig | None:
    if request.temperature is None:
        return None
    return replace(usual, temperature=request.temperature)


def _lines() -> Iterator[str]:
    """Yield standard input as it comes."""
    try:
        yield from sys.stdin
    except UnicodeDecodeError as e:
        raise ValueError("standard input is not UTF-8; give it text") from e


@contextlib.contextmanager
def _open(request: SpeakRequest, rate: int, console: Console) -> Iterator[_Sink]:
    if request.output is not None and request.output != STDIO:
        try:
            writer = SoundWriter(request.output, rate, 1)
        except ValueError as e:
            raise UsageError(str(e)) from e
        except OSError as e:
            raise OutputError(request.output, e) from e
        with writer:
            yield writer
        return
    console.note(f"s16le, mono, {rate} Hz")
    with open_output(STDIO) as file:
        stream = PcmStream(file, rate, 1, wav=not request.raw)
        yield stream
    stream.close("standard output")


def _write_times(path: str, said: list[Sentence]) -> None:
    suffix = os.path.splitext(path)[1].lower()
    text = _srt(said) if suffix == ".srt" else _json(said)
    with open_output(path) as file:
        file.write(text.encode())


def _json(said: list[Sentence]) -> str:
    rows: list[dict[str, Any]] = [
        {**_timed(sentence), "words": [_timed(word) for word in sentence.words]}
        for sentence in said
    ]
    return json.dumps({"sentences": rows}, indent=2, ensure_ascii=False) + "\n"


def _timed(said: Sentence | SaidWord) -> dict[str, Any]:
    return said._asdict() | {"start": round(said.start, 3), "end": round(said.end, 3)}


def _srt(said: list[Sentence]) -> str:
    cues = (
        f"{number}\n{_clock(sentence.start)} --> {_clock(sentence.end)}\n{sentence.text}\n"
        for number, sentence in enumerate(said, start=1)
    )
    return "\n".join(cues)


def _clock(seconds: float) -> str:
    ms = round(seconds * 1000)
    return f"{ms // 3_600_000:02}:{ms // 60_000 % 60:02}:{ms // 1000 % 60:02},{ms % 1000:03}"
