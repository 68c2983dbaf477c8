"""Devices with a sounddevice of our own that drives the callbacks from a thread of its own."""

import sys
import threading
import time
from types import ModuleType, SimpleNamespace
from typing import Any, ClassVar

import numpy as np
import pytest
import torch

from echoic.audio import devices
from echoic.audio.devices import AudioDeviceError, Speaker, list_devices, microphone, play


class FakeInput:
    """Records a ramp: sample n has the value n / 1e6; as fast as `pace` allows."""

    opened: ClassVar[list[Any]] = []
    total = 20
    pace = 0.001

    def __init__(self, **settings: Any) -> None:
        if settings["device"] == "gone":
            raise ValueError("No input device matching 'gone'")
        self.settings = settings
        self.closed = False
        self._run = threading.Event()
        self._thread = threading.Thread(target=self._record)
        FakeInput.opened.append(self)

    def start(self) -> None:
        self._run.set()
        self._thread.start()

    def stop(self) -> None:
        self._run.clear()
        self._thread.join(5)

    def close(self) -> None:
        self.closed = True

    def _record(self) -> None:
        size = self.settings["blocksize"]
        buffer = np.zeros((size, 1), np.float32)
        for n in range(self.total):
            if not self._run.is_set():
                break
            buffer[:, 0] = np.arange(n * size, (n + 1) * size) / 1e6
            status = SimpleNamespace(input_overflow=n == 3)
            self.settings["callback"](buffer, size, None, status)
            buffer[:] = -1  # PortAudio uses its memory again
            time.sleep(self.pace)
        self.settings["finished_callback"]()


class FakeOutput:
    """Keeps what was written, and whether it was played out or cut off."""

    opened: ClassVar[list[Any]] = []

    def __init__(self, **settings: Any) -> None:
        self.settings, self.written, self.calls = settings, [], []
        FakeOutput.opened.append(self)

    def start(self) -> None:
        self.calls.append("start")

    def stop(self) -> None:
        self.calls.append("stop")

    def abort(self) -> None:
        self.calls.append("abort")

    def close(self) -> None:
        self.calls.append("close")

    def write(self, data: np.ndarray) -> None:
        assert data.dtype == np.float32
        assert data.flags["C_CONTIGUOUS"]
        self.written.append(data.copy())


DEVICES = [
    {
        "name": "Mic",
        "max_input_channels": 2,
        "max_output_channels": 0,
        "default_samplerate": 44100.0,
    },
    {
        "name": "Box",
        "max_input_channels": 0,
        "max_output_channels": 2,
        "default_samplerate": 48000.0,
    },
]


@pytest.fixture
def fake(monkeypatch: pytest.MonkeyPatch) -> Any:
    module: Any = ModuleType("sounddevice")
    module.InputStream, module.OutputStream = FakeInput, FakeOutput
    module.query_devices = lambda: DEVICES
    monkeypatch.setitem(sys.modules, "sounddevice", module)
    FakeInput.opened.clear()
    FakeOutput.opened.clear()
    return module


@pytest.mark.usefixtures("fake")
def test_microphone_gives_every_sample_in_order() -> None:
    with microphone(16000, block_seconds=0.01, device=1) as mic:
        blocks = list(mic)  # ends because the device ends
    assert [block.shape for block in blocks] == [(1, 160)] * 20
    recorded = torch.cat(blocks, dim=1)[0]
    assert torch.equal(recorded, torch.arange(3200) / 1e6)
    assert mic.overruns == 1  # what PortAudio itself reported
    stream = FakeInput.opened[0]
    assert stream.closed
    wanted = {"samplerate": 16000, "blocksize": 160, "device": 1, "channels": 1, "dtype": "float32"}
    assert wanted.items() <= stream.settings.items()


@pytest.mark.usefixtures("fake")
def test_a_slow_reader_loses_blocks_and_no_memory(caplog: pytest.LogCaptureFixture) -> None:
    with devices.Microphone(16000, 0.01, queue_seconds=0.05) as mic:
        FakeInput.opened[0]._thread.join(5)
    kept = list(mic)  # what still waits after it was closed
    assert len(kept) == 5
    assert torch.equal(torch.cat(kept, 1)[0], torch.arange(800) / 1e6)  # the oldest are kept
    assert mic.overruns == 1 + 15
    assert "16 blocks were lost" in caplog.text


