"""Rows are written as they are measured, kept, checked, and never lost for a bad neighbour."""

import gzip
import threading
from pathlib import Path

import pytest
from small_corpora import prepare, read_rows, write_pairs, write_text, write_tone

from echoic.audio.data.problems import ManifestError
from echoic.audio.data.validate import check
from echoic.recipes.prepare import corpus
from echoic.recipes.prepare.corpus import Bad, Utterance, find, in_order, write_corpus

NAMES = ("a", "b", "c", "d")


@pytest.fixture
def source(tmp_path: Path) -> Path:
    return write_pairs(tmp_path / "source", NAMES)


@pytest.fixture
def measured(monkeypatch: pytest.MonkeyPatch) -> list[str]:
    """The recordings that were opened."""
    names: list[str] = []
    true = corpus._seconds_of

    def seconds_of(audio: Path) -> float:
        names.append(audio.stem)
        return true(audio)

    monkeypatch.setattr(corpus, "_seconds_of", seconds_of)
    return names


def folder(source: Path, out: Path, *options: str):
    return prepare("folder", source, out, "--lang", "en", *options)


def test_what_a_row_has(source: Path, tmp_path: Path):
    result = folder(source, tmp_path / "out", "--speaker", "eve")
    out = tmp_path / "out" / "manifest.jsonl"
    assert result.stdout == f"{out}: 4 utterances, 0.00 hours\n"
    assert (result.exit_code, result.stderr) == (0, "")
    assert read_rows(out)[1] == {
        "audio": "../source/b.wav",
        "id": "b",
        "duration": 0.11,
        "text": "number 1",
        "lang": "en",
        "speaker": "eve",
        "split": "train",
    }
    assert check(out).problems == []
    assert list(out.parent.iterdir()) == [out]


def test_a_linked_folder_has_paths_from_its_true_place(source: Path, tmp_path: Path):
    (tmp_path / "deep" / "true").mkdir(parents=True)
    (tmp_path / "link").symlink_to(tmp_path / "deep" / "true")
    folder(source, tmp_path / "link" / "m.jsonl")
    assert read_rows(tmp_path / "link" / "m.jsonl")[0]["audio"] == "../../source/a.wav"
    assert check(tmp_path / "link" / "m.jsonl").problems == []


def test_rows_that_are_there_are_kept(source: Path, tmp_path: Path, measured: list[str]):
    out = tmp_path / "m.jsonl"
    folder(source, out)
    before = out.read_bytes()
    write_pairs(source, ("e",))
    result = folder(source, out)
    assert result.stdout == f"{out}: 5 utterances, 0.00 hours, 4 kept\n"
    assert out.read_bytes().startswith(before)
    assert measured == [*NAMES, "e"]
    folder(source, out, "--overwrite")
    assert measured[5:] == [*NAMES, "e"]


@pytest.mark.parametrize("written", range(4))
def test_a_torn_file_is_gone_on_with(
    written: int, source: Path, tmp_path: Path, measured: list[str]
):
    out = tmp_path / "m.jsonl"
    folder(source, out)
    whole = out.read_bytes()
    lines = whole.splitlines(keepends=True)
    out.unlink()
    torn = b"".join(lines[:written]) + lines[written][: 7 * written]
    (tmp_path / "m.jsonl.unfinished").write_bytes(torn)
    measured.clear()
    assert folder(source, out).exit_code == 0
    assert out.read_bytes() == whole
    assert measured == list(NAMES[written:])


def test_what_is_bad_is_passed_over_and_told(source: Path, tmp_path: Path):
    out = tmp_path / "m.jsonl"
    (source / "a.wav").write_bytes(b"no sound")
    (source / "b.wav").write_bytes(b"")
    write_text(source / "d.txt", " \n")
    write_tone(source / "alone.wav")
    result = folder(source, out)
    assert result.exit_code == 1
    assert [row["id"] for row in read_rows(out)] == ["c"]
    assert f"1 recordings without text passed over, such as {source / 'alone.wav'}" in result.stdout
    first, second, third, last = result.stderr.splitlines()
    assert first.startswith(f"echoic: {source / 'a.wav'}: ")
    assert second.startswith(f"echoic: {source / 'b.wav'}: is empty; ")
    assert third == f"echoic: {source / 'd.wav'}: the text of d is empty; write it, or drop both"
    assert last == "echoic: 3 passed over; mend them and run this again"
    write_pairs(source, ("a",))
    assert "3 passed" not in folder(source, out).stderr
    assert [row["id"] for row in read_rows(out)] == ["c", "a"]


