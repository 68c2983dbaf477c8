"""What is wrong with a manifest is found, named and counted."""

import json
import logging
import tracemalloc
from pathlib import Path

import pytest

from echoic.audio.data.manifest import Source, rows_of
from echoic.audio.data.problems import ManifestError, Problem, log_skipped
from echoic.audio.data.validate import Tally, check, find_problems, valid_rows

GOOD = b'{"audio": "a.wav", "id": "1", "duration": 1800, "lang": "en", "speaker": "s"}'
BAD = [
    (b"{audio: a.wav}", "not JSON", "one object a line"),
    (b'"a.wav"', "a str, not an object", "write"),
    (b'{"path": "a.wav"}', "no 'audio'", "name the recording's path"),
    (b'{"audio": 3}', "'audio' is 3", "must be a path"),
    (b'{"audio": "none.wav"}', "none.wav: No such file", "mend the path"),
    (b'{"audio": "folder"}', "is no file", "name a recording"),
    (b'{"audio": "empty.wav"}', "empty.wav is empty", "copy it again"),
    (b'{"audio": "a.wav", "duration": -1}', "'duration' is -1", "seconds"),
    (b'{"audio": "a.wav", "offset": -0.5}', "'offset' is -0.5", "seconds"),
    (b'{"audio": "a.wav", "offset": NaN}', "NaN is no JSON value", "mend or drop"),
    (b'{"audio": "a.wav", "duration": 1e999}', "too large", "mend or drop"),
    (b'{"audio": "a.wav", "offset": 1, "duration": 0}', "duration is 0", "leave it out"),
    (b'{"audio": "caf\xe9.wav"}', "not UTF-8 (byte 14)", "convert"),
    (b'{"audio": "a.wav", "text": 7}', "'text' is 7, not a string", "quotes"),
    (b'{"audio": "a.wav", "text": null}', "'text' is None", "leave it out"),
    (b'{"audio": "a.wav", "lang": ["en"]}', "'lang' is ['en']", "quotes"),
    (b'{"audio": "a.wav", "id": true}', "'id' is True, not a name", "write a string"),
    (b'{"audio": "a.wav", "id": 1}', "id 1 is that of an earlier line", "its own"),
]


@pytest.fixture
def folder(tmp_path: Path) -> Path:
    (tmp_path / "a.wav").write_bytes(b"sound")
    (tmp_path / "empty.wav").write_bytes(b"")
    (tmp_path / "folder").mkdir()
    return tmp_path


def manifest(folder: Path, *lines: bytes) -> Path:
    path = folder / "m.jsonl"
    path.write_bytes(b"\n".join(lines) + b"\n")
    return path


@pytest.mark.parametrize(("line", "what", "mend"), BAD)
def test_what_is_wrong_is_named_with_its_line_and_mend(
    folder: Path, line: bytes, what: str, mend: str
):
    path = manifest(folder, GOOD, b"", line, b'{"audio": "a.wav", "lang": "ru"}')
    report = check(path)
    (problem,) = report.problems
    assert (problem.path, problem.line) == (path, 3)
    assert what in problem.what
    assert mend in problem.mend
    assert (report.tally.utterances, report.tally.seconds) == (2, 1800)
    with pytest.raises(ManifestError, match=r"m\.jsonl, line 3: ") as caught:
        list(valid_rows(Source(str(path))))
    assert caught.value.problem == problem
    skipped: list[Problem] = []
    assert [row.number for row in valid_rows(Source(str(path)), skipped=skipped)] == [1, 4]
    assert skipped == [problem]


def test_all_that_is_wrong_is_found_in_order(folder: Path):
    path = manifest(folder, GOOD, *(line for line, *_ in BAD), b'{"audio": "no", "text": 1}')
    problems = check(path).problems
    assert [p.line for p in problems] == [*range(2, len(BAD) + 2), len(BAD) + 2, len(BAD) + 2]
    without_files = [p.line for p in check(path, files=False).problems]
    assert without_files == [p.line for p in problems if p.mend not in (
        "mend the path or drop the line", "name a recording", "copy it again or drop the line"
    )]  # fmt: skip


def test_what_is_right_is_counted(folder: Path):
    rows = [
        {"audio": "a.wav", "lang": "en", "speaker": "s", "duration": 1.5},
        {"audio": "a.wav", "lang": "ru", "speaker": 7, "duration": 2, "offset": 1},
        {"audio": "a.wav", "lang": "en", "speaker": "7"},
        {"audio": "a.wav"},
    ]
    tally = check(manifest(folder, *(json.dumps(row).encode() for row in rows))).tally
    assert (tally.utterances, tally.seconds, tally.untold, tally.speakers) == (4, 3.5, 2, 2)
    assert tally.languages == {"en": 2, "ru": 1, "": 1}


def test_a_manifest_of_nothing_is_a_problem(folder: Path):
    (problem,) = check(manifest(folder, b"")).problems
    assert problem.what == "no utterances"


def test_conditions_choose_what_is_looked_at(folder: Path):
    path = manifest(folder, b'{"audio": "no.wav", "lang": "ru"}', GOOD)
    assert [row.number for row in valid_rows(Source(str(path), lang="en"))] == [2]


def test_problems_come_while_the_file_is_read(folder: Path):
    path = manifest(folder, *[b"[]"] * 10)
    tally = Tally()
    problems = find_problems(path, tally)
    path.write_bytes(path.read_bytes()[:3])  # what is already buffered is still read
    assert next(problems).line == 1


def test_memory_of_a_long_one_is_that_of_its_ids(folder: Path):
    count = 20_000
    lines = (
        b'{"audio": "a.wav", "text": "%s", "id": "%d"}' % (b"a" * 200, i) for i in range(count)
    )
    path = manifest(folder, *lines)
    tracemalloc.start()
    try:
        assert check(path, files=False).problems == []
        assert tracemalloc.get_traced_memory()[1] < 2**18 + 200 * count
    finally:
        tracemalloc.stop()


def test_bad_lines_are_left_out_of_reading_and_told_within_bounds(
    folder: Path, caplog: pytest.LogCaptureFixture
):
    path = manifest(folder, GOOD, *[b"[]"] * 30)
    with pytest.raises(ManifestError, match="line 2"):
        list(rows_of(Source(str(path))))
    with caplog.at_level(logging.WARNING):
        assert len(list(rows_of(Source(str(path), skip_bad=True)))) == 1
    assert len(caplog.messages) == 11
    assert caplog.messages[0].startswith(f"left out: {path}, line 2: a list")
    assert caplog.messages[-1] == "30 lines left out, 20 more than shown"
    caplog.clear()
    skipped: list[Problem] = []
    assert len(list(rows_of(Source(str(path)), skipped))) == 1
    assert ([p.line for p in skipped], caplog.messages) == ([*range(2, 32)], [])
    log_skipped(logging.getLogger(__name__), [])
    assert caplog.messages == []
