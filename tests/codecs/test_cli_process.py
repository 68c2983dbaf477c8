"""`echoic codec` as processes: real pipes, real signals, real limits."""

import os
import re
import resource
import select
import signal
import subprocess
import sys
import time
from pathlib import Path

import numpy as np
import pytest
import soundfile as sf
from codec_command import SHORT, done, noise_file, start_codec
from tiny_codec import saved_codec

from echoic.codecs.container import EchoReader

PATIENCE = 60.0
WAV_HEAD = 44


@pytest.fixture
def folder(tmp_path: Path) -> Path:
    saved_codec(tmp_path / "tiny")
    return tmp_path


def wait_for_bytes(descriptor: int, size: int, mark: bytes = b"") -> bytes:
    data, deadline = b"", time.monotonic() + PATIENCE
    while len(data) < size or mark not in data:
        assert select.select([descriptor], [], [], max(0, deadline - time.monotonic()))[0], size
        more = os.read(descriptor, 65536)
        assert more, f"the end after {len(data)} bytes"
        data += more
    return data


def test_encode_into_decode_through_pipes(folder):
    with SHORT.open("rb") as sound:
        first = start_codec("encode", "-", "-", "-m", "tiny", cwd=folder, stdin=sound)
    second = start_codec("decode", "-", "-", cwd=folder, stdin=first.stdout)
    wav, errors = second.communicate(timeout=PATIENCE)
    assert second.returncode == 0, errors
    _, errors = first.communicate(timeout=PATIENCE)
    assert first.returncode == 0, errors
    (folder / "a.wav").write_bytes(wav)
    assert len(wav) == WAV_HEAD + 2 * 47840
    done("encode", SHORT, folder / "a.echo", "-m", folder / "tiny")
    done("decode", folder / "a.echo", folder / "b.wav")
    assert np.array_equal(sf.read(folder / "a.wav")[0], sf.read(folder / "b.wav")[0])


def test_sound_comes_out_before_the_second_segment_goes_in(folder):
    noise_file(folder / "in.wav", 7.0)
    done("encode", folder / "in.wav", folder / "a.echo", "-m", folder / "tiny")
    data = (folder / "a.echo").read_bytes()
    with (folder / "a.echo").open("rb") as file:
        reader = EchoReader(file)
        size = next(reader.records()).num_bytes
    first = data.index(b"\xecS") + size
    process = start_codec("decode", "-", "-", "--raw", cwd=folder, bufsize=0)
    assert process.stdin is not None
    assert process.stdout is not None
    process.stdin.write(data[:first])
    # All of 2 s but the overlap of spectra and the frame that may lie behind the end.
    early = wait_for_bytes(process.stdout.fileno(), 2 * (32000 - 3 * 320))
    assert len(early) <= 2 * 32000
    rest, errors = process.communicate(data[first:], timeout=PATIENCE)
    assert process.returncode == 0, errors
    assert len(early + rest) == 2 * (7 * 16000 + 7)


def test_codes_come_out_while_sound_goes_in(folder):
    noise_file(folder / "in.wav", 6.0)
    data = (folder / "in.wav").read_bytes()
    process = start_codec("encode", "-", "-", "-m", "tiny", cwd=folder, bufsize=0)
    assert process.stdin is not None
    assert process.stdout is not None
    process.stdin.write(data[: WAV_HEAD + 2 * 16000 * 4])
    early = wait_for_bytes(process.stdout.fileno(), 1, mark=b"\xecS")
    rest, errors = process.communicate(data[WAV_HEAD + 2 * 16000 * 4 :], timeout=PATIENCE)
    assert process.returncode == 0, errors
    assert (early + rest).count(b"\xecS") == 5  # four segments and the end


def wait_for_work(folder: Path, process: subprocess.Popen[bytes]) -> None:
    """Wait until something was written, under whatever name."""
    deadline = time.monotonic() + PATIENCE
    while not any(p.stat().st_size for p in folder.glob(".out.*")):
        assert process.poll() is None, process.communicate()
        assert time.monotonic() < deadline
        time.sleep(0.01)


@pytest.mark.parametrize(
    ("number", "code"), [(signal.SIGINT, 130), (signal.SIGKILL, -signal.SIGKILL)]
)
def test_an_interrupted_encode_leaves_no_half_file(folder, number, code):
    noise_file(folder / "in.wav", 30.0)
    data = (folder / "in.wav").read_bytes()
    process = start_codec("encode", "-", "out.echo", "-m", "tiny", cwd=folder, bufsize=0)
    assert process.stdin is not None
    process.stdin.write(data[:200_000])
    wait_for_work(folder, process)
    process.send_signal(number)
    _, errors = process.communicate(data[200_000:300_000], timeout=PATIENCE)
    assert process.returncode == code
    assert not (folder / "out.echo").exists()
    if number == signal.SIGINT:
        assert errors == b"echoic: interrupted\n"
        assert list(folder.glob(".out*")) == []


