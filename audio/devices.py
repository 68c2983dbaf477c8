"""Microphone and loudspeaker by PortAudio (package sounddevice, extra `mic`).

PortAudio calls back from its own real-time thread. There nothing is done but a copy into a bounded
queue; when nobody empties it, blocks are dropped and counted, so memory stays bounded.
"""

import importlib
import logging
import queue
import threading
from collections.abc import Iterable, Iterator
from dataclasses import dataclass
from typing import Any

import numpy as np
import torch

logger = logging.getLogger(__name__)

_END = None


class AudioDeviceError(RuntimeError):
    """No sound device can be used; one line that says why and what to do."""


@dataclass(frozen=True, slots=True)
class Device:
    """A sound device.

    Attributes:
        index: PortAudio's number for it, as `microphone` and `Speaker` take it.
        name: what the system calls it.
        input_channels: 0 if it cannot record.
        output_channels: 0 if it cannot play.
        sample_rate: its usual rate in Hz.
    """

    index: int
    name: str
    input_channels: int
    output_channels: int
    sample_rate: int


def list_devices() -> tuple[Device, ...]:
    """All devices that PortAudio sees; none is no error.

    Raises:
        AudioDeviceError: if sounddevice or PortAudio is missing.
    """
    return tuple(
        Device(
            index=index,
            name=str(found["name"]),
            input_channels=int(found["max_input_channels"]),
            output_channels=int(found["max_output_channels"]),
            sample_rate=round(found["default_samplerate"]),
        )
        for index, found in enumerate(_sounddevice().query_devices())
    )


class Microphone:
    """Records from entry to exit of its `with` block; an iterator over blocks of sound.

    Args:
        sample_rate: in Hz; PortAudio converts where the device has another.
        block_seconds: length of a block.
        device: PortAudio's number or a part of the name; None for the system's choice.
        queue_seconds: how much sound may wait for its reader before blocks are dropped.

    Attributes:
        overruns: blocks lost so far, because the reader or the system was too slow.

    Raises:
        ValueError: if a rate or a length is not above 0.
    """

    def __init__(
        self,
        sample_rate: int = 16000,
        block_seconds: float = 0.1,
        device: int | str | None = None,
        *,
        queue_seconds: float = 30.0,
    ) -> None:
        if not (sample_rate > 0 and block_seconds > 0 and queue_seconds > 0):
            given = f"{sample_rate} Hz, blocks of {block_seconds} s, queue of {queue_seconds} s"
            raise ValueError(f"{given}: all must be above 0")
        self.sample_rate = sample_rate
        self.block_frames = max(1, round(block_seconds * sample_rate))
        self.device = device
        self.overruns = 0
        self._queue_blocks = max(1, round(queue_seconds / block_seconds))
        self._queue: queue.Queue[np.ndarray | None] | None = None
        self._stream: Any = None
        self._stopped = threading.Event()

    def __enter__(self) -> "Microphone":
        sounddevice = _sounddevice()
        self._stopped.clear()
        self._queue = queue.Queue(self._queue_blocks)
        self.overruns = 0
        self._stream = _open_stream(
            sounddevice.InputStream,
            "microphone",
            samplerate=self.sample_rate,
            blocksize=self.block_frames,
            device=self.device,
            channels=1,
            dtype="float32",
            callback=self._callback,
            finished_callback=self._finished,
        )
        return self

    def __exit__(self, *_: object) -> None:
        self.close()

    def __iter__(self) -> Iterator[torch.Tensor]:
        """Yields (1, T) float32 in [-1, 1] until `close` or the device goes away."""
        waiting = self._queue
        if waiting is None:
            raise AudioDeviceError("the microphone is not open; iterate inside `with microphone()`")
        while True:
            try:
                block = waiting.get(timeout=0.1)
            except queue.Empty:
                if self._stopped.is_set():
                    return
                continue
            if block is _END:
                return
            yield torch.from_numpy(block).reshape(1, -1)

    def close(self) -> None:
        """Stops recording; blocks that wait can still be read. May be called twice."""
        stream, self._stream = self._stream, None
        if stream is not None:
            stream.stop()
            stream.close()
            self._finished()
            if self.overruns:
                logger.warning("microphone: %d blocks were lost", self.overruns)

    def _callback(self, indata: np.ndarray, frames: int, time: Any, status: Any) -> None:
        """Runs in PortAudio's thread: copies, enqueues, counts; nothing else."""
        if status.input_overflow:
            self.overruns += 1
        try:
            if self._queue is not None:
                self._queue.put_nowait(indata[:, 0].copy())
        except queue.Full:
            self.overruns += 1

    def _finished(self) -> None:
        """Wakes the reader; the event holds where the queue is full."""
        self._stopped.set()
        try:
            if self._queue is not None:
                self._queue.put_nowait(_END)
        except queue.Full:
            return


