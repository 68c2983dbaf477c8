"""Files and pipes as blocks of sound, so that a wish to stop is an end of the sound."""

import itertools
import os
import select
import stat
import sys
import time
from collections.abc import Callable, Iterator

from torch import Tensor

from echoic.asr.batch.errors import UsageError
from echoic.asr.live.request import LiveRequest
from echoic.audio.io import Source, blocks
from echoic.audio.raw import raw_blocks

# Short enough that nobody sees it, long enough that the work for a block is not all overhead.
BLOCK_SECONDS = 0.1
_POLL_SECONDS = 0.05


class StoppableFile:
    """A pipe that ends when the user wants to stop, also while nothing comes.

    Args:
        descriptor: of the open pipe.
        name: for messages.
        stopped: whether to end.
    """

    def __init__(self, descriptor: int, name: str, stopped: Callable[[], bool]) -> None:
        self.name = name
        self._descriptor = descriptor
        self._stopped = stopped

    def seekable(self) -> bool:
        """Pipes are not."""
        return False

    def read(self, size: int = 2**16) -> bytes:
        """Wait until something is there, and return up to `size` bytes of it; b"" at the end."""
        while not self._stopped():
            ready, _, _ = select.select([self._descriptor], [], [], _POLL_SECONDS)
            if ready:
                return os.read(self._descriptor, size)
        return b""


def sound_blocks(
    request: LiveRequest, sample_rate: int, stopped: Callable[[], bool]
) -> Iterator[Tensor]:
    """Return (1, T) blocks of a file or of standard input.

    A file is opened at once, so that a wrong name is told before a model is loaded; a pipe may
    give its first sound much later.

    Args:
        request: names the source.
        sample_rate: of the blocks, in Hz.
        stopped: whether the user wants to stop; the blocks then end.

    Raises:
        AudioDecodeError, OSError: at once or while iterating, when it cannot be read.
        UsageError: standard input is a keyboard.
    """
    source, is_live = _open(request, stopped)
    sound = _read(source, request, sample_rate)
    if not is_live:
        sound = itertools.chain([next(sound)], sound)
    return itertools.takewhile(lambda _: not stopped(), sound)


def _open(request: LiveRequest, stopped: Callable[[], bool]) -> tuple[Source, bool]:
    """Return what to read, and whether it is a pipe."""
    if request.is_stdin:
        descriptor = _stdin()
        if descriptor is None:
            return "-", True
    elif _is_pipe(request.source):
        descriptor = os.open(request.source, os.O_RDONLY)
    else:
        return request.source, False
    pipe = StoppableFile(descriptor, request.name, stopped)
    return pipe, True  # type: ignore[return-value]  # all that readers of streams call


def _stdin() -> int | None:
    """Return the descriptor of a standard input that can be waited for; None for others.

    Raises:
        UsageError: it is a keyboard.
    """
    if sys.stdin is None:
        raise UsageError("standard input is closed; pipe sound into the command, or name a file")
    if sys.stdin.isatty():
        raise UsageError("standard input is a keyboard; pipe sound into the command")
    try:
        descriptor = sys.stdin.fileno()
    except (OSError, ValueError):  # not a file of the system's
        return None
    # Windows can wait for sockets only; a file that is redirected may need to be read twice.
    is_waitable = os.name == "posix" and not stat.S_ISREG(os.fstat(descriptor).st_mode)
    return descriptor if is_waitable else None


def _is_pipe(path: str) -> bool:
    try:
        return os.name == "posix" and stat.S_ISFIFO(os.stat(path).st_mode)
    except (OSError, ValueError):  # told when it is opened
        return False


def _read(source: Source, request: LiveRequest, sample_rate: int) -> Iterator[Tensor]:
    raw = request.raw
    if raw is None:
        return blocks(source, seconds=BLOCK_SECONDS, sample_rate=sample_rate, mono=True)
    return raw_blocks(
        source,
        seconds=BLOCK_SECONDS,
        raw_rate=raw.sample_rate,
        channels=raw.channels,
        subtype=raw.subtype,
        sample_rate=sample_rate,
        mono=True,
    )


class Pace:
    """Holds blocks back until the clock says that they have been spoken.

    Args:
        sample_rate: of the blocks, in Hz.
        stopped: whether the user wants to stop; nothing is held back then.
        clock: seconds.
        sleep: waits for seconds.
    """

    def __init__(
        self,
        sample_rate: int,
        stopped: Callable[[], bool],
        clock: Callable[[], float] = time.monotonic,
        sleep: Callable[[float], None] = time.sleep,
    ) -> None:
        self._rate = sample_rate
        self._stopped = stopped
        self._clock = clock
        self._sleep = sleep
        self._start = clock()
        self._samples = 0

    @property
    def behind(self) -> float:
        """Seconds since the last block was spoken."""
        return max(0.0, self._clock() - self._start - self._samples / self._rate)

    def hold(self, sound: Iterator[Tensor]) -> Iterator[Tensor]:
        """Yield the blocks (1, T) of one stream, each at the time of its last sample."""
        self._start, self._samples = self._clock(), 0
        for block in sound:
            self._samples += block.shape[1]
            due = self._start + self._samples / self._rate
            while not self._stopped() and (left := due - self._clock()) > 0:
                self._sleep(min(left, _POLL_SECONDS))
            yield block
