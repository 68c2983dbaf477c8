import io
import os
import sys
from pathlib import Path

import pytest

from echoic.asr.batch.errors import UsageError
from echoic.asr.batch.inputs import Finder, Listing, read_files_from
from echoic.asr.batch.naming import Shard

SUFFIXES = frozenset({".wav", ".mp3"})


@pytest.fixture(autouse=True)
def folder(tmp_path: Path, monkeypatch: pytest.MonkeyPatch) -> Path:
    monkeypatch.chdir(tmp_path)
    return tmp_path


def touch(*names: str) -> None:
    for name in names:
        Path(name).parent.mkdir(parents=True, exist_ok=True)
        Path(name).write_bytes(os.fsencode(name))


def find(*inputs: str, recursive: bool = False, skip: str | None = None) -> Listing:
    return Finder(SUFFIXES, recursive, skip).find(inputs)


def keys(*inputs: str, recursive: bool = False, skip: str | None = None) -> list[str]:
    return [source.key for source in find(*inputs, recursive=recursive, skip=skip).sources]


def test_one_file_is_named_by_its_stem():
    touch("deep/in/talk.final.wav")
    assert keys("deep/in/talk.final.wav") == ["talk.final"]


def test_files_keep_the_order_in_which_they_were_named():
    touch("b.wav", "a.wav")
    assert keys("b.wav", "a.wav") == ["b", "a"]


def test_files_of_one_name_in_two_folders_mirror_the_tree():
    touch("in/a/x.wav", "in/b/x.wav")
    assert keys("in/a/x.wav", "in/b/x.wav") == ["a/x", "b/x"]


def test_one_stem_with_two_suffixes_keeps_the_suffixes():
    touch("a.wav", "a.mp3", "b.wav")
    assert keys(".") == ["a.mp3", "a.wav", "b"]


def test_kept_suffixes_do_not_meet_another_stem():
    touch("a.wav", "a.mp3", "a.mp3.wav")
    assert sorted(keys(".")) == ["a.mp3", "a.mp3.wav", "a.wav"]


def test_a_file_named_twice_is_done_once():
    touch("a.wav")
    assert keys("a.wav", "./a.wav", ".") == ["a"]


def test_a_folder_gives_its_sound_files_in_order_and_tells_of_its_folders():
    touch("in/b.WAV", "in/a.mp3", "in/notes.txt", "in/deep/c.wav")
    listing = find("in")
    assert [s.key for s in listing.sources] == ["a", "b"]
    assert listing.notes == ["in: 1 sub-folders were not searched, --recursive searches them"]


def test_recursive_mirrors_the_folder():
    touch("in/b/2.wav", "in/a/1.wav", "in/0.wav")
    assert keys("in", recursive=True) == ["0", "a/1", "b/2"]


def test_two_folders_share_their_parent_as_root():
    touch("in/a/1.wav", "in/b/1.wav")
    assert keys("in/a", "in/b") == ["a/1", "b/1"]


def test_hidden_files_and_folders_are_left_alone():
    touch("in/._a.wav", "in/.cache/b.wav", "in/c.wav")
    assert keys("in", recursive=True) == ["c"]


def test_the_output_folder_inside_the_input_is_not_searched():
    touch("in/a.wav", "in/out/b.wav")
    assert keys("in", recursive=True, skip="in/out") == ["a"]
    assert find("in", skip="in/out").notes == []


def test_the_output_folder_may_be_the_input_itself():
    touch("in/a.wav")
    assert keys("in", skip="in") == ["a"]


def test_loops_of_links_end_and_links_to_files_are_taken():
    touch("in/a/x.wav")
    os.symlink("..", "in/a/up")
    os.symlink("self", "in/self")
    os.symlink("self.wav", "in/self.wav")
    os.symlink("a/x.wav", "in/link.wav")
    assert keys("in", recursive=True) == ["link", "self", "a/x"]


def test_a_broken_link_is_kept_so_that_it_is_reported():
    os.mkdir("in")
    os.symlink("gone.wav", "in/a.wav")
    assert keys("in") == ["a"]


def test_a_pipe_in_a_folder_would_block_and_is_left_out():
    touch("in/a.wav")
    os.mkfifo("in/b.wav")
    assert keys("in") == ["a"]


def test_names_that_are_not_utf8():
    name = os.fsdecode(b"in/caf\xe9.wav")
    touch(name)
    assert keys("in") == [os.fsdecode(b"caf\xe9")]


def test_an_unreadable_folder_is_a_problem_and_the_rest_goes_on(monkeypatch: pytest.MonkeyPatch):
    touch("in/a.wav", "in/locked/b.wav")
    scandir = os.scandir

    def refuse(path: str) -> object:
        if path.endswith("locked"):
            raise PermissionError(13, "Permission denied", path)
        return scandir(path)

    monkeypatch.setattr(os, "scandir", refuse)
    listing = find("in", recursive=True)
    assert [s.key for s in listing.sources] == ["a"]
    assert listing.problems == [
        ("in/locked", "the folder cannot be read (Permission denied); mend its permissions")
    ]


def test_an_empty_folder_alone_is_wrong_usage_and_names_the_suffixes():
    touch("in/readme.txt", "in/deep/a.wav")
    with pytest.raises(UsageError, match=r"no audio found in in \(known suffixes: \.mp3 \.wav\)"):
        find("in")
    with pytest.raises(UsageError, match="1 sub-folders were not searched, --recursive"):
        find("in")


