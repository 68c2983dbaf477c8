import json
import shutil
from pathlib import Path

import pytest
import typer
from speech_data import DATA
from typer.testing import CliRunner, Result

from echoic.asr.batch.errors import UsageError
from echoic.asr.stream_eval_cli import evaluate_command, parse_chunks, parse_policies

pytest.importorskip("jiwer")
pytest.importorskip("whisper_normalizer")


@pytest.fixture
def manifest(tmp_path: Path) -> Path:
    """Two recordings, one of them with word times; one that is gone; one without its text."""
    rows = [json.loads(line) for line in (DATA / "manifest.jsonl").read_text().splitlines()][1:5:3]
    for row in rows:
        shutil.copy(DATA / row["audio"], tmp_path / row["audio"])
    ends = [0.38, 0.64, 0.92, 1.07, 1.33, 1.7, 2.27, 2.96]
    starts = [0.21, *ends[:-1]]
    rows[1]["words"] = [
        {"text": word, "start": start, "end": end}
        for word, start, end in zip(rows[1]["text"].split(), starts, ends, strict=True)
    ]
    rows.append({"id": "gone", "audio": "gone.wav", "text": "a"})
    rows.append({"id": "mute", "audio": rows[0]["audio"], "offset": 1.0})
    path = tmp_path / "set.jsonl"
    path.write_text("".join(json.dumps(row) + "\n" for row in rows))
    return path


def run(*arguments: str | Path) -> Result:
    app = typer.Typer()
    app.callback()(lambda: None)
    app.command("eval")(evaluate_command)
    return CliRunner().invoke(app, ["eval", *map(str, arguments)])


def test_real_speech_by_a_real_model(manifest: Path, tmp_path: Path):
    report, picture = tmp_path / "report.json", tmp_path / "report.png"
    result = run(
        *(manifest, "--policy", "agreement", "--chunk-ms", "1000"),
        *("--json", report, "--plot", picture),
    )
    assert result.exit_code == 1  # two rows cannot be evaluated
    assert result.stdout.startswith("tiny.en: 2 recordings")
    assert "gone: no such file; check" in result.stderr
    assert "mute: 'text' is None; write what is said there" in result.stderr
    fields = json.loads(report.read_text())
    (found,) = fields["results"]
    assert found["errors"]["words"] == 16
    assert found["errors"]["rate"] <= 0.125
    assert fields["offline"]["rate"] <= 0.125
    assert found["timed_words"] == 16
    # Half a chunk on average, and what it takes two hypotheses to agree.
    assert 0 < found["audio_clock"]["shown"]["median"] < 1.5
    lag = found["audio_clock"]["settled"]["median"]
    assert lag >= found["audio_clock"]["shown"]["median"]
    assert found["wall_clock"]["settled"]["median"] > lag
    assert 0 < found["rtf"] < 20
    assert [f["name"] for f in fields["failures"]] == ["mute", "gone"]
    assert picture.read_bytes().startswith(b"\x89PNG")
    assert not list(tmp_path.glob(".*"))


def test_json_on_stdout_and_a_limit(manifest: Path):
    result = run(
        *(manifest, "--policy", "agreement", "--chunk-ms", "1000", "--limit", "1"),
        *("--no-offline", "--json", "-", "-q"),
    )
    assert result.exit_code == 0
    assert result.stderr == ""
    fields = json.loads(result.stdout)
    assert fields["offline"] is None
    assert fields["results"][0]["recordings"] == 1


@pytest.mark.parametrize(
    ("arguments", "message"),
    [
        (["nothing.jsonl"], "nothing.jsonl: no such file; name a manifest (.jsonl)"),
        (["{set}", "--chunk-ms", "fast"], "--chunk-ms 'fast': 'fast' is no number"),
        (["{set}", "--chunk-ms", "320,"], "--chunk-ms '320,': '' is no number"),
        (["{set}", "--chunk-ms", "nan"], "'nan' is no number"),
        (["{set}", "--policy", "magic"], "--policy 'magic' is none; take causal"),
        (["{set}", "--language", "klingon"], "klingon"),
        (["{set}", "--json", "no/where.json"], "no folder no to write where.json in"),
        (["{set}", "--policy", "agreement", "-m", "no/model"], "no/model"),
    ],
)
def test_wrong_usage(manifest: Path, arguments: list[str], message: str):
    result = run(*(a.format(set=manifest) for a in arguments))
    assert result.exit_code == 2
    assert result.stdout == ""
    assert message in result.stderr
    assert "Traceback" not in result.stderr


def test_a_broken_manifest(tmp_path: Path):
    path = tmp_path / "set.jsonl"
    path.write_text('{"audio": "a.wav", "text": "a"}\n{"audio"\n')
    result = run(path)
    assert result.exit_code == 2
    assert "line 2: not JSON" in result.stderr


def test_nothing_left(manifest: Path):
    manifest.write_text(json.dumps({"audio": "gone.wav"}) + "\n")
    result = run(manifest)
    assert result.exit_code == 1
    assert "no recording to evaluate on" in result.stderr


def test_lists():
    assert parse_chunks("320, 640,320,1e3") == (320, 640, 1000)
    assert parse_policies("causal, agreement,causal") == ("causal", "agreement")
    with pytest.raises(UsageError, match="from 1 on"):
        parse_chunks("0")
