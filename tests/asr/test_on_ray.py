"""`echoic transcribe --engine ray`: what is typed, and that it is heard as on one machine."""

import json
from pathlib import Path
from typing import Any

import pytest
from pretended_ray import pretend
from real_command import SHORT, Command, only_problem, problems

UNSURE = {"avg_logprob", "compression_ratio", "no_speech_prob", "probability"}


def told(lines: str) -> dict[str, Any]:
    """Results by name, but for what differs by a little when windows are decoded together."""
    results = [json.loads(line, object_hook=sure) for line in lines.splitlines()]
    return {result.get("id", result["audio"]): result for result in results}


def sure(fields: dict[str, Any]) -> dict[str, Any]:
    return {name: value for name, value in fields.items() if name not in UNSURE}


@pytest.mark.parametrize(
    ("words", "said"),
    [
        (["--workers", "2"], "--address and --workers are for Ray; add --engine ray"),
        (["--address", "auto"], "--address and --workers are for Ray; add --engine ray"),
        (["--engine", "ray", "--workers", "0"], "--workers '0' is no number of workers; write"),
        (["--engine", "ray", "--device", "cuda:1"], "Ray gives each worker a GPU of its own; take"),
    ],
)
def test_wrong_usage(command: Command, monkeypatch, words: list[str], said: str):
    pretend(monkeypatch)
    result = command.type(SHORT, *words)
    assert result.exit_code == 2
    assert said in only_problem(result)


def test_without_ray(command: Command, tmp_path: Path, monkeypatch):
    monkeypatch.setattr("echoic.audio.data.cluster.find_spec", lambda _: None)
    result = command.type(SHORT, "-o", "out", "--engine", "ray")
    assert result.exit_code == 2
    assert only_problem(result) == "Ray is not installed; pip install 'echoic[ray]'"
    assert not (tmp_path / "out").exists()


def test_standard_input_is_not_heard(command: Command, monkeypatch):
    pretend(monkeypatch)
    result = command.type("-", "--engine", "ray", stdin=SHORT.read_bytes())
    assert result.exit_code == 2
    assert "'-' is read here, where no worker hears it; write it to a file" in only_problem(result)


def test_the_same_words_and_problems_as_on_one_machine(
    command: Command, tmp_path: Path, monkeypatch
):
    pretend(monkeypatch)
    (tmp_path / "bad.wav").write_text("no sound")
    (tmp_path / "a.opus").write_bytes(SHORT.read_bytes())
    line = {"audio": "a.opus", "id": "part", "offset": 1.0, "duration": 1.5}
    (tmp_path / "list.jsonl").write_text(json.dumps(line))
    words = ("a.opus", "bad.wav", "gone.wav", "list.jsonl", "--json", "--word-timestamps")
    here = command.type(*words)
    there = command.type(*words, "--engine", "ray")
    assert here.exit_code == there.exit_code == 1
    assert told(there.stdout) == told(here.stdout)
    assert problems(there) == problems(here)
    assert sorted(told(here.stdout)) == ["a.opus", "bad.wav", "part"]


def test_options_that_the_model_cannot_follow(command: Command, monkeypatch):
    pretend(monkeypatch)
    words = (SHORT, "--language", "french")
    here, there = command.type(*words), command.type(*words, "--engine", "ray")
    assert (there.exit_code, there.stderr) == (2, here.stderr)


def test_what_one_machine_has_done_is_done(command: Command, tmp_path: Path, monkeypatch):
    pretend(monkeypatch)
    command.type(SHORT, "-o", "out")
    again = command.type(SHORT, "-o", "out", "--engine", "ray")
    assert again.exit_code == 0
    assert "1 of 1 are done already in out" in again.stderr
