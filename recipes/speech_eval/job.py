"""`echoic tts eval` from its options to its exit code."""

import os
import traceback
from collections.abc import Callable
from dataclasses import dataclass

import torch
from torch import Tensor

from echoic.asr.errors import CheckpointError
from echoic.asr.metrics import word_error_rate
from echoic.asr.options import TranscribeOptions
from echoic.asr.text.normalizers import Normalizer, for_language
from echoic.asr.transcriber import Transcriber
from echoic.audio.write import save
from echoic.codecs.jobs.console import Console
from echoic.codecs.jobs.errors import ALL_DONE, SOME_FAILED, UsageError, describe
from echoic.codecs.jobs.places import STDIO, check_output, make_folder
from echoic.codecs.jobs.reporting import write_report
from echoic.codecs.jobs.running import Check
from echoic.codecs.metrics.scorers import KINDS, find_scorers
from echoic.recipes.speech_eval.measuring import Hear, Judge
from echoic.recipes.speech_eval.report import Problem, Report, Row, Settings, Version
from echoic.recipes.speech_eval.sentences import Failure, Sentence, read_sentences
from echoic.recipes.speech_eval.speakers import SPEAKER
from echoic.recipes.speech_eval.tables import notes, tables
from echoic.tts.box import DEFAULT, find_talker, find_voice
from echoic.tts.errors import TtsError
from echoic.tts.synthesizer import Synthesizer
from echoic.tts.talker import Talker
from echoic.tts.voice import Voice


@dataclass(frozen=True, slots=True)
class EvalRequest:
    """What to judge, and where results go; see the command's options."""

    texts: str
    model: str = DEFAULT
    recognizer: str = "tiny.en"
    voice: str | None = None
    seed: int = 0
    limit: int | None = None
    json_file: str | None = None
    audio: str | None = None
    threads: int = 1
    device: str = "cpu"
    debug: bool = False


LoadHearing = Callable[[EvalRequest, str], Hear]
"""Loads the recogniser of a request for a language."""


def load_hearing(request: EvalRequest, language: str) -> Hear:
    """Load a recogniser for `evaluate_talker`.

    Raises:
        UsageError: there is none of that name, or it does not know the language.
    """
    options = TranscribeOptions(language=language)
    try:
        # Not "auto": what that picks depends on the machine and its load, and with it some words.
        transcriber = Transcriber.from_pretrained(
            request.recognizer, device=request.device, dtype="float32"
        )

        def hear(wav: Tensor, rate: int) -> str:
            return transcriber.transcribe(wav, options, sample_rate=rate).text

        hear(torch.zeros(16_000), 16_000)  # a language that it does not know is told here
    except (CheckpointError, ImportError, OSError, ValueError) as e:
        raise UsageError(f"--recognizer: {e}") from e
    return hear


def evaluate_talker(
    request: EvalRequest,
    console: Console,
    check: Check,
    load_hearing: LoadHearing = load_hearing,
) -> int:
    """Do what was asked for; returns the exit code.

    Raises:
        UsageError: it makes no sense.
        OutputError: a result cannot be written.
    """
    _check(request)
    entries = read_sentences(request.texts)[: request.limit]
    torch.set_num_threads(request.threads)
    synthesizer, voice = _load(request)
    language = synthesizer.talker.settings.language
    normalizer = _normalizer(language)
    hear = load_hearing(request, language)
    kinds = [kind for kind in KINDS if kind.blind]
    if any(isinstance(e, Sentence) and e.recording is not None for e in entries):
        kinds.append(SPEAKER)
    found = find_scorers(synthesizer.sample_rate, kinds)
    if request.audio is not None:
        make_folder(request.audio)
    console.begin()
    problems: list[Problem] = []

    def told(result: Row | Failure) -> None:
        if isinstance(result, Failure):
            if request.debug:
                console.traceback("".join(traceback.format_exception(result.error)))
            console.problem(describe(result.error, result.name))
            problems.append(Problem(result.name, describe(result.error)))
        else:
            console.advance(result.takes["talker"].seconds)
        check()

    def keep(sentence: Sentence, version: Version, wav: Tensor) -> None:
        if request.audio is not None and version != "recording":
            suffix = "" if version == "talker" else f".{version}"
            path = os.path.join(request.audio, f"{sentence.number:04d}{suffix}.wav")
            save(path, wav[None], synthesizer.sample_rate)

    judge = Judge(synthesizer, hear, found, voice, request.seed)
    rows, _ = judge.judge(entries, told, keep)
    console.close()
    packages = tuple(scorer.version for scorer in found.scorers)
    settings = _settings(request, synthesizer, voice, packages)
    report = Report(settings, tuple(rows), tuple(problems), dict(found.missing), normalizer)
    # Without any row there is nothing to show.
    shown = tables(report) if report.rows else []
    write_report(request.json_file, report.to_dict(), shown, notes(report))
    if problems:
        console.problem(f"{len(rows)} sentences measured, {len(problems)} failures")
    return SOME_FAILED if problems else ALL_DONE


def _check(request: EvalRequest) -> None:
    """Raise UsageError for outputs that cannot be, before anything is computed."""
    if request.json_file not in (None, STDIO):
        check_output(request.json_file, (), source=request.texts, overwrite=True)
    # Its files have plain numbers for names, and must not fall on somebody's recordings.
    if request.audio is not None and os.path.lexists(request.audio):
        if not os.path.isdir(request.audio):
            raise UsageError(f"--audio {request.audio}: a file is in the way; name a new folder")
        if os.listdir(request.audio):
            raise UsageError(f"--audio {request.audio}: is not empty; name a new folder")


def _load(request: EvalRequest) -> tuple[Synthesizer, Voice | None]:
    try:
        folder = find_talker(request.model)
        talker = Talker.from_pretrained(folder, device=request.device)
        voice = None
        if request.voice is not None:
            voice = Voice.load(find_voice(request.voice, folder))
            voice.fits(talker)
        return Synthesizer(talker), voice
    except (TtsError, ValueError, RuntimeError) as e:
        raise UsageError(str(e)) from e


def _normalizer(language: str) -> Normalizer:
    try:
        normalizer = for_language(language)
        word_error_rate([], [], normalizer)  # what aligns words is found missing here
    except (ImportError, ValueError) as e:
        raise UsageError(str(e)) from e
    return normalizer


def _settings(
    request: EvalRequest, synthesizer: Synthesizer, voice: Voice | None, packages: tuple[str, ...]
) -> Settings:
    talker = synthesizer.talker
    form = talker.model.config.frames
    return Settings(
        model=request.model,
        codec=talker.settings.codec,
        codec_hash=talker.settings.codec_hash,
        num_codebooks=form.num_codebooks,
        frame_rate=form.frame_rate,
        sample_rate=synthesizer.sample_rate,
        language=talker.settings.language,
        voice=None if voice is None else voice.name,
        seed=request.seed,
        recognizer=request.recognizer,
        device=request.device,
        threads=torch.get_num_threads(),
        packages=packages,
    )
