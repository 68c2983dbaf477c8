import pytest
import torch
from speech_data import tiny_en_checkpoint

from echoic.asr.recording import MIN_REST_SECONDS, Recording
from echoic.asr.source import Source
from echoic.asr.transcript import Word
from echoic.asr.whisper.decoding import Decoded
from echoic.asr.whisper.hypothesis import Hypothesis
from echoic.asr.windows import Window

RATE = 16_000
TOKENIZER = tiny_en_checkpoint().tokenizer
FIRST = TOKENIZER.timestamp_begin


def recording() -> Recording:
    return Recording(Source(key="a", path="a.wav", name="a.wav"), TOKENIZER)


def window(start: float, seconds: float, speech: float | None = None) -> Window:
    begin = round(start * RATE)
    end = begin + round((seconds if speech is None else speech) * RATE)
    return Window(begin, torch.zeros(round(seconds * RATE)), end)


def decoded(*parts: float | str, complete: bool = True, silence: bool = False) -> Decoded:
    """Times in seconds and texts, as the model writes them."""
    tokens: list[int] = []
    for part in parts:
        if isinstance(part, str):
            tokens += TOKENIZER.encode(part)
        else:
            tokens.append(FIRST + round(part / 0.02))
    return Decoded(
        hypothesis=Hypothesis(tuple(tokens), -3.0, 0.1, complete),
        text=TOKENIZER.decode(tokens),
        temperature=0.2,
        compression_ratio=1.1,
        is_silence=silence,
    )


def test_segments_come_in_the_order_of_time():
    book = recording()
    book.add(window(20, 5), decoded(0.0, " third", 2.0, 2.5, " fourth", 4.8), None)
    book.add(window(3, 9), decoded(0.5, " first", 2.0, 2.0, " second", 8.9), None)
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


@pytest.mark.parametrize(
    ("answer", "seconds", "speech"),
    [
        (decoded(0.0, " all of it", 9.0), 10.0, None),  # too little is left
        (decoded(0.0, " no end"), 10.0, None),
        (decoded(0.0, " in a loop", 4.0, complete=False), 10.0, None),
        (decoded(0.0, " short", MIN_REST_SECONDS - 0.1), 10.0, None),
        (decoded(0.0, " then quiet", 4.0), 10.0, 5.0),
        (decoded(0.0, " you", 2.0, silence=True), 10.0, None),
    ],
)
def test_a_window_is_done(answer: Decoded, seconds: float, speech: float | None):
    assert recording().add(window(5, seconds, speech), answer, None) is None


def test_the_rest_is_heard_once_more_when_the_model_stopped_early():
    book = recording()
    rest = book.add(window(5, 10), decoded(0.0, " the first half", 4.0), None)
    assert rest is not None
    assert (rest.start, rest.seconds, rest.speech_end) == (9 * RATE, 6.0, 15 * RATE)
    assert book.add(rest, decoded(0.0, " and the other", 5.9), None) is None
    transcript = book.outcome().transcript
    assert transcript is not None
    assert [(s.start, s.end) for s in transcript.segments] == [(5.0, 9.0), (9.0, 14.9)]


def test_words_are_moved_and_give_the_segment_its_times():
    book = recording()
    words = [[Word(0.3, 0.8, " one", 0.9), Word(0.9, 1.44, " two", 0.8)], []]
    book.add(window(7, 6), decoded(0.0, " one two", 2.0, 2.0, " three", 5.9), words)
    transcript = book.outcome().transcript
    assert transcript is not None
    first, second = transcript.segments
    assert (first.start, first.end) == (7.3, 8.44)
    assert first.words == (Word(7.3, 7.8, " one", 0.9), Word(7.9, 8.44, " two", 0.8))
    assert (second.start, second.end, second.words) == (9.0, 12.9, ())


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
