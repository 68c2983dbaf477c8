"""From binary messages to sound: PCM as it is, Opus through libsndfile in a thread of its own."""

import os
import threading
from collections import deque
from collections.abc import Iterator
from typing import Any, Protocol

import numpy as np
import soundfile as sf

from echoic.streaming.server.errors import ApiError, invalid
from echoic.streaming.server.stream_settings import StreamSettings

Samples = np.ndarray[Any, Any]
# Sound goes on in pieces of at most this, so that a large message does not fill a queue at once.
_PIECE_SECONDS = 1.0
_OPUS_BLOCK = 960
_JOIN_SECONDS = 5.0


class FrameDecoder(Protocol):
    """Binary messages in, sound out."""

    @property
    def sample_rate(self) -> int:
        """Hz of the sound; known once there was some."""
        ...

    def feed(self, data: bytes, /) -> list[Samples]:
        """Return the sound that is ready, in pieces (C, T).

        Raises:
            ApiError: it is not what was announced.
        """
        ...

    def finish(self) -> list[Samples]:
        """Return the rest; waits for it."""
        ...

    def close(self) -> None:
        """Give up what is not decoded yet."""
        ...


def open_decoder(settings: StreamSettings) -> FrameDecoder:
    """Return the decoder of a stream that begins with the next message."""
    return OpusFrames() if settings.encoding == "opus" else PcmFrames(settings)


class PcmFrames:
    """Interleaved samples without a header; a message may end in the middle of one.

    Attributes:
        sample_rate: Hz.
    """

    def __init__(self, settings: StreamSettings) -> None:
        self.sample_rate = settings.sample_rate
        self._channels = settings.channels
        self._dtype = np.dtype("<i2" if settings.encoding == "pcm_s16le" else "<f4")
        self._rest = b""

    def feed(self, data: bytes) -> list[Samples]:
        """Return the sound of a message."""
        joined = self._rest + data
        width = self._channels * self._dtype.itemsize
        whole = len(joined) // width * width
        self._rest = joined[whole:]
        samples = np.frombuffer(joined[:whole], self._dtype).reshape(-1, self._channels).T
        native = samples.astype(self._dtype.newbyteorder("="))
        return list(_pieces(native, self.sample_rate))

    def finish(self) -> list[Samples]:
        """Leave out the sample that did not come as a whole."""
        self._rest = b""
        return []

    def close(self) -> None:
        """There is nothing to give up."""


def _pieces(samples: Samples, rate: int) -> Iterator[Samples]:
    size = max(1, int(rate * _PIECE_SECONDS))
    for start in range(0, samples.shape[1], size):
        yield samples[:, start : start + size]


class OpusFrames:
    """An Ogg stream with Opus; libsndfile reads it from a pipe while it comes.

    Attributes:
        sample_rate: Hz, as the stream's header says; 0 before it.
    """

    def __init__(self) -> None:
        self.sample_rate = 0
        self._ready: deque[Samples] = deque()
        self._failed: str | None = None
        self._read, self._write = os.pipe()
        os.set_blocking(self._write, False)
        self._unsent = b""
        self._thread = threading.Thread(target=self._decode, name="echoic-opus", daemon=True)
        self._thread.start()

    def feed(self, data: bytes) -> list[Samples]:
        """Return the sound that is ready; what the decoder has no room for waits."""
        self._unsent += data
        if len(self._unsent) > 1 << 22:
            raise invalid("Opus comes faster than it can be decoded: send it slower")
        self._push()
        return self._take()

    def finish(self) -> list[Samples]:
        """End the stream and return the rest."""
        os.set_blocking(self._write, True)
        if self._thread.is_alive() and self._unsent:
            self._push()
        self._shut()
        self._thread.join(_JOIN_SECONDS)
        return self._take()

    def close(self) -> None:
        """End the stream; what comes out of it is not heard."""
        self._shut()

    def _shut(self) -> None:
        if self._write >= 0:
            os.close(self._write)
            self._write = -1

    def _push(self) -> None:
        try:
            while self._unsent:
                sent = os.write(self._write, self._unsent)
                self._unsent = self._unsent[sent:]
        except BlockingIOError:
            return
        except BrokenPipeError:  # the decoder has given up, and said why
            self._unsent = b""

    def _take(self) -> list[Samples]:
        if self._failed is not None:
            raise ApiError(400, self._failed, code="bad_sound", param="encoding")
        found = [self._ready.popleft() for _ in range(len(self._ready))]
        return list(_pieces(np.concatenate(found, axis=1), self.sample_rate)) if found else []

    def _decode(self) -> None:
        try:
            with sf.SoundFile(self._read, closefd=False) as file:
                if file.format != "OGG":
                    raise sf.LibsndfileError(1)
                self.sample_rate = file.samplerate
                while len(block := file.read(_OPUS_BLOCK, dtype="float32", always_2d=True)):
                    self._ready.append(np.ascontiguousarray(block.T))
        except (sf.LibsndfileError, RuntimeError, OSError):
            self._failed = "the sound is no Ogg stream with Opus: send one, or another encoding"
        finally:
            os.close(self._read)
