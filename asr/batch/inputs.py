"""What the user typed, turned into sources: files, folders, patterns, manifests, lists, stdin."""

import glob
import os
import sys
from collections.abc import Collection, Iterable, Iterator, Sequence
from dataclasses import dataclass, field
from typing import NamedTuple

from echoic.asr.batch import manifest
from echoic.asr.batch.errors import UsageError, describe, printable
from echoic.asr.batch.naming import Found, Shard, name_all
from echoic.asr.source import STDIN, Source
from echoic.audio.data.manifest import MANIFEST_SUFFIXES, SURE_SUFFIXES


class Problem(NamedTuple):
    """An input that cannot be used, and why, in one line."""

    name: str
    message: str


@dataclass(frozen=True, slots=True)
class Listing:
    """All inputs: what to transcribe, what cannot be, and what the user may want to know."""

    sources: list[Source]
    problems: list[Problem]
    notes: list[str]


@dataclass(slots=True)
class Finder:
    """Collects inputs; one object for one command.

    Attributes:
        suffixes: suffixes of sound files, lower case, with their dots; they choose among the files
            of a folder or a pattern. A file named in full is always taken.
        recursive: whether to look into the folders of a folder.
        skip_folder: a folder not to look into when it lies inside an input: the output folder.
    """

    suffixes: Collection[str]
    recursive: bool = False
    skip_folder: str | None = None
    problems: list[Problem] = field(default_factory=list[Problem])
    notes: list[str] = field(default_factory=list[str])

    def find(
        self, inputs: Sequence[str], listed: Iterable[str] = (), shard: Shard | None = None
    ) -> Listing:
        """Return what the arguments name.

        Args:
            inputs: files, folders, patterns, manifests or "-", as typed.
            listed: the lines of `--files-from`, in which `*` and `[` are no patterns.
            shard: the part of all sources to keep.

        Raises:
            UsageError: where there is nothing to do, or an input makes no sense.
        """
        found = [f for text in inputs for f in self._expand(text, patterns=True)]
        found += [f for text in listed for f in self._expand(text, patterns=False)]
        if sum(f.path == STDIN for f in found) > 1:
            raise UsageError("standard input ('-') can be read once; name it once")
        if not found and not self.problems:
            raise UsageError("; ".join(self.notes) or "no input; name a file, a folder or '-'")
        return Listing(name_all(found, shard), self.problems, self.notes)

    def _expand(self, text: str, *, patterns: bool) -> Iterator[Found]:
        if text == STDIN:
            yield Found(STDIN, "")
        elif os.path.isdir(text):
            yield from self._folder(text)
        elif os.path.lexists(text):
            yield from self._file(text)
        elif patterns and glob.has_magic(text):
            yield from self._pattern(text)
        else:
            self.problems.append(Problem(text, "no such file or folder; check the path"))

    def _file(self, path: str) -> Iterator[Found]:
        if not path.lower().endswith(MANIFEST_SUFFIXES):
            yield Found(path, os.path.dirname(os.path.abspath(path)))
            return
        count = 0
        try:
            for count, entry in enumerate(manifest.read_manifest(path), 1):  # noqa: B007
                yield Found(entry.path, os.path.dirname(os.path.abspath(entry.path)), entry)
        except OSError as e:
            self.problems.append(Problem(path, describe(e, path)))
            return
        if not count:
            self.notes.append(f"{printable(path)}: the manifest is empty")

    def _pattern(self, pattern: str) -> Iterator[Found]:
        matches = sorted(glob.glob(pattern, recursive=True))
        if not matches:
            raise UsageError(f"{printable(pattern)!r} matches no file; check the pattern")
        count = 0
        for match in matches:
            if os.path.isdir(match):
                continue  # "**" matches every folder on the way; their files match by themselves
            if self._is_sound(match) or match.lower().endswith(SURE_SUFFIXES):
                count += 1
                yield from self._file(match)
        if not count:
            raise UsageError(
                f"{printable(pattern)!r} matches {len(matches)} names, none of them a sound file "
                f"({self._known()})"
            )

    def _folder(self, folder: str) -> Iterator[Found]:
        anchor = os.path.abspath(folder)
        count, unseen = 0, 0
        for path in self._walk(folder):
            if path is None:
                unseen += 1
            else:
                count += 1
                yield Found(path, anchor)
        below = f"; {unseen} sub-folders were not searched, --recursive searches them"
        if not count:
            self.notes.append(
                f"no audio found in {printable(folder)} ({self._known()})" + below * bool(unseen)
            )
        elif unseen:
            self.notes.append(printable(folder) + below.replace(";", ":", 1))

    def _walk(self, folder: str) -> Iterator[str | None]:
        """Yield the sound files below a folder in order of name, None for each skipped folder."""
        skip = self.skip_folder and os.path.realpath(self.skip_folder)
        stack, visited = [folder], {os.path.realpath(folder)}
        while stack:
            current = stack.pop()
            files, folders = self._scan(current)
            yield from files
            for path in reversed(folders):
                real = os.path.realpath(path)
                if real == skip or real in visited:  # the second is a loop of symbolic links
                    continue
                if self.recursive:
                    visited.add(real)
                    stack.append(path)
                else:
                    yield None

    def _scan(self, folder: str) -> tuple[list[str], list[str]]:
        files: list[str] = []
        folders: list[str] = []
        try:
            with os.scandir(folder) as entries:
                for entry in entries:
                    if entry.name.startswith("."):
                        continue
                    if os.path.isdir(entry.path):  # entry.is_dir() raises at a link to itself
                        folders.append(entry.path)
                    elif self._is_sound(entry.name) and _is_file_or_broken_link(entry):
                        files.append(entry.path)
        except OSError as e:
            reason = f"the folder cannot be read ({e.strerror or e}); mend its permissions"
            self.problems.append(Problem(folder, reason))
        return sorted(files), sorted(folders)

    def _is_sound(self, path: str) -> bool:
        return os.path.splitext(path)[1].lower() in self.suffixes

    def _known(self) -> str:
        return "known suffixes: " + " ".join(sorted(self.suffixes))


def read_files_from(path: str) -> list[str]:
    """Return the paths in a list file, or on standard input for "-".

    Raises:
        UsageError: where the list cannot be read or is empty.
    """
    try:
        if path == STDIN:
            data = sys.stdin.buffer.read()
        else:
            with open(path, "rb") as file:
                data = file.read()
    except OSError as e:
        raise UsageError(f"--files-from {printable(path)}: {describe(e, path)}") from e
    if not (names := manifest.read_list(data)):
        raise UsageError(f"--files-from {printable(path)}: the list is empty")
    return names


def _is_file_or_broken_link(entry: os.DirEntry[str]) -> bool:
    # A broken link is reported as a failure; pipes and devices would block the whole batch.
    return os.path.isfile(entry.path) or not os.path.exists(entry.path)
