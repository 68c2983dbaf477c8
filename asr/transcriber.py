"""From files to segments: recordings are cut into windows, and windows of many are decoded at once.

transcriber = Transcriber.from_pretrained("tiny.en")
print(transcriber.transcribe("talk.mp3").text)
"""

import os
from collections.abc import Callable, Iterable, Iterator
from pathlib import Path
from typing import Self

import torch
from torch import Tensor

from echoic.asr.options import TranscribeOptions
from echoic.asr.recording import Recording
from echoic.asr.source import Outcome, Source
from echoic.asr.transcript import Transcript
from echoic.asr.whisper.decoding import WindowDecoder
from echoic.asr.whisper.languages import LANGUAGES, language_code
from echoic.asr.whisper.model import SAMPLE_RATE, WhisperModel
from echoic.asr.whisper.word_alignment import WordAligner
from echoic.asr.windows import Window, fixed_windows, speech_windows
from echoic.audio.io import blocks
from echoic.audio.resample import Resampler
from echoic.audio.silero import SileroVad
from echoic.audio.vad import VadConfig

BLOCK_SECONDS = 30.0
# Windows that wait, in batches: more of them make batches of more equal length. Long ones are of
# equal length anyway, and waiting they would only fill the memory.
LOOKAHEAD = 4
LOOKAHEAD_SECONDS = 240.0


class Transcriber:
    """A recogniser for whole recordings; one model, any number of them.

    Attributes:
        model: the network.
    """

    def __init__(self, model: WhisperModel, *, vad: SileroVad | None = None) -> None:
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
    ) -> Self:
        """Load a model.

        Args:
            name_or_dir: see `WhisperModel.from_pretrained`.
            device: "auto", "cpu", "cuda" or "cuda:0"; auto takes a GPU where there is one.
            dtype: "auto" measures what is fastest here.
            threads: processors to use in this process; None leaves torch's choice.

        Raises:
            CheckpointError: no such model.
            ValueError: no such device or dtype.
        """
        if threads is not None:
            if threads < 1:
                raise ValueError(f"threads is {threads}; it must be 1 or more")
            torch.set_num_threads(threads)
        chosen = _device(device)
        return cls(WhisperModel.from_pretrained(name_or_dir, device=chosen, dtype=dtype))

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
            ValueError: samples without a rate, or a language that the model does not know.
        """
        options = TranscribeOptions() if options is None else options
        if isinstance(audio, Tensor):
            source = Source(key="samples", path="samples", name="samples")
            sound: Iterable[Tensor] = [_as_mono_16k(audio, sample_rate)]
        else:
            path = os.fspath(audio)
            source = Source(key=path, path=path, name=path)
            sound = _read(source)
        recordings = iter([self._open(source, sound, options)])
        (outcome,) = self._run(recordings, options, batch_size, None)
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
            ValueError: a language that the model does not know.
        """
        self._language(options)
        recordings = (self._open(source, _read(source), options) for source in sources)
        return self._run(recordings, options, batch_size, on_progress)

    def _run(
        self,
        recordings: Iterator[Recording],
        options: TranscribeOptions,
        batch_size: int,
        on_progress: Callable[[float], None] | None,
    ) -> Iterator[Outcome]:
        decoder = WindowDecoder(self.model, options)
        pool = _Pool(recordings, batch_size)
        while batch := pool.next_batch():
            try:
                self._decode(decoder, batch, pool)
            except Exception as error:  # a recording must not take the others with it
                for recording, _ in batch:
                    recording.fail(error)
            finished = list(pool.take_finished())
            if on_progress is not None:
                touched = {id(r): r for r in (*(r for r, _ in batch), *finished)}
                on_progress(sum(recording.news() for recording in touched.values()))
            yield from (recording.outcome() for recording in finished)
        for recording in pool.take_finished():
            if on_progress is not None:
                on_progress(recording.news())
            yield recording.outcome()

    @torch.inference_mode()
    def _decode(
        self, decoder: WindowDecoder, batch: list[tuple[Recording, Window]], pool: "_Pool"
    ) -> None:
        encoded = decoder.encode([window.wav for _, window in batch])
        languages = [recording.language for recording, _ in batch]
        seeds = [decoder.options.seed + window.start for _, window in batch]
        decoded = decoder.decode(encoded, languages, seeds)
        aligner = WordAligner(decoder) if decoder.options.word_timestamps else None
        times = None if aligner is None else aligner.align(encoded, decoded, languages)
        for index, (recording, window) in enumerate(batch):
            words = None if times is None else times[index]
            rest = recording.add(window, decoded[index], words)
            if rest is not None:
                pool.push(recording, rest)

    def _open(
        self, source: Source, sound: Iterable[Tensor], options: TranscribeOptions
    ) -> Recording:
        tokenizer = self.model.tokenizer
        recording = Recording(source, tokenizer, language=self._language(options))
        counted = recording.count(sound)
        longest = min(options.max_window_seconds, self.model.max_window_seconds)
        if options.vad:
            windows = speech_windows(
                counted, self._speech_detector(), max_seconds=longest, config=vad_config(longest)
            )
        else:
            windows = fixed_windows(counted, longest)
        recording.windows = self._with_language(recording, windows, options)
        return recording

    def _with_language(
        self, recording: Recording, windows: Iterator[Window], options: TranscribeOptions
    ) -> Iterator[Window]:
        """Find out what is spoken from the first window, where nobody said."""
        for window in windows:
            if recording.language is None and self.model.generation.is_multilingual:
                decoder = WindowDecoder(self.model, options)
                with torch.inference_mode():
                    found = decoder.detect_language(decoder.encode([window.wav]))
                recording.language, recording.language_probability = found[0]
            yield window

    def _language(self, options: TranscribeOptions) -> str | None:
        if options.language is None:
            return None
        code = language_code(options.language)
        if self.model.generation.is_multilingual:
            self.model.tokenizer.language_id(code)
        elif code != "en" or options.task != "transcribe":
            wanted = LANGUAGES[code] if code != "en" else "translation"
            raise ValueError(
                f"this model knows English only, not {wanted}; "
                "take a multilingual one, such as --model base"
            )
        return code

    def _speech_detector(self) -> SileroVad:
        if self._vad is None:
            self._vad = SileroVad.from_installed()
        return self._vad


