"""What a talker is to say: a text file with a sentence a line, or a manifest."""

from collections.abc import Iterator
from pathlib import Path
from typing import NamedTuple

from torch import Tensor

from echoic.audio.data.line import PATH_KEYS, audio_of, parse_line, stretch_of
from echoic.audio.data.manifest import MANIFEST_SUFFIXES, lines_of
from echoic.audio.data.problems import LineError
from echoic.audio.errors import one_line
from echoic.audio.io import load
from echoic.codecs.jobs.errors import UsageError

TEXT_SUFFIX = ".txt"


class Recording(NamedTuple):
    """Somebody who says it.

    Attributes:
        path: of the file.
        offset: seconds to leave out at its beginning.
        duration: seconds to read; None for all.
    """

    path: str
    offset: float = 0.0
    duration: float | None = None

    def load(self, sample_rate: int) -> Tensor:
        """Read the sound: (T,) float32 in mono.

        Raises:
            AudioDecodeError: it is not sound.
            OSError: it cannot be read.
            ValueError: there is none.
        """
        wav = load(
            self.path,
            sample_rate=sample_rate,
            mono=True,
            offset=self.offset,
            duration=self.duration,
        ).wav[0]
        if not len(wav):
            raise ValueError(f"{self.path}: has no sound; take it out of the list")
        return wav


class Sentence(NamedTuple):
    """Something to say.

    Attributes:
        name: for messages: file and line.
        number: of the line, from 1.
        text: as it is written.
        recording: where there is one.
    """

    name: str
    number: int
    text: str
    recording: Recording | None = None


class Failure(NamedTuple):
    """A line, a sentence or a recording that could not be used, and why."""

    name: str
    error: Exception


def read_sentences(path: str) -> list[Sentence | Failure]:
    """Read a list of sentences; a line that is none is a failure in its place.

    Args:
        path: a .txt with a sentence a line, or a manifest with `text`, and `audio` where somebody
            has said it; gzip may have compressed it.

    Raises:
        UsageError: the file is not there or of another kind, or it has no line.
    """
    name = one_line(path)
    if not Path(path).is_file():
        raise UsageError(
            f"{name}: no such file; name a .txt with a sentence a line, or a manifest (.jsonl)"
        )
    is_manifest = path.lower().endswith(MANIFEST_SUFFIXES)
    if not is_manifest and Path(path).suffix.lower() != TEXT_SUFFIX:
        raise UsageError(f"{name}: expected a .txt with a sentence a line, or a manifest (.jsonl)")
    try:
        entries = list(_entries(path, is_manifest))
    except OSError as e:
        raise UsageError(f"{name}: cannot be read ({e.strerror or e}); check the file") from e
    if not entries:
        raise UsageError(f"{name}: has no sentences; write one a line")
    return entries


def _entries(path: str, is_manifest: bool) -> Iterator[Sentence | Failure]:
    folder = Path(path).parent
    for number, line in lines_of(Path(path)):
        name = f"{one_line(path)}, line {number}"
        try:
            if is_manifest:
                yield _row(line, folder, name, number)
            else:
                yield Sentence(name, number, line.decode("utf-8-sig").strip())
        except UnicodeDecodeError as e:
            yield Failure(name, ValueError(f"not UTF-8 (byte {e.start}); convert the file"))
        except LineError as e:
            yield Failure(name, e)


def _row(line: bytes, folder: Path, name: str, number: int) -> Sentence:
    fields = parse_line(line)
    text = fields.get("text")
    if not isinstance(text, str) or not text.strip():
        raise LineError(f"'text' is {text!r}", "write the sentence there")
    if not any(key in fields for key in PATH_KEYS):
        return Sentence(name, number, text.strip())
    offset, duration = stretch_of(fields)
    # Without an offset a duration only describes the recording.
    stretch = None if offset is None else duration
    recording = Recording(str(folder / audio_of(fields)), offset or 0.0, stretch)
    return Sentence(name, number, text.strip(), recording)
