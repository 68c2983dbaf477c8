"""From files to segments: recordings are cut into windows, and windows of many are decoded at once.

transcriber = Transcriber.from_pretrained("tiny.en")
print(transcriber.transcribe("talk.mp3").text)
"""

import os
from collections.abc import Callable, Iterable, Iterator, Sequence
from pathlib import Path
from typing import Self

import torch
from torch import Tensor

from echoic.asr.device import named_device
from echoic.asr.models import Model, load_model, open_reader
from echoic.asr.options import TranscribeOptions
from echoic.asr.pool import WindowPool
from echoic.asr.reader import Reader
from echoic.asr.recording import Recording
from echoic.asr.source import Outcome, Source
from echoic.asr.transcript import Segment, Transcript
from echoic.asr.windows import Window, fixed_windows, speech_windows
from echoic.audio.io import blocks
from echoic.audio.resample import Resampler
from echoic.audio.silero import SAMPLE_RATE, SileroVad
from echoic.audio.vad import VadConfig

BLOCK_SECONDS = 30.0


class Transcriber:
    """A recogniser for whole recordings; one model, any number of them.

    Attributes:
        model: the network.
    """

    def __init__(self, model: Model, *, vad: SileroVad | None = None) -> None:
        """Wrap a model; `vad` None loads the installed silero-vad when it is first needed."""
        self.model = model
        self._vad = vad

    @classmethod
    def from_pretrained(
        cls,
        name_or_dir: str | Path = "tiny.en",
        *,
        device: str = "auto",
        dtype: str = "auto",
        threads: int | None = None,
        language_adapters: Sequence[str | Path] = (),
        ngram_weight: float | None = None,
    ) -> Self:
        """Load a model.

        Args:
            name_or_dir: see `load_model`.
            device: "auto", "cpu", "cuda" or "cuda:0"; auto takes a GPU where there is one.
            dtype: "auto" measures what is fastest here.
            threads: processors to use in this process; None leaves torch's choice.
            language_adapters: folders of adapters for some languages of a Whisper; each recording
                has that of its language.
            ngram_weight: see `load_model`.

        Raises:
            CheckpointError: no such model, or adapters of another.
            ValueError: no such device or dtype, or adapters or a weight that cannot be used.
        """
        if threads is not None:
            if threads < 1:
                raise ValueError(f"threads is {threads}; it must be 1 or more")
            torch.set_num_threads(threads)
        model = load_model(
            name_or_dir,
            device=named_device(device),
            dtype=dtype,
            language_adapters=language_adapters,
            ngram_weight=ngram_weight,
        )
        return cls(model)

    def transcribe(
        self,
        audio: str | os.PathLike[str] | Tensor,
        options: TranscribeOptions | None = None,
        *,
        sample_rate: int | None = None,
        batch_size: int = 16,
    ) -> Transcript:
        """Transcribe one recording.

        Args:
            audio: a path, "-" for standard input, or samples (T,) or (C, T) in [-1, 1].
            options: how; None takes the defaults.
            sample_rate: of samples, in Hz; needed for them, and for nothing else.
            batch_size: windows decoded at once.

        Raises:
            AudioDecodeError, OSError: the file cannot be read.
            ValueError: samples without a rate, or options that the model cannot follow.
        """
        options = TranscribeOptions() if options is None else options
        if isinstance(audio, Tensor):
            source = Source(key="samples", path="samples", name="samples")
            sound: Iterable[Tensor] = [_as_mono_16k(audio, sample_rate)]
        else:
            path = os.fspath(audio)
            source = Source(key=path, path=path, name=path)
            sound = _read(source)
        reader = open_reader(self.model, options)
        recordings = iter([self._open(source, sound, reader, options)])
        (outcome,) = self._run(recordings, reader, batch_size, None)
        if outcome.error is not None:
            raise outcome.error
        assert outcome.transcript is not None
        return outcome.transcript

    def transcribe_many(
        self,
        sources: Iterable[Source],
        options: TranscribeOptions,
        *,
        batch_size: int = 16,
        on_progress: Callable[[float], None] | None = None,
    ) -> Iterator[Outcome]:
        """Transcribe recordings side by side, each outcome as soon as it is there, in any order.

        Args:
            sources: taken lazily, a few batches of windows ahead.
            options: how.
            batch_size: windows decoded at once, of one recording or of many.
            on_progress: told how many more seconds of audio are done.

        Raises:
            ValueError: options that the model cannot follow.
        """
        reader = open_reader(self.model, options)
        recordings = (self._open(source, _read(source), reader, options) for source in sources)
        return self._run(recordings, reader, batch_size, on_progress)

    def segments(self, source: Source, options: TranscribeOptions) -> Iterator[Segment]:
        """Transcribe one recording, and yield each segment as soon as it is there, in order.

        Windows are decoded one by one, so that the first words come soon; ids are all 0.

        Raises:
            AudioDecodeError, OSError: the file cannot be read.
            ValueError: options that the model cannot follow.
        """
        reader = open_reader(self.model, options)
        recording = self._open(source, _read(source), reader, options)
        pool = WindowPool(iter([recording]), batch_size=1)
        while pool.fill():
            _read_batch(reader, pool.take_batch(), pool)
            pool.take_finished()
            yield from recording.fresh_segments()
        if recording.error is not None:
            raise recording.error

    def _run(
        self,
        recordings: Iterator[Recording],
        reader: Reader,
        batch_size: int,
        on_progress: Callable[[float], None] | None,
    ) -> Iterator[Outcome]:
        pool = WindowPool(recordings, batch_size)
        while pool.fill():
            batch = pool.take_batch()
            try:
                _read_batch(reader, batch, pool)
            except Exception as error:  # a recording must not take the others with it
                for recording, _ in batch:
                    recording.fail(error)
            finished = pool.take_finished()
            if on_progress is not None:
                touched = {id(r): r for r in (*(r for r, _ in batch), *finished)}
                on_progress(sum(recording.news() for recording in touched.values()))
            yield from (recording.outcome() for recording in finished)

    def _open(
        self,
        source: Source,
        sound: Iterable[Tensor],
        reader: Reader,
        options: TranscribeOptions,
    ) -> Recording:
        recording = Recording(source, language=reader.language)
        counted = recording.count(sound)
        longest = min(options.max_window_seconds, reader.max_window_seconds)
        if options.vad:
            windows = speech_windows(
                counted, self._speech_detector(), max_seconds=longest, config=vad_config(longest)
            )
        else:
            windows = fixed_windows(counted, longest)
        recording.windows = _with_language(recording, windows, reader)
        return recording

    def _speech_detector(self) -> SileroVad:
        if self._vad is None:
            self._vad = SileroVad.from_installed()
        return self._vad