def test_an_empty_folder_beside_a_full_one_is_only_noted():
    touch("a.wav")
    os.mkdir("empty")
    listing = find("a.wav", "empty")
    assert [s.key for s in listing.sources] == ["a"]
    assert "no audio found in empty" in listing.notes[0]


def test_a_missing_file_is_a_problem_and_the_rest_goes_on():
    touch("a.wav")
    listing = find("gone.wav", "a.wav")
    assert [s.key for s in listing.sources] == ["a"]
    assert listing.problems == [("gone.wav", "no such file or folder; check the path")]


@pytest.mark.parametrize(
    ("pattern", "expected"),
    [
        ("in/*.wav", ["a", "b"]),
        ("in/*", ["a", "b", "c"]),
        ("in/**/*.wav", ["a", "b", "deep/d"]),
        ("in/[ab].wav", ["a", "b"]),
    ],
)
def test_patterns(pattern: str, expected: list[str]):
    touch("in/a.wav", "in/b.wav", "in/c.mp3", "in/notes.txt", "in/deep/d.wav")
    assert keys(pattern) == expected


def test_a_pattern_without_match_is_wrong_usage():
    with pytest.raises(UsageError, match=r"'in/\*\.wav' matches no file; check the pattern"):
        find("in/*.wav")


def test_a_pattern_that_matches_no_sound_says_so():
    touch("a.txt", "b.txt")
    with pytest.raises(UsageError, match="matches 2 names, none of them a sound file"):
        find("*.txt")


def test_an_existing_name_is_never_a_pattern():
    touch("a[1].wav", "a1.wav")
    assert keys("a[1].wav") == ["a[1]"]


def test_standard_input_once():
    assert [(s.key, s.path) for s in find("-").sources] == [("stdin", "-")]
    with pytest.raises(UsageError, match="name it once"):
        find("-", "-")


def test_lists_hold_names_not_patterns():
    touch("a.wav", "in/b.wav")
    listing = Finder(SUFFIXES).find((), ["a.wav", "in", "*.wav"])
    assert [s.key for s in listing.sources] == ["a", "in/b"]
    assert [p.name for p in listing.problems] == ["*.wav"]


def test_lists_by_lines_by_nul_and_from_standard_input(monkeypatch: pytest.MonkeyPatch):
    Path("list").write_bytes(b"a.wav\r\n\nb c.wav\ncaf\xe9.wav")
    assert read_files_from("list") == ["a.wav", "b c.wav", os.fsdecode(b"caf\xe9.wav")]
    Path("list").write_bytes(b"a\nb.wav\0c.wav\0")
    assert read_files_from("list") == ["a\nb.wav", "c.wav"]
    monkeypatch.setattr(sys, "stdin", io.TextIOWrapper(io.BytesIO(b"x.wav\n")))
    assert read_files_from("-") == ["x.wav"]


@pytest.mark.parametrize(("data", "message"), [(b"\n \n", "the list is empty"), (None, "no such")])
def test_lists_that_are_no_use(data: bytes | None, message: str):
    if data is not None:
        Path("list").write_bytes(data)
    with pytest.raises(UsageError, match=f"--files-from list: {message}"):
        read_files_from("list")


def test_shards_are_disjoint_and_together_everything():
    touch(*(f"in/{i % 7}/{i}.wav" for i in range(100)))
    everything = keys("in", recursive=True)
    shards = [
        [s.key for s in Finder(SUFFIXES, True).find(("in",), shard=Shard(i, 4)).sources]
        for i in range(1, 5)
    ]
    assert sorted(key for shard in shards for key in shard) == sorted(everything)
    assert all(10 < len(shard) < 40 for shard in shards)


def test_a_file_stays_in_its_shard_when_others_come():
    touch(*(f"in/{i}.wav" for i in range(20)))
    shard = Shard(2, 3)
    before = {s.path for s in Finder(SUFFIXES).find(("in",), shard=shard).sources}
    touch(*(f"in/{i}.mp3" for i in range(20)), "in/0a.wav")
    after = {s.path for s in Finder(SUFFIXES).find(("in",), shard=shard).sources}
    assert before
    assert before == {path for path in after if path in before}
    others = {
        s.path for i in (1, 3) for s in Finder(SUFFIXES).find(("in",), shard=Shard(i, 3)).sources
    }
    assert not before & others


@pytest.mark.parametrize("text", ["0/4", "5/4", "2", "a/b", "2/", "/2", "-1/4", "1/0"])
def test_shards_that_do_not_exist(text: str):
    with pytest.raises(UsageError, match=r"2/8|does not exist"):
        Shard.parse(text)


def test_a_long_manifest_is_listed_in_modest_memory(tmp_path: Path):
    import tracemalloc

    path = tmp_path / "all.jsonl"
    path.write_text("".join(f'{{"audio": "d{i % 100}/{i}.wav"}}\n' for i in range(4_000)))
    tracemalloc.start()
    listing = Finder(SUFFIXES).find((str(path),))
    peak = tracemalloc.get_traced_memory()[1]
    tracemalloc.stop()
    assert len(listing.sources) == 4_000
    assert peak / 4_000 < 3000  # bytes an entry, names included
