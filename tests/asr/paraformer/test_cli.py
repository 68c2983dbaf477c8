"""`echoic transcribe` and `echoic stream` with a Paraformer, as a user types them."""

import json
from pathlib import Path

import pytest
import torch
from live_signals import speech
from real_command import Command, problems
from small_paraformer import CUTS, paraformer

from echoic.asr.paraformer.fusion import Fusion
from echoic.asr.paraformer.ngrams import Ngrams
from echoic.audio.io import load, save

RATE = 16_000
PLAIN = ("--no-vad", "--dtype", "float32")


@pytest.fixture
def folder(tmp_path: Path) -> Path:
    """A model of random weights: what it writes makes no sense, but is always the same."""
    path = tmp_path / "model"
    paraformer(language="en", chunks=CUTS["back"]).save_pretrained(path)
    return path


@pytest.fixture
def recording(tmp_path: Path) -> Path:
    path = tmp_path / "talk.wav"
    save(path, speech(1, 3 * RATE, torch.Generator().manual_seed(0)), RATE)
    return path


@pytest.fixture
def real(command: Command) -> Command:
    command.really_load()
    return command


def test_a_recording_is_written_down(real: Command, folder: Path, recording: Path):
    result = real.type(recording, "-m", folder, *PLAIN)
    assert result.exit_code == 0, result.stderr
    expected = paraformer().recognize(load(recording).wav)
    assert result.stdout.split() == expected[0].text.split() != []


def test_words_have_times(real: Command, folder: Path, recording: Path):
    result = real.type(recording, "-m", folder, *PLAIN, "--word-timestamps", "--json")
    found = json.loads(result.stdout)
    assert found["language"] == "en"
    words = [word for segment in found["segments"] for word in segment["words"]]
    assert "".join(word["word"] for word in words).split() == found["text"].split()
    assert all(0 <= word["start"] <= word["end"] <= 3.0 for word in words)


def test_a_hot_word_is_heard_where_it_pays_enough(real: Command, folder: Path, recording: Path):
    plain = real.type(recording, "-m", folder, *PLAIN).stdout.split()
    rare = next(t for t in paraformer().tokenizer.tokens[3:-1] if t.isalpha() and t not in plain)
    result = real.type(recording, "-m", folder, *PLAIN, "--hotwords", f"{rare}=100")
    assert rare in result.stdout
    assert real.type(recording, "-m", folder, *PLAIN, "--hotwords", rare).exit_code == 0


@pytest.mark.parametrize("verb", [("transcribe",), ("transcribe", "--streaming"), ("stream",)])
def test_ngrams_weigh_what_was_asked(
    real: Command, folder: Path, recording: Path, tmp_path: Path, verb: tuple[str, ...]
):
    mode, *words = verb
    words += ["--dtype", "float32", "--no-vad"]
    alone = real.type(recording, "-m", folder, *words, verb=mode).stdout
    model = paraformer(language="en", chunks=CUTS["back"])
    said = torch.randint(3, 39, (60, 9), generator=torch.Generator().manual_seed(4)).tolist()
    model.fusion = Fusion(Ngrams.count(said, 40), 5.0)
    model.save_pretrained(tmp_path / "mended")

    def heard(*weight: str) -> str:
        result = real.type(recording, "-m", tmp_path / "mended", *words, *weight, verb=mode)
        assert result.exit_code == 0, result.stderr
        return result.stdout

    assert heard("--ngram-weight", "0") == alone
    assert heard("--ngram-weight", "5") == heard() != alone
    assert heard("--ngram-weight", "0.5") not in (heard(), alone)


@pytest.mark.parametrize(
    ("words", "message"),
    [
        (("--task", "translate"), "only write down what is said"),
        (("--language", "fr"), "knows English only, not French"),
        (("--prompt", "Names: Bo."), "takes no prompt"),
        (("--beam-size", "4"), "decodes in one pass"),
        (("--dtype", "float16"), "float16 is for GPUs"),
        (("--hotwords", "word=much"), "word=much"),
        (("--ngram-weight", "0.4"), "has no n-grams: leave it out"),
    ],
)
def test_wishes_that_it_cannot_follow(
    real: Command, folder: Path, recording: Path, words: tuple[str, ...], message: str
):
    result = real.type(recording, "-m", folder, "--no-vad", *words)
    assert result.exit_code == 2
    assert result.stdout == ""
    (problem,) = problems(result)
    assert message in problem


def test_short_and_empty_recordings_do_not_stop_the_others(
    real: Command, folder: Path, recording: Path, tmp_path: Path
):
    """One sample, less than a frame, less than a stack of frames, and silence."""
    for name, samples in (("one", 1), ("frame", 100), ("stack", 900), ("silence", RATE)):
        save(tmp_path / f"{name}.wav", torch.zeros(1, samples), RATE)
    (tmp_path / "broken.wav").write_bytes(b"RIFF")
    names = ["one", "frame", "stack", "silence", "broken", "talk"]
    files = [tmp_path / f"{name}.wav" for name in names]
    result = real.type(*files, "-m", folder, *PLAIN, "--json")
    assert result.exit_code == 1
    assert all("broken.wav" in problem for problem in problems(result))
    texts = {Path(row["audio"]).stem: row for row in map(json.loads, result.stdout.splitlines())}
    assert texts.keys() == set(names)
    assert "text" not in texts["broken"]
    assert texts["one"]["text"] == texts["frame"]["text"] == ""
    assert texts["talk"]["text"]


def test_a_recording_is_heard_as_a_stream(real: Command, folder: Path, recording: Path):
    streamed = real.type(recording, "-m", folder, *PLAIN, "--streaming")
    assert streamed.exit_code == 0, streamed.stderr
    assert streamed.stdout.split()
    wide = real.type(recording, "-m", folder, *PLAIN, "--streaming", "--chunk-ms", "1200")
    assert wide.stdout.split()
    assert wide.stdout != streamed.stdout


def test_a_policy_of_whisper_is_refused(real: Command, folder: Path, recording: Path):
    result = real.type(recording, "-m", folder, "--streaming", "--policy", "agreement")
    assert result.exit_code == 2
    assert "policy agreement is Whisper's" in problems(result)[0]


def test_live_words_come_as_events(real: Command, folder: Path, recording: Path):
    result = real.type(
        recording, "-m", folder, "--no-vad", "--dtype", "float32", "--json", verb="stream"
    )
    assert result.exit_code == 0, result.stderr
    events = [json.loads(line) for line in result.stdout.splitlines()]
    assert {event["type"] for event in events} >= {"partial", "final"}
    whole = real.type(recording, "-m", folder, *PLAIN, "--streaming").stdout.split()
    said = " ".join(event["text"] for event in events if event["type"] == "final").split()
    assert said == whole


@pytest.mark.parametrize("missing", ["tokens.json", "model.safetensors"])
def test_a_folder_that_lacks_something(real: Command, folder: Path, recording: Path, missing: str):
    (folder / missing).unlink()
    result = real.type(recording, "-m", folder)
    assert result.exit_code == 2
    assert missing in problems(result)[0]
    assert str(folder) in problems(result)[0]


def test_a_vocabulary_of_another_model(real: Command, folder: Path, recording: Path):
    tokens = json.loads((folder / "tokens.json").read_text())
    (folder / "tokens.json").write_text(json.dumps(tokens[:-5]))
    result = real.type(recording, "-m", folder)
    assert result.exit_code == 2
    assert "do not belong together" in problems(result)[0]
