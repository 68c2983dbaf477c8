"""Data sets that torchaudio fetches: whole in their place, or not there and told in one line."""

import urllib.error
from pathlib import Path

import pytest
from small_corpora import prepare, read_rows, write_text, write_tone

from echoic.recipes.prepare import download


class FakeSet:
    """Unpacks a small LJSpeech, after it failed so many times half-way."""

    failures = 0
    roots: list[str]

    def __init__(self, root: str, download: bool) -> None:
        assert download
        self.roots.append(root)
        folder = Path(root) / "LJSpeech-1.1"
        write_text(Path(root) / "LJSpeech-1.1.tar.bz2", "archive")
        write_tone(folder / "wavs" / f"{len(self.roots)}.wav")
        if len(self.roots) <= self.failures:
            raise OSError("the network is gone")
        write_text(folder / "metadata.csv", f"{len(self.roots)}|one|one\n")


@pytest.fixture
def fake(monkeypatch: pytest.MonkeyPatch) -> type[FakeSet]:
    made = type("Fake", (FakeSet,), {"roots": []})
    monkeypatch.setattr(download, "_class_of", lambda _: made)
    return made


def test_a_set_is_fetched_once(fake: type[FakeSet], tmp_path: Path):
    out = tmp_path / "m.jsonl"
    for _ in range(2):
        assert prepare("ljspeech", tmp_path / "data", out, "--download").exit_code == 0
    assert read_rows(out)[0]["audio"] == "data/LJSpeech-1.1/wavs/1.wav"
    assert len(fake.roots) == 1
    assert [path.name for path in (tmp_path / "data").iterdir()] == ["LJSpeech-1.1"]


def test_half_a_set_is_never_taken_for_one(fake: type[FakeSet], tmp_path: Path):
    fake.failures = 1
    words = ("ljspeech", tmp_path / "data", tmp_path / "m.jsonl", "--download")
    result = prepare(*words)
    target = tmp_path / "data" / "LJSpeech-1.1"
    assert (result.exit_code, result.stdout) == (1, "")
    assert result.stderr == (
        "echoic: LJSpeech-1.1 cannot be fetched (the network is gone); connect to the network, or "
        f"unpack it yourself as {target}\n"
    )
    assert not target.exists()
    assert prepare(*words).exit_code == 0
    assert [path.name for path in (target / "wavs").iterdir()] == ["2.wav"]


@pytest.mark.parametrize(
    ("name", "option"),
    [
        ("librispeech", "--download=dev-clean"),
        ("libritts", "--download=dev-clean"),
        ("ljspeech", "--download"),
        ("vctk", "--download"),
    ],
)
def test_torchaudio_without_a_network(
    name: str, option: str, tmp_path: Path, monkeypatch: pytest.MonkeyPatch
):
    def refuse(*_: object, **__: object) -> None:
        raise urllib.error.URLError(ConnectionRefusedError(111, "Connection refused"))

    monkeypatch.setattr("torch.hub.urlopen", refuse)
    result = prepare(name, tmp_path / "data", tmp_path / "m.jsonl", option)
    assert (result.exit_code, result.stdout) == (1, "")
    assert len(result.stderr.splitlines()) == 1
    assert "cannot be fetched (<urlopen error [Errno 111] Connection refused>)" in result.stderr
    assert "unpack it yourself as " in result.stderr


def test_an_unknown_subset_is_wrong_usage(tmp_path: Path):
    result = prepare("librispeech", tmp_path, tmp_path / "m.jsonl", "--download", "best")
    assert result.exit_code == 2
