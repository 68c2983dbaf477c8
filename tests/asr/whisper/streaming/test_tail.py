import pytest

from echoic.asr.whisper.streaming.tail import before_loop, believable, glued, shifted
from echoic.asr.whisper.word_times import TimedWord


def word(text: str, start: float, end: float, tokens: int = 1, p: float = 1.0) -> TimedWord:
    return TimedWord(text, tuple(range(tokens)), start, end, p)


@pytest.mark.parametrize(
    ("tokens", "kept"),
    [
        ([], []),
        ([1, 2, 3], [1, 2, 3]),
        ([1, 2, 1, 2], [1, 2, 1, 2]),  # said twice is said
        ([9, 8, 1, 2, 1, 2, 1, 2], [9, 8]),
        ([9, 1, 2, 3, 1, 2, 3, 1, 2, 3, 1, 2], [9, 1, 2]),  # cut inside the fourth round
        ([5, 5, 5, 5], []),
        ([1, 1, 1, 2], [1, 1, 1, 2]),  # it got out of the loop by itself
    ],
)
def test_a_phrase_said_three_times_to_the_end_is_a_loop(tokens: list[int], kept: list[int]) -> None:
    left = list(before_loop(tokens))
    assert left[: len(kept)] == kept
    assert len(left) == len(kept)


def test_words_heaped_up_where_the_sound_ends_are_not_believed() -> None:
    spoken = [word(f" w{i}", i / 4, (i + 1) / 4) for i in range(8)]
    heap = [word(f" x{i}", 2.0, 2.0) for i in range(30)]
    assert believable(spoken, 0.0) == 8
    assert 8 <= believable([*spoken, *heap], 0.0) < 8 + 25
    assert believable(heap, 2.0) == 5


def test_a_lot_of_tokens_is_believed_when_it_takes_its_time() -> None:
    assert believable([word(" encyclopaedia", 0.0, 1.2, tokens=12)], 0.0) == 1
    assert believable([word(" encyclopaedia", 0.0, 0.4, tokens=12)], 0.0) == 0


def test_words_are_what_spaces_divide() -> None:
    parts = [
        word(" an", 0.0, 0.2),
        word(" ill", 0.2, 0.5, 2, 0.9),
        word("-disposed", 0.5, 1.0, 1, 0.3),
    ]
    an, ill = glued(parts)
    assert (an.text, ill.text) == (" an", " ill-disposed")
    assert (ill.start, ill.end, len(ill.ids)) == (0.2, 1.0, 3)
    assert ill.probability == pytest.approx((2 * 0.9 + 0.3) / 3)


def test_times_never_go_back() -> None:
    moved = shifted(
        [word(" a", 0.1, 0.2), word(" b", 0.15, 0.12), word(" c", 0.5, 0.7)], 10.0, earliest=10.15
    )
    times = [t for w in moved for t in (w.start, w.end)]
    assert times == sorted(times)
    assert times[0] == 10.15
    assert times[-2:] == [10.5, 10.7]
