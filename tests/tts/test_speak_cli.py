"""`echoic speak` and `echoic voice`, by a talker that babbles."""

import json
import subprocess
import sys
from pathlib import Path

import pytest
import torch
from small_talker import small_talker
from typer.testing import CliRunner, Result

from echoic.audio.io import load
from echoic.audio.write import save
from echoic.recipes.cli import build_app
from echoic.tts.synthesizer import Synthesizer

ECHOIC = Path(sys.executable).with_name("echoic")
TEXT = "The first sentence. And a second one."


@pytest.fixture(scope="module")
def model(tmp_path_factory: pytest.TempPathFactory) -> Path:
    folder = tmp_path_factory.mktemp("talker")
    small_talker().save_pretrained(folder)
    return folder


def run(*words: object, stdin: str | bytes = "") -> Result:
    line = [str(word) for word in words]
    return CliRunner().invoke(build_app(line), line, input=stdin)


def test_to_a_file_with_times(model: Path, tmp_path: Path) -> None:
    out, times = tmp_path / "a.wav", tmp_path / "a.json"
    line = ["speak", TEXT, "--model", model, "-o", out, "--dtype", "float32", "--seed", 2]
    done = run(*line, "--timestamps", times)
    # A babbler may not come to an end by itself.
    assert done.exit_code in (0, 1), done.output
    expected = Synthesizer(small_talker()).speak(TEXT, seed=2)
    found = load(out)
    assert found.sample_rate == 16_000
    torch.testing.assert_close(found.wav[0], expected.wav.clamp(-1, 1), atol=1e-4, rtol=0)
    rows = json.loads(times.read_text())["sentences"]
    assert [row["text"] for row in rows] == [s.text for s in expected.sentences]
    assert rows[1]["start"] == pytest.approx(expected.sentences[1].start, abs=1e-3)
    assert (done.exit_code == 1) == any(s.ending != "end" for s in expected.sentences)
    again = run("speak", TEXT, "--model", model, "-o", out)
    assert again.exit_code == 2
    assert "is there already; add --overwrite" in again.stderr


def test_standard_input_as_subtitles(model: Path, tmp_path: Path) -> None:
    out, times = tmp_path / "a.flac", tmp_path / "a.srt"
    done = run("speak", "--model", model, "-o", out, "--timestamps", times, stdin=TEXT + "\n")
    assert done.exit_code in (0, 1), done.output
    assert "1\n00:00:00,000 --> 00:00:0" in times.read_text()
    assert "2\n" in times.read_text()
    assert "And a second one." in times.read_text()


def test_standard_input_that_is_no_text(model: Path, tmp_path: Path) -> None:
    done = run("speak", "--model", model, "-o", tmp_path / "a.wav", stdin=b"OggS\x97\n")
    assert done.exit_code == 1
    assert done.stderr == "echoic: standard input is not UTF-8; give it text\n"


def test_bare_samples_while_they_are_generated(model: Path) -> None:
    words = [ECHOIC, "speak", "Hello there.", "--model", model, "--raw", "--dtype", "float32"]
    done = subprocess.run([str(w) for w in words], capture_output=True)
    expected = Synthesizer(small_talker()).speak("Hello there.").wav
    assert len(done.stdout) == 2 * len(expected)
    assert b"16000 Hz" in done.stderr


def test_a_voice_is_made_shown_and_used(model: Path, tmp_path: Path) -> None:
    wav = 0.1 * torch.randn(1, 32_000, generator=torch.Generator().manual_seed(0))
    save(tmp_path / "ref.wav", wav, 16_000)
    voice = tmp_path / "me.voice"
    made = run("voice", "make", tmp_path / "ref.wav", "--text", "So it was.", "--model", model,
               "-o", voice, "--licence", "CC0-1.0")  # fmt: skip
    assert made.exit_code == 0, made.output
    shown = json.loads(run("voice", "show", voice).stdout)
    assert shown["name"] == "me"
    assert (shown["text"], shown["frames"], shown["licence"]) == ("So it was.", 100, "CC0-1.0")
    out = tmp_path / "a.wav"
    done = run("speak", "Hello.", "--model", model, "-o", out, "--voice", voice)
    assert done.exit_code in (0, 1), done.output
    assert len(load(out).wav[0]) > 0


@pytest.mark.parametrize(
    ("words", "code", "message"),
    [
        (["Hi.", "--model", "MODEL"], 2, "say where the sound goes"),
        (["Hi.", "--model", "MODEL", "-o", "a.wav", "--raw"], 2, "say where the sound goes"),
        (["Hi.", "--model", "MODEL", "-o", "a.txt"], 2, "expected an output that ends in"),
        (["Hi.", "--model", "nowhere", "-o", "a.wav"], 2, "no talker 'nowhere'"),
        (["Hi.", "--model", "MODEL", "-o", "none/a.wav"], 2, "no folder"),
        (["Hi.", "--model", "MODEL", "-o", "a.wav", "--voice", "x.voice"], 2, "no voice 'x.voice'"),
        (["Hi.", "--model", "MODEL", "-o", "a.wav", "--temperature", "-1"], 2, "temperature is"),
        (["Hi.", "--model", "MODEL", "-o", "a.wav", "--timestamps", "a.vtt"], 2, ".json .srt"),
        (["Hi.", "--model", "MODEL", "-o", "a.wav", "--dtype", "int4"], 2, "--dtype is 'int4'"),
        (["", "--model", "MODEL", "-o", "a.wav"], 1, "there is nothing to say"),
        (["...", "--model", "MODEL", "-o", "a.wav"], 1, "there is nothing to say"),
        (["<speak><mood/>", "--model", "MODEL", "-o", "a.wav"], 1, ""),
    ],
)
def test_what_cannot_be_said_is_one_line(
    model: Path,
    tmp_path: Path,
    monkeypatch: pytest.MonkeyPatch,
    words: list[str],
    code: int,
    message: str,
) -> None:
    monkeypatch.chdir(tmp_path)
    done = run("speak", *[model if word == "MODEL" else word for word in words])
    assert done.exit_code == code, done.output
    lines = [line for line in done.stderr.splitlines() if line.startswith("echoic: ")]
    assert len(lines) == 1
    assert message in lines[0]
    assert "Traceback" not in done.stderr
    assert not (tmp_path / "a.wav").exists()
