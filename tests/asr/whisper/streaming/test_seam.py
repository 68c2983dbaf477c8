import pytest
import torch
from torch import Tensor

from echoic.asr.whisper.streaming.seam import find_cut, normalized, overlap
from echoic.asr.whisper.word_times import TimedWord

RATE = 16_000


def words(*spoken: tuple[str, float, float]) -> list[TimedWord]:
    return [TimedWord(text, (1,), start, end, 1.0) for text, start, end in spoken]


def sound_with_pauses(seconds: float, *pauses: tuple[float, float]) -> Tensor:
    sound = 0.1 * torch.randn(int(seconds * RATE), generator=torch.Generator().manual_seed(0))
    for start, end in pauses:
        sound[int(start * RATE) : int(end * RATE)] = 0.0
    return sound


SPOKEN = words((" one", 0.5, 2.0), (" two.", 2.0, 6.0), (" three", 6.0, 8.0), (" four", 8.0, 9.0))


def test_the_cut_lies_in_the_pause_near_a_boundary_that_attention_missed() -> None:
    cut = find_cut(SPOKEN, sound_with_pauses(14, (7.85, 7.95)), keep_last=True)
    assert cut is not None
    assert cut.words == 3
    assert 7.85 <= cut.sample / RATE <= 7.95


def test_the_end_of_a_sentence_is_preferred() -> None:
    cut = find_cut(SPOKEN, sound_with_pauses(14), keep_last=True)
    assert cut is not None
    assert cut.words == 2
    assert abs(cut.sample / RATE - 6.0) <= 0.25


def test_the_last_word_stays_as_an_anchor_when_it_must() -> None:
    alone = words((" word.", 0.2, 1.0))
    sound = sound_with_pauses(9)
    assert find_cut(alone, sound, keep_last=True) is None
    cut = find_cut(alone, sound, keep_last=False)
    assert cut is not None
    assert cut.words == 1


def test_no_cut_leaves_too_little_or_needlessly_much() -> None:
    late = words((" a", 7.0, 8.0), (" b", 8.0, 9.0))
    assert find_cut(late, sound_with_pauses(10), keep_last=False) is None
    # Only when nothing better is there may more than ten seconds stay.
    early = words((" a", 0.0, 1.0), (" b", 1.0, 2.0), (" c", 2.0, 14.0))
    cut = find_cut(early, sound_with_pauses(15), keep_last=True)
    assert cut is not None
    assert cut.words == 2


@pytest.mark.parametrize(
    ("spoken", "plain"),
    [(" Man,", "man"), (' "Well-known"', "well-known"), (" I'm", "i'm"), (" STRASSE.", "strasse")],
)
def test_case_and_marks_do_not_tell_words_apart(spoken: str, plain: str) -> None:
    assert normalized(spoken) == plain


def test_what_a_cut_says_twice_is_found_by_text_and_time() -> None:
    before = ["in", " his", " Power,"]
    again = words((" his", 0.0, 0.1), (" power", 0.1, 0.3), (" to", 0.3, 0.8))
    assert overlap(before, again, limit=0.5) == 2
    assert overlap(before, again[1:], limit=0.5) == 1
    # The same words at leisure were said again.
    slow = words((" his", 0.2, 0.6), (" power", 0.6, 1.2))
    assert overlap(before, slow, limit=0.5) == 0
    assert overlap([], again, limit=0.5) == 0
    assert overlap(before, [], limit=0.5) == 0
