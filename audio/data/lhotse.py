"""Cuts of Lhotse as our manifests, and back: JSON Lines on both sides, without Lhotse itself.

Lhotse counts relative paths of recordings from the working directory; here they are read so and
written in full.
"""

import json
from collections.abc import Iterable, Iterator
from functools import lru_cache
from pathlib import Path
from typing import Any

from echoic.audio.data.line import PATH_KEYS, parse_line
from echoic.audio.data.manifest import Row, lines_of, writing
from echoic.audio.data.problems import LineError, Problem, pass_over
from echoic.audio.io import AudioInfo, info

# Ours and theirs, in a supervision.
_SAID = {"text": "text", "lang": "language", "speaker": "speaker"}
_PLACED = {*PATH_KEYS, *_SAID, "id", "offset", "duration", "sample_rate"}
# Seconds; by less than that the ends of a cut and of its recording differ when they are the same.
_SAME = 1e-3
_DIGITS = 6


def is_cut(fields: dict[str, Any]) -> bool:
    """Tell whether an object of JSON is one of Lhotse's cuts."""
    return str(fields.get("type", "")).endswith("Cut")


def read_cuts(path: Path, skipped: list[Problem] | None = None) -> Iterator[Row]:
    """Yield the rows that a file of cuts makes, each with `offset` where it is not all of a file.

    A cut with several supervisions gives a row for each of them, at its own time.

    Args:
        path: JSON Lines of cuts; gzip may have compressed them.
        skipped: gets a problem for each line that no row can say; None to raise at the first.

    Raises:
        ManifestError: a line is no cut, or one that is more than a stretch of a sound file: of one
            of several channels, mixed, padded, changed in speed, stored in an archive.
        OSError: the file cannot be read.
    """
    for number, line in lines_of(path):
        try:
            yield from _rows(parse_line(line), number)
        except LineError as e:
            pass_over(path, number, e, skipped)


def write_cuts(path: Path, rows: Iterable[Row]) -> int:
    """Write rows as Lhotse's cuts; return how many. Recordings are opened for their lengths.

    Fields that Lhotse has no place for become the cuts' custom fields. A row without an id is named
    after its recording and line.

    Args:
        path: where to, under a temporary name first; .gz compresses.
        rows: of a manifest.

    Raises:
        AudioDecodeError, OSError: a recording cannot be read, or the file not be written.
        ValueError: a recording does not tell its length.
    """
    lengths, count = lru_cache(maxsize=1024)(info), 0
    with writing(path) as file:
        for row in rows:
            audio = row.audio.absolute()
            cut = _cut(row, audio, lengths(audio))
            file.write(json.dumps(cut, ensure_ascii=False).encode() + b"\n")
            count += 1
    return count


def _rows(cut: dict[str, Any], number: int) -> list[Row]:
    try:
        return list(_read(cut, number))
    except LineError:
        raise
    except (KeyError, TypeError, AttributeError, ValueError) as e:
        what = f"not a cut as Lhotse writes them ({type(e).__name__}: {e})"
        raise LineError(what, "save the cuts again, with their recordings") from e


def _read(cut: dict[str, Any], number: int) -> Iterator[Row]:
    if cut.get("type") not in ("MonoCut", "MultiCut"):
        what = f"type is {cut.get('type')!r}, expected MonoCut"
        raise LineError(what, "save mixed and padded cuts as sound first")
    recording = cut["recording"]
    audio = _source(cut, recording)
    start, length = float(cut["start"]), float(cut["duration"])
    whole = start == 0 and abs(length - float(recording["duration"])) < _SAME
    supervisions = cut.get("supervisions") or [{}]
    for said in supervisions:
        fields = {"id": str(cut["id"])}
        begin, end = start, start + length
        if len(supervisions) > 1:
            fields["id"] = str(said["id"])
            begin = start + max(0.0, float(said["start"]))
            end = min(end, start + float(said["start"]) + float(said["duration"]))
            if begin >= end:
                raise LineError(f"supervision {fields['id']!r} is outside the cut", "drop it")
        for ours, theirs in _SAID.items():
            if said.get(theirs) is not None:
                fields[ours] = said[theirs]
        offset = None if whole and len(supervisions) == 1 else round(begin, _DIGITS)
        duration = round(end - begin, _DIGITS)
        values = {"audio": str(audio)} | fields | {"offset": offset, "duration": duration}
        values["sample_rate"] = int(recording["sampling_rate"])
        values |= _plain(cut.get("custom")) | _plain(said.get("custom"))
        if offset is None:
            del values["offset"]
        yield Row(number, audio, values, offset, duration)


def _source(cut: dict[str, Any], recording: dict[str, Any]) -> Path:
    """Return the file of a recording, all channels of which are meant, as it is."""
    sources, channels = recording["sources"], recording.get("channel_ids") or [0]
    if len(sources) != 1 or sources[0]["type"] != "file":
        kinds = ", ".join(source["type"] for source in sources) or "none"
        raise LineError(f"sound is in {kinds}, expected one file", "save the cuts' sound to files")
    if recording.get("transforms"):
        raise LineError("sound is changed while it is read", "save the changed sound to a file")
    wanted = cut.get("channel", 0)
    if set(wanted if isinstance(wanted, list) else [wanted]) != set(channels):
        what = f"channel {wanted} of {channels}, and manifests know only whole recordings"
        raise LineError(what, "save each channel to a file of its own")
    return Path(sources[0]["source"]).absolute()


def _plain(custom: dict[str, Any] | None) -> dict[str, Any]:
    """Return what fits in a row: features and recordings that belong to a cut do not."""
    return {
        key: value
        for key, value in (custom or {}).items()
        if key not in _PLACED and isinstance(value, str | int | float | bool)
    }


def _cut(row: Row, audio: Path, found: AudioInfo) -> dict[str, Any]:
    if found.num_frames is None:
        raise ValueError(f"{audio} does not tell its length; convert it to flac first")
    name = str(row.values.get("id") or f"{audio.stem}-{row.number}")
    whole = found.num_frames / found.sample_rate
    start = row.offset or 0.0
    rest = whole - start
    # As in all our readers, only with an offset does a duration cut something off.
    length = rest if row.offset is None or row.duration is None else min(row.duration, rest)
    if length <= 0:
        raise ValueError(f"{audio} lasts {whole:.3f} s, and row {row.number} begins at {start} s")
    channels = list(range(found.channels))
    one = channels[0] if len(channels) == 1 else channels
    times = {"duration": round(length, _DIGITS), "channel": one}
    said = {
        theirs: str(row.values[ours])
        for ours, theirs in _SAID.items()
        if row.values.get(ours) is not None
    }
    recording = {
        "id": audio.stem,
        "sources": [{"type": "file", "channels": channels, "source": str(audio)}],
        "sampling_rate": found.sample_rate,
        "num_samples": found.num_frames,
        "duration": whole,
        "channel_ids": channels,
    }
    supervision = {"id": name, "recording_id": audio.stem, "start": 0.0, **times, **said}
    custom = {key: value for key, value in row.values.items() if key not in _PLACED}
    return {
        "id": name,
        "start": round(start, _DIGITS),
        **times,
        "supervisions": [supervision] if said else [],
        "recording": recording,
        **({"custom": custom} if custom else {}),
        "type": "MonoCut" if len(channels) == 1 else "MultiCut",
    }
