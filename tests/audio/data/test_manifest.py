"""Manifests and the batches of a run, whatever they hold."""

import json
from pathlib import Path

import pytest
from torch.utils.data import DataLoader

from echoic.audio.data.manifest import Source, rows_of
from echoic.audio.data.numbered import NumberedBatches
from echoic.audio.data.recordings import find_recordings

ROWS = [
    {"audio": "a.wav", "split": "train", "lang": "en"},
    {"audio": "b/c.wav", "split": "train", "lang": "ru"},
    {"audio": "d.wav", "split": "dev", "lang": "en"},
    {"audio": "e.wav"},
]


@pytest.fixture
def manifest(tmp_path: Path) -> Path:
    path = tmp_path / "manifest.jsonl"
    path.write_text("\n\n".join(map(json.dumps, ROWS)) + "\n")
    return path


@pytest.mark.parametrize(
    ("conditions", "names"),
    [
        ("", ["a.wav", "c.wav", "d.wav", "e.wav"]),
        (",split=train", ["a.wav", "c.wav"]),
        (",lang=en", ["a.wav", "d.wav"]),
        (",lang=en,split=dev", ["d.wav"]),
    ],
)
def test_conditions(manifest: Path, conditions: str, names: list[str]) -> None:
    source = Source.parse(f"{manifest}{conditions}")
    rows = list(rows_of(source))
    assert [row.audio.name for row in rows] == names
    assert [recording.path for recording in find_recordings(source)] == [r.audio for r in rows]
    assert all(ROWS[(row.number - 1) // 2] == row.values for row in rows)
    assert rows[0].audio.parent == manifest.parent


@pytest.mark.parametrize("text", ["", ",split=a", "a,split", "a,split=", "a,speaker=b", "a,,"])
def test_conditions_that_are_none(text: str) -> None:
    with pytest.raises(ValueError, match="is not PATH"):
        Source.parse(text)


def test_nothing_meets_them(manifest: Path) -> None:
    with pytest.raises(ValueError, match="no recordings of split 'dev' of lang 'ru'"):
        find_recordings(Source(str(manifest), split="dev", lang="ru"))
    with pytest.raises(ValueError, match="is a folder, which has no lang 'ru'"):
        find_recordings(Source(str(manifest.parent), lang="ru"))


def number(n: int) -> int:
    return n


@pytest.mark.parametrize("workers", [0, 2])
def test_batches_go_on_and_are_shared(workers: int) -> None:
    def row(*arguments: int, stop: int) -> list[int]:
        batches = NumberedBatches(number, *arguments, stop=stop)
        return list(DataLoader(batches, batch_size=None, num_workers=workers))

    assert row(stop=5) == [0, 1, 2, 3, 4]
    assert row(3, stop=5) == [3, 4]
    assert row(1, 2, 0, stop=4) == [2, 4, 6]
    assert row(1, 2, 1, stop=4) == [3, 5, 7]
