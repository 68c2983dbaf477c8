"""What a recording collects from its windows."""

import torch

from echoic.asr.reader import Reading
from echoic.asr.recording import Recording
from echoic.asr.source import Source
from echoic.asr.transcript import Segment, Word
from echoic.asr.windows import Window

RATE = 16_000


def recording(language: str | None = "en") -> Recording:
    return Recording(Source(key="a", path="a.wav", name="a.wav"), language=language)


def window(start: float, seconds: float) -> Window:
    begin = round(start * RATE)
    return Window(begin, torch.zeros(round(seconds * RATE)), begin + round(seconds * RATE))


def segment(start: float, end: float, text: str, words: tuple[Word, ...] | None = None) -> Segment:
    return Segment(0, start, end, text, (), -0.1, 1.1, 0.0, 0.2, words)


def test_segments_come_in_the_order_of_time():
    book = recording()
    last = Reading((segment(0.0, 2.0, " third"), segment(2.5, 4.8, " fourth")))
    assert book.add(window(20, 5), last) is None
    book.add(window(3, 9), Reading((segment(0.5, 2.0, " first"), segment(2.0, 8.9, " second"))))
    transcript = book.outcome().transcript
    assert transcript is not None
    found = [(s.id, s.start, s.end, s.text) for s in transcript.segments]
    assert found == [
        (0, 3.5, 5.0, " first"),
        (1, 5.0, 11.9, " second"),
        (2, 20.0, 22.0, " third"),
        (3, 22.5, 24.8, " fourth"),
    ]
    assert transcript.text == "first second third fourth"
    assert {s.temperature for s in transcript.segments} == {0.2}
    assert (transcript.language, transcript.language_probability) == ("en", 1.0)


def test_a_language_that_nobody_knows_is_undetermined():
    transcript = recording(language=None).outcome().transcript
    assert transcript is not None
    assert (transcript.language, transcript.language_probability) == ("und", 0.0)


def test_the_rest_is_given_back():
    book = recording()
    rest = book.add(window(5, 10), Reading((segment(0.0, 4.0, " the first half"),), 4.0))
    assert rest is not None
    assert (rest.start, rest.seconds, rest.speech_end) == (9 * RATE, 6.0, 15 * RATE)
    assert book.add(rest, Reading((segment(0.0, 5.9, " and the other"),))) is None
    transcript = book.outcome().transcript
    assert transcript is not None
    assert [(s.start, s.end) for s in transcript.segments] == [(5.0, 9.0), (9.0, 14.9)]


def test_words_are_moved():
    book = recording()
    words = (Word(0.3, 0.8, " one", 0.9), Word(0.9, 1.44, " two", 0.8))
    book.add(window(7, 6), Reading((segment(0.3, 1.44, " one two", words),)))
    transcript = book.outcome().transcript
    assert transcript is not None
    (found,) = transcript.segments
    assert (found.start, found.end) == (7.3, 8.44)
    assert found.words == (Word(7.3, 7.8, " one", 0.9), Word(7.9, 8.44, " two", 0.8))


def test_reading_errors_are_kept_and_the_first_one_wins():
    book = recording()

    def windows():
        yield window(0, 1)
        raise OSError("cable out")

    book.windows = windows()
    assert book.next_window() is not None
    assert book.next_window() is None
    book.fail(RuntimeError("later"))
    assert book.next_window() is None
    outcome = book.outcome()
    assert outcome.transcript is None
    assert isinstance(outcome.error, OSError)
    assert str(outcome.error) == "cable out"


def test_duration_counts_what_was_read():
    book = recording()
    blocks = [torch.zeros(1, 100), torch.zeros(1, 0), torch.zeros(1, 24_000)]
    assert [b.shape[1] for b in book.count(blocks)] == [100, 0, 24_000]
    transcript = book.outcome().transcript
    assert transcript is not None
    assert (transcript.duration, transcript.segments) == (1.506, ())
