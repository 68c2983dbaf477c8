"""`echoic transcribe` with the boxed model on real speech, as a user runs it."""

import json
import re
import shutil
import subprocess
import sys
from itertools import pairwise
from pathlib import Path
from typing import Any

import pytest
from real_command import DATA, RECORDINGS, SHORT, Command, encoded, problems, start

from echoic.asr.metrics import word_error_rate
from echoic.asr.text.normalizers import english

ROWS = [json.loads(line) for line in (DATA / "manifest.jsonl").read_text().splitlines()]
MOST_ERRORS = 0.08
SUFFIXES = ("json", "srt", "tsv", "txt", "vtt")


def json_lines(text: str) -> dict[str, dict[str, Any]]:
    return {line["audio"]: line for line in map(json.loads, text.splitlines())}


def check_against_the_manifest(texts: dict[str, str]) -> None:
    references = [row["text"] for row in ROWS]
    heard = [texts[row["id"]] for row in ROWS]
    assert word_error_rate(references, heard, normalizer=english()).rate <= MOST_ERRORS


def seconds(clock: str) -> float:
    hours, minutes, rest = clock.replace(",", ".").split(":")
    return 3600 * int(hours) + 60 * int(minutes) + float(rest)


def test_a_folder_to_all_formats(command: Command):
    result = command.type(DATA, "-o", "out", "--word-timestamps")
    assert (result.exit_code, result.stdout) == (0, "")
    names = sorted(p.name for p in Path("out").glob("[!.]*"))
    assert names == sorted(f"{row['id']}.{suffix}" for row in ROWS for suffix in SUFFIXES)
    check_against_the_manifest({r["id"]: Path("out", r["id"] + ".txt").read_text() for r in ROWS})
    for row in ROWS:
        found = json.loads(Path("out", row["id"] + ".json").read_text())
        assert found["duration"] == pytest.approx(row["duration"], abs=0.02)
        check_segments(found["segments"], found["duration"])
        check_subtitles(Path("out", row["id"] + ".srt").read_text(), found)
        assert Path("out", row["id"] + ".vtt").read_text().startswith("WEBVTT\n\n")
        table = Path("out", row["id"] + ".tsv").read_text().splitlines()
        assert table[0] == "start\tend\ttext"
        assert len(table) == 1 + len(found["segments"])


def check_segments(segments: list[dict[str, Any]], duration: float) -> None:
    assert segments
    for before, after in pairwise(segments):
        assert before["end"] <= after["start"] + 0.05
    for segment in segments:
        assert 0 <= segment["start"] < segment["end"] <= duration + 0.05
        words = segment["words"]
        assert "".join(word["word"] for word in words).split() == segment["text"].split()
        for word in words:
            assert segment["start"] <= word["start"] <= word["end"] <= segment["end"]
            assert word["end"] - word["start"] < 2
            assert 0 <= word["probability"] <= 1


def check_subtitles(text: str, found: dict[str, Any]) -> None:
    cues = [block.splitlines() for block in text.strip().split("\n\n")]
    assert [int(cue[0]) for cue in cues] == list(range(1, len(cues) + 1))
    times = [re.fullmatch(r"(\d\d:\d\d:\d\d,\d{3}) --> (\d\d:\d\d:\d\d,\d{3})", c[1]) for c in cues]
    assert all(times)
    spans = [tuple(map(seconds, found.groups())) for found in times if found]
    assert all(start < end for start, end in spans)
    assert spans == [(round(s["start"], 3), round(s["end"], 3)) for s in found["segments"]]
    assert " ".join(cue[2] for cue in cues).split() == found["text"].split()


def test_json_lines_have_the_promised_fields(command: Command):
    result = command.type(DATA, "--json", "--word-timestamps", "-q")
    assert (result.exit_code, result.stderr) == (0, "")
    lines = json_lines(result.stdout)
    assert set(lines) == {str(path) for path in RECORDINGS}
    for line in lines.values():
        assert set(line) == {
            *("audio", "text", "segments", "language", "language_probability", "duration")
        }
        assert (line["language"], line["language_probability"]) == ("en", 1.0)
        for number, segment in enumerate(line["segments"]):
            assert segment["id"] == number
            assert set(segment) == {
                *("id", "start", "end", "text", "temperature", "avg_logprob"),
                *("compression_ratio", "no_speech_prob", "words"),
            }
            assert all(set(w) == {"word", "start", "end", "probability"} for w in segment["words"])
    check_against_the_manifest({Path(name).stem: line["text"] for name, line in lines.items()})


