"""Unique output names that mirror the input tree, and the choice of a shard.

The name of a source is its path below the common root of all inputs, without the suffix: a folder
given alone is its own root; files share the nearest folder that holds them all. Where two names
would meet (`a.wav` beside `a.mp3`) both keep their suffix (`a.wav.txt`, `a.mp3.txt`). Manifest
entries that have an `id` are named by it.
"""

import hashlib
import os
import re
from collections import Counter
from collections.abc import Iterable, Sequence
from dataclasses import dataclass

from echoic.asr.batch.errors import UsageError, printable
from echoic.asr.batch.manifest import Entry
from echoic.asr.source import STDIN, Source


@dataclass(frozen=True, slots=True)
class Found:
    """An input before it has a name: `anchor` is the absolute folder that its name starts from."""

    path: str
    anchor: str
    entry: Entry | None = None


@dataclass(frozen=True, slots=True)
class Shard:
    """Part `index` (from 1) of `count`: disjoint parts whose union is everything."""

    index: int
    count: int

    def __post_init__(self) -> None:
        if not 1 <= self.index <= self.count:
            raise UsageError(
                f"shard {self.index}/{self.count} does not exist; "
                f"write 1/{max(self.count, 1)} to {max(self.count, 1)}/{max(self.count, 1)}"
            )

    @classmethod
    def parse(cls, text: str) -> "Shard":
        """Read "2/8".

        Raises:
            UsageError: for anything else.
        """
        found = re.fullmatch(r"([0-9]{1,9})/([0-9]{1,9})", text)
        if found is None:
            raise UsageError(f"--shard {text!r} is not a part; write it as 2/8 (part 2 of 8)")
        return cls(int(found[1]), int(found[2]))

    def holds(self, name: str) -> bool:
        """Whether a name belongs here.

        The name is hashed, so a file stays in its shard when others are added while shards run.
        """
        digest = hashlib.blake2b(name.encode("utf-8", "surrogateescape"), digest_size=8).digest()
        return int.from_bytes(digest, "big") % self.count == self.index - 1


def name_all(found: Sequence[Found], shard: Shard | None = None) -> list[Source]:
    """Return the sources, in order, with unique keys; what was found twice is taken once.

    Keys are made unique over all that was found before the shard is taken out of it, so that
    shards never write the same file.

    Raises:
        UsageError: where two entries of manifests have the same id.
    """
    unique = _without_repeats(found)
    root = common_root({f.anchor for f in unique if f.path != STDIN and _id(f) is None})
    full = [_full_name(f, root) for f in unique]
    short = [_short_name(f, name) for f, name in zip(unique, full, strict=True)]
    keys = _disambiguate(short, full, unique)
    chosen = (shard is None or shard.holds(name) for name in full)
    return [_source(f, key) for f, key, mine in zip(unique, keys, chosen, strict=True) if mine]


def common_root(folders: Iterable[str]) -> str:
    """Return the nearest folder above all these absolute ones; "" where there is none."""
    try:
        return os.path.commonpath(list(folders))
    except ValueError:  # no folders, or several drives
        return ""


def _id(found: Found) -> str | None:
    return found.entry.id if found.entry else None


def _cut(found: Found) -> tuple[float, float | None]:
    return (found.entry.offset, found.entry.duration) if found.entry else (0.0, None)


def _without_repeats(found: Sequence[Found]) -> list[Found]:
    seen: dict[tuple[object, ...], Found] = {}
    for item in found:
        path = item.path if item.path == STDIN else os.path.abspath(item.path)
        seen.setdefault((path, _id(item), *_cut(item)), item)
    return list(seen.values())


def _full_name(found: Found, root: str) -> str:
    if found.path == STDIN:
        return "stdin"
    if (name := _id(found)) is not None:
        return name.replace("\\", "/") if os.name == "nt" else name
    path = os.path.abspath(found.path)
    relative = os.path.relpath(path, root) if root else os.path.splitdrive(path)[1].lstrip(os.sep)
    return relative.replace(os.sep, "/") + _cut_name(*_cut(found))


def _short_name(found: Found, full: str) -> str:
    if found.path == STDIN or _id(found) is not None:
        return full
    cut = _cut_name(*_cut(found))
    return os.path.splitext(full.removesuffix(cut))[0] + cut


def _cut_name(offset: float, duration: float | None) -> str:
    if not offset and duration is None:
        return ""
    end = "" if duration is None else f"{round(1000 * (offset + duration)):09d}"
    return f"_{round(1000 * offset):09d}_{end or 'end'}"


def _disambiguate(short: list[str], full: list[str], found: Sequence[Found]) -> list[str]:
    keys = list(short)
    while len(set(keys)) < len(keys):
        counts = Counter(keys)
        met = [i for i, key in enumerate(keys) if counts[key] > 1]
        if all(keys[i] == full[i] for i in met):
            first, second = [i for i in met if keys[i] == keys[met[0]]][:2]
            raise UsageError(
                f"{_where(found[first])} and {_where(found[second])} would both be written to "
                f"{printable(keys[first])!r}; give them different ids"
            )
        for i in met:
            keys[i] = full[i]
    return keys


def _where(found: Found) -> str:
    return printable(found.entry.where if found.entry else found.path)


def _source(found: Found, key: str) -> Source:
    if found.entry is None:
        return Source(key, found.path, "stdin" if found.path == STDIN else found.path)
    entry = found.entry
    cut = f" from {entry.offset:g} s" if entry.offset or entry.duration is not None else ""
    name = entry.id or found.path + cut
    return Source(key, found.path, name, entry.offset, entry.duration, entry.fields)
