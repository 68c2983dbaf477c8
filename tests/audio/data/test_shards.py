"""Tar files of samples: the same bytes each time, read as they come, and damage told."""

import io
import os
import tarfile
import threading
from functools import partial
from http.server import SimpleHTTPRequestHandler, ThreadingHTTPServer
from pathlib import Path
from typing import Literal

import pytest
import torch

from echoic.audio.data.shards import (
    Sample,
    ShardError,
    ShardWriter,
    key_of,
    read_shard,
)
from echoic.audio.io import save


def sample(number: int, size: int = 700) -> Sample:
    return Sample(f"k{number}", {"flac": bytes([number]) * size, "json": b'{"id": %d}' % number})


def write(folder: Path, samples: int, **options: int) -> list[Path]:
    with ShardWriter(folder, "t", **options) as writer:
        for number in range(samples):
            writer.write(*sample(number))
    return writer.shards


def test_samples_come_back(tmp_path: Path):
    shards = write(tmp_path, 7, count=3)
    assert [path.name for path in shards] == [f"t-00000{n}.tar" for n in range(3)]
    assert sorted(tmp_path.iterdir()) == shards
    read = [list(read_shard(path)) for path in shards]
    assert [len(samples) for samples in read] == [3, 3, 1]
    assert [s for samples in read for s in samples] == [sample(n) for n in range(7)]
    assert read[1][0].fields() == {"id": 3}
    assert list(read_shard(shards[0], skip=2)) == [sample(2)]
    assert list(read_shard(shards[0], skip=9)) == []


def test_equal_samples_make_equal_files(tmp_path: Path):
    first, second = (write(tmp_path / name, 4, count=2) for name in "ab")
    assert [path.read_bytes() for path in first] == [path.read_bytes() for path in second]


def test_a_shard_has_no_more_bytes_than_it_may(tmp_path: Path):
    # 512 + 1024 for the sound, 512 + 512 for the JSON, 1024 for the end.
    shards = write(tmp_path, 5, max_bytes=2 * 2560 + 1024)
    assert [len(list(read_shard(path))) for path in shards] == [2, 2, 1]
    assert [len(list(read_shard(p))) for p in write(tmp_path / "b", 3, max_bytes=6143)] == [1] * 3
    with pytest.raises(ValueError, match="0 samples"):
        ShardWriter(tmp_path, "t", count=0)


def test_what_is_not_complete_is_not_there(tmp_path: Path):
    def write_one_twice() -> None:
        with ShardWriter(tmp_path, "t", count=2) as writer:
            for number in (0, 1, 2, 2):
                writer.write(*sample(number))

    with pytest.raises(ValueError, match="key 'k2' after 'k2'"):
        write_one_twice()
    assert [path.name for path in tmp_path.iterdir()] == ["t-000000.tar"]
    with pytest.raises(ValueError, match="without a dot"):
        ShardWriter(tmp_path, "t").write("a.b", {"json": b""})


def test_keys_are_names_without_dots():
    names = ["a.b", "a_b", "a/b", "a%2Eb", "ä", "84-121123-0001"]
    keys = [key_of(name) for name in names]
    assert len(set(keys)) == len(names)
    assert not [key for key in keys if set(key) & set("./")]
    assert keys[-1] == names[-1]


@pytest.mark.parametrize("mode", ["w:gz", "w:bz2", "w:xz"])
def test_compressed_shards_of_others(mode: Literal["w:gz", "w:bz2", "w:xz"], tmp_path: Path):
    path = tmp_path / "t.tar"
    with tarfile.open(path, mode) as tar:
        for name, data in [("./d/", None), ("./d/a.FLAC", b"1"), ("./d/a.seg.json", b"2")]:
            member = tarfile.TarInfo(name)
            member.type = tarfile.DIRTYPE if data is None else tarfile.REGTYPE
            member.size = len(data or b"")
            tar.addfile(member, io.BytesIO(data or b""))
    assert list(read_shard(path)) == [Sample("./d/a", {"flac": b"1", "seg.json": b"2"})]


def test_a_pipe_is_read_as_it_comes(tmp_path: Path):
    data = write(tmp_path, 15)[0].read_bytes()
    assert len(data) > 3 * 10240  # which tarfile reads at once
    out, into = os.pipe()
    with open(out, "rb") as reading, open(into, "wb", buffering=0) as writing:
        writing.write(data[:20480])
        samples = read_shard(reading)
        assert next(samples) == sample(0)  # while the rest is not even written
        writing.write(data[20480:])
        writing.close()
        assert list(samples) == [sample(number) for number in range(1, 15)]


@pytest.mark.parametrize("end", [0, 100, 512, 700, 1536, 2048, 2560, 4096, 5000, 7680, 7681])
def test_a_cut_shard_is_told(end: int, tmp_path: Path):
    """The three samples end at 7680 bytes; a file cut just there has no end of an archive."""
    path = write(tmp_path, 3)[0]
    path.write_bytes(path.read_bytes()[:end])
    got: list[Sample] = []
    with pytest.raises(ShardError) as error:
        got += read_shard(path)
    assert error.value.shard == str(path)
    members = [f"k{n}.{suffix}" for n in range(3) for suffix in ("flac", "json")]
    assert error.value.member in ("", *members)
    assert str(error.value).startswith(f"{path}")
    assert str(error.value).endswith("; copy the shard again, or leave it out")
    assert got == [sample(0), sample(1), sample(2)][: len(got)]


