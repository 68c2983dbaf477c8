"""Rows of a manifest out of a data set on the disk: measured, written one by one, gone on with.

A data set's module finds its utterances; here they are measured by several threads and written in
the order they were found. The rows lie in OUT.unfinished until all are there; run again, those that
are there are kept, so that a stop costs what was being measured and no more.
"""

import itertools
import json
import shutil
import sys
from collections import deque
from collections.abc import Callable, Iterable, Iterator
from concurrent.futures import Future, ThreadPoolExecutor
from dataclasses import dataclass, field
from os.path import relpath
from pathlib import Path
from typing import Any, BinaryIO, NamedTuple, TypeVar

from tqdm import tqdm

from echoic.audio.data.manifest import lines_of, row_of, writing
from echoic.audio.data.problems import LineError, ManifestError, Problem
from echoic.audio.errors import one_line
from echoic.recipes.prepare.checksums import sha256_of

_THREADS = 4
_AHEAD = 64  # files that may be measured before the one whose turn it is
_BLOCK = 10.0  # seconds decoded at once where only that tells the length


class Utterance(NamedTuple):
    """A recording, or a stretch of one, with what is said in it.

    Attributes:
        id: a name that no other has.
        audio: path of the recording.
        text: what is said.
        lang: its language, two letters where it has such a code.
        speaker: who says it; None where nobody knows.
        split: train, dev or whatever the data set calls its parts.
        start: seconds at which the stretch begins; None for all of the recording.
        end: seconds at which it ends; None where the recording does.
    """

    id: str
    audio: Path
    text: str
    lang: str
    speaker: str | None
    split: str
    start: float | None = None
    end: float | None = None


class Bad(NamedTuple):
    """Something that is passed over and makes the command fail: one line with file and mend."""

    line: str


class Untold(NamedTuple):
    """A recording that the data set has no text of; such are counted, and nothing is wrong."""

    audio: Path


Found = Utterance | Bad | Untold
_Fields = dict[str, Any]
_Measured = _Fields | Bad | Untold


@dataclass(slots=True)
class Outcome:
    """What became of a data set.

    Attributes:
        utterances: rows of the manifest.
        seconds: how long they are.
        kept: how many of them were there before.
        bad: a line for each thing that was passed over.
        untold: recordings without text.
        first_untold: one of these.
    """

    utterances: int = 0
    seconds: float = 0.0
    kept: int = 0
    bad: list[str] = field(default_factory=list[str])
    untold: int = 0
    first_untold: Path | None = None


def write_corpus(
    found: Iterable[Found], out: Path, *, checksums: bool = False, overwrite: bool = False
) -> Outcome:
    """Write the manifest of a data set, or go on with it.

    Each row has audio (relative to the manifest), id, duration (s), text, lang, speaker where it is
    known, split, and where it is a stretch, offset (s). What cannot be measured is passed over and
    told. Nothing is written where no utterance is left.

    Args:
        found: the utterances, always in the same order; those of one recording together.
        out: where to; .gz compresses.
        checksums: write `sha256` of the recording, too; rows without it are made again.
        overwrite: keep no rows.

    Raises:
        ManifestError: there is a file in the place of the manifest that is none.
        ValueError, OSError: the utterances cannot be found, or nothing can be written.
    """
    out.parent.mkdir(parents=True, exist_ok=True)
    unfinished = out.with_name(f"{out.name}.unfinished")
    if overwrite:
        unfinished.unlink(missing_ok=True)
    outcome = Outcome()
    known = {} if overwrite else _keep(out, unfinished, checksums, outcome)
    folder = out.parent.resolve()

    def measure(group: list[Found]) -> list[_Measured]:
        return _measure(group, folder, checksums)

    groups = _groups(_unknown(found, known, folder))
    try:
        with unfinished.open("ab") as file:
            _append(file, in_order(measure, groups), outcome)
    finally:
        if not outcome.utterances:
            unfinished.unlink()
    if not outcome.utterances:
        return outcome
    if out.suffix == ".gz":
        with writing(out) as packed, unfinished.open("rb") as file:
            shutil.copyfileobj(file, packed)
        unfinished.unlink()
    else:
        unfinished.replace(out)
    return outcome


def find(folder: Path, pattern: str) -> list[Path]:
    """Return the files of a folder and those in it, sorted, without hidden ones.

    What a Mac leaves beside each file of an archive, ._NAME, is hidden.
    """
    return sorted(
        path
        for path in folder.rglob(pattern)
        if not any(part.startswith(".") for part in path.relative_to(folder).parts)
    )


def text_of(path: Path) -> str:
    """Return what a file of text holds.

    Raises:
        ValueError: it is not UTF-8.
        OSError: it cannot be read.
    """
    try:
        return path.read_text(encoding="utf-8-sig")
    except UnicodeDecodeError as e:
        raise ValueError(f"{path} is not UTF-8 (byte {e.start}); convert it") from e


T = TypeVar("T")
R = TypeVar("R")


def in_order(function: Callable[[T], R], items: Iterable[T]) -> Iterator[R]:
    """Yield the results of a function in the order of its arguments, worked out by some threads.

    Arguments are taken a few dozen ahead, not all at once as an executor's own `map` does.
    """
    waiting: deque[Future[R]] = deque()
    with ThreadPoolExecutor(_THREADS) as pool:
        try:
            for item in items:
                waiting.append(pool.submit(function, item))
                while waiting and (len(waiting) >= _AHEAD or waiting[0].done()):
                    yield waiting.popleft().result()
            while waiting:
                yield waiting.popleft().result()
        finally:
            for future in waiting:
                future.cancel()


