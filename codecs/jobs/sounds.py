"""Recordings that a command names, and the names of what is made from them."""

import os
from collections import Counter
from collections.abc import Iterable, Sequence
from typing import NamedTuple

from echoic.audio.data.manifest import MANIFEST_SUFFIXES, Source
from echoic.audio.data.recordings import find_recordings
from echoic.audio.io import info
from echoic.codecs.jobs.errors import UsageError
from echoic.codecs.jobs.places import STDIO


class Sound(NamedTuple):
    """A recording.

    Attributes:
        path: the file, or "-" for standard input.
        root: the folder that its place in a tree is counted from.
    """

    path: str
    root: str

    @property
    def name(self) -> str:
        """How messages call it."""
        return "standard input" if self.path == STDIO else self.path

    @property
    def duration(self) -> float | None:
        """Seconds, where they can be told without reading the sound."""
        if not os.path.isfile(self.path):  # a pipe can be read only once
            return None
        try:
            return info(self.path).duration
        except (ValueError, OSError):  # told when it is the recording's turn
            return None


def find_sounds(inputs: Iterable[str], *, manifests: bool = False) -> list[Sound]:
    """Return the recordings that inputs name, each once: files, and all sound files in folders.

    A file that is named is taken whatever it is; that it cannot be read is told in its turn.

    Args:
        inputs: as typed.
        manifests: take what ends in .jsonl for a list of recordings.

    Raises:
        UsageError: a folder or manifest without recordings, or one that cannot be read.
    """
    found: dict[str, Sound] = {}
    for text in inputs:
        for sound in _expand(text, manifests):
            found.setdefault(STDIO if sound.path == STDIO else os.path.abspath(sound.path), sound)
    return list(found.values())


def _expand(text: str, manifests: bool) -> list[Sound]:
    is_list = os.path.isdir(text) or (manifests and text.lower().endswith(MANIFEST_SUFFIXES))
    if not is_list:
        return [Sound(text, "" if text == STDIO else os.path.dirname(os.path.abspath(text)))]
    try:
        recordings = find_recordings(Source(text))
    except OSError as e:
        raise UsageError(f"{text}: cannot be read ({e.strerror or e}); check the path") from e
    except ValueError as e:
        raise UsageError(str(e)) from e
    if cut := next((r for r in recordings if r.offset is not None), None):
        raise UsageError(
            f"{text}: has stretches of recordings, such as {cut.path} from {cut.offset} s on, and "
            "only whole ones can be coded; cut them out first"
        )
    return [Sound(str(recording.path), os.path.abspath(text)) for recording in recordings]


def output_names(sounds: Sequence[Sound], suffix: str) -> list[str]:
    """Return a path for what is made of each recording, relative to an output folder.

    It is the recording's below its folder, or below the nearest one that holds all inputs, with
    another suffix. Where two would meet (`a.wav` beside `a.mp3`) both keep their own before it.
    """
    roots = {sound.root for sound in sounds if sound.path != STDIO}
    try:
        root = os.path.commonpath(list(roots))
    except ValueError:  # none, or several drives
        root = ""
    full = [_below(sound, root) for sound in sounds]
    names = [os.path.splitext(name)[0] for name in full]
    while len(set(names)) < len(names):
        counts = Counter(names)
        names = [full[i] if counts[name] > 1 else name for i, name in enumerate(names)]
    return [name + suffix for name in names]


def _below(sound: Sound, root: str) -> str:
    if sound.path == STDIO:
        return "stdin"
    path = os.path.abspath(sound.path)
    return os.path.relpath(path, root) if root else os.path.basename(path)
