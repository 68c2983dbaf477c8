import json
import os
from pathlib import Path

import pytest

from echoic.asr.batch.errors import UsageError
from echoic.asr.batch.journal import Journal, Record, temporary_path
from echoic.asr.batch.naming import Shard
from echoic.asr.batch.outputs import write_whole


def record(key: str, options: str = "o") -> Record:
    return Record(key, f"/in/{key}.wav", 10, 20, 0.0, None, options, ("txt",))


def reopen(folder: Path, shard: Shard | None = None) -> Journal:
    with Journal(str(folder), shard) as journal:
        return journal


def test_done_is_remembered_with_all_its_facts(tmp_path: Path):
    with Journal(str(tmp_path)) as journal:
        journal.writing(record("a"))
        journal.done(record("a"))
    assert reopen(tmp_path).finished == {"a": record("a")}


def test_writing_without_done_is_claimed_but_not_finished(tmp_path: Path):
    with Journal(str(tmp_path)) as journal:
        for event in (journal.writing, journal.done, journal.writing):
            event(record("a"))
    journal = reopen(tmp_path)
    assert journal.finished == {}
    assert journal.claimed == {"a": record("a")}


def test_failures_are_told_and_do_not_count(tmp_path: Path):
    with Journal(str(tmp_path)) as journal:
        journal.failed("a", "a.wav", "is broken")
    journal = reopen(tmp_path)
    assert (journal.finished, journal.claimed) == ({}, {})
    assert json.loads(Path(journal.path).read_text())["error"] == "is broken"


@pytest.mark.parametrize("size", range(1, 120, 7))
def test_a_torn_last_line_costs_only_itself(tmp_path: Path, size: int):
    with Journal(str(tmp_path)) as journal:
        journal.writing(record("a"))
        journal.done(record("a"))
        path = Path(journal.path)
        whole = path.read_bytes()
        journal.writing(record("b"))
    path.write_bytes(whole + path.read_bytes()[len(whole) :][:size])
    with Journal(str(tmp_path)) as journal:
        assert set(journal.finished) == {"a"}
        journal.writing(record("c"))
        journal.done(record("c"))
    assert set(reopen(tmp_path).finished) == {"a", "c"}


def test_lines_of_other_makers_are_passed_over(tmp_path: Path):
    lines = [
        '{"event": "done"}',
        "[1]",
        "null",
        '{"event": "done", "time": 1.0, "key": "a"}',
        "\0\0",
    ]
    (tmp_path / ".echoic-transcribe.jsonl").write_text("\n".join(lines) + "\n")
    assert reopen(tmp_path).finished == {}


def test_all_shards_are_read_and_the_latest_word_counts(tmp_path: Path):
    for shard, options in ((Shard(2, 2), "old"), (Shard(1, 2), "new")):
        with Journal(str(tmp_path), shard) as journal:
            journal.writing(record("a", options))
            journal.done(record("a", options))
            journal.writing(record(f"only-{options}"))
            journal.done(record(f"only-{options}"))
    journal = reopen(tmp_path)
    assert journal.finished["a"].options == "new"
    assert set(journal.finished) == {"a", "only-old", "only-new"}


def test_two_runs_of_one_shard_are_refused_and_of_two_are_not(tmp_path: Path):
    with Journal(str(tmp_path), Shard(1, 2)):
        with Journal(str(tmp_path), Shard(2, 2)):
            pass
        with pytest.raises(UsageError, match="another echoic transcribe is writing here"):
            Journal(str(tmp_path), Shard(1, 2))
    reopen(tmp_path, Shard(1, 2))


def test_leftovers_of_the_dead_are_removed_and_of_the_living_kept(tmp_path: Path):
    dead, alive = Journal(str(tmp_path), Shard(1, 2)), Journal(str(tmp_path), Shard(2, 2))
    leftovers: list[Path] = []
    for journal, key in ((dead, "sub/a"), (alive, "sub/b")):
        journal.writing(record(key))
        path = Path(temporary_path(str(tmp_path / key), journal.token))
        path.parent.mkdir(exist_ok=True)
        path.write_text("half")
        leftovers.append(path)
    # Both lie in one folder: tokens of one process made at two times still differ.
    assert leftovers[0] != leftovers[1]
    dead.close()
    reopen(tmp_path)
    assert [path.exists() for path in leftovers] == [False, True]
    alive.close()


def test_a_folder_with_pattern_signs_in_its_name(tmp_path: Path):
    folder = tmp_path / "out [1]*"
    with Journal(str(folder), Shard(1, 2)) as journal:
        journal.writing(record("a"))
        journal.done(record("a"))
    assert set(reopen(folder).finished) == {"a"}


def test_a_file_is_whole_or_as_before(tmp_path: Path, monkeypatch: pytest.MonkeyPatch):
    path = tmp_path / "deep" / ("n" * 250)  # its name alone is almost as long as names can be
    write_whole(str(path), b"first", "t")
    assert path.read_bytes() == b"first"

    def fail(_fd: int) -> None:
        raise OSError(28, "No space left on device")

    monkeypatch.setattr(os, "fsync", fail)
    with pytest.raises(OSError, match="No space left"):
        write_whole(str(path), b"second", "t")
    assert path.read_bytes() == b"first"
    assert os.listdir(path.parent) == [path.name]
