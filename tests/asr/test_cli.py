"""The verb `transcribe` as it is typed; the recogniser is a fake, the options are real."""

import json
import shutil
import subprocess
import sys
from pathlib import Path
from typing import Any

import pytest
from fake_transcriber import FakeTranscriber, transcript_of
from typer.testing import CliRunner, Result

from echoic.asr import cli
from echoic.asr.source import Source
from echoic.asr.transcript import Transcript
from echoic.audio.io import load
from echoic.recipes.cli import build_app

DATA = Path(__file__).parents[1] / "data"
RECORDINGS = sorted(DATA.glob("*.opus"))


class Listener(FakeTranscriber):
    """Reads real sound and writes down how long it is."""

    def _hear(self, source: Source) -> Transcript:
        wav, rate = load(source.path, offset=source.offset, duration=source.duration)
        return transcript_of(f"{wav.shape[1] / rate:.2f} seconds")


class Line:
    """Types commands; keeps what the model was asked for."""

    def __init__(self) -> None:
        self.transcriber = Listener()
        self.loaded: list[dict[str, Any]] = []

    def load(self, name: str, **settings: Any) -> Listener:
        self.loaded.append({"name": name, **settings})
        return self.transcriber

    def type(self, *words: str | Path, stdin: bytes | None = None) -> Result:
        app = build_app(["transcribe"])
        return CliRunner().invoke(app, ["transcribe", *map(str, words)], input=stdin)

    @property
    def options(self) -> Any:
        return self.transcriber.options[-1]


@pytest.fixture
def line(monkeypatch: pytest.MonkeyPatch, tmp_path: Path) -> Line:
    monkeypatch.chdir(tmp_path)
    line = Line()
    monkeypatch.setattr(cli, "load_transcriber", line.load)
    return line


def test_a_recording_is_printed(line: Line):
    result = line.type(RECORDINGS[0])
    assert (result.exit_code, result.stdout) == (0, "7.10 seconds\n")
    assert "1 done, 0 failed" in result.stderr
    assert line.loaded == [
        {"name": cli.DEFAULT_MODEL, "device": "auto", "dtype": "auto", "threads": None}
    ]


def test_a_folder_of_mixed_files(line: Line, tmp_path: Path):
    for path in RECORDINGS[:2]:
        shutil.copy(path, tmp_path)
    (tmp_path / "empty.wav").touch()
    (tmp_path / "text.mp3").write_text("this is no sound at all")
    result = line.type(tmp_path, "-o", "out", "-f", "txt,json")
    assert result.exit_code == 1
    assert len(list(Path("out").glob("*.txt"))) == len(list(Path("out").glob("*.json"))) == 2
    lines = result.stderr.splitlines()
    assert any(text.startswith(f"echoic: {tmp_path}/empty.wav: is empty; ") for text in lines)
    assert any(text.startswith(f"echoic: {tmp_path}/text.mp3: ") for text in lines)
    assert "Traceback" not in result.stderr
    assert "unexpected" not in result.stderr
    assert "2 done, 2 failed, " in lines[-1]


def test_the_manifest_gives_ids_and_stretches(line: Line):
    path = Path("cuts.jsonl")
    entry = {"audio": str(RECORDINGS[0]), "id": "cut", "offset": 1.0, "duration": 2.5}
    path.write_text(json.dumps(entry))
    result = line.type(path, DATA / "manifest.jsonl", "--json", "--quiet")
    assert (result.exit_code, result.stderr) == (0, "")
    lines = {found["id"]: found for found in map(json.loads, result.stdout.splitlines())}
    assert len(lines) == 6
    assert lines["cut"]["text"] == "2.50 seconds"
    assert lines["sense-and-sensibility-0880"]["manifest"]["lang"] == "en"


def test_lists_and_patterns(line: Line):
    Path("list").write_text(f"{RECORDINGS[1]}\n")
    by_list = line.type("--files-from", "list", "-q")
    by_pattern = line.type(str(DATA / "*-088[0].opus"), "-q")
    by_pipe = line.type("--files-from", "-", "-q", stdin=bytes(RECORDINGS[1]) + b"\n")
    assert by_list.stdout == by_pattern.stdout == by_pipe.stdout != ""


