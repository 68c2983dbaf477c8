"""Word errors of a manifest, with an adapter and without."""

import json
from pathlib import Path

import pytest

from echoic.asr.transcriber import Transcriber
from echoic.audio.data.manifest import Source
from echoic.recipes.word_errors import main, measure, read

MANIFEST = Path(__file__).parents[1] / "data" / "manifest.jsonl"


def test_it_takes_the_rows_that_are_asked_for(tmp_path: Path) -> None:
    rows = [json.loads(line) for line in MANIFEST.read_text().splitlines()][:3]
    for number, row in enumerate(rows):
        row["audio"] = str(MANIFEST.parent / row["audio"])
        row |= {"lang": "es" if number == 1 else "en", "split": "dev" if number == 2 else "test"}
    own = tmp_path / "m.jsonl"
    own.write_text("".join(json.dumps(row) + "\n" for row in rows))
    assert [t.text for t in read(Source(str(own), lang="es"))] == [rows[1]["text"]]
    assert [t.text for t in read(Source(str(own), lang="en", split="dev"))] == [rows[2]["text"]]
    assert len(read(Source(str(own)), limit=2)) == 2
    with pytest.raises(ValueError, match="no row with a text"):
        read(Source(str(own), lang="fr"))


def test_the_box_hears_most_words(tmp_path: Path, capsys: pytest.CaptureFixture[str]) -> None:
    told = read(Source(str(MANIFEST)), limit=2)
    rate = measure(told, Transcriber.from_pretrained("tiny.en", dtype="float32"), "en")
    assert rate.num_words > 0
    assert rate.rate < 0.3
    report = tmp_path / "r.json"
    line = [str(MANIFEST), "--model", "tiny.en", "--limit", "2", "--json", str(report)]
    assert main(line) == 0
    shown = capsys.readouterr().out.splitlines()
    assert shown[0].startswith(f"model    {100 * rate.rate:5.1f} %")
    assert shown[-1] == f"2 recordings, {rate.num_words} words"
    numbers = json.loads(report.read_text())
    assert numbers["wer"]["model"] == pytest.approx(rate.rate)
    assert numbers["fewer"] is None


def test_what_cannot_be_measured_is_one_line(
    tmp_path: Path, capsys: pytest.CaptureFixture[str]
) -> None:
    for line, message in (
        ([str(tmp_path / "none.jsonl")], "none.jsonl"),
        ([str(MANIFEST), "--lang", "xx"], "no row with a text"),
        ([str(MANIFEST), "--limit", "1", "--model", "./nowhere"], "nowhere"),
        (
            [str(MANIFEST), "--limit", "1", "--model", "tiny.en", "--language-adapter", "no"],
            "no",
        ),
    ):
        assert main(line) == 1
        told = capsys.readouterr().err.splitlines()
        assert len(told) == 1
        assert told[0].startswith("word_errors: ")
        assert message in told[0]
