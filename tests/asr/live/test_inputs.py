"""Where live sound comes from: files at once or by the clock, pipes that may stop in between."""

import os
import threading
from pathlib import Path

import pytest
import torch
from live_terminal import Clock
from real_command import SHORT, encoded, speech

from echoic.asr.batch.errors import UsageError
from echoic.asr.live.inputs import BLOCK_SECONDS, Pace, StoppableFile, sound_blocks
from echoic.asr.live.request import LiveRequest, RawFormat
from echoic.audio.io import load

RATE = 16_000


def go_on() -> bool:
    return False


def joined(request: LiveRequest) -> torch.Tensor:
    return torch.cat(list(sound_blocks(request, RATE, go_on)), dim=1)


def test_files_are_read_in_short_blocks():
    sizes = [b.shape for b in sound_blocks(LiveRequest(str(SHORT)), RATE, go_on)]
    assert set(sizes[:-1]) == {(1, round(BLOCK_SECONDS * RATE))}
    assert torch.equal(joined(LiveRequest(str(SHORT))), load(SHORT, mono=True).wav)


def test_raw_samples_of_any_kind(tmp_path: Path):
    path = tmp_path / "sound.pcm"
    stereo = torch.stack([torch.linspace(-0.5, 0.5, 3200), torch.zeros(3200)])
    path.write_bytes((stereo.T * 32768).to(torch.int16).numpy().tobytes())
    sound = joined(LiveRequest(str(path), raw=RawFormat.parse("s16le:16000:2")))
    torch.testing.assert_close(sound, stereo.mean(0, keepdim=True), atol=1e-4, rtol=0)


def test_a_missing_file_is_told_before_the_first_block():
    with pytest.raises(FileNotFoundError, match="no such file"):
        sound_blocks(LiveRequest("missing.wav"), RATE, go_on)


def test_a_wish_to_stop_ends_a_file():
    seen: list[torch.Tensor] = []
    for block in sound_blocks(LiveRequest(str(SHORT)), RATE, lambda: len(seen) >= 5):
        seen.append(block)
    assert len(seen) == 5


def test_a_pipe_gives_sound_while_it_grows(tmp_path: Path):
    path = tmp_path / "pipe"
    os.mkfifo(path)
    wav = encoded("WAV", "PCM_16")
    half = len(wav) // 2
    heard_half = threading.Event()

    def write() -> None:
        with open(path, "wb", buffering=0) as pipe:
            pipe.write(wav[:half])
            assert heard_half.wait(30)
            pipe.write(wav[half:])

    writer = threading.Thread(target=write)
    writer.start()
    samples, wanted = 0, (half - 44) // 2 - 2 * round(BLOCK_SECONDS * RATE)
    for block in sound_blocks(LiveRequest(str(path)), RATE, go_on):
        samples += block.shape[1]
        if samples > wanted:
            heard_half.set()
    writer.join()
    assert samples == len(speech())


def test_a_pipe_ends_by_a_wish_though_nothing_comes():
    reading, writing = os.pipe()
    os.write(writing, b"abc")
    wish = threading.Event()
    pipe = StoppableFile(reading, "pipe", wish.is_set)
    assert pipe.read(2) == b"ab"
    assert pipe.read() == b"c"
    threading.Timer(0.1, wish.set).start()
    assert pipe.read() == b""
    os.close(reading)
    os.close(writing)


def test_pace_gives_blocks_when_they_have_been_spoken():
    clock = Clock()
    pace = Pace(RATE, go_on, clock.read, clock.sleep)
    times, behind = [], []
    for _ in pace.hold(iter([torch.zeros(1, RATE)] * 4)):
        times.append(clock.now - 100)
        clock.now += 0.2 if len(times) != 2 else 2.5  # the work
        behind.append(pace.behind)
    assert times == pytest.approx([1, 2, 4.5, 4.7])
    assert behind == pytest.approx([0.2, 2.5, 1.7, 0.9])


def test_pace_does_not_hold_back_who_wants_to_stop():
    clock = Clock()
    pace = Pace(RATE, lambda: clock.now > 100.2, clock.read, clock.sleep)
    assert len(list(pace.hold(iter([torch.zeros(1, RATE)] * 4)))) == 4
    assert clock.now < 100.3


@pytest.mark.parametrize(
    "text", ["", "s16le", "s16be:16000", "s16le:", "s16le:0", "s16le:16k", "u8:8000:0", "u8:1:2:3"]
)
def test_bad_raw_formats(text: str):
    with pytest.raises(UsageError, match="give format and rate"):
        RawFormat.parse(text)
