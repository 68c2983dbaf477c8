from typing import get_args

from hypothesis import given
from hypothesis import strategies as st
from live_logs import event, feed, partials

from echoic.asr.latency.log import Feed, StreamLog
from echoic.asr.latency.timeline import Timeline
from echoic.asr.latency.tokens import Tokenizer
from echoic.streaming.events import Event, EventType


def replay(log: StreamLog) -> Timeline:
    return Timeline.of(log, Tokenizer())


def test_shown_settled_and_promised():
    log = StreamLog(
        5.0,
        (
            feed(1.0, event("partial", "the")),
            feed(2.0, event("partial", "the cat sits")),
            feed(3.0, event("partial", "the bat sits on", stable=1)),
            feed(4.0, event("partial", "the cat sits on", stable=2)),
            feed(5.0, event("final", "the cat sits on")),
        ),
    )
    line = replay(log)
    assert [t.text for t in line.tokens] == ["the", "cat", "sits", "on"]
    assert line.shown() == [0, 1, 1, 2]
    assert line.settled() == [0, 3, 3, 3]
    assert line.promised() == [2, 3, 4, 4]


def test_finals_close_their_words():
    log = StreamLog(
        4.0,
        (
            feed(1.0, event("partial", "one two")),
            feed(2.0, event("final", "one two"), event("endpoint", "")),
            feed(3.0, event("partial", "tree", stable=0)),
            feed(4.0, event("final", "three four")),
        ),
    )
    line = replay(log)
    assert [t.text for t in line.tokens] == ["one", "two", "three", "four"]
    assert [(s.closed, len(s.open)) for s in line.snapshots] == [(0, 2), (2, 0), (2, 1), (4, 0)]
    assert line.texts(line.snapshots[2]) == ("one", "two", "tree")
    assert line.texts(line.snapshots[2], 2) == ("tree",)
    assert line.texts(line.snapshots[3], 2) == ("three", "four")
    assert line.settled() == [0, 0, 3, 3]
    assert line.shown() == [0, 0, 3, 3]


def test_a_log_without_its_final():
    line = replay(StreamLog(2.0, (feed(1.0, event("partial", "a b", stable=1)),)))
    assert line.shown() == line.settled() == [0, 0]
    assert line.promised() == [0, None]


def test_spelling_is_no_revision():
    log = partials(3.0, (1.0, "Well"), (2.0, "well, then"))
    line = Timeline.of(log, Tokenizer(lambda text: text.lower().strip(",")))
    assert line.settled() == [0, 1]


def test_a_word_may_be_two_tokens_or_none():
    tokenizer = Tokenizer(lambda text: {"don't": "do not", "um": ""}.get(text, text))
    log = partials(2.0, (1.0, "um i don't"))
    line = Timeline.of(log, tokenizer)
    assert [(t.text, round(t.start, 1)) for t in line.tokens] == [
        ("i", 0.1),
        ("do", 0.2),
        ("not", 0.2),
    ]
    assert tokenizer.count("um don't go") == 3


def test_a_moment_between_snapshots():
    line = replay(partials(3.0, (1.0, "a"), (2.0, "a b")))
    assert line.at(0.99) is None
    found = [line.at(t) for t in (1.0, 1.99, 2.0, 9.0)]
    assert [s.audio_time for s in found if s] == [1.0, 1.0, 2.0, 3.0]


def test_silence():
    line = replay(StreamLog(2.0, (feed(2.0, event("endpoint", "")),)))
    assert line.tokens == ()
    assert line.first_words() is None
    assert line.shown() == line.settled() == line.promised() == []


words = st.lists(st.sampled_from("abc"), max_size=5)


@st.composite
def logs(draw: st.DrawFn) -> StreamLog:
    feeds: list[Feed] = []
    for number in range(draw(st.integers(1, 8))):
        events: list[Event] = []
        for _ in range(draw(st.integers(0, 2))):
            kind = draw(st.sampled_from(get_args(EventType)))
            text = [] if kind == "endpoint" else draw(words)
            stable = draw(st.integers(0, len(text))) if kind == "partial" else 0
            events.append(event(kind, " ".join(text), stable))
        feeds.append(feed(float(number + 1), *events, compute=draw(st.floats(0, 2))))
    return StreamLog(10.0, tuple(feeds))


@given(logs())
def test_laws(log: StreamLog):
    line = replay(log)
    final = [t.text for t in line.tokens]
    screens = [list(line.texts(s)) for s in line.snapshots]
    shown, settled, promised = line.shown(), line.settled(), line.promised()
    assert len(shown) == len(settled) == len(promised) == len(final)
    for place in range(len(final)):
        # The plain reading of the definitions.
        assert shown[place] == next(
            n for n, s in enumerate(screens) if s[place : place + 1] == [final[place]]
        )
        prefix = final[: place + 1]
        assert all(s[: place + 1] == prefix for s in screens[settled[place] :])
        before = screens[settled[place] - 1] if settled[place] else None
        assert before is None or before[: place + 1] != prefix
        assert shown[place] <= settled[place]
    assert settled == sorted(settled)
    for snapshot in line.snapshots:
        assert line.texts(snapshot, 1) == line.texts(snapshot)[1:]
