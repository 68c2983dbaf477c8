"""Manifests and the batches of a run, whatever they hold."""

import json
from collections.abc import Iterator
from pathlib import Path

import pytest
from torch.utils.data import DataLoader

from echoic.audio.data.manifest import Row, Source, rows_of, write_manifest
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


def test_rows_tell_their_stretch(tmp_path: Path) -> None:
    path = tmp_path / "m.jsonl"
    lines = [{"offset": 1, "duration": 2.5}, {"duration": 3}, {"offset": 0}, {}]
    path.write_text("".join(json.dumps({"audio_filepath": "a.wav"} | x) + "\n" for x in lines))
    found = [(row.offset, row.duration) for row in rows_of(Source(str(path)))]
    assert found == [(1.0, 2.5), (None, 3.0), (0.0, None), (None, None)]


@pytest.mark.parametrize("name", ["other/out.jsonl", "other/out.jsonl.gz"])
def test_what_is_written_is_read(manifest: Path, name: str) -> None:
    (manifest.parent / "other").mkdir()
    rows = list(rows_of(Source(str(manifest))))
    far = Row(9, Path("/far/away.wav"), {"audio": "/far/away.wav", "text": "\u4f60\u597d"})
    out = manifest.parent / name
    assert write_manifest(out, [*rows, far]) == 5
    written = list(rows_of(Source(str(out))))
    assert [row.audio.resolve() for row in written] == [r.audio.resolve() for r in [*rows, far]]
    assert [row.values["audio"] for row in written[:2]] == ["../a.wav", "../b/c.wav"]
    assert written[-1].values == far.values
    assert [row.values | {"audio": ""} for row in written] == [
        row.values | {"audio": ""} for row in [*rows, far]
    ]


def test_a_manifest_is_there_in_full_or_not_at_all(manifest: Path) -> None:
    def rows() -> Iterator[Row]:
        yield Row(1, Path("a.wav"), {})
        raise OSError("disk is gone")

    before = manifest.read_bytes()
    with pytest.raises(OSError, match="disk is gone"):
        write_manifest(manifest, rows())
    assert manifest.read_bytes() == before
    assert list(manifest.parent.iterdir()) == [manifest]
