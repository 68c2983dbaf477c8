"""The verb `stream` as it is typed; a quick recogniser hears, the sound and the rest are real."""

import json
import sys
import threading
from pathlib import Path
from types import ModuleType, SimpleNamespace
from typing import Any

import numpy as np
import pytest
import typer
from energy_words import EnergyWords
from live_command import StreamCommand
from live_terminal import Clock
from real_command import DATA, SHORT, encoded, speech

from echoic.asr import stream_cli
from echoic.asr.live import job
from echoic.asr.live.request import LiveRequest
from echoic.streaming.events import Event

LONG = DATA / "sense-and-sensibility-0870.opus"


@pytest.fixture
def command(monkeypatch: pytest.MonkeyPatch, tmp_path: Path) -> StreamCommand:
    monkeypatch.chdir(tmp_path)
    return StreamCommand(monkeypatch)


def events(text: str) -> list[Event]:
    return [Event.from_dict(json.loads(line)) for line in text.splitlines()]


def test_finals_are_lines_and_statistics_are_on_stderr(command: StreamCommand):
    result = command.type(SHORT)
    assert result.exit_code == 0
    found = [e.text for e in events(command.type(SHORT, "--json").stdout) if e.type == "final"]
    assert result.stdout.splitlines() == found
    assert found
    (line,) = result.stderr.splitlines()
    assert line.startswith("echoic: 3.0 s of audio in ")
    for part in ("RTF", "first word after", "after their ends", "p50", "p95"):
        assert part in line
    assert command.type(SHORT, "-q").stderr == ""


def test_the_same_events_from_files_pipes_and_raw_samples(command: StreamCommand):
    wav = encoded("WAV", "PCM_16")
    Path("speech.wav").write_bytes(wav)
    (Path("./mic")).write_bytes(wav)
    pcm = (speech() * 32768).round().astype("<i2").tobytes()
    Path("speech.pcm").write_bytes(pcm)
    results = [
        command.type("speech.wav", "--json"),
        command.type("./mic", "--json"),
        command.type("-", "--json", stdin=wav),
        command.type("-", "--json", stdin=encoded("FLAC", "PCM_16")),
        command.type("-", "--json", "--raw", "s16le:16000", stdin=pcm),
        command.type("speech.pcm", "--json", "--raw", "s16le:16000"),
    ]
    assert [r.exit_code for r in results] == [0] * 6
    told = [[(e.type, e.text, e.audio_time) for e in events(r.stdout)] for r in results]
    assert len(told[0]) > 3
    assert all(found == told[0] for found in told[1:])


def test_options_reach_the_loader_and_the_gate(command: StreamCommand):
    command.type(SHORT, "-m", "base", "--policy", "agreement", "--chunk_ms", "500", "--beam_size",
                 "3", "--language", "en", "--device", "cpu", "--compute-type", "int8",
                 "--hotwords", "Dashwood")  # fmt: skip
    assert command.loaded == [
        {
            "model": "base",
            "policy": "agreement",
            "chunk_ms": 500.0,
            "beam_size": 3,
            "language": "en",
            "device": "cpu",
            "dtype": "int8",
            "hotwords": "Dashwood",
        }
    ]
    sound = np.concatenate([speech(), np.zeros(8000), speech(), np.zeros(16000)])
    Path("two.wav").write_bytes(encoded("WAV", "PCM_16", sound))
    ends = {
        words: sum(
            e.type == "endpoint" for e in events(command.type("two.wav", "--json", *words).stdout)
        )
        for words in [("--endpoint-ms", "300"), ("--endpoint-ms", "950"), ("--no-vad",)]
    }
    assert list(ends.values())[1:] == [1, 0]
    assert ends["--endpoint-ms", "300"] >= 2


def no_microphone_library(monkeypatch: pytest.MonkeyPatch) -> None:
    monkeypatch.setitem(sys.modules, "sounddevice", None)


# words -> (exit code, what the line says)
BAD: dict[tuple[str, ...], tuple[int, str]] = {
    (): (2, "no input; name a file"),
    ("missing.wav",): (1, "missing.wav: no such file; check the spelling"),
    ("-m", "x", "eval"): (1, "eval: no such file"),
    ("folder",): (1, "folder: is a folder, not a sound file; give the files in it"),
    ("empty.wav",): (1, "empty.wav: is empty; check that it was written completely"),
    ("text.wav",): (1, "text.wav: "),
    ("header.wav",): (1, "header.wav: holds no samples; "),
    ("-",): (1, "standard input: is empty; "),
    ("mic",): (1, "sounddevice is not installed; run: pip install 'echoic[mic]'"),
    ("--list-devices",): (1, "sounddevice is not installed; run: pip install 'echoic[mic]'"),
    ("mic", "--realtime"): (2, "--realtime is for files and '-'; leave it out"),
    ("mic", "--raw", "s16le:16000"): (2, "--raw is for files and '-'; leave it out"),
    ("good.wav", "--input-device", "2"): (2, "--input-device is for the microphone; give mic"),
    ("good.wav", "--raw", "wav"): (2, "--raw is 'wav'; give format and rate"),
    ("good.wav", "--endpoint-ms", "0"): (2, "--endpoint-ms is 0; give milliseconds above 0"),
    ("good.wav", "--endpoint-ms", "nan"): (2, "--endpoint-ms is nan; give milliseconds above 0"),
    ("",): (2, "the input's name is empty; name a file"),
}


