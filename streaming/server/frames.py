"""From binary messages to sound: PCM as it is, Opus through libsndfile in a thread of its own."""

import os
import threading
from collections import deque
from collections.abc import Iterator
from typing import Any, Protocol

import numpy as np
import soundfile as sf

from echoic.streaming.server.errors import ApiError
from echoic.streaming.server.stream_settings import MAX_CHANNELS, StreamSettings

Samples = np.ndarray[Any, Any]
# Sound goes on in pieces of at most this, so that a large message does not fill a queue at once.
_PIECE_SECONDS = 1.0
_OPUS_BLOCK = 960
# Blocks that wait to be heard: ten seconds at 48 kHz.
_OPUS_AHEAD = 500


class FrameDecoder(Protocol):
    """Binary messages in, sound out."""

    @property
    def sample_rate(self) -> int:
        """Hz of the sound; known once there was some."""
        ...

    @property
    def is_busy(self) -> bool:
        """Whether there is more to come out, or to be told, though nothing more goes in."""
        ...

    def feed(self, data: bytes, /) -> list[Samples]:
        """Take a message, or b"" to ask again; return the sound that is ready, in pieces (C, T).

        Raises:
            ApiError: it is not what was announced.
        """
        ...

    def end(self) -> None:
        """Say that nothing more goes in."""
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

    @property
    def is_busy(self) -> bool:
        """Never: sound comes out at once."""
        return False

    def end(self) -> None:
        """Leave out the sample that did not come as a whole."""
        self._rest = b""

    def close(self) -> None:
        """There is nothing to give up."""


def _pieces(samples: Samples, rate: int) -> Iterator[Samples]:
    size = max(1, int(rate * _PIECE_SECONDS))
    for start in range(0, samples.shape[1], size):
        yield samples[:, start : start + size]


class OpusFrames:
    """An Ogg stream with Opus; libsndfile reads it from a pipe while it comes.

    A message of a few bytes may hold hours of silence: the decoder is never more than some seconds
    ahead of what is taken.

    Attributes:
        sample_rate: Hz, as the stream's header says; 0 before it.
    """

    def __init__(self) -> None:
        self.sample_rate = 0
        self._ready: deque[Samples] = deque()
        self._room = threading.Semaphore(_OPUS_AHEAD)
        self._failed: str | None = None
        self._ending = self._closed = False
        self._read, self._write = os.pipe()
        os.set_blocking(self._write, False)
        self._unsent = b""
        self._thread = threading.Thread(target=self._decode, name="echoic-opus", daemon=True)
        try:
            self._thread.start()
        except RuntimeError:
            os.close(self._read)
            self._shut()
            raise

    @property
    def is_busy(self) -> bool:
        """Whether there is more to come out, or to be told, though nothing more goes in."""
        ending = self._ending and self._thread.is_alive()
        return ending or bool(self._unsent or self._ready or self._failed)

    def feed(self, data: bytes) -> list[Samples]:
        """Return the sound that is ready; what the decoder has no room for waits."""
        self._unsent += data
        self._push()
        if self._failed is not None:
            raise ApiError(400, self._failed, code="bad_sound", param="encoding")
        found = [self._ready.popleft() for _ in range(len(self._ready))]
        if not found:
            return []
        self._room.release(len(found))
        return list(_pieces(np.concatenate(found, axis=1), self.sample_rate))

    def end(self) -> None:
        """Say that nothing more goes in."""
        self._ending = True
        self._push()

    def close(self) -> None:
        """End the stream; what comes out of it is not heard."""
        self._closed = True
        self._room.release()
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
        if self._ending:
            self._shut()

    def _decode(self) -> None:
        try:
            with sf.SoundFile(self._read, closefd=False) as file:
                if (file.format, file.subtype) != ("OGG", "OPUS") or file.channels > MAX_CHANNELS:
                    raise sf.LibsndfileError(1)
                self.sample_rate = file.samplerate
                while len(block := file.read(_OPUS_BLOCK, dtype="float32", always_2d=True)):
                    self._room.acquire()
                    if self._closed:
                        return
                    self._ready.append(np.ascontiguousarray(block.T))
        except (sf.LibsndfileError, RuntimeError, OSError):
            self._failed = "the sound is no Ogg stream with Opus: send one, or another encoding"
        finally:
            os.close(self._read)
