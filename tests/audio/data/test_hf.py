"""Data sets of Hugging Face, where their package is installed."""

import importlib
import json
from pathlib import Path
from typing import Any

import pytest
import torch

from echoic.audio.data import hf
from echoic.audio.data.manifest import Row, Source, rows_of, write_manifest
from echoic.audio.errors import AudioDecodeError
from echoic.audio.io import load, save

RATE = 8000


@pytest.fixture
def folder(tmp_path: Path) -> Path:
    for name, seconds in (("a.wav", 1), ("b.flac", 2)):
        save(tmp_path / name, torch.rand(seconds * RATE) - 0.5, RATE)
    return tmp_path


def stored(folder: Path, sounds: list[Any], **columns: list[Any]) -> Any:
    datasets = pytest.importorskip("datasets")
    data = datasets.Dataset.from_dict({"audio": sounds, **columns})
    return data.cast_column("audio", datasets.Audio(sampling_rate=RATE))


def test_bytes_become_files_and_paths_stay(folder: Path):
    content = (folder / "b.flac").read_bytes()
    sounds = [
        {"path": str(folder / "a.wav"), "bytes": None},
        {"path": None, "bytes": content},
        {"path": "b.mp3", "bytes": content},
    ]
    data = stored(
        folder, sounds, sentence=["one", "two", None], client_id=[7, 8, 9], words=[[1], [2], []]
    )
    out = folder / "out"
    rows = list(hf.rows_of_dataset(data, out))
    assert [row.audio for row in rows] == [
        folder / "a.wav", out / "0000" / "00000002.flac", out / "0000" / "00000003.mp3"
    ]  # fmt: skip
    assert rows[1].audio.read_bytes() == content
    assert rows[0].values == {"audio": str(folder / "a.wav"), "text": "one", "speaker": 7}
    assert rows[2].values == {"audio": str(rows[2].audio), "speaker": 9}
    assert write_manifest(folder / "m.jsonl", rows) == 3
    written = [row.values["audio"] for row in rows_of(Source(str(folder / "m.jsonl")))]
    assert written == ["a.wav", "out/0000/00000002.flac", "out/0000/00000003.mp3"]


def test_splits_are_told(folder: Path):
    datasets = pytest.importorskip("datasets")
    sounds = [{"path": str(folder / "a.wav"), "bytes": None}]
    splits = {name: stored(folder, sounds, text=[name]) for name in ("train", "dev")}
    datasets.DatasetDict(splits).save_to_disk(folder / "set")
    assert hf.is_dataset(folder / "set")
    assert not hf.is_dataset(folder)
    rows = list(hf.read_dataset(folder / "set", folder / "out"))
    assert [(row.number, row.values["split"]) for row in rows] == [(1, "train"), (2, "dev")]


def test_rows_come_back(folder: Path):
    pytest.importorskip("datasets")
    path = folder / "m.jsonl"
    lines = [
        {"audio": "a.wav", "text": "one", "duration": 1, "words": ["one"]},
        {"audio": "b.flac", "text": "two", "offset": 0.5, "duration": 0.25, "new": True},
    ]
    path.write_text("".join(json.dumps(line) + "\n" for line in lines))
    assert hf.write_dataset(folder / "set", lambda: rows_of(Source(str(path)))) == 2
    first, second = hf.read_dataset(folder / "set", folder / "out")
    assert first.audio.read_bytes() == (folder / "a.wav").read_bytes()
    assert first.values == lines[0] | {"audio": str(first.audio), "words": '["one"]'}
    assert second.values == {
        "audio": str(folder / "out" / "0000" / "00000002.flac"),
        "text": "two", "duration": 0.25, "new": True,
    }  # fmt: skip
    cut = load(folder / "b.flac").wav[:, 4000:6000]
    assert torch.equal(load(second.audio).wav, cut)
    with pytest.raises(FileExistsError, match="is there and not empty"):
        hf.write_dataset(folder / "set", lambda: rows_of(Source(str(path))))
    (folder / "b.flac").write_bytes(b"noise")
    with pytest.raises(AudioDecodeError, match=r"b\.flac"):
        hf.write_dataset(folder / "other", lambda: rows_of(Source(str(path))))
    with pytest.raises(ValueError, match="there are no rows"):
        hf.write_dataset(folder / "other", lambda: [])


def test_what_is_wrong_with_a_data_set_is_said(folder: Path):
    datasets = pytest.importorskip("datasets")
    with pytest.raises(ValueError, match=r"has 0 columns of type Audio.* are text: choose"):
        list(hf.rows_of_dataset(datasets.Dataset.from_dict({"text": ["a"]}), folder / "out"))
    for sound, message in ((None, "row 1 has no sound; drop"), (b"noise", "row 1 has no sound in")):
        data = stored(folder, [{"path": None, "bytes": sound}])
        with pytest.raises(ValueError, match=message):
            list(hf.rows_of_dataset(data, folder / "out"))


def test_without_the_package_its_remedy_is_told(tmp_path: Path, monkeypatch: pytest.MonkeyPatch):
    def missing(name: str) -> Any:
        raise ImportError(name)

    monkeypatch.setattr(importlib, "import_module", missing)
    with pytest.raises(hf.DatasetsMissingError, match=r"pip install 'echoic\[datasets\]'"):
        hf.write_dataset(tmp_path / "set", lambda: [Row(1, Path("a.wav"), {})])