def typed(words: object) -> str | None:
    return " ".join(words) if isinstance(words, tuple) else None


@pytest.mark.parametrize("words", BAD, ids=typed)
def test_bad_usage_is_one_line(
    words: tuple[str, ...], command: StreamCommand, monkeypatch: pytest.MonkeyPatch
):
    no_microphone_library(monkeypatch)
    Path("folder").mkdir()
    Path("empty.wav").touch()
    Path("text.wav").write_text("this is no sound at all " * 30)
    Path("header.wav").write_bytes(encoded("WAV", "PCM_16", np.zeros(0)))
    Path("good.wav").write_bytes(encoded("WAV", "PCM_16"))
    result = command.type(*words, stdin=b"")
    code, said = BAD[words]
    (line,) = result.stderr.splitlines()
    assert (result.exit_code, result.stdout) == (code, "")
    assert line.startswith(f"echoic: {said}")
    assert "(unexpected" not in line
    if words != ("-",):
        assert command.loaded == []  # told before a model is loaded


@pytest.mark.parametrize(
    ("words", "said"),
    [
        (("-m", "no/such/model"), "no/such/model"),
        (("-m", "no/such/model", "--policy", "agreement"), "no/such/model"),
        (("--policy", "agreement", "--chunk-ms", "0"), "chunk_ms is 0"),
        (("--policy", "alignatt", "--beam-size", "2"), "beam_size is 2"),
        (("--policy", "agreement", "--language", "de"), "this model knows English only"),
        (("--policy", "agreement", "--language", "elvish"), "unknown language 'elvish'"),
        (("--policy", "agreement", "--device", "tpu"), "tpu"),
    ],
    ids=typed,
)
def test_what_the_loader_refuses_is_wrong_usage(
    words: tuple[str, ...], said: str, command: StreamCommand, monkeypatch: pytest.MonkeyPatch
):
    monkeypatch.setattr(stream_cli, "load", command.really_load)
    monkeypatch.setenv("HF_HUB_OFFLINE", "1")
    result = command.type(SHORT, *words)
    (line,) = result.stderr.splitlines()
    assert (result.exit_code, result.stdout) == (2, "")
    assert line.startswith("echoic: ")
    assert said in line
    assert "(unexpected" not in line


@pytest.mark.parametrize("words", [("--policy", "magic"), ("--beam-size", "0"), ("--loud",)])
def test_what_typer_refuses(words: tuple[str, ...], command: StreamCommand):
    assert command.type(SHORT, *words).exit_code == 2


def test_a_file_that_breaks_off_tells_what_was_heard(command: StreamCommand):
    sound = np.tile(speech(), 2).astype(np.float32)
    sound[-1000] = np.nan
    Path("nan.wav").write_bytes(encoded("WAV", "FLOAT", sound))
    result = command.type("nan.wav")
    assert result.exit_code == 1
    assert result.stdout
    lines = result.stderr.splitlines()
    assert lines[0].startswith("echoic: 5.")
    assert lines[1].startswith("echoic: nan.wav: holds nan at 5.")
    assert len(lines) == 2


def test_realtime_keeps_to_the_clock_and_says_when_it_falls_behind(
    capsys: pytest.CaptureFixture[str],
):
    clock = Clock()

    class Slow(EnergyWords):
        def step(self, state: Any, wav: Any) -> Any:
            clock.now += 0.08  # 50 ms of sound
            return super().step(state, wav)

    request = LiveRequest(str(LONG), realtime=True, vad=False)
    timing = job.Time(clock.read, clock.sleep)
    assert job.run_live(request, EnergyWords, timing) == 0
    assert clock.now == pytest.approx(107.1, abs=0.1)
    quick = capsys.readouterr()
    assert "at most 0.0 s behind" in quick.err
    assert job.run_live(request, Slow, timing) == 0
    slow = capsys.readouterr()
    assert slow.out == quick.out
    assert "echoic: behind by 2.0 s\n" in slow.err
    assert "echoic: behind by 4.1 s\n" in slow.err
    assert "at most 4.4 s behind" in slow.err


