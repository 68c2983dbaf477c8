"""`echoic data shard`: a manifest's recordings and rows come back out of tar files."""

import json
from pathlib import Path

import pytest
import torch
from small_corpora import write_tone
from typer.testing import CliRunner, Result

from echoic.audio.data.shard_stream import ShardStream, shards_of
from echoic.audio.data.shards import Sample
from echoic.audio.io import info, load
from echoic.recipes.cli import build_app


def shard(*words: object) -> Result:
    line = ["data", "shard", *map(str, words)]
    result = CliRunner().invoke(build_app(line), line)
    assert result.exception is None or isinstance(result.exception, SystemExit), result
    return result


@pytest.fixture
def manifest(tmp_path: Path) -> Path:
    """A whole WAV, a stretch of it, a whole FLAC, and one without id."""
    write_tone(tmp_path / "a.wav", 0.5)
    write_tone(tmp_path / "b.flac", 0.25)
    rows = [
        {"audio": "a.wav", "id": "a.1", "text": "whole", "duration": 0.5, "sha256": "ab"},
        {"audio": "a.wav", "id": "a.2", "text": "part", "offset": 0.125, "duration": 0.25},
        {"audio": "b.flac", "id": "b/ä", "text": "“Ja”", "split": "train", "lang": "de"},
        {"audio": "b.flac", "text": "unnamed"},
    ]
    path = tmp_path / "m.jsonl"
    path.write_text("".join(json.dumps(row) + "\n" for row in rows))
    return path


def samples(folder: Path) -> list[Sample]:
    return list(ShardStream(shards_of(str(folder))))


def test_rows_and_sound_come_back(manifest: Path, tmp_path: Path):
    result = shard(manifest, tmp_path / "out", "--count", 3)
    assert (result.exit_code, result.stderr) == (0, "")
    assert result.stdout == f"{tmp_path / 'out'}: 4 utterances in 2 shards\n"
    assert [p.name for p in sorted((tmp_path / "out").iterdir())] == [
        "m-000000.tar",
        "m-000001.tar",
    ]
    found = samples(tmp_path / "out")
    assert [s.key for s in found] == ["a%2E1", "a%2E2", "b%2F%C3%A4", "000000004"]
    assert {tuple(s.files) for s in found} == {("flac", "json")}
    assert [s.fields() for s in found] == [
        {"id": "a.1", "text": "whole", "duration": 0.5},
        {"id": "a.2", "text": "part", "duration": 0.25},
        {"id": "b/ä", "text": "“Ja”", "split": "train", "lang": "de"},
        {"text": "unnamed"},
    ]
    wav = load(tmp_path / "a.wav").wav[0]
    assert torch.equal(found[0].load(), wav)
    assert torch.equal(found[1].load(), wav[1000:3000])
    assert found[2].files["flac"] == (tmp_path / "b.flac").read_bytes()


def test_codecs_and_rates(manifest: Path, tmp_path: Path):
    shard(manifest, tmp_path / "opus", "--codec", "opus", "--sample-rate", 16_000)
    found = samples(tmp_path / "opus")
    assert {info(s.files["opus"]).subtype for s in found} == {"OPUS"}
    assert [s.fields()["duration"] for s in found] == [0.5, 0.25, 0.25, 0.25]
    shard(manifest, tmp_path / "keep", "--codec", "keep")
    found = samples(tmp_path / "keep")
    assert [next(iter(s.files)) for s in found] == ["wav", "flac", "flac", "flac"]
    assert found[0].files["wav"] == (tmp_path / "a.wav").read_bytes()


def test_only_some_and_shards_of_some_size(manifest: Path, tmp_path: Path):
    out = tmp_path / "out"
    assert "1 utterances" in shard(f"{manifest},lang=de", out, "--name", "de").stdout
    assert [path.name for path in out.iterdir()] == ["de-000000.tar"]
    assert "4 shards" in shard(manifest, out, "--megabytes", 0.003).stdout


def test_old_shards_are_replaced_only_when_asked(manifest: Path, tmp_path: Path):
    out = tmp_path / "out"
    shard(manifest, out, "--count", 1)
    before = (out / "m-000000.tar").read_bytes()
    result = shard(manifest, out)
    assert result.exit_code == 2
    assert f"{out / 'm-000000.tar'} is there; use --overwrite" in result.stderr
    manifest.write_text(manifest.read_text() + "[]\n")
    assert shard(manifest, out, "--count", 1, "--overwrite").exit_code == 1
    assert (out / "m-000000.tar").read_bytes() == before
    assert shard(manifest, out, "--overwrite", "--skip-bad").exit_code == 1
    assert [path.name for path in out.iterdir()] == ["m-000000.tar"]


def test_what_is_bad_is_an_error_or_left_out(manifest: Path, tmp_path: Path):
    write_tone(tmp_path / "b.flac").write_bytes(b"fLaC no more")
    with manifest.open("a") as file:
        file.write('{"audio": "none.wav"}\n[]\n')
    result = shard(manifest, tmp_path / "out", "--codec", "opus")
    assert (result.exit_code, result.stdout) == (1, "")
    assert result.stderr.startswith(f"echoic: {manifest}, line 3: {tmp_path / 'b.flac'}: ")
    assert list((tmp_path / "out").iterdir()) == []
    result = shard(manifest, tmp_path / "out", "--codec", "opus", "--skip-bad")
    assert result.exit_code == 1
    assert "2 utterances in 1 shards" in result.stdout
    left = [
        line.removeprefix(f"echoic: left out: {manifest}, ") for line in result.stderr.split("\n")
    ]
    assert [line.split(":")[0] for line in left[:-1]] == ["line 3", "line 4", "line 5", "line 6"]


def test_wrong_usage(manifest: Path, tmp_path: Path):
    result = shard(manifest, tmp_path, "--codec", "mp4")
    assert result.exit_code == 2
    assert "expected one of flac, opus, keep" in result.stderr
    result = shard(f"{manifest},lang=fr", tmp_path / "out")
    assert result.exit_code == 1
    assert "has no utterances that can be used" in result.stderr