def microphone(
    sample_rate: int = 16000, block_seconds: float = 0.1, device: int | str | None = None
) -> Microphone:
    """Gives a microphone for a `with` block, to be iterated over.

    Args:
        sample_rate: in Hz.
        block_seconds: length of a block.
        device: PortAudio's number or a part of the name; None for the system's choice.

    Returns:
        A context manager and iterator over (1, T) float32 tensors.

    Raises:
        AudioDeviceError: on entry, if sounddevice, PortAudio or a device is missing.
    """
    return Microphone(sample_rate, block_seconds, device)


class Speaker:
    """Plays sound as it is written, from entry to exit of its `with` block.

    Args:
        sample_rate: in Hz.
        channels: how many.
        device: PortAudio's number or a part of the name; None for the system's choice.

    Raises:
        AudioDeviceError: on entry, if sounddevice, PortAudio or a device is missing.
    """

    def __init__(
        self, sample_rate: int, channels: int = 1, device: int | str | None = None
    ) -> None:
        self.sample_rate = sample_rate
        self.channels = channels
        self.device = device
        self._stream: Any = None

    def __enter__(self) -> "Speaker":
        self._stream = _open_stream(
            _sounddevice().OutputStream,
            "loudspeaker",
            samplerate=self.sample_rate,
            device=self.device,
            channels=self.channels,
            dtype="float32",
        )
        return self

    def __exit__(self, kind: object, *_: object) -> None:
        stream, self._stream = self._stream, None
        if stream is not None:
            # stop() plays what was written to its end; after an error silence is wanted at once.
            (stream.stop if kind is None else stream.abort)()
            stream.close()

    def write(self, wav: torch.Tensor) -> None:
        """Plays a chunk; returns when the device has taken it in.

        Args:
            wav: (C, T) or (T,) samples; clipped to [-1, 1].

        Raises:
            ValueError: if the number of channels is not the speaker's.
            AudioDeviceError: if the speaker is not open.
        """
        if self._stream is None:
            raise AudioDeviceError("the speaker is not open; write inside `with Speaker(rate)`")
        rows = torch.atleast_2d(wav.detach().float().cpu())
        if rows.shape[0] != self.channels:
            raise ValueError(f"got {rows.shape[0]} channels; this speaker plays {self.channels}")
        if rows.shape[1]:
            self._stream.write(np.ascontiguousarray(rows.clamp(-1, 1).numpy().T))


def play(
    chunks: torch.Tensor | Iterable[torch.Tensor],
    sample_rate: int,
    device: int | str | None = None,
) -> None:
    """Plays a signal, or chunks as they come, and returns when the last was heard.

    Args:
        chunks: (C, T) or (T,), or an iterable of such.
        sample_rate: in Hz.
        device: PortAudio's number or a part of the name; None for the system's choice.

    Raises:
        AudioDeviceError: if sounddevice, PortAudio or a device is missing.
    """
    pieces = iter([chunks] if isinstance(chunks, torch.Tensor) else chunks)
    first = next(pieces, None)
    if first is None:
        return
    channels = 1 if first.dim() == 1 else first.shape[0]
    with Speaker(sample_rate, channels, device) as speaker:
        speaker.write(first)
        for piece in pieces:
            speaker.write(piece)


def _sounddevice() -> Any:
    """The module, or an error that says what to install."""
    try:
        return importlib.import_module("sounddevice")
    except ImportError:
        raise AudioDeviceError(
            "sounddevice is not installed; run: pip install 'echoic[mic]'"
        ) from None
    except OSError as error:
        raise AudioDeviceError(
            f"sounddevice does not find PortAudio ({' '.join(str(error).split())}); "
            "run: apt install libportaudio2 (Linux) or brew install portaudio (macOS)"
        ) from None


def _open_stream(kind: Any, what: str, **settings: Any) -> Any:
    """Opens and starts a stream, or says which devices there are."""
    # sounddevice raises PortAudioError (an Exception) from the system, ValueError for a bad name.
    try:
        stream = kind(**settings)
    except Exception as error:
        raise _cannot_open(what, settings, error) from error
    try:
        stream.start()
    except Exception as error:
        stream.close()
        raise _cannot_open(what, settings, error) from error
    return stream


def _cannot_open(what: str, settings: dict[str, Any], error: Exception) -> AudioDeviceError:
    side = "input_channels" if what == "microphone" else "output_channels"
    usable = [f"{d.index} {d.name!r}" for d in list_devices() if getattr(d, side)]
    mend = f"choose of {', '.join(usable)}" if usable else f"connect a {what}"
    asked = "the default device" if settings["device"] is None else f"{settings['device']!r}"
    reason = " ".join(str(error).split())
    rate = settings["samplerate"]
    return AudioDeviceError(f"cannot open {asked} as {what} at {rate} Hz ({reason}); {mend}")
