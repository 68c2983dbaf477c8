"""Data sets of Hugging Face's `datasets` as our manifests, and back (extra `datasets`).

Sound is never decoded by them: what a data set holds as bytes becomes files, and paths stay paths.
"""

import importlib
import itertools
import json
import tempfile
from collections.abc import Callable, Iterable, Iterator
from pathlib import Path
from typing import Any

from echoic.audio.data.line import PATH_KEYS
from echoic.audio.data.manifest import Row
from echoic.audio.data.recordings import Recording
from echoic.audio.errors import AudioDecodeError
from echoic.audio.io import AUDIO_SUFFIXES, info, save

# What published data sets call our fields, the likeliest first.
_OTHER_NAMES = {
    "text": ("transcription", "sentence", "transcript"),
    "lang": ("language", "locale"),
    "speaker": ("speaker_id", "client_id"),
}
_IN_A_FOLDER = 1000
# Of containers whose names are none; others go by theirs.
_SUFFIXES = {"wavex": ".wav", "mpeg": ".mp3", "matroska": ".mka"}
_MARKS = ("dataset_info.json", "dataset_dict.json", "state.json")


class DatasetsMissingError(ImportError):
    """The package `datasets` is not installed."""


def is_dataset(folder: Path) -> bool:
    """Tell whether a folder was written by `save_to_disk`."""
    return any((folder / name).is_file() for name in _MARKS)


def read_dataset(folder: Path, sounds: Path) -> Iterator[Row]:
    """Yield the rows of a data set that `save_to_disk` wrote; of all its splits, with `split`.

    Columns are fields by their own names; of `text`, `lang` and `speaker` the usual other names are
    known. What is neither text nor number is left out.

    Args:
        folder: of the data set.
        sounds: folder for the sound that the data set holds itself, as it is, a thousand files in
            a folder of it.

    Raises:
        DatasetsMissingError: `datasets` is not installed.
        ValueError: there is no one column of sound, or a row has no sound.
        OSError: the folder cannot be read, or `sounds` not be written.
    """
    yield from rows_of_dataset(_datasets().load_from_disk(str(folder)), sounds)


def rows_of_dataset(found: Any, sounds: Path) -> Iterator[Row]:
    """Yield the rows of a `Dataset`, or of all splits of a `DatasetDict`, as `read_dataset` does.

    Raises:
        ValueError: there is no one column of sound, or a row has no sound.
        OSError: `sounds` cannot be written.
    """
    splits = found.items() if hasattr(found, "items") else [(None, found)]
    numbers = itertools.count(1)
    for split, data in splits:
        column = _sound_column(data)
        # With its sound as it is stored: to decode it, `datasets` needs one more package.
        data = data.cast_column(column, _datasets().Audio(decode=False))
        for values in data:
            number = next(numbers)
            audio = _sound_of(values.pop(column) or {}, number, sounds)
            yield Row(number, audio, _fields(values, split) | {"audio": str(audio)})


def write_dataset(folder: Path, rows: Callable[[], Iterable[Row]]) -> int:
    """Write rows as a data set for `load_from_disk`; return how many.

    Recordings are copied into it as they are, stretches of them are cut out and become FLAC.
    Values that are neither text nor numbers are written as JSON.

    Args:
        folder: where to; new, or empty.
        rows: gives the rows, the same each time: they are read twice.

    Raises:
        DatasetsMissingError: `datasets` is not installed.
        ValueError: there are no rows.
        AudioDecodeError, OSError: a stretch cannot be read, or the folder not be written.
    """
    datasets = _datasets()
    if folder.exists() and any(folder.iterdir()):
        raise FileExistsError(f"{folder} is there and not empty; name a new folder")
    count, kinds = 0, dict[str, set[str]]()
    for row in rows():
        count += 1
        for key, value in _told(row).items():
            kinds.setdefault(key, set()).add(_kind(value))
    if not count:
        raise ValueError("there are no rows to write; name a manifest with some")
    types = {key: _common(found) for key, found in kinds.items()}

    def examples() -> Iterator[dict[str, Any]]:
        for row in rows():
            told = _told(row)
            columns = {key: _stored(told.get(key), kind) for key, kind in types.items()}
            yield {"audio": _sound(row), **columns}

    # As it is stored, and only then called Audio: to encode that, they need one more package.
    features: dict[str, Any] = {
        "audio": {"bytes": datasets.Value("binary"), "path": datasets.Value("string")}
    }
    features |= {key: datasets.Value(kind) for key, kind in types.items()}
    with tempfile.TemporaryDirectory(prefix="echoic-", ignore_cleanup_errors=True) as cache:
        try:
            data = datasets.Dataset.from_generator(
                examples, features=datasets.Features(features), cache_dir=cache
            )
        except datasets.exceptions.DatasetGenerationError as e:
            if isinstance(e.__cause__, OSError | ValueError):  # ours, of a row
                raise e.__cause__ from e
            raise
        data.cast_column("audio", datasets.Audio()).save_to_disk(str(folder))
    return count


