"""Manifests that stay on the disk."""

import gzip
import json
import os
import pickle
import tracemalloc
from collections.abc import Callable
from itertools import islice
from pathlib import Path

import pytest

from echoic.audio.data.lazy import LazyManifest
from echoic.audio.data.manifest import Source, rows_of
from echoic.audio.data.problems import ManifestError

LINES = [
    b'{"audio": "a.wav", "split": "train"}\n',
    b"\n",
    b'{"audio": "b.wav", "split": "dev"}\r\n',
    b"  \r\n",
    '{"audio": "c.wav", "split": "train", "text": "\u4f60\u597d"}\n'.encode(),
    b'{"audio": "d.wav", "split": "dev"}',
]


@pytest.fixture
def path(tmp_path: Path) -> Path:
    path = tmp_path / "m.jsonl"
    path.write_bytes(b"".join(LINES))
    return path


def test_is_the_sequence_of_its_rows(path: Path):
    lazy = LazyManifest(path)
    rows = list(rows_of(Source(str(path))))
    assert [(row.number, row.audio.name) for row in rows] == [
        (1, "a.wav"), (3, "b.wav"), (5, "c.wav"), (6, "d.wav")
    ]  # fmt: skip
    assert len(lazy) == 4
    assert [lazy[i] for i in (2, 0, -1, 1)] == [rows[i] for i in (2, 0, 3, 1)]
    assert lazy[1:3] == rows[1:3]
    assert list(lazy) == rows
    assert lazy[2].values["text"] == "\u4f60\u597d"
    for index in (4, -5):
        with pytest.raises(IndexError, match=r"which has 4"):
            lazy[index]


@pytest.mark.parametrize("split", ["train", "dev", "test"])
def test_conditions(path: Path, split: str):
    source = Source(str(path), split=split)
    lazy, rows = LazyManifest(source), list(rows_of(source))
    assert [lazy[i] for i in range(len(lazy))] == rows


def test_nothing_is_read_before_it_is_needed(path: Path):
    lazy = LazyManifest(path)
    with path.open("ab") as file:
        file.write(b'\n{"audio": "e.wav"}\nnonsense\n')
    assert len(lazy) == 6
    rows = iter(lazy)
    assert [next(rows).audio.name for _ in range(5)][-1] == "e.wav"
    with pytest.raises(ManifestError, match=r"m\.jsonl, line 8: not JSON"):
        next(rows)
    with pytest.raises(ManifestError, match=r"m\.jsonl, line 8: not JSON"):
        lazy[-1]
    with pytest.raises(FileNotFoundError):
        LazyManifest(path.with_name("none.jsonl"))


def test_bad_lines_are_left_out_where_the_source_says_so(path: Path):
    path.write_bytes(b"nonsense\n" + LINES[0] + b"[]\n" + LINES[2])
    lazy = LazyManifest(Source(str(path), skip_bad=True))
    assert [lazy[i].number for i in range(len(lazy))] == [2, 4] == [row.number for row in lazy]
    with pytest.raises(ManifestError, match=r"line 1"):
        len(LazyManifest(Source(str(path), split="dev")))


def test_a_file_that_changes_is_noticed(path: Path):
    lazy = LazyManifest(path)
    assert lazy[0].audio.name == "a.wav"
    os.utime(path, ns=(1, 1))
    with pytest.raises(ValueError, match="was changed while it is in use"):
        lazy[0]


def test_can_be_handed_to_other_processes(path: Path):
    lazy = LazyManifest(path)
    lazy[0]
    assert pickle.loads(pickle.dumps(lazy))[3] == lazy[3]


def test_compressed_ones_can_only_be_iterated(path: Path):
    packed = path.with_name("m.jsonl.gz")
    packed.write_bytes(gzip.compress(path.read_bytes()))
    assert list(LazyManifest(packed)) == list(LazyManifest(path))
    with pytest.raises(TypeError, match=r"is compressed; unpack it"):
        len(LazyManifest(packed))
    packed.write_bytes(packed.read_bytes()[:-12])
    with pytest.raises(OSError, match=r"damaged as a gzip file .*m\.jsonl\.gz"):
        list(LazyManifest(packed))


def test_memory_does_not_grow_with_the_file(tmp_path: Path):
    count = 200_000
    path = tmp_path / "long.jsonl"
    path.write_bytes((json.dumps({"audio": "a.wav"}) + "\n").encode() * count)
    lazy = LazyManifest(path)

    def peak(work: Callable[[], object]) -> int:
        tracemalloc.start()
        try:
            work()
            return tracemalloc.get_traced_memory()[1]
        finally:
            tracemalloc.stop()

    # The first rows tell: a file that is read as a whole is read before them.
    assert peak(lambda: sum(1 for _ in islice(lazy, 10_000))) < 2**19
    assert peak(lambda: len(lazy)) < 8 * count * 2.5  # a growing array is copied once in a while
    assert peak(lambda: lazy[count - 1]) < 2**17
    assert lazy[count - 1].number == count
