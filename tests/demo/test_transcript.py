"""Events in, lines out."""

from itertools import pairwise

import pytest
from hypothesis import given
from hypothesis import strategies as st

from echoic.demo.transcript import NUM_NEWEST, Captions
from echoic.streaming.events import Event, EventWord

WORD = st.text(st.characters(categories=["L", "N", "P", "S"]), min_size=1, max_size=6)


def words_of(texts: list[str], start: float = 0.0) -> tuple[EventWord, ...]:
    return tuple(EventWord(t, start + i, start + i + 0.5, 0.5) for i, t in enumerate(texts))


def event(kind: str, texts: list[str], *, stable: int = 0, gap: str = " ", at: float = 0) -> Event:
    words = words_of(texts, at)
    count = len(words) if kind == "final" else stable
    end = words[-1].end if words else at
    return Event(kind, gap.join(texts), at, end, words, count)  # type: ignore[arg-type]


ENDPOINT = event("endpoint", [])


@st.composite
def streams(draw: st.DrawFn) -> tuple[list[Event], list[list[str]]]:
    """A stream that keeps the rules of events, and the words of its utterances."""
    events, said = [], []
    for _ in range(draw(st.integers(0, 4))):
        utterance: list[str] = []
        for _ in range(draw(st.integers(1, 3))):
            words = draw(st.lists(WORD, min_size=1, max_size=4))
            stable = 0
            for _ in range(draw(st.integers(0, 3))):
                stable = draw(st.integers(stable, len(words)))
                guess = words[:stable] + draw(st.lists(WORD, max_size=3))
                events.append(event("partial", guess, stable=stable))
            events.append(event("final", words))
            utterance += words
        events.append(ENDPOINT)
        said.append(utterance)
    return events, said


def story(events: list[Event]) -> list[Captions]:
    captions = [Captions()]
    for one in events:
        captions.append(captions[-1].after(one))
    return captions


def texts(captions: Captions) -> list[list[str]]:
    return [[piece.word.text for piece in line.pieces] for line in captions.lines]


@given(streams())
def test_every_final_word_is_kept_in_the_line_of_its_utterance(
    stream: tuple[list[Event], list[list[str]]],
):
    events, said = stream
    last = story(events)[-1]
    assert texts(last) == said
    assert last.open == ()
    assert last.num_final == sum(map(len, said))


@given(streams())
def test_what_is_black_or_stable_never_changes(stream: tuple[list[Event], list[list[str]]]):
    def fixed(captions: Captions) -> list[str]:
        final = [word for line in texts(captions) for word in line]
        return final + [piece.word.text for piece in captions.open[: captions.stable]]

    for before, after in pairwise(story(stream[0])):
        assert fixed(after)[: len(fixed(before))] == fixed(before)
        assert after.closed[: len(before.closed)] == before.closed
        assert after.said >= before.said
        assert len(after.newest) <= NUM_NEWEST


@given(streams(), st.data())
def test_clearing_only_takes_what_was_there(
    stream: tuple[list[Event], list[list[str]]], data: st.DataObject
):
    events, _ = stream
    cut = data.draw(st.integers(0, len(events)))
    captions = story(events[:cut])[-1]
    before = captions.num_final
    captions = captions.cleared()
    for one in events[cut:]:
        captions = captions.after(one)
    everything = [word for line in texts(story(events)[-1]) for word in line]
    assert [word for line in texts(captions) for word in line] == everything[before:]


def test_words_are_counted_once_when_they_are_shown():
    captions = story(
        [
            event("partial", ["one", "too"]),
            event("partial", ["one", "two", "three"]),
            event("final", ["one", "two"]),
            event("partial", ["three"], at=2),
            event("partial", ["three", "four"], at=2),
        ]
    )
    assert [c.said for c in captions] == [0, 2, 3, 3, 3, 4]
    assert captions[-1].newest == (0.5, 1.5, 2.5, 3.5)


def test_an_end_without_words_makes_no_line():
    assert Captions().after(ENDPOINT).after(ENDPOINT).lines == ()


@pytest.mark.parametrize(
    ("events", "line"),
    [
        ([event("final", ["你", "好"], gap=""), event("final", ["世", "界"], gap="")], "你好世界"),
        ([event("final", ["a", "b"]), event("final", ["c"])], "a b c"),
        ([event("final", ["a", "b"]), event("final", ["c", "d"])], "a b c d"),
        ([event("final", ["aa", "a", "aa"])], "aa a aa"),
        ([event("final", ["I", "’m"], gap="")], "I’m"),
    ],
)
def test_text_is_put_together_as_the_events_have_it(events: list[Event], line: str):
    assert [found.text for found in story([*events, ENDPOINT])[-1].lines] == [line]


def test_text_without_word_times_is_one_word():
    (line,) = Captions().after(Event("final", " no times ", 1.0, 2.0)).lines
    assert (line.text, line.start, line.end) == ("no times", 1.0, 2.0)