def _read_batch(reader: Reader, batch: list[tuple[Recording, Window]], pool: WindowPool) -> None:
    if not batch:
        return
    languages = [recording.language for recording, _ in batch]
    readings = reader.read([window for _, window in batch], languages)
    for (recording, window), reading in zip(batch, readings, strict=True):
        rest = recording.add(window, reading)
        if rest is not None:
            pool.put_back(recording, rest)


def _with_language(
    recording: Recording, windows: Iterator[Window], reader: Reader
) -> Iterator[Window]:
    """Find out what is spoken from the first window, where nobody said."""
    for window in windows:
        if recording.language is None and (found := reader.identify(window)) is not None:
            recording.language, recording.language_probability = found
        yield window


def vad_config(max_seconds: float) -> VadConfig:
    """Return the rules for cutting recordings: rather too much sound than a word too few."""
    return VadConfig(
        threshold=0.35,
        min_speech_seconds=0.0,
        min_silence_seconds=0.5,
        speech_pad_seconds=0.3,
        max_speech_seconds=max_seconds,
    )


def _read(source: Source) -> Iterator[Tensor]:
    return blocks(
        source.path,
        seconds=BLOCK_SECONDS,
        sample_rate=SAMPLE_RATE,
        mono=True,
        offset=source.offset,
        duration=source.duration,
    )


def _as_mono_16k(wav: Tensor, sample_rate: int | None) -> Tensor:
    if sample_rate is None:
        raise ValueError("sample_rate is needed for samples: transcribe(wav, sample_rate=16000)")
    if wav.dim() not in (1, 2) or not wav.numel():
        raise ValueError(f"samples have shape {tuple(wav.shape)}; expected (T,) or (C, T)")
    if not wav.is_floating_point():
        raise ValueError(f"samples are {wav.dtype}; divide them by their full scale, to [-1, 1]")
    if not bool(torch.isfinite(wav).all()):
        raise ValueError("samples hold NaN or infinite values; mend them first")
    mono = wav.float().mean(0, keepdim=True) if wav.dim() == 2 else wav.float()[None]
    return mono if sample_rate == SAMPLE_RATE else Resampler(sample_rate, SAMPLE_RATE)(mono)
