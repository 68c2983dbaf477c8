"""Memory of the real command does not grow with the length of a recording."""

import subprocess
import sys
from pathlib import Path

import numpy as np
import pytest
import soundfile as sf
import torch
from real_command import speech

from echoic.audio.resample import Resampler

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
pytestmark = pytest.mark.skipif(
    not Path("/proc/self/status").exists(), reason="the peak is read from Linux's /proc"
)
RATE = 48000


def write_long(path: Path, minutes: float, pause: float) -> None:
    """Write speech with pauses in it, in stereo at 48 kHz, 16 bits."""
    wav = torch.from_numpy(speech().astype(np.float32))[None]
    said = Resampler(16000, RATE)(wav)[0].numpy()
    noise = np.random.default_rng(0).normal(0, 1e-4, round(pause * RATE)).astype(np.float32)
    period = np.repeat(np.concatenate([said, noise])[:, None], 2, axis=1)
    with sf.SoundFile(path, "w", RATE, 2, format="FLAC", subtype="PCM_16") as file:
        for _ in range(round(minutes * 60 * RATE / len(period))):
            file.write(period)


def peak_megabytes(folder: Path, minutes: float, pause: float) -> float:
    path = folder / f"{minutes}.flac"
    write_long(path, minutes, pause)
    line = [sys.executable, "-c", MEASURED, "transcribe", str(path), "-o", "out"]
    options = ["--dtype", "float32", "--batch-size", "2", "--threads", "1"]
    done = subprocess.run([*line, *options], cwd=folder, capture_output=True, text=True)
    assert done.returncode == 0, done.stderr
    assert (folder / "out" / f"{minutes}.txt").read_text().count("He was not") > 4 * minutes / 3
    return int(done.stderr.splitlines()[-1]) / 1024


@pytest.mark.slow
def test_three_minutes_take_what_one_takes(tmp_path: Path):
    # Decoded at once, two minutes more would be 46 MB as they are, and 8 MB as the model hears it.
    short, long = (peak_megabytes(tmp_path, minutes, pause=9.0) for minutes in (1, 3))
    assert long - short < 30


@pytest.mark.slow
def test_twenty_minutes_take_what_five_take(tmp_path: Path):
    short, long = (peak_megabytes(tmp_path, minutes, pause=4.0) for minutes in (5, 20))
    assert long - short < 45