def test_nothing_usable_writes_nothing(source: Path, tmp_path: Path):
    for path in source.glob("*.wav"):
        path.write_bytes(b"no sound")
    result = folder(source, tmp_path / "m.jsonl")
    assert (result.exit_code, result.stdout) == (1, "")
    assert result.stderr.splitlines()[-1] == (
        f"echoic: {tmp_path / 'm.jsonl'} is not written: 0 recordings without text, 4 bad ones, "
        "and nothing else; look into SRC"
    )
    assert [path.name for path in tmp_path.iterdir()] == ["source"]


def test_two_of_one_id(source: Path, tmp_path: Path):
    write_tone(source / "a.flac")
    result = folder(source, tmp_path / "m.jsonl")
    assert result.exit_code == 1
    assert f"{source / 'a.wav'}: its id a is that of another recording; rename" in result.stderr
    assert len(read_rows(tmp_path / "m.jsonl")) == 4


def test_a_file_that_is_no_manifest_is_not_touched(source: Path, tmp_path: Path):
    out = write_text(tmp_path / "m.jsonl", "my diary\n")
    result = folder(source, out)
    assert result.exit_code == 1
    assert f"{out}, line 1: not JSON" in result.stderr
    assert out.read_text() == "my diary\n"
    with pytest.raises(ManifestError):
        write_corpus([], out)


def test_compressed(source: Path, tmp_path: Path, measured: list[str]):
    folder(source, tmp_path / "m.jsonl")
    measured.clear()
    for _ in range(2):
        assert folder(source, tmp_path / "m.jsonl.gz").exit_code == 0
    assert measured == list(NAMES)
    packed = (tmp_path / "m.jsonl.gz").read_bytes()
    assert gzip.decompress(packed) == (tmp_path / "m.jsonl").read_bytes()


def test_checksums(source: Path, tmp_path: Path):
    out = tmp_path / "m.jsonl"
    folder(source, out)
    assert "no sha256 in line 1; use --checksums" in folder(source, out, "--verify").stderr
    folder(source, out, "--checksums")
    rows = read_rows(out)
    assert [row["id"] for row in rows] == list(NAMES)
    assert {len(row["sha256"]) for row in rows} == {64}
    result = folder(source, out, "--verify")
    assert (result.exit_code, result.stderr) == (0, "")
    assert result.stdout == f"{out}: 4 rows, 4 recordings are as they were\n"
    write_tone(source / "b.wav", 0.5)
    (source / "c.wav").unlink()
    result = folder(source, out, "--verify")
    assert result.exit_code == 1
    assert f"{source / 'b.wav'}: its sha256 is " in result.stderr.replace(f"{tmp_path}/./", "")
    assert "c.wav: No such file or directory; copy it again" in result.stderr
    assert result.stdout == f"{out}: 4 rows, 2 recordings are as they were\n"


def test_a_name_that_is_not_utf_8(tmp_path: Path):
    audio = Path(str(tmp_path / "caf") + "\udce9.wav")
    write_tone(tmp_path / "cafe.wav").rename(audio)
    item = Utterance("a", audio, "go", "en", None, "train")
    assert write_corpus([item], tmp_path / "m.jsonl").utterances == 1
    assert check(tmp_path / "m.jsonl").problems == []


def test_bad_ones_have_their_place():
    assert list(corpus._groups([Bad("1"), Bad("2")])) == [[Bad("1"), Bad("2")]]


def test_hidden_files_are_not_found(tmp_path: Path):
    for name in ("b.wav", "a/c.wav", "._b.wav", ".trash/d.wav"):
        write_text(tmp_path / name, "")
    assert find(tmp_path, "*.wav") == [tmp_path / "a" / "c.wav", tmp_path / "b.wav"]


def test_results_come_in_order_and_only_some_are_worked_out_ahead():
    taken: list[int] = []
    gate = threading.Event()

    def items():
        for number in range(200):
            taken.append(number)
            yield number

    def work(number: int) -> int:
        if number == 0:
            gate.wait(60)
        return -number

    results = in_order(work, items())
    timer = threading.Timer(0.05, gate.set)
    timer.start()
    assert next(results) == 0
    assert len(taken) <= corpus._AHEAD
    assert list(results) == [-number for number in range(1, 200)]
