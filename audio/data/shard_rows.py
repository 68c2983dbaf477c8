"""Rows of a manifest as samples of shards: the sound in one codec, the fields as JSON."""

import json
from collections.abc import Iterator
from enum import StrEnum
from pathlib import Path
from tempfile import TemporaryDirectory

from echoic.audio.data.line import PATH_KEYS
from echoic.audio.data.manifest import Row, Source, rows_of
from echoic.audio.data.problems import Problem
from echoic.audio.data.shards import Sample, key_of
from echoic.audio.errors import one_line
from echoic.audio.io import AUDIO_SUFFIXES, load
from echoic.audio.write import save

_OF_ANOTHER_FILE = ("offset", "duration", "sha256", *PATH_KEYS)


class Codec(StrEnum):
    """How sound is kept."""

    FLAC = "flac"
    OPUS = "opus"
    KEEP = "keep"


def samples_of(
    source: Source,
    codec: Codec = Codec.FLAC,
    sample_rate: int | None = None,
    bad: list[str] | None = None,
) -> Iterator[Sample]:
    """Yield a sample for each row: its sound and KEY.json, KEY made of its id or its line's number.

    A file that is in the codec already is copied as it is; a stretch is cut out and coded: by FLAC
    where `keep` cannot be. The JSON has the fields of the row, `duration` measured anew where the
    sound is, without the recording's path.

    Args:
        source: a manifest.
        codec: of the sound.
        sample_rate: to resample to, in Hz; None keeps each file's. Opus has 8, 12, 16, 24 and 48
            kHz.
        bad: gets a line for each row whose sound cannot be read or written, and for each line that
            is no row; None to raise at the first.

    Raises:
        ValueError: there is one.
        OSError: the manifest cannot be read.
    """
    skipped: list[Problem] | None = None if bad is None else []
    with TemporaryDirectory(prefix="echoic-shard-") as folder:
        for row in rows_of(source, skipped):
            try:
                yield _sample(row, codec, sample_rate, Path(folder))
            except (OSError, ValueError) as e:
                line = f"{one_line(source.path)}, line {row.number}: {one_line(str(e))}"
                if bad is None:
                    raise ValueError(line) from e
                bad.append(line)
    if bad is not None:
        bad += map(str, skipped or ())


def _sample(row: Row, codec: Codec, sample_rate: int | None, folder: Path) -> Sample:
    fields = {k: v for k, v in row.values.items() if k not in _OF_ANOTHER_FILE}
    suffix = row.audio.suffix.lower()
    whole = row.offset is None and sample_rate is None
    if whole and suffix in AUDIO_SUFFIXES and codec in (Codec.KEEP, suffix.removeprefix(".")):
        sound, duration = row.audio.read_bytes(), row.duration
        if not sound:
            raise ValueError(f"{row.audio} is empty; copy it again or drop the line")
    else:
        suffix = f".{Codec.FLAC if codec == Codec.KEEP else codec}"
        cut = None if row.offset is None else row.duration
        wav, rate = load(row.audio, sample_rate=sample_rate, offset=row.offset or 0.0, duration=cut)
        path = folder / f"sound{suffix}"
        save(path, wav, rate)
        sound, duration = path.read_bytes(), round(wav.shape[1] / rate, 3)
    if duration is not None:
        fields["duration"] = duration
    name = fields.get("id")
    key = key_of(f"{row.number:09d}" if name in (None, "") else str(name))
    told = json.dumps(fields, ensure_ascii=False).encode("utf-8", "backslashreplace")
    return Sample(key, {suffix[1:]: sound, "json": told})