def test_a_terminated_decode_leaves_no_half_file(folder):
    noise_file(folder / "in.wav", 7.0)
    done("encode", folder / "in.wav", folder / "a.echo", "-m", folder / "tiny")
    process = start_codec("decode", "-", "out.wav", cwd=folder, bufsize=0)
    assert process.stdin is not None
    process.stdin.write((folder / "a.echo").read_bytes()[:-40])
    wait_for_work(folder, process)
    process.terminate()
    errors = process.communicate(timeout=PATIENCE)[1]
    assert (process.returncode, errors) == (130, b"echoic: interrupted\n")
    assert {p.name for p in folder.iterdir()} == {"tiny", "in.wav", "a.echo"}


def test_a_limit_on_files_is_one_line_and_leaves_nothing(folder):
    noise_file(folder / "in.wav", 20.0)
    done("encode", folder / "in.wav", folder / "a.echo", "-m", folder / "tiny")

    def limit() -> None:
        resource.setrlimit(resource.RLIMIT_FSIZE, (100_000, 100_000))

    process = start_codec("decode", "a.echo", "out.wav", cwd=folder, preexec_fn=limit)
    errors = process.communicate(timeout=PATIENCE)[1]
    assert process.returncode == 1
    assert errors == b"echoic: out.wav: File too large; free some space\n"
    assert {p.name for p in folder.iterdir()} == {"tiny", "in.wav", "a.echo"}


def test_a_reader_that_has_seen_enough(folder):
    noise_file(folder / "in.wav", 60.0)
    done("encode", folder / "in.wav", folder / "a.echo", "-m", folder / "tiny")
    process = start_codec("decode", "a.echo", "-", cwd=folder)
    assert process.stdout is not None
    process.stdout.read(10)
    process.stdout.close()
    assert process.wait(PATIENCE) == 1
    assert process.stderr is not None
    assert process.stderr.read() == b""


@pytest.mark.skipif(not Path("/dev/full").exists(), reason="there is no /dev/full")
def test_a_full_standard_output_is_one_line(folder):
    done("encode", SHORT, folder / "a.echo", "-m", folder / "tiny")
    with open("/dev/full", "wb") as full:
        process = start_codec("decode", "a.echo", "-", cwd=folder, stdout=full)
        errors = process.communicate(timeout=PATIENCE)[1].decode()
    assert process.returncode == 1
    assert errors.startswith("echoic: standard output: cannot be written (No space left")
    assert errors.count("\n") == 1


# Not getrusage's ru_maxrss: on Linux a new process begins with the peak of the one that started it.
MEASURED = """
import atexit, re, sys
from pathlib import Path
from echoic.recipes.cli import main

def tell_peak():
    status = Path("/proc/self/status").read_text()
    print(re.search(r"VmHWM:\\s+(\\d+) kB", status)[1], file=sys.stderr)

atexit.register(tell_peak)
main()
"""


def peak_megabytes(folder: Path, *words: str) -> float:
    line = [sys.executable, "-c", MEASURED, "codec", *words]
    ran = subprocess.run(line, cwd=folder, stdout=subprocess.DEVNULL, stderr=subprocess.PIPE)
    assert ran.returncode == 0, ran.stderr
    return int(re.findall(rb"\d+", ran.stderr)[-1]) / 1024


@pytest.mark.slow
@pytest.mark.skipif(not Path("/proc/self/status").exists(), reason="the peak is read from /proc")
def test_two_hours_take_the_memory_of_two_minutes(folder):
    peaks: dict[str, list[float]] = {"encode": [], "decode": []}
    for name, seconds in (("short", 120), ("long", 7200)):
        sf.write(folder / f"{name}.wav", np.zeros(0), 16000)
        head = bytearray((folder / f"{name}.wav").read_bytes()[:WAV_HEAD])
        size = 2 * 16000 * seconds
        head[4:8], head[40:44] = (size + 36).to_bytes(4, "little"), size.to_bytes(4, "little")
        with (folder / f"{name}.wav").open("wb") as file:  # holes, which read as silence
            file.write(head)
            file.truncate(WAV_HEAD + size)
        words = ("encode", f"{name}.wav", f"{name}.echo", "-m", "tiny")
        peaks["encode"].append(peak_megabytes(folder, *words))
        peaks["decode"].append(peak_megabytes(folder, "decode", f"{name}.echo", "-"))
    for short, long in peaks.values():
        assert long - short < 20, peaks
