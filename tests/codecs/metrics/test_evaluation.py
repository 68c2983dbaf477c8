import io
import json
import math
from pathlib import Path

import pytest
import torch
from rich.console import Console
from tiny_codec import tiny_codec

from echoic.audio.io import load, save
from echoic.codecs.metrics import Recording, evaluate
from echoic.codecs.metrics.distances import mel_distance, si_sdr
from echoic.codecs.metrics.report import Report, notes, tables
from echoic.codecs.metrics.scorers import Found

DATA = Path(__file__).parents[2] / "data"
SPEECH = [DATA / f"sense-and-sensibility-08{n}.opus" for n in (80, 90)]
NONE = Found([], {"pesq_wb": "pesq is not installed: pip install 'echoic[metrics]'"})


@pytest.fixture(scope="module")
def report() -> Report:
    recordings = [Recording(path.stem, path) for path in SPEECH]
    return evaluate(tiny_codec(), recordings, model="tiny", found=NONE)


def printed(report: Report) -> str:
    out = io.StringIO()
    console = Console(file=out, width=120)
    for table in tables(report):
        console.print(table)
    return out.getvalue() + "\n".join(notes(report))


def test_rows_hold_what_the_parts_give(report):
    wav = load(SPEECH[0], mono=True).wav
    encoded = tiny_codec().encode(wav)
    back = tiny_codec().decode(encoded)
    row = report.rows[0]
    assert row.name == SPEECH[0].stem
    assert row.seconds == wav.shape[1] / 16000
    assert row.scores["si_sdr"] == pytest.approx(float(si_sdr(wav, back)), abs=0.01)
    assert row.scores["mel_distance"] == pytest.approx(mel_distance(wav, back, 16000), rel=1e-4)
    frames = encoded.codes.shape[2]
    whole, rest = divmod(frames, 100)
    assert row.packed_bytes == whole * math.ceil(1500 / 8) + math.ceil(rest * 15 / 8)
    assert row.entropy_bytes <= row.packed_bytes
    assert row.encode_seconds > 0 < row.decode_seconds


def test_means_are_over_recordings(report):
    values = [row.scores["si_sdr"] for row in report.rows]
    found = report.score("si_sdr")
    assert found.mean == pytest.approx(sum(values) / 2)
    assert found.std == pytest.approx(abs(values[0] - values[1]) / math.sqrt(2))
    assert (found.num, report.score("pesq_wb")) == (2, (None, None, 0))
    total = sum(row.encode_seconds for row in report.rows)
    assert report.encode_rtf == pytest.approx(total / report.seconds)


def test_books_are_counted_over_all_recordings(report):
    codes = [tiny_codec().encode(load(p, mono=True).wav).codes for p in SPEECH]
    joined = torch.cat(codes, dim=2)[0]
    counts = torch.stack([torch.bincount(book, minlength=32) for book in joined])
    assert torch.equal(report.counts, counts)
    p = counts[0] / counts[0].sum()
    perplexity = float(torch.exp(-torch.xlogy(p, p).sum()))
    assert report.to_dict()["perplexity"][0] == pytest.approx(perplexity, rel=1e-4)


def test_json_and_table_say_how_it_was_measured(report):
    data = json.loads(json.dumps(report.to_dict(), allow_nan=False))
    assert data["resampler"] == "soxr HQ"
    assert "no search for a delay" in data["alignment"]
    assert data["bitrate"] == 750
    assert data["scores"]["pesq_wb"] == {"mean": None, "std": None, "num": 0}
    text = printed(report)
    assert "tiny: 2 recordings" in text
    assert "no PESQ-WB: pesq is not installed: pip install 'echoic[metrics]'" in text
    assert "16000 Hz (soxr HQ)" in text
    (line,) = [line for line in text.splitlines() if line.startswith("│ PESQ-WB")]
    assert line.split("│")[2].strip() == "-"


def test_what_cannot_be_measured_is_told_and_the_rest_is(tmp_path):
    save(tmp_path / "short.wav", torch.zeros(1, 500), 16000)
    (tmp_path / "text.wav").write_text("no sound")
    names = ["short.wav", "text.wav", "gone.wav"]
    recordings = [Recording(name, tmp_path / name) for name in names]
    told: list = []
    report = evaluate(
        tiny_codec(),
        [*recordings, Recording("speech", SPEECH[0])],
        model="tiny",
        n_q=2,
        found=NONE,
        told=told.append,
    )
    assert [failure.name for failure in report.failures] == names
    assert "too short to be compared" in report.failures[0].message
    assert [row.name for row in report.rows] == ["speech"]
    assert told == [*report.failures, *report.rows]
    assert report.counts.shape == (2, 32)
    assert "1 recordings" in printed(report)


def test_nothing_measured_has_no_numbers():
    report = evaluate(tiny_codec(), [], model="tiny", found=NONE)
    data = json.loads(json.dumps(report.to_dict(), allow_nan=False))
    assert (data["encode_rtf"], data["entropy_saving"], data["seconds"]) == (None, None, 0)
    assert data["perplexity"] == [0, 0, 0]
    assert printed(report)


def test_silence_has_no_ratio_but_distances(tmp_path):
    save(tmp_path / "silence.wav", torch.zeros(2, 44100), 44100)
    report = evaluate(
        tiny_codec(), [Recording("s", tmp_path / "silence.wav")], model="t", found=NONE
    )
    assert report.rows[0].scores["si_sdr"] is None
    assert (report.rows[0].scores["mel_distance"] or 0.0) > 0


def test_n_q_out_of_range():
    with pytest.raises(ValueError, match="n_q is 9, expected 1 to 3"):
        evaluate(tiny_codec(), [], model="tiny", n_q=9, found=NONE)