@pytest.mark.usefixtures("fake")
def test_leaving_early_stops_the_device(monkeypatch: pytest.MonkeyPatch) -> None:
    monkeypatch.setattr(FakeInput, "total", 10**6)
    with microphone(16000, 0.01) as mic:
        stream = iter(mic)
        assert next(stream).shape == (1, 160)
    assert FakeInput.opened[0].closed
    assert not FakeInput.opened[0]._thread.is_alive()
    assert sum(1 for _ in stream) < 10**5  # what waited, then the end
    mic.close()


@pytest.mark.usefixtures("fake")
def test_another_thread_may_close_it(monkeypatch: pytest.MonkeyPatch) -> None:
    monkeypatch.setattr(FakeInput, "total", 10**6)
    with microphone(16000, 0.01) as mic:
        timer = threading.Timer(0.1, mic.close)
        timer.start()
        assert sum(1 for _ in mic) > 3
        timer.join()


@pytest.mark.usefixtures("fake")
def test_a_microphone_can_be_opened_again() -> None:
    mic = microphone(16000, 0.01)
    for _ in range(2):
        with mic:
            assert len(list(mic)) == 20


@pytest.mark.usefixtures("fake")
def test_use_outside_of_with() -> None:
    with pytest.raises(AudioDeviceError, match="iterate inside"):
        next(iter(microphone()))
    with pytest.raises(AudioDeviceError, match="write inside"):
        Speaker(16000).write(torch.zeros(5))
    with pytest.raises(ValueError, match="must be above 0"):
        microphone(0)


@pytest.mark.usefixtures("fake")
def test_play_a_signal_and_chunks() -> None:
    wav = torch.stack([torch.linspace(-2, 2, 100), torch.zeros(100)])
    play(wav, 24000)
    stream = FakeOutput.opened[0]
    assert stream.settings["channels"] == 2
    assert np.array_equal(np.concatenate(stream.written), wav.clamp(-1, 1).numpy().T)
    assert stream.calls == ["start", "stop", "close"]
    play((torch.full((n,), 0.1) for n in (3, 0, 4)), 24000, device="Box")
    assert [len(x) for x in FakeOutput.opened[1].written] == [3, 4]
    play([], 24000)
    assert len(FakeOutput.opened) == 2


@pytest.mark.usefixtures("fake")
def test_an_error_while_playing_is_silent_at_once() -> None:
    with pytest.raises(ValueError, match="got 2 channels; this speaker plays 1"):
        play(iter([torch.zeros(5), torch.zeros(2, 5)]), 16000)
    assert FakeOutput.opened[0].calls == ["start", "abort", "close"]


@pytest.mark.usefixtures("fake")
def test_list_devices() -> None:
    mic, box = list_devices()
    assert (mic.index, mic.name, mic.input_channels, mic.output_channels) == (0, "Mic", 2, 0)
    assert (box.index, box.sample_rate) == (1, 48000)


def test_no_such_device_names_those_there_are(fake: Any, monkeypatch: pytest.MonkeyPatch) -> None:
    expected = r"cannot open 'gone' as microphone at 16000 Hz \(No input .*\); choose of 0 'Mic'"
    with pytest.raises(AudioDeviceError, match=expected), microphone(device="gone"):
        pass
    monkeypatch.setattr(fake, "query_devices", list)
    with pytest.raises(AudioDeviceError, match="connect a microphone"), microphone(device="gone"):
        pass


def test_a_stream_that_does_not_start_is_closed(fake: Any) -> None:
    class Broken(FakeOutput):
        def start(self) -> None:
            raise RuntimeError("device\nbusy")

    fake.OutputStream = Broken
    with pytest.raises(AudioDeviceError, match=r"the default device .* \(device busy\)"):
        play(torch.zeros(5), 16000)
    assert FakeOutput.opened[0].calls == ["close"]


def test_sounddevice_or_portaudio_missing(monkeypatch: pytest.MonkeyPatch) -> None:
    monkeypatch.setitem(sys.modules, "sounddevice", None)
    with pytest.raises(AudioDeviceError, match=r"pip install 'echoic\[mic\]'"):
        list_devices()

    def no_library(name: str) -> None:
        raise OSError("PortAudio library not found")

    monkeypatch.setattr(devices.importlib, "import_module", no_library)
    with (
        pytest.raises(AudioDeviceError, match=r"PortAudio.*apt install libportaudio2"),
        microphone(),
    ):
        pass
