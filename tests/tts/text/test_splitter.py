"""Text that grows, in sentences."""

import pytest
from hypothesis import given, settings
from hypothesis import strategies as st

from echoic.tts.text.english.normalizer import SPLIT_RULES
from echoic.tts.text.splitter import Splitter, split, split_stream

SENTENCES = [
    ("One. Two! Three?", ["One. ", "Two! ", "Three?"]),
    ("It is 3.5 m long. See example.com now.", ["It is 3.5 m long. ", "See example.com now."]),
    ("Dr. Lee met Mr. J. Smith. He left.", ["Dr. Lee met Mr. J. Smith. ", "He left."]),
    ("The U.S. Senate, e.g. Bob. Yes.", ["The U.S. Senate, e.g. Bob. ", "Yes."]),
    ("See no. 5. No. I won't.", ["See no. 5. ", "No. ", "I won't."]),
    ('"Stop!" he said. "Why?" Ann asked.', ['"Stop!" he said. ', '"Why?" ', "Ann asked."]),
    ("Wait... what? Well... Yes.", ["Wait... what? ", "Well... ", "Yes."]),
    ("Cats, etc. And dogs.", ["Cats, etc. ", "And dogs."]),
    ("So do I. He left.", ["So do I. ", "He left."]),
    ("Title\n\nText here", ["Title\n\n", "Text here"]),
    ("wrapped\nlines stay", ["wrapped\nlines stay"]),
    ("1. First\n\n2. Second", ["1. First\n\n", "2. Second"]),
    ("你好。今天？好！", ["你好。", "今天？", "好！"]),
    ("", []),
    ("   ", ["   "]),
]
TEXTS = st.one_of(
    st.text(max_size=120),
    st.text("ab. ,!?;:()[]/\n\"'1 。，A…", max_size=120),
    st.lists(
        st.sampled_from(
            [
                "Dr. ",
                "A. B. ",
                "end. ",
                "Next, ",
                "[pause 1s] ",
                "[a. b](/x. y/) ",
                "[",
                "](",
                ")",
                "x" * 30,
            ]
        ),
        max_size=20,
    ).map("".join),
)


@pytest.mark.parametrize(("text", "expected"), SENTENCES)
def test_sentences(text: str, expected: list[str]):
    assert split(text, SPLIT_RULES) == expected


@settings(max_examples=100, deadline=None)
@given(TEXTS, st.integers(1, 60), st.booleans(), st.data())
def test_chopping_makes_no_difference(text: str, longest: int, markup: bool, data: st.DataObject):
    whole = Splitter(SPLIT_RULES, longest=longest, markup=markup)
    expected = [*whole.feed(text), *whole.finish()]
    assert "".join(expected) == text
    assert all(0 < len(sentence) <= longest for sentence in expected)

    cuts = sorted(data.draw(st.lists(st.integers(0, len(text)), max_size=6)))
    parts = [text[a:b] for a, b in zip([0, *cuts], [*cuts, len(text)], strict=True)]
    chopped = Splitter(SPLIT_RULES, longest=longest, markup=markup)
    found = list(split_stream(parts, chopped))
    assert [sentence for _, sentence in found] == expected
    assert [text[start : start + len(s)] for start, s in found] == expected


def test_a_sentence_leaves_with_the_first_letter_of_the_next():
    splitter = Splitter()
    assert splitter.feed("It rains.") == []
    assert splitter.feed(" ") == []
    assert splitter.feed("S") == ["It rains. "]
    assert splitter.finish() == ["S"]
    assert splitter.finish() == []


def test_10_000_characters_without_a_full_stop_are_cut_at_clauses_then_at_words():
    clauses = split("so it went on and on, " * 455)
    assert all(len(c) <= 300 for c in clauses)
    assert all(c.endswith("on, ") for c in clauses)
    words = split("word " * 2_000)
    assert all(len(w) == 300 and w.endswith("word ") for w in words[:-1])
    assert [len(x) for x in split("x" * 700)] == [300, 300, 100]


def test_markup_stays_in_one_piece():
    text = "It was some [St. Name. Here](/a. b/) thing. [pause 1s] Then [odd. Yes"
    splitter = Splitter(SPLIT_RULES, longest=30)
    sentences = [*splitter.feed(text), *splitter.finish()]
    assert sentences[0] == "It was some "
    assert sentences[1] == "[St. Name. Here](/a. b/) "
    assert "".join(sentences) == text


def test_a_limit_of_nothing_is_refused():
    with pytest.raises(ValueError, match="longest is 0"):
        Splitter(longest=0)
