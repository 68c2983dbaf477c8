"""Lhotse's cuts as rows and back; beside Lhotse itself where it is installed."""

import json
from pathlib import Path
from typing import Any

import pytest
import torch

from echoic.audio.data.lhotse import read_cuts, write_cuts
from echoic.audio.data.manifest import Row, Source, rows_of, write_manifest
from echoic.audio.data.problems import ManifestError, Problem
from echoic.audio.io import save

RATE = 8000
ROWS = [
    {"audio": "long.wav", "id": "a", "offset": 0.5, "duration": 0.25, "text": "\u4f60\u597d",
     "lang": "zh", "speaker": "s", "split": "dev", "snr": 3.5},
    {"audio": "long.wav", "id": "b", "duration": 2.0, "text": "all of it"},
    {"audio": "long.wav", "id": "c", "offset": 1.5, "duration": 0.5},
]  # fmt: skip
KNOWN = {"sample_rate": RATE}


@pytest.fixture
def folder(tmp_path: Path) -> Path:
    save(tmp_path / "long.wav", torch.rand(16000) - 0.5, RATE)
    save(tmp_path / "stereo.wav", torch.rand(2, 8000) - 0.5, RATE)
    return tmp_path


def manifest(folder: Path, *rows: dict[str, Any]) -> list[Row]:
    path = folder / "m.jsonl"
    path.write_text("".join(json.dumps(row) + "\n" for row in rows))
    return list(rows_of(Source(str(path))))


def cut(**changes: Any) -> dict[str, Any]:
    source = {"type": "file", "channels": [0], "source": "/data/r.flac"}
    recording = {"id": "r", "sources": [source], "sampling_rate": 16000, "num_samples": 160000}
    recording |= {"duration": 10.0, "channel_ids": [0]}
    said = {"id": "s", "recording_id": "r", "start": 0.0, "duration": 4.0, "channel": 0}
    said |= {"text": "hello", "language": "en", "speaker": "A"}
    made = {"id": "c", "start": 2.0, "duration": 4.0, "channel": 0, "supervisions": [said]}
    return made | {"recording": recording, "type": "MonoCut"} | changes


def read(folder: Path, *cuts: Any, skipped: list[Problem] | None = None) -> list[Row]:
    path = folder / "cuts.jsonl"
    path.write_text("".join(json.dumps(c) + "\n" for c in cuts))
    return list(read_cuts(path, skipped))


@pytest.mark.parametrize("name", ["cuts.jsonl", "cuts.jsonl.gz"])
def test_rows_come_back(folder: Path, name: str):
    assert write_cuts(folder / name, manifest(folder, *ROWS)) == 3
    back = list(read_cuts(folder / name))
    assert [row.audio for row in back] == [folder / "long.wav"] * 3
    out = folder / "back.jsonl"
    write_manifest(out, back)
    assert [json.loads(x) for x in out.read_text().splitlines()] == [row | KNOWN for row in ROWS]


def test_a_cut_is_a_row(folder: Path):
    (row,) = read(folder, cut(custom={"split": "dev", "features": {"type": "array"}}))
    assert row == Row(1, Path("/data/r.flac"), row.values, 2.0, 4.0)
    assert row.values == {
        "audio": "/data/r.flac", "id": "c", "text": "hello", "lang": "en", "speaker": "A",
        "offset": 2.0, "duration": 4.0, "sample_rate": 16000, "split": "dev",
    }  # fmt: skip
    (row,) = read(folder, cut(start=0, duration=10, supervisions=[]))
    assert (row.offset, row.duration) == (None, 10.0)
    assert "offset" not in row.values
    assert "text" not in row.values


def test_each_of_several_supervisions_is_a_row(folder: Path):
    said = [
        {"id": "x", "start": -1.0, "duration": 2.0, "text": "one"},
        {"id": "y", "start": 3.0, "duration": 5.0, "text": "two"},
    ]
    rows = read(folder, cut(supervisions=said))
    found = [(r.values["id"], r.values["text"], r.offset, r.duration) for r in rows]
    assert found == [("x", "one", 2.0, 1.0), ("y", "two", 5.0, 1.0)]


def test_relative_paths_are_the_working_directorys(folder: Path, monkeypatch: pytest.MonkeyPatch):
    made = cut()
    made["recording"]["sources"][0]["source"] = "r.flac"
    monkeypatch.chdir(folder)
    (row,) = read(folder, made)
    assert row.audio == Path.cwd() / "r.flac"


def test_all_channels_or_none(folder: Path):
    (row,) = manifest(folder, {"audio": "stereo.wav"})
    path = folder / "cuts.jsonl"
    write_cuts(path, [row])
    made = json.loads(path.read_text())
    assert (made["type"], made["channel"]) == ("MultiCut", [0, 1])
    (back,) = read_cuts(path)
    assert (back.audio, back.values["id"]) == (row.audio, "stereo-1")
    with pytest.raises(ManifestError, match=r"channel 1 of \[0, 1\].*save each channel"):
        read(folder, made | {"type": "MonoCut", "channel": 1})


@pytest.mark.parametrize(
    ("changes", "message"),
    [
        ({"type": "MixedCut"}, "type is 'MixedCut', expected MonoCut; save mixed"),
        ({"recording": None}, "not a cut as Lhotse writes them"),
        ({"duration": "long"}, "not a cut as Lhotse writes them"),
        (
            {"recording": cut()["recording"] | {"transforms": [{}]}},
            "sound is changed while it is read",
        ),
        ({"recording": cut()["recording"] | {"sources": [{"type": "url"}]}}, "sound is in url"),
        ({"recording": cut()["recording"] | {"sources": []}}, "sound is in none"),
    ],
)
def test_what_no_row_can_say_is_refused_or_left_out(
    folder: Path, changes: dict[str, Any], message: str
):
    with pytest.raises(ManifestError, match=f"cuts.jsonl, line 2: {message}"):
        read(folder, cut(), cut(**changes))
    skipped: list[Problem] = []
    assert len(read(folder, cut(), cut(**changes), cut(), skipped=skipped)) == 2
    assert [problem.line for problem in skipped] == [2]


def test_a_stretch_behind_the_end_cannot_be_written(folder: Path):
    rows = manifest(folder, {"audio": "long.wav", "offset": 5})
    with pytest.raises(ValueError, match=r"lasts 2\.000 s, and row 1 begins at 5\.0 s"):
        write_cuts(folder / "cuts.jsonl", rows)


def test_lhotse_reads_ours_and_we_read_lhotses(folder: Path):
    lhotse = pytest.importorskip("lhotse")
    rows = manifest(folder, *ROWS, {"audio": "stereo.wav"})
    write_cuts(folder / "ours.jsonl", rows)
    cuts = list(lhotse.CutSet.from_file(folder / "ours.jsonl"))
    lhotse.validate(lhotse.CutSet.from_cuts(cuts))
    assert [(c.start, c.duration) for c in cuts] == [(0.5, 0.25), (0, 2), (1.5, 0.5), (0, 1)]
    assert cuts[0].supervisions[0].text == ROWS[0]["text"]
    assert cuts[0].custom == {"split": "dev", "snr": 3.5}
    assert cuts[0].load_audio().shape == (1, 2000)
    assert cuts[3].load_audio().shape == (2, 8000)
    lhotse.CutSet.from_cuts(cuts).to_file(folder / "theirs.jsonl.gz")
    ours = [(row.audio, row.values) for row in read_cuts(folder / "ours.jsonl")]
    assert [(row.audio, row.values) for row in read_cuts(folder / "theirs.jsonl.gz")] == ours