@pytest.mark.parametrize("spelling", ["--beam-size", "--beam_size"])
def test_hyphens_and_underscores(line: Line, spelling: str):
    words = (spelling, "3", "--batch_size=2", "--initial_prompt", "a_b --c_d", "--language", "en")
    result = line.type(RECORDINGS[1], *words, "--compute_type", "int8", "--word_timestamps")
    assert result.exit_code == 0, result.stderr
    assert (line.options.beam_size, line.options.prompt) == (3, "a_b --c_d")
    assert (line.options.language, line.options.word_timestamps) == ("en", True)
    assert line.transcriber.batch_sizes == [2]
    assert line.loaded[0]["dtype"] == "int8"


def test_whisper_names_of_the_output_options(line: Line):
    result = line.type(RECORDINGS[1], "--output_dir", "out", "--output_format", "srt")
    assert result.exit_code == 0, result.stderr
    assert [p.suffix for p in Path("out").glob("s*")] == [".srt"]


def test_task_device_and_hotwords_reach_the_model(line: Line):
    words = (
        "--task",
        "translate",
        "--hotwords",
        "Dashwood",
        "--device",
        "cuda:1",
        "--threads",
        "2",
    )
    result = line.type(RECORDINGS[1], *words, "-m", "base")
    assert result.exit_code == 0, result.stderr
    assert (line.options.task, line.options.hotwords) == ("translate", "Dashwood")
    assert line.loaded == [{"name": "base", "device": "cuda:1", "dtype": "auto", "threads": 2}]


def test_subtitle_options_ask_for_word_times(line: Line):
    assert line.type(RECORDINGS[1], "-f", "srt", "--max-line-width", "20").exit_code == 0
    assert line.options.word_timestamps
    assert line.type(RECORDINGS[1], "-f", "srt").exit_code == 0
    assert not line.options.word_timestamps


@pytest.mark.parametrize(
    ("words", "message"),
    [
        ([], "no input; name files"),
        (["*.wav"], "matches no file"),
        (["."], "no audio found in . (known suffixes: "),
        (["a.wav", "-f", "doc", "-o", "out"], "format 'doc' is unknown"),
        (["a.wav", "--shard", "9/8"], "shard 9/8 does not exist"),
        (["a.wav", "--task", "sing"], "sing"),
        (["a.wav", "--beam-size", "0"], "beam-size"),
        (["a.wav", "--beem-size", "3"], "No such option: --beem-size"),
        (["-", "--files-from", "-"], "standard input is one"),
        (["a.wav", "--no-word-timestamps", "--highlight-words"], "leave out --no-word-timestamps"),
        (["bad.jsonl"], "bad.jsonl, line 1: not JSON"),
    ],
)
def test_wrong_usage(line: Line, words: list[str], message: str):
    Path("bad.jsonl").write_text("nonsense")
    result = line.type(*words)
    assert result.exit_code == 2
    assert message in result.stderr
    assert result.stdout == ""
    assert line.loaded == []


def test_resume_and_overwrite(line: Line):
    words = (RECORDINGS[1], "-o", "out", "-f", "txt")
    assert [line.type(*words).exit_code for _ in range(2)] == [0, 0]
    assert len(line.loaded) == 1
    assert line.type(*words, "--model", "other").exit_code == 0
    assert line.type(*words, "--model", "other", "--overwrite").exit_code == 0
    assert len(line.loaded) == 3


def test_help_needs_no_torch():
    code = (
        "import sys; sys.argv = ['echoic', 'transcribe', '--help']\n"
        "from echoic.recipes.cli import main\n"
        "try: main()\n"
        "except SystemExit: sys.exit('torch' in sys.modules)"
    )
    done = subprocess.run([sys.executable, "-c", code], capture_output=True, text=True)
    assert done.returncode == 0
    for name in ("--output-dir", "--shard", "--hotwords", "--max-line-width"):
        assert name in done.stdout
