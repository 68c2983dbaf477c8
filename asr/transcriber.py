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

from echoic.asr.device import named_device
from echoic.asr.options import TranscribeOptions
from echoic.asr.pool import WindowPool
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
        chosen = named_device(device)
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
        pool = WindowPool(recordings, batch_size)
        while pool.fill():
            batch = pool.take_batch()
            try:
                self._decode(decoder, batch, pool)
            except Exception as error:  # a recording must not take the others with it
                for recording, _ in batch:
                    recording.fail(error)
            finished = pool.take_finished()
            if on_progress is not None:
                touched = {id(r): r for r in (*(r for r, _ in batch), *finished)}
                on_progress(sum(recording.news() for recording in touched.values()))
            yield from (recording.outcome() for recording in finished)

    @torch.inference_mode()
    def _decode(
        self, decoder: WindowDecoder, batch: list[tuple[Recording, Window]], pool: WindowPool
    ) -> None:
        if not batch:
            return
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
                pool.put_back(recording, rest)

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
        code = None if options.language is None else language_code(options.language)
        if self.model.generation.is_multilingual:
            if code is not None:
                self.model.tokenizer.language_id(code)
        elif code not in (None, "en") or options.task != "transcribe":
            wanted = "translation" if code in (None, "en") else LANGUAGES[code]
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
