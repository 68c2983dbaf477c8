"""Times of a known text: words share them out among their tokens, pauses belong to nobody."""

import functools

import pytest
import torch
from speech_data import novel, tiny_en

from echoic.asr.whisper.tokenizer import WordTokens
from echoic.asr.whisper.training.alignment import (
    AlignedText,
    TextAligner,
    _pauses,
    _spread,
    _without_pause,
)

RATE = 16_000


@functools.cache
def aligned(number: int, before: float = 0.0) -> AlignedText:
    utterance = novel()[number]
    wav = torch.cat([torch.zeros(round(before * RATE)), utterance.wav])
    return TextAligner(tiny_en(), num_teacher=5)(wav, utterance.text.capitalize())


def test_tokens_share_the_time_of_their_word() -> None:
    words = [
        WordTokens(" Dashwood", (1, 2)),
        WordTokens(",", (3,)),
        WordTokens(" no", (4,)),
    ]
    starts, ends, word_of = _spread(words, [(0.2, 0.8), (0.8, 1.0), (1.0, 1.3)])
    assert starts == pytest.approx((0.2, 0.5, 0.8, 1.0))
    # A mark is heard with the word before it.
    assert ends == pytest.approx((0.5, 0.8, 0.8, 1.3))
    assert word_of == (0, 0, 0, 1)


def test_what_is_heard_stays_heard() -> None:
    words = [WordTokens(" a", (1,)), WordTokens(" b", (2,))]
    assert _spread(words, [(0.0, 0.9), (0.5, 0.7)])[1] == (0.9, 0.9)
    assert _spread([WordTokens("...", (7,)), words[0]], [(0.1, 0.2), (0.3, 0.5)])[2] == (0, 1)


@pytest.mark.parametrize(
    ("probabilities", "found"),
    [
        ([0.9] * 5, []),
        ([0.9, 0.1, 0.1, 0.9], []),  # a stop consonant
        ([0.9, 0.1, 0.1, 0.1, 0.9], [(1, 4)]),
        ([0.0] * 4 + [0.9] + [0.2] * 3, [(0, 4), (5, 8)]),
    ],
)
def test_pauses(probabilities: list[float], found: list[tuple[int, int]]) -> None:
    chunk = 512 / RATE
    assert _pauses(torch.tensor(probabilities)) == [(a * chunk, b * chunk) for a, b in found]


@pytest.mark.parametrize(
    ("word", "left"),
    [
        ((1.0, 1.5), (1.0, 1.5)),
        ((1.6, 2.6), (1.6, 2.0)),  # it ends where the pause begins
        ((2.1, 2.9), (2.5, 2.9)),  # it begins behind it
        ((2.1, 2.4), (2.1, 2.4)),  # all of it is quiet: nothing is known
    ],
)
def test_a_word_is_without_the_pause(word: tuple[float, float], left: tuple[float, float]) -> None:
    assert _without_pause(*word, [(2.0, 2.5)]) == left


def test_silence_before_a_sentence_moves_its_times() -> None:
    plain, late = aligned(4), aligned(4, 1.0)
    assert plain.tokens == late.tokens
    moved = [b - a for a, b in zip(plain.ends, late.ends, strict=True)]
    assert sorted(moved)[len(moved) // 2] == pytest.approx(1.0, abs=0.1)
    assert late.starts[0] > 0.9


def test_what_the_teacher_expects() -> None:
    found = aligned(4)
    assert found.teacher_ids.shape == found.teacher_probs.shape == (len(found.tokens), 5)
    assert torch.equal(found.teacher_probs, found.teacher_probs.sort(1, descending=True).values)
    assert int(found.teacher_ids.max()) < tiny_en().tokenizer.eot
    assert found.avg_logprob > -1
    wrong = TextAligner(tiny_en())(novel()[4].wav, "A hippopotamus swims under seven bridges.")
    assert wrong.avg_logprob < found.avg_logprob - 1


def test_texts_that_do_not_fit_are_refused() -> None:
    with pytest.raises(ValueError, match=r"the text has 4[67]. tokens, expected 1 to 445"):
        TextAligner(tiny_en())(novel()[4].wav, "word " * 460)
