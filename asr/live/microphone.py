"""A microphone into a session: one thread records, one recognises, the caller shows."""

import contextlib
import threading
from collections.abc import Callable, Sequence
from typing import Any

from echoic.asr.live.stopping import Stop
from echoic.audio.devices import AudioDeviceError, Microphone, microphone
from echoic.streaming.events import Event
from echoic.streaming.live import LiveSession
from echoic.streaming.session import Session

_BLOCK_SECONDS = 0.05
_POLL_SECONDS = 0.1


def hear_microphone(
    session: Session[Any],
    device: int | str | None,
    stop: Stop,
    *,
    tell: Callable[[Sequence[Event]], None],
    watch: Callable[[float], None],
) -> float:
    """Listen until the user wants to stop; then tell the rest of what was said.

    Args:
        session: what hears.
        device: PortAudio's number or a part of the name; None for the system's choice.
        stop: the user's wish.
        tell: called with events, here in the caller's thread.
        watch: called a few times a second with the seconds of sound that wait.

    Returns:
        Seconds of sound that were lost, because the recogniser is too slow.

    Raises:
        AudioDeviceError: there is no microphone, or it went away; what it heard was told.
    """
    with microphone(session.sample_rate, _BLOCK_SECONDS, device) as source:
        live = LiveSession(session, policy="drop_oldest")
        recording = threading.Thread(target=_record, args=(source, live), daemon=True)
        recording.start()
        try:
            while not stop.requested and recording.is_alive():
                tell(live.poll(_POLL_SECONDS))
                watch(live.behind)
            source.close()
            recording.join()
            _finish(live, tell)
        except BaseException:
            live.close(discard=True)
            raise
    if not stop.requested:
        raise AudioDeviceError("the microphone gives no more sound; check its connection")
    return live.dropped_seconds + source.overruns * _BLOCK_SECONDS


def _record(source: Microphone, live: LiveSession) -> None:
    with contextlib.suppress(RuntimeError):  # the recogniser has failed; `poll` tells
        for block in source:
            live.put(block)


def _finish(live: LiveSession, tell: Callable[[Sequence[Event]], None]) -> None:
    """Show events while what still waits is heard."""
    closing = threading.Thread(target=_close, args=(live,), daemon=True)
    closing.start()
    for event in live.events():
        tell([event])
    closing.join()


def _close(live: LiveSession) -> None:
    with contextlib.suppress(RuntimeError):  # `events` tells
        live.close()