def _append(file: BinaryIO, measured: Iterator[list[_Measured]], outcome: Outcome) -> None:
    """Write rows behind a bar, and count what they are and what has none."""
    quiet = not sys.stderr.isatty()
    with tqdm(unit=" utterances", initial=outcome.kept, disable=quiet) as bar:
        for item in itertools.chain.from_iterable(measured):
            if isinstance(item, Bad):
                outcome.bad.append(item.line)
            elif isinstance(item, Untold):
                outcome.untold += 1
                outcome.first_untold = outcome.first_untold or item.audio
            else:
                file.write(_line(item))
                file.flush()  # a row is kept from here on, whatever ends this process
                outcome.utterances += 1
                outcome.seconds += item["duration"]
                bar.update()


def _keep(out: Path, unfinished: Path, checksums: bool, outcome: Outcome) -> dict[int, int]:
    """Copy the rows that are there to the unfinished file; return what is known of them.

    It is a hash of the recording's path by that of the id: two numbers a row.
    """
    torn = unfinished.exists()
    before = unfinished if torn else out
    known: dict[int, int] = {}
    if not before.exists():
        return known
    copy = out.with_name(f"{out.name}.kept")
    with copy.open("wb") as file:
        for number, line in lines_of(before):
            if torn and not line.endswith(b"\n"):
                break  # the last one, when its writer was killed
            try:
                values = row_of(line, number, out.parent).values
            except LineError as e:
                raise ManifestError(Problem(before, number, e.what, e.mend)) from e
            if checksums and "sha256" not in values:
                continue
            file.write(line.rstrip(b"\r\n") + b"\n")
            known[hash(str(values.get("id")))] = hash(values.get("audio"))
            outcome.kept += 1
            outcome.seconds += float(values.get("duration") or 0.0)
    copy.replace(unfinished)
    outcome.utterances = outcome.kept
    return known


def _unknown(found: Iterable[Found], known: dict[int, int], folder: Path) -> Iterator[Found]:
    """Leave out utterances that have their row, and refuse a second one of the same id."""
    for item in found:
        if isinstance(item, Utterance):
            name, audio = hash(item.id), hash(_relative(item.audio, folder))
            if known.get(name) == audio:
                continue
            if name in known:
                mend = "rename one, take two manifests, or use --overwrite where it has moved"
                yield _bad(item.audio, f"its id {item.id} is that of another recording; {mend}")
                continue
            known[name] = audio
        yield item


def _groups(found: Iterable[Found]) -> Iterator[list[Found]]:
    """Put together what one look at a recording is enough for."""
    groups = itertools.groupby(found, lambda f: f.audio if isinstance(f, Utterance) else None)
    return (list(group) for _, group in groups)


def _measure(group: list[Found], folder: Path, checksums: bool) -> list[_Measured]:
    """Return the rows of utterances of one recording."""
    first = group[0]
    if not isinstance(first, Utterance):
        return [item for item in group if not isinstance(item, Utterance)]
    try:
        seconds = _seconds_of(first.audio)
        proof = {"sha256": sha256_of(first.audio)} if checksums else {}
    except FileNotFoundError:
        return [Bad(f"{one_line(str(first.audio))} is not there; unpack the data set again")]
    except (OSError, ValueError) as e:  # what is no sound says so itself
        return [Bad(one_line(str(e)))]
    return [_row(item, seconds, folder, proof) for item in group if isinstance(item, Utterance)]


def _row(item: Utterance, seconds: float, folder: Path, proof: _Fields) -> _Fields | Bad:
    text = " ".join(item.text.split())
    start = item.start or 0.0
    end = seconds if item.end is None else min(item.end, seconds)
    if not text:
        return _bad(item.audio, f"the text of {item.id} is empty; write it, or drop both")
    if round(end - start, 3) <= 0:
        told = f"it lasts {seconds:.3f} s, and {item.id} is to begin at {start:.3f} s"
        return _bad(item.audio, f"{told}; mend its times")
    fields: _Fields = {"audio": _relative(item.audio, folder), "id": item.id}
    if item.start is not None:
        fields["offset"] = round(start, 3)
    fields |= {"duration": round(end - start, 3), "text": text, "lang": item.lang}
    if item.speaker is not None:
        fields["speaker"] = item.speaker
    return fields | {"split": item.split} | proof


def _seconds_of(audio: Path) -> float:
    """Return how long a recording is; it is decoded where its header does not tell."""
    from echoic.audio.io import blocks, info

    told = info(audio)
    if told.duration is not None:
        return told.duration
    samples = sum(block.shape[1] for block in blocks(audio, seconds=_BLOCK))
    return samples / told.sample_rate


def _relative(audio: Path, folder: Path) -> str:
    # From the true place of the manifest: ".." out of a linked folder leads elsewhere.
    return Path(relpath(audio, folder)).as_posix()


def _bad(path: Path, what: str) -> Bad:
    return Bad(f"{one_line(str(path))}: {what}")


def _line(fields: _Fields) -> bytes:
    try:
        return json.dumps(fields, ensure_ascii=False).encode() + b"\n"
    except UnicodeEncodeError:  # a file's name that is not UTF-8
        return json.dumps(fields).encode() + b"\n"
