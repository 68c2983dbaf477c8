import itertools

import numpy as np
import pytest
import torch
from hypothesis import given
from hypothesis import strategies as st
from speech_data import novel, tiny_en

from echoic.asr.whisper.reference_times import (
    Pause,
    ReferenceAligner,
    SpokenWord,
    boundary_bias,
    find_pauses,
    snap_to_pauses,
)
from echoic.audio.silero import SileroVad

# Ends of the words of the five recordings in seconds, by pocketsphinx 5.1's hidden Markov model,
# an aligner of another kind, which is within 20 ms of the known times of synthetic speech.
ENDS = (
    "0.37 0.63 0.98 1.59 1.84 2.22 2.72 2.89 3.44 3.95 4.33 4.53 4.78 4.94 5.46 5.57 5.75 6.04 "
    "6.14 6.35 6.62 6.79",
    "0.34 0.56 0.98 1.3 1.48 2.11 2.33 2.74",
    "0.59 0.69 0.86 1.22 1.74 2.22 2.39 2.78 3.59 3.87 3.98 4.16 4.37 5.08",
    "0.44 0.54 0.98 1.03 1.41 2.01 2.49 2.71 3.0 3.19 3.35 3.69 4.07 4.25 5.0 5.13 5.21 5.83",
    "0.38 0.64 0.92 1.07 1.33 1.7 2.27 2.96",
)


@pytest.fixture(scope="module")
def aligner() -> ReferenceAligner:
    return ReferenceAligner(tiny_en(), vad=SileroVad.from_installed())


def test_real_words_end_where_another_aligner_hears_them_end(aligner: ReferenceAligner):
    errors: list[float] = []
    for utterance, ends in zip(novel(), ENDS, strict=True):
        words = aligner(utterance.wav, utterance.text)
        assert [w.text for w in words] == utterance.text.split()
        errors += [w.end - float(end) for w, end in zip(words, ends.split(), strict=True)]
    assert np.median(np.abs(errors)) < 0.045
    assert np.quantile(np.abs(errors), 0.9) < 0.12
    assert abs(np.median(errors)) < 0.03


def test_times_move_with_the_speech(aligner: ReferenceAligner):
    utterance = novel()[1]
    pause = torch.zeros(16000)
    near = aligner(utterance.wav, utterance.text)
    far = aligner(torch.cat([pause, utterance.wav, pause]), utterance.text)
    ends = [b.end - a.end for a, b in zip(near, far, strict=True)]
    assert np.median(ends) == pytest.approx(1.0, abs=0.03)
    assert far[0].start == pytest.approx(near[0].start + 1, abs=0.1)
    assert far[-1].end == pytest.approx(near[-1].end + 1, abs=0.15)  # not in the silence behind


def test_words_keep_their_spelling_and_lose_their_marks(aligner: ReferenceAligner):
    utterance = novel()[1]
    words = aligner(utterance.wav, 'He was not - an "ill-disposed" young man...')
    assert [w.text for w in words] == [
        "He",
        "was",
        "not",
        "an",
        '"ill-disposed"',
        "young",
        "man...",
    ]
    assert all(a.end <= b.start + 1e-9 for a, b in itertools.pairwise(words))
    assert aligner(utterance.wav, "  ") == []


def test_too_much(aligner: ReferenceAligner):
    with pytest.raises(ValueError, match=r"31.0 s: expected more than 0 and at most 30"):
        aligner(torch.zeros(31 * 16000), "a")
    with pytest.raises(ValueError, match=r"has 0.0 s"):
        aligner(torch.zeros(0), "a")
    with pytest.raises(ValueError, match="the text has 500 tokens: expected at most"):
        aligner(torch.zeros(16000), "and " * 500)


def test_the_bias_of_unknown_models_is_none():
    config = tiny_en().config
    assert boundary_bias(config) == 0.11
    from dataclasses import replace

    assert boundary_bias(replace(config, encoder_layers=5)) == 0


def test_pauses():
    speech = [0.1] * 2 + [0.9] * 4 + [0.1] * 2 + [0.9] * 4 + [0.1] * 3 + [0.9] * 4 + [0.1]
    found = find_pauses(torch.tensor(speech), 0.63)
    expected = [(0.0, 0.064), (12 * 0.032 - 0.05, 15 * 0.032), (19 * 0.032 - 0.05, 0.63)]
    assert [tuple(p) for p in found] == [pytest.approx(e) for e in expected]
    assert find_pauses(torch.ones(5), 0.16) == []
    assert find_pauses(torch.zeros(5), 0.15) == [Pause(0.0, 0.15)]


def test_words_end_at_pauses():
    words = [SpokenWord("a", 0.0, 1.0), SpokenWord("b", 1.0, 2.0), SpokenWord("c", 2.0, 3.0)]
    pauses = [Pause(0.0, 0.3), Pause(0.9, 1.2), Pause(1.6, 1.9), Pause(2.7, 4.0)]
    assert snap_to_pauses(words, pauses, 4.0) == [
        SpokenWord("a", 0.3, 0.9),  # begins behind the first pause and ends before the second
        SpokenWord("b", 1.2, 1.6),  # the pause inside it is not its own
        SpokenWord("c", 1.9, 2.7),
    ]
    assert snap_to_pauses(words[:1], [], 4.0) == [SpokenWord("a", 0.0, 4.0)]
    assert snap_to_pauses([], pauses, 4.0) == []


times = st.lists(st.floats(0, 10), min_size=2, max_size=12).map(sorted)


@given(times, times)
def test_words_stay_in_order(edges: list[float], borders: list[float]):
    words = [SpokenWord("w", a, b) for a, b in itertools.pairwise(edges)]
    pauses = [Pause(a, b) for a, b in zip(borders[::2], borders[1::2], strict=False)]
    found = snap_to_pauses(words, pauses, 10.0)
    assert len(found) == len(words)
    last = 0.0
    for word in found:
        assert last <= word.start <= word.end <= 10
        last = word.end
