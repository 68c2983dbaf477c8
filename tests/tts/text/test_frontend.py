"""From text to utterances, whole and piece by piece, in the languages there are."""

import subprocess
import sys
from collections.abc import Sequence

import pytest
from hypothesis import given, settings
from hypothesis import strategies as st

from echoic.tts.text.chinese import aligned
from echoic.tts.text.frontend import EnglishFrontend, Reader, frontend, languages, register
from echoic.tts.text.pieces import Mark, Pause, Word
from echoic.tts.text.script import Script
from echoic.tts.text.spans import Span, Traced
from echoic.tts.text.splitter import SplitRules


class Letters:
    """A G2P whose phonemes are the letters."""

    alphabet = "letters"

    def __init__(self) -> None:
        self.asked: list[list[str]] = []

    def __call__(self, tokens: Sequence[str]) -> list[str]:
        self.asked.append(list(tokens))
        return [t.lower() if t.isalpha() else "" for t in tokens]


@pytest.mark.parametrize("text", ["", " \n ", "😀🎉", "?!", "()"])
def test_text_without_words_gives_no_utterance(text: str):
    assert Reader("en").read(text) == []


def test_a_pause_alone_is_an_utterance():
    (utterance,) = Reader("en").read("[pause 2s]")
    assert utterance.pieces == (Pause(2.0, Span(0, 10)),)
    assert utterance.text == ""


@pytest.mark.parametrize("language", ["xx", "klingon", "", "de-DE"])
def test_unknown_languages_are_named_with_the_known_ones(language: str):
    with pytest.raises(ValueError, match="there are en, zh") as caught:
        Reader(language)
    assert repr(language) in str(caught.value)


@pytest.mark.parametrize("language", ["en", "EN", "en-GB", "en_US"])
def test_regions_do_not_matter(language: str):
    assert frontend(language).language == "en"


def test_languages_can_be_added():
    class Loud:
        language = "qaa"
        split_rules = SplitRules()

        def normalize(self, script: Script) -> list[Word | Mark | Pause]:
            return [Word(script.text.text.upper(), None, script.text.span(0, len(script.text)))]

    register("QAA", Loud)
    try:
        assert "qaa" in languages()
        assert [u.text for u in Reader("qaa").read("hi. Ho")] == ["HI. ", "HO"]
    finally:
        from echoic.tts.text import frontend as module

        del module._FRONTENDS["qaa"]


def test_10_000_characters():
    text = ("In 1984 Dr. Lee paid $5.50 for 3 kg. She wasn't happy about it! " * 200)[:10_000]
    utterances = Reader("en").read(text)
    assert max(u.span.end - u.span.start for u in utterances) <= 300
    assert [u.span.start for u in utterances] == sorted(u.span.start for u in utterances)
    words = [w for u in utterances for w in u.words]
    assert len(words) > 2_500
    assert all(text[slice(*w.span)] == "$5.50" for w in words if w.text in ("dollars", "cents"))


PIECES = ["Dr. ", "Lee ", "paid $5", ".50. ", "[bass](/b", "eɪs/) ", "[pause 1s] ", "Why? ", "So"]


@settings(max_examples=40, deadline=None)
@given(st.lists(st.sampled_from(PIECES), max_size=12), st.data())
def test_streamed_text_is_read_like_the_whole(pieces: list[str], data: st.DataObject):
    text = "".join(pieces)
    cuts = sorted(data.draw(st.lists(st.integers(0, len(text)), max_size=8)))
    parts = [text[a:b] for a, b in zip([0, *cuts], [*cuts, len(text)], strict=True)]
    reader = Reader("en")
    assert list(reader.stream(parts)) == reader.read(text)


def test_a_g2p_sees_the_sentence_and_does_not_touch_given_phonemes():
    letters = Letters()
    text = "Hello, [bass](/beɪs/) world. [pause 1s] Bye"
    first, second = Reader("en", letters).read(text)
    assert letters.asked == [["Hello", ",", "bass", "world", "."], ["Bye"]]
    assert first.phonemes == "hello, beɪs world."
    assert second.phonemes == "bye"
    with pytest.raises(ValueError, match="'Hello' has no phonemes"):
        _ = Reader("en").read("Hello")[0].phonemes


def test_ssml_is_told_by_its_beginning():
    assert [u.text for u in Reader("en").read("<speak>a &lt; b</speak>")] == ["a less than b"]
    assert [u.text for u in Reader("en", markup="none").read("[pause 1s]")] == ["pause one second"]


def test_english_needs_no_torch_and_no_extras():
    code = (
        "import sys; from echoic.tts.text.frontend import Reader; Reader('en').read('Hi 5')\n"
        "print([m for m in ('torch', 'numpy', 'hibari', 'wetext') if m in sys.modules])"
    )
    done = subprocess.run([sys.executable, "-c", code], capture_output=True, text=True, check=True)
    assert done.stdout.strip() == "[]"


def test_chinese_without_its_package_says_what_to_install(monkeypatch: pytest.MonkeyPatch):
    monkeypatch.setitem(sys.modules, "wetext", None)
    with pytest.raises(ImportError, match=r"pip install 'echoic\[tts-zh\]'"):
        Reader("zh")


def test_chinese():
    pytest.importorskip("wetext")
    text = "今天是2024年，气温12℃。买[苹果](/pʰiŋ/)，OK？"
    first, second = Reader("zh-CN").read(text)
    assert first.text.replace(" ", "") == "今天是二零二四年,气温十二摄氏度."
    assert {text[slice(*w.span)] for w in first.words if w.text in "二零四"} <= {"2024", "12℃"}
    assert [w.text for w in second.words] == ["买", "苹果", "OK"]
    assert second.words[1].phonemes == "pʰiŋ"
    assert Reader("zh").read(" 😀 ") == []


def test_rewritten_text_keeps_its_place():
    text = aligned(Traced.typed("有3个", 10), "有三百个")
    assert text.span(0, 1) == Span(10, 11)
    assert text.span(1, 3) == Span(11, 12)
    assert aligned(Traced.typed("ab"), "") == Traced("", ())
    assert aligned(Traced.typed("b"), "ab").spans == (Span(0, 1), Span(0, 1))


def test_front_ends_are_what_the_protocol_says():
    assert EnglishFrontend().split_rules.titles >= {"Dr", "e.g"}
