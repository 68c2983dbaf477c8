"""Sentences of WordNet's dictionary."""

import gzip
from pathlib import Path

import pytest

from echoic.recipes.prepare import wordnet
from echoic.recipes.prepare.sentences import sentences

DICTIONARY = """00-database-info
 This is no sense.
ambo
    n 1: a platform raised above the surrounding level to give
         prominence to the person on it [syn: {dais}, {podium},
         {ambo}]
dog
    n 1: a member of the genus Canis (probably descended from the
         common wolf); "the dog barked all night"; "see the
         dog run!"
      2: a dull unattractive unpleasant girl; "the dog barked all night"
    v 1: go after with the intent to catch; "They dogged the zyzzyva
         across the moors"
hound
    n 1: a dull unattractive unpleasant girl
    n 2: too short
"""


def frequency(word: str) -> float:
    return {"zyzzyva": 0.0, "canis": 1.0, "ambo": 2.5}.get(word, 5.0)


def test_examples_are_read_once_as_sentences():
    assert list(wordnet.examples(DICTIONARY)) == [
        "The dog barked all night.",
        "See the dog run!",
        "They dogged the zyzzyva across the moors.",
    ]


def test_explanations_stand_behind_common_words_without_links_and_asides():
    assert list(wordnet.explanations(DICTIONARY, lambda word: word == "dog")) == [
        "A platform raised above the surrounding level to give prominence to the person on it.",
        "Dog, a member of the genus Canis.",
        "Dog, a dull unattractive unpleasant girl.",
        "Dog, go after with the intent to catch.",
    ]


def test_sentences_with_rare_words_are_left_out():
    shown, explained = wordnet.chosen(DICTIONARY, frequency, rarest=2.3)
    assert shown == ["The dog barked all night.", "See the dog run!"]
    assert [s.split()[0] for s in explained] == ["A", "Dog,", "Dog,"]


@pytest.fixture
def dictionary(tmp_path: Path, monkeypatch: pytest.MonkeyPatch) -> Path:
    monkeypatch.setattr(wordnet, "Frequencies", lambda: frequency)
    path = tmp_path / "wn.dict.dz"
    path.write_bytes(gzip.compress(DICTIONARY.encode()))
    return path


def test_voices_can_read_what_it_writes(
    dictionary: Path, tmp_path: Path, capsys: pytest.CaptureFixture[str]
):
    out = tmp_path / "out.txt"
    assert wordnet.main([str(dictionary), str(out), "--explanations", "2"]) == 0
    assert capsys.readouterr().out == f"{out}: 4 sentences\n"
    read = list(sentences(out.read_text()))
    assert len(read) == 4
    assert {"The dog barked all night.", "See the dog run!"} < set(read)


# gzip writes the time of day into its header, and pytest-xdist asks that every process names a
# test alike.
CONTENTS = {"none": None, "no gzip": b"no gzip", "cut": gzip.compress(b"cut", mtime=0)[:-9]}


@pytest.mark.parametrize("content", CONTENTS.values(), ids=CONTENTS.keys())
def test_no_dictionary_is_one_line(
    content: bytes | None, dictionary: Path, capsys: pytest.CaptureFixture[str]
):
    dictionary.unlink() if content is None else dictionary.write_bytes(content)
    assert wordnet.main([str(dictionary), "out.txt"]) == 1
    told = capsys.readouterr().err
    assert told.startswith("wordnet: ")
    assert str(dictionary) in told
    assert told.count("\n") == 1


def test_what_rare_words_need_is_named(
    dictionary: Path, monkeypatch: pytest.MonkeyPatch, capsys: pytest.CaptureFixture[str]
):
    monkeypatch.undo()
    monkeypatch.setitem(__import__("sys").modules, "wordfreq", None)
    assert wordnet.main([str(dictionary), "out.txt"]) == 1
    assert "pip install wordfreq" in capsys.readouterr().err