def vad_config(max_seconds: float) -> VadConfig:
    """Return the rules for cutting recordings: rather too much sound than a word too few."""
    return VadConfig(
        threshold=0.35,
        min_speech_seconds=0.0,
        min_silence_seconds=0.5,
        speech_pad_seconds=0.3,
        max_speech_seconds=max_seconds,
    )


class _Pool:
    """Windows that wait, taken from recordings as needed; batches of nearly equal length."""

    def __init__(self, recordings: Iterator[Recording], batch_size: int) -> None:
        if batch_size < 1:
            raise ValueError(f"batch_size is {batch_size}; it must be 1 or more")
        self._recordings = recordings
        self._batch_size = batch_size
        self._waiting: list[tuple[Recording, Window]] = []
        self._reading: Recording | None = None
        self._unfinished: list[Recording] = []

    def next_batch(self) -> list[tuple[Recording, Window]]:
        """Return the window that has waited longest and those nearest to it in length."""
        self._fill()
        self._waiting = [item for item in self._waiting if item[0].error is None]
        if not self._waiting:
            return []
        oldest = self._waiting[0]
        order = sorted(range(len(self._waiting)), key=lambda i: self._waiting[i][1].seconds)
        place = order.index(0)
        first = max(0, min(place - self._batch_size // 2, len(order) - self._batch_size))
        chosen = set(order[first : first + self._batch_size])
        batch = [self._waiting[i] for i in order if i in chosen]
        assert oldest in batch
        self._waiting = [item for i, item in enumerate(self._waiting) if i not in chosen]
        return batch

    def push(self, recording: Recording, window: Window) -> None:
        """Put back what is left of a window."""
        self._waiting.insert(0, (recording, window))

    def take_finished(self) -> Iterator[Recording]:
        """Yield the recordings with nothing left to decode, each once."""
        busy = {id(recording) for recording, _ in self._waiting}
        for recording in list(self._unfinished):
            if recording.error is not None or (
                recording is not self._reading and id(recording) not in busy
            ):
                self._unfinished.remove(recording)
                yield recording

    def _wants_more(self) -> bool:
        if len(self._waiting) < self._batch_size:
            return True
        seconds = sum(window.seconds for _, window in self._waiting)
        return len(self._waiting) < self._batch_size * LOOKAHEAD and seconds < LOOKAHEAD_SECONDS

    def _fill(self) -> None:
        while self._wants_more():
            if self._reading is None:
                self._reading = next(self._recordings, None)
                if self._reading is None:
                    return
                self._unfinished.append(self._reading)
            window = self._reading.next_window()
            if window is None:
                self._reading = None
            else:
                self._waiting.append((self._reading, window))


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
    if not bool(torch.isfinite(wav).all()):
        raise ValueError("samples hold NaN or infinite values; mend them first")
    mono = wav.float().mean(0, keepdim=True) if wav.dim() == 2 else wav.float()[None]
    return mono if sample_rate == SAMPLE_RATE else Resampler(sample_rate, SAMPLE_RATE)(mono)


def _device(name: str) -> torch.device:
    if name == "auto":
        return torch.device("cuda" if torch.cuda.is_available() else "cpu")
    try:
        device = torch.device(name)
    except RuntimeError as error:
        raise ValueError(f"unknown device {name!r}: auto, cpu, cuda or cuda:0") from error
    if device.type == "cuda" and not torch.cuda.is_available():
        raise ValueError(f"device {name!r} is not there: no CUDA device is visible; take cpu")
    return device
