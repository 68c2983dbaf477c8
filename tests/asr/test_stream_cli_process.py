"""`echoic stream` as processes: real pipes, a real terminal, real signals, and the real model."""

import fcntl
import json
import os
import select
import signal
import struct
import subprocess
import termios
import time
from itertools import pairwise
from pathlib import Path
from typing import IO, Any

import pytest
from live_command import StreamCommand, start_stream
from live_terminal import Terminal
from real_command import DATA, SHORT, speech

from echoic.asr.metrics import word_error_rate
from echoic.asr.text.normalizers import english
from echoic.asr.whisper.box import box_adapters
from echoic.streaming.events import Event

LONG = DATA / "sense-and-sensibility-0870.opus"
REFERENCE = (
    "and mister john dashwood had then leisure to consider how much there might be prudently in "
    "his power to do for them"
)
PATIENCE = 120.0


def pcm() -> bytes:
    return (speech() * 32768).round().astype("<i2").tobytes()


def wait_for(stream: IO[bytes] | int, pattern: bytes = b"\n") -> bytes:
    """Read until a pattern has come."""
    descriptor = stream if isinstance(stream, int) else stream.fileno()
    found, deadline = b"", time.monotonic() + PATIENCE
    while pattern not in found:
        assert select.select([descriptor], [], [], max(0, deadline - time.monotonic()))[0]
        data = os.read(descriptor, 4096)
        assert data, found
        found += data
    return found


def check_laws(events: list[Event]) -> None:
    """What every reader of events may rely on."""
    assert events
    for before, after in pairwise(events):
        assert before.audio_time <= after.audio_time
        if after.type == "endpoint":
            assert before.type == "final"
        if "final" not in (before.type, after.type) and "endpoint" not in (before.type, after.type):
            assert before.stable <= after.stable
        if before.type == "partial":
            shared = min(before.stable, len(after.words))
            assert [w.text for w in before.words[:shared]] == [w.text for w in after.words[:shared]]
            assert after.type != "partial" or shared == before.stable
    closed = 0.0
    for event in events:
        starts = [word.start for word in event.words]
        assert starts == sorted(starts)
        assert all(word.start <= word.end <= event.audio_time + 0.05 for word in event.words)
        assert all(start >= closed - 0.05 for start in starts)
        if event.type == "final":
            closed = event.end
    assert events[-1].type in ("final", "endpoint")


def boxed_policies() -> list[Any]:
    """The causal policy is tested from the day on which its adapter is in the box."""
    missing = pytest.mark.skipif(
        not any(a.streaming for a in box_adapters()), reason="no causal adapter in the box"
    )
    return [pytest.param("causal", marks=missing), "agreement"]


@pytest.mark.parametrize("policy", boxed_policies())
def test_the_model_in_the_box_on_real_speech(policy: str, tmp_path: Path):
    process = start_stream(LONG, "--json", "--policy", policy, cwd=tmp_path, quick=False)
    out, errors = process.communicate(timeout=PATIENCE)
    assert process.returncode == 0, errors
    events = [Event.from_dict(json.loads(line)) for line in out.splitlines()]
    check_laws(events)
    text = " ".join(event.text for event in events if event.type == "final")
    assert word_error_rate([REFERENCE], [text], normalizer=english()).rate <= 0.2
    assert sum(event.type == "partial" for event in events) >= 5
    (line,) = errors.decode().splitlines()
    assert line.startswith("echoic: 7.1 s of audio in ")


def test_a_growing_pipe_gives_events_as_sound_arrives(tmp_path: Path):
    process = start_stream(
        "-", "--raw", "s16le:16000", "--json", cwd=tmp_path, stdin=subprocess.PIPE
    )
    assert process.stdin is not None
    assert process.stdout is not None
    sound = pcm()
    half = len(sound) // 2
    process.stdin.write(sound[:half])
    process.stdin.flush()
    first = Event.from_dict(json.loads(wait_for(process.stdout).splitlines()[0]))
    assert first.type == "partial"
    assert first.audio_time <= half / 32_000
    out, errors = process.communicate(sound[half:], timeout=PATIENCE)
    assert process.returncode == 0, errors
    last = Event.from_dict(json.loads(out.splitlines()[-1]))
    assert last.type == "final"
    assert last.audio_time == pytest.approx(len(sound) / 32_000, abs=0.01)


@pytest.mark.parametrize("number", [signal.SIGINT, signal.SIGTERM])
def test_control_c_tells_the_tail_though_nothing_more_comes(number: int, tmp_path: Path):
    words = ("-", "--raw", "s16le:16000", "--json")
    process = start_stream(*words, cwd=tmp_path, stdin=subprocess.PIPE)
    assert process.stdin is not None
    assert process.stdout is not None
    process.stdin.write(pcm())
    process.stdin.flush()
    early = wait_for(process.stdout)
    process.send_signal(number)
    out, errors = process.communicate(timeout=PATIENCE)
    assert process.returncode == 130, errors
    assert Event.from_dict(json.loads((early + out).splitlines()[-1])).type == "final"
    statistics, last = errors.decode().splitlines()
    assert "s of audio in" in statistics
    assert last == "echoic: interrupted"


def test_control_c_in_a_recording_at_the_speed_of_the_clock(tmp_path: Path):
    process = start_stream(LONG, "--realtime", "--json", cwd=tmp_path)
    assert process.stdout is not None
    early = wait_for(process.stdout)
    process.send_signal(signal.SIGINT)
    out, errors = process.communicate(timeout=PATIENCE)
    assert process.returncode == 130, errors
    last = Event.from_dict(json.loads((early + out).splitlines()[-1]))
    assert last.type == "final"
    assert last.audio_time < 6.5
    assert errors.decode().splitlines()[-1] == "echoic: interrupted"


def test_a_terminal_shows_captions(tmp_path: Path, monkeypatch: pytest.MonkeyPatch):
    master, slave = os.openpty()
    terminal = Terminal(30, 12)
    fcntl.ioctl(slave, termios.TIOCSWINSZ, struct.pack("HHHH", 12, 30, 0, 0))
    environment = {**os.environ, "TERM": "xterm-256color"}
    process = start_stream(SHORT, cwd=tmp_path, stdout=slave, env=environment)
    os.close(slave)
    while data := read_terminal(master):
        terminal.write(data.decode())
    _, errors = process.communicate(timeout=PATIENCE)
    os.close(master)
    assert process.returncode == 0, errors
    plain = StreamCommand(monkeypatch).type(SHORT).stdout
    rows = terminal.rows()
    assert rows[-1] == ""
    assert " ".join(rows).split() == plain.split() != []
    assert "\x1b[2m" in "".join(terminal.written)
    assert terminal.dim() == ""


def read_terminal(master: int) -> bytes:
    try:
        return os.read(master, 65536)
    except OSError:  # the other side is closed: on Linux that is an error
        return b""


def test_a_reader_that_has_seen_enough(tmp_path: Path):
    process = start_stream(LONG, "--json", cwd=tmp_path)
    assert process.stdout is not None
    process.stdout.read(10)
    process.stdout.close()
    errors = process.stderr.read().decode() if process.stderr is not None else ""
    assert process.wait(PATIENCE) == 1
    assert errors == ""
