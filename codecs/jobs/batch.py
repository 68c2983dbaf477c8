"""Many recordings to code, none of which keeps the others from being coded."""

import os
import traceback
from collections import Counter
from collections.abc import Callable, Iterable, Iterator
from typing import NamedTuple

from echoic.audio.data.cluster import ClusterLost
from echoic.audio.errors import one_line
from echoic.codecs.container import EchoFileError, Header
from echoic.codecs.jobs.console import Console, times_real_time
from echoic.codecs.jobs.errors import (
    ALL_DONE,
    INTERRUPTED,
    SOME_FAILED,
    OutputError,
    UsageError,
    describe,
)
from echoic.codecs.jobs.sounds import Sound, output_names

SUFFIX = ".echo"
# Seconds of sound below which a rate tells of nothing but the file's head.
_SHORTEST = 0.1
# Failures that are told once more at the end.
_LISTED = 50


class Job(NamedTuple):
    """A recording, and the file that it becomes."""

    sound: Sound
    output: str


class Coded(NamedTuple):
    """How a job ended: with `seconds` of sound in `num_bytes`, or with an error."""

    job: Job
    seconds: float = 0.0
    num_bytes: int = 0
    error: Exception | None = None


class Batch:
    """The recordings of a command, what is done of them, and what is told of that.

    Args:
        folder: where the files go.
        made_by: hash of the codec's weights, and codes of a frame: files of others are not ours.
        console: who tells.
        overwrite: code again what is done.
        debug: print where errors come from.
    """

    def __init__(
        self,
        folder: str,
        made_by: tuple[str, int],
        console: Console,
        *,
        overwrite: bool = False,
        debug: bool = False,
    ) -> None:
        self._folder, self._made_by, self._console = folder, made_by, console
        self._overwrite, self._debug = overwrite, debug
        self._failures: list[str] = []
        self._ended: Counter[str] = Counter()
        self._seconds = 0.0
        self._bytes = 0

    def run(self, sounds: list[Sound], code: Callable[[Iterable[Job]], Iterator[Coded]]) -> int:
        """Code recordings; returns the exit code.

        Args:
            sounds: the recordings.
            code: takes jobs as there is need of them, and yields how each ended, in any order.
        """
        self._console.begin([lambda s=sound: s.duration for sound in sounds])
        try:
            for coded in code(self._to_do(sounds)):
                if not self._take(coded):
                    break
        except KeyboardInterrupt:
            self._report()
            left = len(sounds) - self._ended.total()
            self._console.problem(
                f"interrupted with {left} to do; the same command goes on from here"
            )
            return INTERRUPTED
        except ClusterLost as e:
            self._report()
            self._console.problem(f"{describe(e)}; the same command goes on from here")
            return SOME_FAILED
        self._report()
        return SOME_FAILED if self._failures else ALL_DONE

    def _to_do(self, sounds: list[Sound]) -> Iterator[Job]:
        names = output_names(sounds, SUFFIX)
        for sound, name in zip(sounds, names, strict=True):
            job = Job(sound, os.path.join(self._folder, name))
            try:
                done = self._is_done(job.output)
            except UsageError as e:
                self._fail(job, e)
                continue
            if done:
                self._ended["done"] += 1
            else:
                yield job

    def _take(self, coded: Coded) -> bool:
        """Count a recording; False where going on is useless."""
        if coded.error is not None:
            self._fail(coded.job, coded.error)
            return not (isinstance(coded.error, OutputError) and coded.error.fatal)
        self._ended["coded"] += 1
        self._seconds += coded.seconds
        self._bytes += coded.num_bytes
        return True

    def _fail(self, job: Job, error: Exception) -> None:
        if self._debug:
            self._console.traceback("".join(traceback.format_exception(error)))
        line = describe(error, "" if isinstance(error, OutputError) else job.sound.name)
        self._failures.append(line)
        self._ended["failed"] += 1
        self._console.problem(line)

    def _is_done(self, output: str) -> bool:
        """Whether a file is there that this command would make again.

        Raises:
            UsageError: what is there is something else.
        """
        if self._overwrite or not os.path.lexists(output):
            return False
        mend = "choose another folder with -o, or add --overwrite"
        try:
            with open(output, "rb") as file:
                header = Header.read(file)
        except (EchoFileError, OSError) as e:
            raise UsageError(f"{one_line(output)} is in the way, no {SUFFIX} file; {mend}") from e
        if (header.weights, header.num_codebooks) != self._made_by:
            raise UsageError(
                f"{one_line(output)} was made by {header.model!r} with {header.num_codebooks} "
                f"codes a frame; {mend}"
            )
        return True

    def _report(self) -> None:
        self._console.close()
        if len(self._failures) > 1:
            self._console.note("these failed:")
            for line in self._failures[:_LISTED]:
                self._console.note(line)
            if len(self._failures) > _LISTED:
                self._console.note(f"and {len(self._failures) - _LISTED} more")
        ended = self._ended
        if ended["done"]:
            self._console.note(
                f"{ended['done']} were done already in {self._folder}; --overwrite does them again"
            )
        line = summary(self._seconds, self._bytes, self._console.seconds)
        self._console.note(f"{ended['coded']} coded, {ended['failed']} failed, {line}")


def summary(seconds: float, num_bytes: int, elapsed: float) -> str:
    """Return seconds of sound, their bitrate and the speed, as far as they tell something."""
    line = f"{seconds:.1f} s of sound"
    if seconds < _SHORTEST:
        return line
    rate = 8 * num_bytes / seconds / 1000
    return f"{line} at {rate:.2f} kbit/s in {elapsed:.1f} s, {times_real_time(seconds, elapsed)}"
