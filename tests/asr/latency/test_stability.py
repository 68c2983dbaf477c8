import pytest
from hypothesis import given, settings
from hypothesis import strategies as st
from live_logs import evenly, event, feed, partials, spoken

from echoic.asr.latency.log import StreamLog
from echoic.asr.latency.stability import Relative, Revisions, relative_errors, revisions
from echoic.asr.latency.timeline import Timeline
from echoic.asr.latency.tokens import Tokenizer

pytest.importorskip("jiwer")


def replay(log: StreamLog) -> Timeline:
    return Timeline.of(log, Tokenizer())


def test_words_that_are_taken_back():
    # "b" gives way to "x"; later "x c" to nothing and back.
    log = partials(5.0, (1.0, "a b c"), (2.0, "a x c d"), (3.0, "a"), (4.0, "a x c"))
    assert revisions(replay(log)) == Revisions(changed=1 + 3, erased=2 + 3, broken=0, words=3)


def test_a_word_put_in_moves_others_but_changes_none():
    log = partials(3.0, (1.0, "a c"), (2.0, "a b c"))
    assert revisions(replay(log)) == Revisions(changed=0, erased=1, broken=0, words=3)


def test_broken_promises():
    log = StreamLog(
        3.0,
        (
            feed(1.0, event("final", "hello")),
            feed(2.0, event("partial", "a b c", stable=2)),
            feed(3.0, event("final", "a x c")),
        ),
    )
    assert revisions(replay(log)) == Revisions(changed=1, erased=2, broken=1, words=4)


def test_a_text_that_only_grows_takes_nothing_back():
    log = partials(4.0, (1.0, "a"), (2.0, "a b"), (3.0, "a b c"))
    assert revisions(replay(log)) == Revisions(0, 0, 0, 3)


def test_relative_errors_by_hand():
    reference = evenly("a b c d", each=0.5)  # ends at 0.5, 1, 1.5, 2
    log = partials(2.5, (1.0, "a"), (2.0, "a b x"))
    # After 1 s: "a" of "a b", one missing. After 2 s: "a b x" of "a b c d", two errors; the same
    # at the end.
    assert relative_errors(replay(log), reference, 1.0, 2.5, 0.0) == Relative(5, 2 + 4 + 4)


def test_words_before_any_was_said_are_errors():
    reference = spoken(("late", 1.5, 2.0))
    log = partials(2.0, (0.9, "made up"), (1.9, "late"))
    assert relative_errors(replay(log), reference, 1.0, 2.0, 0.0) == Relative(2, 1)


def test_text_is_due_a_little_after_the_moment():
    reference = evenly("a b", each=1.0)
    log = partials(2.0, (1.03, "a"), (1.99, "a b"))
    assert relative_errors(replay(log), reference, 1.0, 2.0, 0.0) == Relative(1, 3)
    assert relative_errors(replay(log), reference, 1.0, 2.0, 0.04) == Relative(0, 3)
    with pytest.raises(ValueError, match="more than 0"):
        relative_errors(replay(log), reference, 0.0, 2.0, 0.0)


@settings(deadline=None, max_examples=50)
@given(st.integers(1, 12), st.floats(0.2, 1.5))
def test_a_perfect_recogniser_has_no_relative_errors(count: int, chunk: float):
    reference = evenly(" ".join("abcdefghijkl"[:count]), each=0.4)
    duration = 0.4 * count
    moments = [n * chunk for n in range(1, int(duration / chunk) + 1)]
    screens = [
        (m, " ".join(t.text for t in reference if t.end <= m + 1e-9)) for m in [*moments, duration]
    ]
    log = partials(duration, *screens)
    assert relative_errors(replay(log), reference, chunk, duration, 0.0).errors == 0


def test_hours_are_looked_at_in_a_bounded_number_of_moments():
    reference = evenly("word " * 3000, each=1.0)
    log = partials(3000.0, (3000.0, "word " * 3000))
    found = relative_errors(replay(log), reference, 0.32, 3000.0, 0.0)
    assert found.words <= 200 * 3000
    assert 0.9 < found.errors / found.words < 1  # nothing shown but at the end
