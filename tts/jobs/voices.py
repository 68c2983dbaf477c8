"""`echoic voice`: recordings to voices, and what is in one."""

import json
from dataclasses import dataclass
from pathlib import Path

from echoic.audio.errors import AudioDecodeError
from echoic.audio.io import load
from echoic.codecs.jobs.console import Console
from echoic.codecs.jobs.errors import ALL_DONE, OutputError, UsageError
from echoic.codecs.jobs.places import check_output
from echoic.tts.errors import TtsError
from echoic.tts.talker import Talker
from echoic.tts.voice import SUFFIX, Voice, make_voice


@dataclass(frozen=True, slots=True)
class MakeRequest:
    """A recording and what becomes of it; see the command's options."""

    recording: str
    text: str
    output: str
    model: str
    name: str = ""
    licence: str = ""
    overwrite: bool = False


def make(request: MakeRequest, console: Console) -> int:
    """Make a voice; returns the exit code.

    Raises:
        UsageError: a recording, text, talker or output that makes no voice.
        OutputError: the file cannot be written.
    """
    check_output(request.output, (SUFFIX,), source=request.recording, overwrite=request.overwrite)
    try:
        talker = Talker.from_pretrained(request.model)
        wav = load(request.recording, sample_rate=talker.codec.sample_rate, mono=True).wav[0]
        name = request.name or Path(request.output).stem
        voice = make_voice(talker, wav, request.text, name=name, licence=request.licence)
    except (TtsError, AudioDecodeError, ValueError) as e:
        raise UsageError(str(e)) from e
    try:
        voice.save(request.output)
    except OSError as e:
        raise OutputError(request.output, e) from e
    seconds = len(voice.frames) / talker.codec.frame_rate
    console.note(f"{request.output}: {seconds:.1f} s of {name}")
    return ALL_DONE


def show(file: str) -> int:
    """Print what is in a voice; returns the exit code.

    Raises:
        UsageError: no voice.
    """
    try:
        voice = Voice.load(file)
    except TtsError as e:
        raise UsageError(str(e)) from e
    values = {
        "name": voice.name,
        "text": voice.text,
        "frames": len(voice.frames),
        "codebooks": voice.frames.shape[1],
        "codec_hash": voice.codec_hash,
        "licence": voice.licence,
    }
    print(json.dumps(values, indent=2, ensure_ascii=False))
    return ALL_DONE
