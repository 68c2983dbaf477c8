import io
import logging
import os
import subprocess
import sys
import time
from pathlib import Path

import pytest

from echoic.asr.batch.console import Console, clock
from echoic.asr.batch.errors import OutputError, UsageError, describe
from echoic.asr.batch.notices import warnings_in_lines
from echoic.asr.source import Source


class Terminal(io.StringIO):
    def isatty(self) -> bool:
        return True


def two_sources() -> list[Source]:
    return [Source("a", "a.wav", "a.wav"), Source("b", "b.wav", "b.wav")]


def watch_bar(console: Console, stream: io.StringIO, seconds: float) -> None:
    """Advance a bar until it knows the whole, or for some seconds."""
    console.start_bar(two_sources(), lambda source: 50.0)
    deadline = time.monotonic() + seconds
    while "0:01:40" not in stream.getvalue() and time.monotonic() < deadline:
        console.advance(1.0)
        console.result("a line\n")
        time.sleep(0.05)
    console.close()


def test_the_bar_counts_seconds_of_audio(
    monkeypatch: pytest.MonkeyPatch, capsys: pytest.CaptureFixture[str]
):
    terminal = Terminal()
    monkeypatch.setattr(sys, "stderr", terminal)
    watch_bar(Console(), terminal, 5.0)
    assert "/0:01:40 of audio, " in terminal.getvalue()
    assert "x real time [" in terminal.getvalue()
    assert set(capsys.readouterr().out.splitlines()) == {"a line"}  # no bar among results


@pytest.mark.parametrize(("quiet", "stream"), [(True, Terminal()), (False, io.StringIO())])
def test_no_bar_without_a_terminal_or_when_quiet(
    quiet: bool, stream: io.StringIO, monkeypatch: pytest.MonkeyPatch
):
    monkeypatch.setattr(sys, "stderr", stream)
    watch_bar(Console(quiet=quiet), stream, 0.3)
    assert stream.getvalue() == ""


def test_a_terminal_that_is_not_utf8(monkeypatch: pytest.MonkeyPatch):
    buffer = io.BytesIO()
    monkeypatch.setattr(sys, "stdout", io.TextIOWrapper(buffer, encoding="ascii"))
    Console().result("ça va\n")
    assert buffer.getvalue() == b"\\xe7a va\n"


PRINT = """
import sys
from echoic.asr.batch.console import Console
from echoic.asr.batch.errors import OutputError
try:
    for _ in range(1000):
        Console().result("x" * 1000 + "\\n")
except (OutputError, BrokenPipeError) as e:
    print(type(e).__name__, e, file=sys.stderr)
"""


@pytest.mark.skipif(not os.path.exists("/dev/full"), reason="needs /dev/full")
def test_a_full_disk_behind_stdout_is_told_once():
    with open("/dev/full", "wb") as full:
        done = subprocess.run([sys.executable, "-c", PRINT], stdout=full, stderr=subprocess.PIPE)
    assert done.returncode == 0
    lines = done.stderr.decode().splitlines()
    assert len(lines) == 1
    assert lines[0].startswith("OutputError cannot write: No space left on device; free")


def test_a_reader_that_leaves_is_no_noise(tmp_path: Path):
    process = subprocess.Popen(
        [sys.executable, "-c", PRINT], stdout=subprocess.PIPE, stderr=subprocess.PIPE
    )
    assert process.stdout is not None
    assert process.stderr is not None
    process.stdout.read(10)
    process.stdout.close()
    assert process.stderr.read().decode().startswith("BrokenPipeError")
    assert process.wait() == 0


def test_clock():
    assert [clock(s) for s in (0, 59.6, 3661)] == ["0:00:00", "0:01:00", "1:01:01"]


@pytest.mark.parametrize(
    ("error", "expected"),
    [
        (
            FileNotFoundError(2, "No such file or directory", "a.wav"),
            "no such file; check the path",
        ),
        (PermissionError("a.wav: may not be read"), "may not be read"),
        (UsageError("a.wav: bad"), "bad"),
        (ValueError("two\n lines"), "ValueError: two lines (unexpected; --debug prints where)"),
        (KeyError(), "KeyError (unexpected; --debug prints where)"),
        (
            OutputError("o", OSError(28, "No space left on device")),
            "cannot write: No space left on device; "
            "free some space and run the same command again to go on",
        ),
    ],
)
def test_errors_are_one_line(error: Exception, expected: str):
    assert describe(error, "a.wav") == expected


def test_the_log_is_told_in_lines(capsys: pytest.CaptureFixture[str]):
    log = logging.getLogger("echoic.anything")
    for quiet in (False, True):
        with warnings_in_lines(Console(quiet=quiet), debug=False):
            log.info("building %s", "kernels")
            log.warning("a word\nis passed over")
    log.info("nobody listens")
    assert capsys.readouterr().err.splitlines() == [
        "echoic: building kernels",
        *["echoic: warning: a word\\nis passed over"] * 2,
    ]