def test_the_manifest(command: Command):
    cut = {"audio": str(RECORDINGS[0]), "id": "cut", "offset": 4.0, "duration": 3.1}
    Path("cut.jsonl").write_text(json.dumps(cut))
    result = command.type(DATA / "manifest.jsonl", "cut.jsonl", "--json", "--word-timestamps")
    lines = {line["id"]: line for line in map(json.loads, result.stdout.splitlines())}
    check_against_the_manifest({name: line["text"] for name, line in lines.items()})
    assert lines[ROWS[0]["id"]]["manifest"] == {k: v for k, v in ROWS[0].items() if k != "audio"}
    assert lines["cut"]["duration"] == 3.1
    assert lines["cut"]["text"].endswith("power to do for them.")
    assert "Dashwood" not in lines["cut"]["text"]
    assert lines["cut"]["segments"][-1]["end"] <= 3.15


def test_standard_input_patterns_and_lists_give_the_same(command: Command):
    by_path = command.type(SHORT, "-q").stdout
    Path("list").write_bytes(bytes(SHORT) + b"\n")
    assert by_path
    assert command.type("-", "-q", stdin=SHORT.read_bytes()).stdout == by_path
    assert command.type("-", "-q", stdin=encoded("WAV", "PCM_16")).stdout == by_path
    assert command.type(str(DATA / "*0880*"), "-q").stdout == by_path
    assert command.type("--files-from", "list", "-q").stdout == by_path


def test_shards_make_the_whole(command: Command):
    whole = json_lines(command.type(DATA, "--json").stdout)
    first, second = (
        json_lines(command.type(DATA, "--json", "--shard", f"{i}/2").stdout) for i in (1, 2)
    )
    assert not first.keys() & second.keys()
    assert min(len(first), len(second)) > 0
    assert {name: line["text"] for name, line in (first | second).items()} == {
        name: line["text"] for name, line in whole.items()
    }


def test_batch_sizes_and_company_change_nothing(command: Command):
    by_size = [
        json_lines(command.type(DATA, "--json", "--batch-size", size).stdout) for size in ("1", "3")
    ]
    alone = json_lines("".join(command.type(path, "--json").stdout for path in RECORDINGS[1:]))
    for found in by_size:
        assert len(found) == len(RECORDINGS)
        assert found.keys() == by_size[0].keys() >= alone.keys()
        assert all(found[name]["text"] == by_size[0][name]["text"] for name in found)
        assert all(found[name]["text"] == alone[name]["text"] for name in alone)


def test_one_bad_recording_among_good_ones(command: Command):
    Path("in").mkdir()
    for path in RECORDINGS:
        shutil.copy(path, "in")
    Path("in/sense-and-sensibility-0885.opus").write_bytes(SHORT.read_bytes()[:50])
    result = command.type("in", "-o", "out", "-f", "txt")
    assert result.exit_code == 1
    assert len(problems(result)) == 1
    assert sorted(p.stem for p in Path("out").glob("*.txt")) == [p.stem for p in RECORDINGS]
    Path("in/sense-and-sensibility-0885.opus").write_bytes(SHORT.read_bytes())
    again = command.type("in", "-o", "out", "-f", "txt", "--json")
    assert (again.exit_code, list(json_lines(again.stdout))) == (
        0,
        ["in/sense-and-sensibility-0885.opus"],
    )
    assert "5 of 6 are done already" in again.stderr


def test_models_and_env(command: Command):
    models = command.type(verb="models")
    assert models.exit_code == 0
    assert re.search(r"^tiny\.en +\d+\.\d MB  \S", models.stdout, re.MULTILINE)
    env = command.type(verb="env")
    assert env.exit_code == 0
    assert "torch" in env.stdout


def test_the_true_loader_and_the_console_script(tmp_path: Path):
    process = start(SHORT, "--word-timestamps", "--json", cwd=tmp_path)
    out, errors = process.communicate(timeout=200)
    assert (process.returncode, problems(errors)) == (0, [])
    (line,) = json_lines(out).values()
    assert line["text"].startswith("He was not")
    assert line["segments"][0]["words"][0]["word"] == " He"
    script = Path(sys.executable).with_name("echoic")
    done = subprocess.run([script, "--version"], capture_output=True, text=True)
    assert (done.returncode, done.stdout.split()[0]) == (0, "echoic")
