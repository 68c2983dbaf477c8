import os
import signal
import sys
import types

import pytest

from echoic.audio.interrupts import Interrupts, interrupts


def callback_named(name: str, filename: str) -> types.FunctionType:
    """A function that sends this process a signal, from code that looks like soundfile's."""
    scope: dict[str, object] = {"os": os, "signal": signal}
    text = f"def {name}():\n    os.kill(os.getpid(), signal.SIGINT)\n    return 'went on'\n"
    exec(compile(text, filename, "exec"), scope)
    found = scope[name]
    assert isinstance(found, types.FunctionType)
    return found


@pytest.mark.parametrize("number", [signal.SIGINT, signal.SIGTERM])
def test_a_signal_interrupts(number: signal.Signals) -> None:
    with pytest.raises(KeyboardInterrupt), interrupts():
        os.kill(os.getpid(), number)


def test_a_signal_inside_soundfile_waits_for_the_check() -> None:
    inside = callback_named("vio_read", "/somewhere/soundfile.py")
    with interrupts() as signals:
        signals.check()
        assert inside() == "went on"
        with pytest.raises(KeyboardInterrupt):
            signals.check()
        signals.check()  # told once


def test_other_functions_called_alike_are_interrupted() -> None:
    elsewhere = callback_named("vio_read", "/somewhere/else.py")
    with pytest.raises(KeyboardInterrupt), interrupts():
        elsewhere()


def test_handlers_are_put_back() -> None:
    before = signal.getsignal(signal.SIGINT), signal.getsignal(signal.SIGTERM)
    with interrupts():
        assert signal.getsignal(signal.SIGINT) != before[0]
    assert (signal.getsignal(signal.SIGINT), signal.getsignal(signal.SIGTERM)) == before


def test_frames_without_callbacks_raise() -> None:
    with pytest.raises(KeyboardInterrupt):
        Interrupts().handle(signal.SIGINT, sys._getframe())
