"""The boxed recogniser behind a server, and `echoic transcribe --server` beside the local one."""

import json
from collections.abc import Iterator
from pathlib import Path

import pytest
from real_command import SHORT, Command, boxed_transcriber, problems
from served import parts, serving
from typer.testing import Result

from echoic.asr.serving import ServedTranscriber
from echoic.streaming.server.config import ServerConfig
from echoic.streaming.server.models import FileRequest, Refused


def told(result: Result) -> str:
    """Return the one line of what went wrong."""
    (line,) = problems(result)
    assert line.startswith("echoic: ")
    return line


@pytest.fixture(scope="module")
def served() -> ServedTranscriber:
    return ServedTranscriber("tiny.en", boxed_transcriber())


@pytest.fixture(scope="module")
def server(served: ServedTranscriber) -> Iterator[str]:
    with serving(parts(ServerConfig(port=0, max_file_seconds=60), files=served)) as address:
        yield address


def test_a_server_writes_the_same_files(server: str, command: Command, tmp_path: Path):
    (tmp_path / "bad.wav").write_bytes(b"no sound at all")
    line = [SHORT, "bad.wav", "-f", "all", "--word-timestamps", "-o"]
    here = command.type(*line, "here")
    there = command.type(*line, "there", "--server", server)
    assert (here.exit_code, there.exit_code) == (1, 1)
    assert problems(here) == problems(there)
    written = [path.relative_to("here") for path in Path("here").rglob("*.*") if _is_text(path)]
    assert len(written) == 5
    for path in written:
        assert ("here" / path).read_bytes() == ("there" / path).read_bytes()
    again = command.type(*line, "there", "--server", server)
    assert "1 of 2 are done already" in again.stderr


def _is_text(path: Path) -> bool:
    return path.suffix in (".txt", ".srt", ".vtt", ".tsv", ".json")


def test_a_stretch_of_a_recording_is_sent_alone(server: str, command: Command):
    row = {"id": "a", "audio": str(SHORT), "offset": 1.0, "duration": 1.5}
    Path("list.jsonl").write_text(json.dumps(row))
    found = command.type("list.jsonl", "--json", "--server", server)
    assert found.exit_code == 0
    assert json.loads(found.stdout)["duration"] == pytest.approx(1.5, abs=0.01)


def test_what_the_server_refuses_is_told_in_one_line(
    server: str, command: Command, monkeypatch: pytest.MonkeyPatch
):
    problem = told(command.type(SHORT, "--server", server, "-m", "large"))
    assert "no model 'large'" in problem
    gone = told(command.type(SHORT, "--server", "http://127.0.0.1:9"))
    assert "cannot be reached" in gone
    assert "echoic serve" in gone
    for options, word in (
        (["--server", "ftp://x"], "--server is 'ftp://x'"),
        (["--server", server, "--streaming"], "--streaming"),
    ):
        result = command.type(SHORT, *options)
        assert result.exit_code == 2
        assert word in result.stderr
    with serving(parts(keys=["k3y"])) as locked:
        assert "no key was sent" in told(command.type(SHORT, "--server", locked))
        monkeypatch.setenv("ECHOIC_API_KEY", "k3y")
        assert command.type(SHORT, "--server", locked, "-m", "files").exit_code == 0


def test_text_comes_segment_by_segment(served: ServedTranscriber):
    request = FileRequest(str(SHORT), vad=False)
    pieces = list(served.stream(request))
    assert "".join(pieces) == served.transcribe(request).text


@pytest.mark.parametrize(
    ("request_", "param"),
    [
        (FileRequest("", language="Klingon"), "language"),
        (FileRequest("", language="fr"), None),
        (FileRequest("", translate=True), None),
    ],
)
def test_what_the_model_cannot_do_is_refused(
    request_: FileRequest, param: str | None, served: ServedTranscriber
):
    with pytest.raises(Refused) as refused:
        served.check(request_)
    assert refused.value.param == param


def test_recordings_have_a_length(served: ServedTranscriber):
    with pytest.raises(Refused, match="1 s are the most"):
        served.transcribe(FileRequest(str(SHORT), max_seconds=1))
