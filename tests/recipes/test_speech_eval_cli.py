"""`echoic tts eval`, by a talker that babbles and a recogniser that is not asked much."""

import json
from pathlib import Path

import pytest
import torch
from small_talker import small_talker
from torch import Tensor
from typer.testing import CliRunner, Result

from echoic.audio.io import load
from echoic.audio.write import save
from echoic.codecs.jobs.console import Console
from echoic.codecs.jobs.errors import UsageError
from echoic.recipes.cli import build_app
from echoic.recipes.speech_eval.job import EvalRequest, evaluate_talker, load_hearing
from echoic.recipes.speech_eval.measuring import Hear
from echoic.tts.synthesizer import Synthesizer

DATA = Path(__file__).parents[1] / "data"


@pytest.fixture(scope="module")
def model(tmp_path_factory: pytest.TempPathFactory) -> Path:
    folder = tmp_path_factory.mktemp("talker")
    small_talker().save_pretrained(folder)
    return folder


def run(*words: object) -> Result:
    line = ["tts", "eval", *(str(word) for word in words)]
    return CliRunner().invoke(build_app(line), line)


def nothing_heard(request: EvalRequest, language: str) -> Hear:
    assert language == "en"
    return lambda wav, rate: ""


def evaluate(request: EvalRequest) -> int:
    return evaluate_talker(request, Console(quiet=True), lambda: None, nothing_heard)


def test_a_list_of_texts_is_judged_by_a_recogniser(model: Path, tmp_path: Path) -> None:
    texts, out, audio = tmp_path / "a.txt", tmp_path / "a.json", tmp_path / "wavs"
    texts.write_text("\n\nAnd more.\nNever reached.\n")
    done = run(texts, "-m", model, "--limit", 1, "--json", out, "--audio", audio, "--seed", 5)
    assert done.exit_code == 0, done.output
    assert "WER %" in done.stdout
    assert "heard by tiny.en in float32, seed 5" in done.stdout
    numbers = json.loads(out.read_text())
    assert [row["text"] for row in numbers["rows"]] == ["And more."]
    assert list(numbers["versions"]) == ["talker"]
    assert numbers["versions"]["talker"]["wer"]["length"] == 2
    assert isinstance(numbers["rows"][0]["talker"]["heard"], str)
    assert sorted(path.name for path in audio.iterdir()) == ["0003.wav"]
    expected = Synthesizer(small_talker()).speak("And more.", seed=5).wav
    found = load(audio / "0003.wav").wav[0]
    torch.testing.assert_close(found, expected.clamp(-1, 1), atol=1e-4, rtol=0)


def test_recordings_stand_beside(
    model: Path, tmp_path: Path, capsys: pytest.CaptureFixture[str]
) -> None:
    save(tmp_path / "b.wav", 0.1 * torch.randn(1, 8000), 16_000)
    rows = [{"text": "Hi.", "audio": "b.wav"}, {"text": "Ho.", "audio": "no.wav"}, {"text": 3}]
    manifest = tmp_path / "m.jsonl"
    manifest.write_text("".join(json.dumps(row) + "\n" for row in rows))
    request = EvalRequest(
        str(manifest), str(model), json_file="-", audio=str(tmp_path / "wavs"), threads=1
    )
    assert evaluate(request) == 1
    out, err = capsys.readouterr()
    numbers = json.loads(out)
    assert {v: s["sentences"] for v, s in numbers["versions"].items()} == {
        "talker": 2,
        "codec": 1,
        "recording": 1,
    }
    assert numbers["versions"]["recording"]["seconds"] == 0.5
    assert numbers["versions"]["codec"]["wer"]["rate"] == 1.0
    assert numbers["threads"] == 1
    assert [failure["name"] for failure in numbers["failures"]] == [
        f"{manifest}, line 2",
        f"{manifest}, line 3",
    ]
    assert "no.wav" in err
    assert "2 sentences measured, 2 failures" in err
    assert sorted(path.name for path in (tmp_path / "wavs").iterdir()) == [
        "0001.codec.wav",
        "0001.wav",
        "0002.wav",
    ]


def test_where_nothing_can_be_said_there_is_no_table(
    model: Path, tmp_path: Path, capsys: pytest.CaptureFixture[str]
) -> None:
    (tmp_path / "a.txt").write_text("...\n🙂\n")
    assert evaluate(EvalRequest(str(tmp_path / "a.txt"), str(model))) == 1
    out, err = capsys.readouterr()
    assert out == ""
    assert err.count("there is nothing to say") == 2


@pytest.mark.parametrize(
    ("words", "message"),
    [
        (["none.txt", "-m", "MODEL"], "none.txt: no such file"),
        (["a.txt", "-m", "nowhere"], "nowhere"),
        (["a.txt", "-m", "MODEL", "--voice", "x.voice"], "x.voice"),
        (["a.txt", "-m", "MODEL", "--recognizer", "none"], "--recognizer: "),
        (["a.txt", "-m", "MODEL", "--json", "none/a.json"], "no folder"),
        (["a.txt", "-m", "MODEL", "--json", "a.txt"], "is the input as well"),
        (["a.txt", "-m", "MODEL", "--audio", "."], "is not empty; name a new folder"),
        (["a.txt", "-m", "MODEL", "--audio", "a.txt"], "a file is in the way"),
    ],
)
def test_what_makes_no_sense_is_one_line(
    model: Path, tmp_path: Path, monkeypatch: pytest.MonkeyPatch, words: list[str], message: str
) -> None:
    monkeypatch.chdir(tmp_path)
    (tmp_path / "a.txt").write_text("Hello.\n")
    done = run(*[model if word == "MODEL" else word for word in words])
    assert done.exit_code == 2, done.output
    assert done.stdout == ""
    lines = done.stderr.splitlines()
    assert len(lines) == 1
    assert lines[0].startswith("echoic: ")
    assert message in lines[0]
    assert (tmp_path / "a.txt").read_text() == "Hello.\n"


def test_a_recogniser_of_another_language() -> None:
    with pytest.raises(UsageError, match="--recognizer: "):
        load_hearing(EvalRequest("a.txt", "t"), "zh")


def test_the_box_hears_what_is_said() -> None:
    hear = load_hearing(EvalRequest("a.txt", "t"), "en")
    wav: Tensor = load(DATA / "sense-and-sensibility-0880.opus", sample_rate=16_000).wav[0]
    assert "young man" in hear(wav, 16_000)