class Recorder:
    """A microphone that hears a recording, as quickly as it is asked to, and then nothing."""

    sound = np.concatenate([speech(), np.zeros(4000)]).astype(np.float32)

    def __init__(self, **settings: Any) -> None:
        self._settings = settings
        self._stopped = threading.Event()
        self._thread = threading.Thread(target=self._record)

    def start(self) -> None:
        self._thread.start()

    def stop(self) -> None:
        self._stopped.set()
        self._thread.join()

    def close(self) -> None:
        pass

    def _record(self) -> None:
        size = self._settings["blocksize"]
        for start in range(0, len(self.sound) - size, size):
            block = self.sound[start : start + size, None]
            status = SimpleNamespace(input_overflow=False)
            self._settings["callback"](block.copy(), size, None, status)
            if self._stopped.wait(0.002):
                return
        self.ended(self._settings, self._stopped)

    @staticmethod
    def ended(settings: Any, _stopped: threading.Event) -> None:
        settings["finished_callback"]()


@pytest.fixture
def sounddevice(monkeypatch: pytest.MonkeyPatch) -> Any:
    module: Any = ModuleType("sounddevice")
    names = {"name": "Mic", "max_input_channels": 1, "max_output_channels": 0}
    module.query_devices = lambda: [names | {"default_samplerate": 44100.0}]
    module.InputStream = Recorder
    monkeypatch.setitem(sys.modules, "sounddevice", module)
    return module


def test_microphones_are_listed(command: StreamCommand, sounddevice: Any):
    result = command.type("--list-devices")
    assert (result.exit_code, result.stdout) == (0, "  0  Mic  (44100 Hz)\n")
    sounddevice.query_devices = list
    result = command.type("--list-devices")
    assert (result.exit_code, result.stdout) == (0, "")
    assert result.stderr == "echoic: there is no microphone; connect one\n"


def test_a_microphone_is_heard_until_control_c(
    command: StreamCommand, sounddevice: Any, monkeypatch: pytest.MonkeyPatch
):
    stops: list[job.Stop] = []

    class Stop(job.Stop):
        def __init__(self) -> None:
            super().__init__()
            stops.append(self)

    def ended(settings: Any, stopped: threading.Event) -> None:
        stops[0].handle(2, None)  # as the user's Ctrl-C does
        assert stopped.wait(30)
        settings["finished_callback"]()

    monkeypatch.setattr(job, "Stop", Stop)
    monkeypatch.setattr(Recorder, "ended", staticmethod(ended))
    result = command.type("mic", "--json", "--input-device", "0")
    assert result.exit_code == 130
    Path("same.wav").write_bytes(encoded("WAV", "FLOAT", Recorder.sound))
    expected = events(command.type("same.wav", "--json").stdout)
    told = events(result.stdout)
    assert [e.text for e in told if e.type == "final"] == [
        e.text for e in expected if e.type == "final"
    ]
    assert result.stderr.startswith("echoic: listening; Ctrl-C ends it\n")
    assert " s behind" in result.stderr


def test_a_microphone_that_goes_away_is_an_error_after_the_text(
    command: StreamCommand, sounddevice: Any
):
    result = command.type("mic")
    assert result.exit_code == 1
    assert result.stdout
    assert result.stderr.splitlines()[-1] == (
        "echoic: the microphone gives no more sound; check its connection"
    )


def test_a_recogniser_that_fails_behind_a_microphone(
    command: StreamCommand, sounddevice: Any, monkeypatch: pytest.MonkeyPatch
):
    class Broken(EnergyWords):
        def step(self, state: Any, wav: Any) -> Any:
            raise ZeroDivisionError("division by zero")

    monkeypatch.setattr(stream_cli, "load", lambda *_, **__: Broken())
    result = command.type("mic")
    assert result.exit_code == 1
    assert "worker failed: division by zero (unexpected; --debug prints where)" in result.stderr


def test_eval_is_another_command_but_only_as_the_first_word(
    command: StreamCommand, monkeypatch: pytest.MonkeyPatch
):
    called: list[tuple[str, int]] = []

    def evaluate_command(manifest: str, limit: int = 9) -> None:
        """Measure."""
        called.append((manifest, limit))
        raise typer.Exit(3)

    module: Any = ModuleType("echoic.asr.stream_eval_cli")
    module.evaluate_command = evaluate_command
    monkeypatch.setitem(sys.modules, "echoic.asr.stream_eval_cli", module)
    assert command.type("eval", "set.jsonl", "--limit", "4").exit_code == 3
    assert called == [("set.jsonl", 4)]
    page = command.type("eval", "--help")
    assert page.exit_code == 0
    assert "stream eval [OPTIONS]" in page.stdout
    assert "stream eval MANIFEST" in " ".join(command.type("--help").stdout.split())
    Path("eval").write_bytes(encoded("WAV", "PCM_16"))
    assert command.type("./eval").stdout == command.type(SHORT).stdout != ""
    assert len(called) == 1