@pytest.mark.parametrize("end", [5700, 7680])
def test_what_was_complete_is_yielded_before(end: int, tmp_path: Path):
    path = write(tmp_path, 3)[0]
    path.write_bytes(path.read_bytes()[:end])
    samples = read_shard(path)
    assert [next(samples), next(samples)] == [sample(0), sample(1)]
    with pytest.raises(ShardError, match=r"t-000000\.tar, at k2\.(flac|json): "):
        next(samples)


def test_a_damaged_header_in_the_middle_is_told(tmp_path: Path):
    path = write(tmp_path, 3)[0]
    data = bytearray(path.read_bytes())
    data[2560 + 3] ^= 1  # in the head of the second sample, where tarfile would end in silence
    path.write_bytes(data)
    with pytest.raises(ShardError, match=r"at k0\.json: not a whole tar file \(bad checksum\)"):
        list(read_shard(path))


def test_errors_of_files_are_told(tmp_path: Path):
    with pytest.raises(ShardError, match=r"no\.tar: No such file or directory; copy"):
        next(read_shard(tmp_path / "no.tar"))
    (tmp_path / "a.tar").write_bytes(b"some text" * 200)
    with pytest.raises(ShardError, match="not a whole tar file"):
        next(read_shard(tmp_path / "a.tar"))


def test_two_files_of_one_name(tmp_path: Path):
    path = tmp_path / "t.tar"
    with tarfile.open(path, "w") as tar:
        for name in ("a.json", "a.json"):
            tar.addfile(tarfile.TarInfo(name))
    with pytest.raises(ShardError, match=r"at a\.json: two files of this name; make"):
        list(read_shard(path))


def test_a_file_that_claims_to_be_huge(tmp_path: Path):
    member = tarfile.TarInfo("a.flac")
    member.size = 2**40
    (tmp_path / "t.tar").write_bytes(member.tobuf() + bytes(5000))
    with pytest.raises(ShardError, match="is to have 1099511627776 bytes"):
        list(read_shard(tmp_path / "t.tar"))


def test_what_a_sample_holds(tmp_path: Path):
    save(tmp_path / "a.wav", torch.linspace(-0.5, 0.5, 800), 8_000)
    found = Sample("a", {"wav": (tmp_path / "a.wav").read_bytes(), "json": b"[]"})
    assert found.load().shape == (800,)
    assert found.load(16_000).shape == (1600,)
    with pytest.raises(ValueError, match=r"a\.json: a list, not an object"):
        found.fields()
    with pytest.raises(ValueError, match=r"sample b has no \.json; make the shard again"):
        Sample("b", {}).fields()
    with pytest.raises(ValueError, match="sample b has no sound"):
        Sample("b", {"json": b"{}"}).load()


def test_addresses(tmp_path: Path):
    fsspec = pytest.importorskip("fsspec")
    data = write(tmp_path, 3)[0].read_bytes()
    with fsspec.open("memory://shards/t.tar", "wb") as file:
        file.write(data)
    assert len(list(read_shard("memory://shards/t.tar"))) == 3
    with pytest.raises(ShardError, match=r"memory://shards/no\.tar: "):
        next(read_shard("memory://shards/no.tar"))
    with pytest.raises(ShardError, match="ValueError"):
        next(read_shard("nothing://t.tar"))


class Quiet(SimpleHTTPRequestHandler):
    def log_message(self, *_: object) -> None:  # type: ignore[override]
        pass


def test_http(tmp_path: Path):
    pytest.importorskip("aiohttp")
    write(tmp_path, 3)
    server = ThreadingHTTPServer(("127.0.0.1", 0), partial(Quiet, directory=str(tmp_path)))
    threading.Thread(target=server.serve_forever, daemon=True).start()
    try:
        address = f"http://127.0.0.1:{server.server_port}"
        assert list(read_shard(f"{address}/t-000000.tar", skip=1)) == [sample(1), sample(2)]
        with pytest.raises(ShardError, match=r"no\.tar"):
            next(read_shard(f"{address}/no.tar"))
    finally:
        server.shutdown()
        server.server_close()


def test_webdataset_reads_what_is_written_here(tmp_path: Path):
    webdataset = pytest.importorskip("webdataset")
    paths = [str(path) for path in write(tmp_path, 5, count=2)]
    read = list(webdataset.WebDataset(paths, shardshuffle=False))
    assert [(s["__key__"], s["flac"], s["json"]) for s in read] == [
        (n.key, n.files["flac"], n.files["json"]) for n in map(sample, range(5))
    ]


def test_what_webdataset_writes_is_read_here(tmp_path: Path):
    webdataset = pytest.importorskip("webdataset")
    with webdataset.TarWriter(str(tmp_path / "t.tar")) as sink:
        for number in range(3):
            found = sample(number)
            sink.write({"__key__": found.key, **found.files})
    assert list(read_shard(tmp_path / "t.tar")) == [sample(number) for number in range(3)]
