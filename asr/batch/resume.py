"""Which sources are still to do, given the journal, and which must not be written over."""

import hashlib
import json
import os
import stat
from collections.abc import Mapping, Sequence
from dataclasses import dataclass
from typing import Any, NamedTuple

from echoic.asr.batch.errors import UsageError, printable
from echoic.asr.batch.journal import Journal, Record
from echoic.asr.source import Source


class Plan(NamedTuple):
    """The sources left to do, how many are done, and how many of the rest are done anew."""

    todo: list[Source]
    done: int
    outdated: int


@dataclass(frozen=True, slots=True)
class Target:
    """Where outputs go and what shapes them: `options` is the digest of every choice."""

    folder: str
    formats: tuple[str, ...]
    options: str

    def paths(self, key: str) -> list[str]:
        """Return the output files of a key."""
        return [os.path.join(self.folder, f"{key}.{suffix}") for suffix in self.formats]

    def record(self, source: Source) -> Record:
        """Return what the journal notes for a source, with the state of its file now."""
        size, mtime_ns = fingerprint(source)
        return Record(
            key=source.key,
            audio=source.path if source.is_stdin else os.path.abspath(source.path),
            size=size,
            mtime_ns=mtime_ns,
            offset=source.offset,
            duration=source.duration,
            options=self.options,
            formats=self.formats,
        )


def make_plan(
    sources: Sequence[Source], journal: Journal, target: Target, *, overwrite: bool
) -> Plan:
    """Sort out what is done: same recording, unchanged, same options, all outputs in place.

    Raises:
        UsageError: outputs would replace files that this command did not write, or that were made
            from another recording, and `overwrite` is not set.
    """
    if overwrite:
        return Plan(list(sources), 0, 0)
    todo: list[Source] = []
    outdated = 0
    conflicts: list[str] = []
    for source in sources:
        claim = journal.claimed.get(source.key)
        if claim is None:
            conflicts += [f"{p} is not from this command" for p in _existing(source, target)]
            todo.append(source)
            continue
        now = target.record(source)
        if not _same_recording(claim, now):
            conflicts.append(f"{target.paths(source.key)[0]} was made from {claim.audio}")
        if not _is_done(journal.finished.get(source.key), now, target):
            outdated += source.key in journal.finished
            todo.append(source)
    if conflicts:
        more = f" (and {len(conflicts) - 1} more)" if len(conflicts) > 1 else ""
        raise UsageError(
            f"{printable(conflicts[0])}{more}; choose another folder with -o, or add --overwrite"
        )
    return Plan(todo, len(sources) - len(todo), outdated)


def digest(choices: Mapping[str, Any]) -> str:
    """Return a short name for a set of choices, the same in every process."""
    text = json.dumps(choices, sort_keys=True, default=str)
    return hashlib.sha256(text.encode()).hexdigest()[:16]


def fingerprint(source: Source) -> tuple[int, int] | tuple[None, None]:
    """Return a file's size in bytes and time of change in ns, or Nones where it has none.

    A pipe has none: what comes out of it may be another recording each time.
    """
    if source.is_stdin:
        return None, None
    try:
        status = os.stat(source.path)
    except OSError:
        return None, None
    if not stat.S_ISREG(status.st_mode):
        return None, None
    return status.st_size, status.st_mtime_ns


def _existing(source: Source, target: Target) -> list[str]:
    return [path for path in target.paths(source.key) if os.path.lexists(path)][:1]


def _same_recording(claim: Record, now: Record) -> bool:
    if claim.audio == now.audio:
        return True
    if os.path.exists(claim.audio) and os.path.exists(now.audio):
        return os.path.samefile(claim.audio, now.audio)
    # Moved: gone from where it was, and unchanged.
    same = (claim.size, claim.mtime_ns) == (now.size, now.mtime_ns)
    return same and now.size is not None and not os.path.exists(claim.audio)


def _is_done(record: Record | None, now: Record, target: Target) -> bool:
    if record is None or now.size is None:
        return False
    same = ("size", "mtime_ns", "offset", "duration", "options")
    return (
        all(getattr(record, name) == getattr(now, name) for name in same)
        and set(now.formats) <= set(record.formats)
        and all(os.path.exists(path) for path in target.paths(now.key))
    )