def _datasets() -> Any:
    try:
        return importlib.import_module("datasets")
    except ImportError as e:
        raise DatasetsMissingError(
            "data sets of Hugging Face need datasets; install it with: pip install "
            "'echoic[datasets]'"
        ) from e


def _sound_column(data: Any) -> str:
    columns = [k for k, kind in data.features.items() if isinstance(kind, _datasets().Audio)]
    if len(columns) != 1:
        raise ValueError(
            f"the data set has {len(columns)} columns of type Audio, expected one; its columns are "
            f"{', '.join(data.column_names)}: choose with cast_column and remove_columns"
        )
    return columns[0]


def _sound_of(stored: dict[str, Any], number: int, sounds: Path) -> Path:
    """Return the file with a row's sound, written where the data set holds it itself."""
    content, path = stored.get("bytes"), stored.get("path")
    if content is None:
        if not path:
            raise ValueError(f"row {number} has no sound; drop it with filter")
        return Path(path).absolute()
    suffix = Path(path or "").suffix.lower()
    if suffix not in AUDIO_SUFFIXES:
        suffix = _suffix_of(content, number)
    target = sounds / f"{number // _IN_A_FOLDER:04d}" / f"{number:08d}{suffix}"
    target.parent.mkdir(parents=True, exist_ok=True)
    target.write_bytes(content)
    return target


def _suffix_of(content: bytes, number: int) -> str:
    try:
        name = info(content).format.lower().split(",")[0]
    except AudioDecodeError as e:
        raise ValueError(f"row {number} has no sound in it: {e}") from e
    return _SUFFIXES.get(name, f".{name}")


def _fields(values: dict[str, Any], split: str | None) -> dict[str, Any]:
    fields = {k: v for k, v in values.items() if isinstance(v, str | int | float | bool)}
    for ours, theirs in _OTHER_NAMES.items():
        name = next((n for n in theirs if n in fields), None)
        if ours not in fields and name is not None:
            fields[ours] = fields.pop(name)
    # Places of another file: what the column has is the whole sound.
    for key in (*PATH_KEYS, "offset"):
        fields.pop(key, None)
    return fields if split is None else fields | {"split": split}


def _told(row: Row) -> dict[str, Any]:
    left_out = (*PATH_KEYS, "offset")
    return {k: v for k, v in row.values.items() if k not in left_out and v is not None}


def _kind(value: Any) -> str:
    if isinstance(value, bool):
        return "bool"
    if isinstance(value, int):
        return "int64"
    return "float64" if isinstance(value, float) else "string"


def _common(kinds: set[str]) -> str:
    if kinds == {"int64", "float64"}:
        return "float64"
    return kinds.pop() if len(kinds) == 1 else "string"


def _stored(value: Any, kind: str) -> Any:
    if kind != "string" or value is None or isinstance(value, str):
        return value
    return json.dumps(value, ensure_ascii=False)


def _sound(row: Row) -> dict[str, Any]:
    if row.offset is None:
        return {"path": str(row.audio.absolute()), "bytes": None}
    rate = info(row.audio).sample_rate
    wav = Recording(row.audio, row.duration, row.offset).load(rate)
    with tempfile.TemporaryDirectory(prefix="echoic-") as folder:
        cut = Path(folder, "cut.flac")
        save(cut, wav, rate)
        return {"path": f"{row.audio.stem}-{row.number}.flac", "bytes": cut.read_bytes()}
