"""Greedy search, sampling and beam search over decoders that follow a script."""

import itertools
import math
import time
from collections import Counter
from collections.abc import Callable, Sequence

import pytest
import torch
from hypothesis import given, settings
from hypothesis import strategies as st
from token_oracle import EOT, SILENCE, VOCAB, WORDS, Oracle, Speaker, dice, task
from torch import Tensor

from echoic.asr.whisper.beam import beam_search
from echoic.asr.whisper.greedy import greedy_search, sample
from echoic.asr.whisper.hypothesis import Hypothesis, SearchTask


def logprob(speaker: Speaker, window: int, text: Sequence[int], nxt: int) -> float:
    allowed = [*range(WORDS)] if not text else [*range(EOT + 1)]
    scores = speaker(window, tuple(text))[allowed].double()
    return float(scores.log_softmax(0)[allowed.index(nxt)])


def total(speaker: Speaker, window: int, answer: Sequence[int]) -> float:
    return sum(logprob(speaker, window, answer[:i], token) for i, token in enumerate(answer))


def recite(*answers: Sequence[int]) -> Speaker:
    """Window w says `answers[w]` and ends."""

    def speak(window: int, text: tuple[int, ...]) -> Tensor:
        answer = [*answers[window], EOT]
        scores = torch.zeros(VOCAB)
        scores[answer[min(len(text), len(answer) - 1)]] = 6.0
        return scores

    return speak


def test_greedy_takes_the_likeliest_and_adds_up_what_it_took():
    speaker = dice(1)
    for window, found in enumerate(greedy_search(task(speaker, range(6)))):
        text: list[int] = []
        while True:
            choices = range(WORDS) if not text else range(EOT + 1)
            best = max(choices, key=lambda i: float(speaker(window, tuple(text))[i]))
            if best == EOT or len(text) == 12:
                break
            text.append(best)
        assert list(found.tokens) == text
        assert found.complete == (len(text) < 12)
        end = [EOT] if found.complete else []
        assert found.sum_logprob == pytest.approx(total(speaker, window, [*text, *end]), abs=1e-4)
        silence = float(speaker(window, ()).softmax(0)[SILENCE])
        assert found.no_speech_prob == pytest.approx(silence, abs=1e-6)


LENGTHS = (1, 30, 2, 17, 3, 9, 1, 25)
STORY = [[(i * i + n) % WORDS for i in range(n)] for n in LENGTHS]
SEARCHES: dict[str, Callable[[SearchTask], list[Hypothesis]]] = {
    "greedy": greedy_search,
    "beam": lambda t: beam_search(t, beam_size=3),
    "sample": lambda t: [
        h
        for group in sample(
            t, temperature=0.8, best_of=3, seeds=t.cache.cross_keys.flatten().long().tolist()
        )
        for h in group
    ],
}


@pytest.mark.parametrize("search", SEARCHES.values(), ids=SEARCHES.keys())
@pytest.mark.parametrize("speaker", [recite(*STORY), dice(5)], ids=["story", "dice"])
def test_windows_that_end_at_different_times_do_not_disturb_each_other(
    search: Callable[[SearchTask], list[Hypothesis]], speaker: Speaker
):
    together = search(task(speaker, range(8), 40))
    alone = [h for w in range(8) for h in search(task(speaker, [w], 40))]
    assert [h.tokens for h in together] == [h.tokens for h in alone]
    assert [h.complete for h in together] == [h.complete for h in alone]
    for a, b in zip(together, alone, strict=True):
        assert a.sum_logprob == pytest.approx(b.sum_logprob, abs=1e-4)
        assert a.no_speech_prob == pytest.approx(b.no_speech_prob, abs=1e-6)


def test_ended_windows_are_dropped():
    run = task(recite(*STORY), range(8), 40)
    found = greedy_search(run)
    assert [list(h.tokens) for h in found] == STORY
    assert all(h.complete for h in found)
    assert isinstance(run.decoder, Oracle)
    assert run.decoder.rows_run < 0.75 * 8 * 31
    assert run.decoder.rows_run >= sum(LENGTHS) + 8


@settings(max_examples=20, deadline=None)
@given(st.integers(0, 10_000))
def test_a_beam_of_one_is_greedy(seed: int):
    speaker = dice(seed)
    greedy = greedy_search(task(speaker, range(3), 8))
    beam = beam_search(task(speaker, range(3), 8), beam_size=1)
    for a, b in zip(greedy, beam, strict=True):
        assert (a.tokens, a.complete) == (b.tokens, b.complete)
        assert a.sum_logprob == pytest.approx(b.sum_logprob, abs=1e-4)


def every_answer(budget: int) -> list[tuple[int, ...]]:
    lengths = range(1, budget + 1)
    return [t for n in lengths for t in itertools.product(range(WORDS), repeat=n)]


@settings(max_examples=10, deadline=None)
@given(st.integers(0, 10_000), st.sampled_from([None, 0.0, 1.0]))
def test_a_wide_beam_finds_the_best_of_all(seed: int, penalty: float | None):
    speaker, budget = dice(seed, 1.5), 3
    (found,) = beam_search(
        task(speaker, [0], budget), beam_size=125, patience=3.0, length_penalty=penalty
    )

    def score(text: tuple[int, ...]) -> float:
        norm = len(text) if penalty is None else ((5 + len(text)) / 6) ** penalty
        return total(speaker, 0, [*text, EOT]) / norm

    best = max(every_answer(budget - 1), key=score)
    assert found.tokens == best
    assert found.complete
    assert found.sum_logprob == pytest.approx(total(speaker, 0, [*best, EOT]), abs=1e-4)


def plain_beam(speaker: Speaker, window: int, width: int, budget: int) -> list[int]:
    """The textbook, one window and one list at a time."""
    growing: list[tuple[float, list[int]]] = [(0.0, [])]
    ended: list[tuple[float, list[int]]] = []
    while len(ended) < width and len(growing[0][1]) < budget:
        found = [
            (score + logprob(speaker, window, text, i), [*text, i])
            for score, text in growing
            for i in (range(EOT + 1) if text else range(WORDS))
        ]
        found.sort(key=lambda item: -item[0])
        growing = []
        for score, text in found:
            if len(growing) == width:
                break
            if text[-1] == EOT:
                ended.append((score, text[:-1]))
            else:
                growing.append((score, text))
    return max(ended or growing, key=lambda item: item[0] / len(item[1]))[1]


@settings(max_examples=15, deadline=None)
@given(st.integers(0, 10_000), st.integers(2, 5))
def test_a_narrow_beam_is_the_textbook_one(seed: int, width: int):
    speaker = dice(seed)
    found = beam_search(task(speaker, range(4), 7), beam_size=width)
    expected = [plain_beam(speaker, window, width, 7) for window in range(4)]
    assert [list(h.tokens) for h in found] == expected


@pytest.mark.parametrize(("width", "patience"), [(1, 1.0), (5, 0.2), (20, 0.05), (20, 1.0)])
def test_impossible_endings_do_not_count(width: int, patience: float):
    """Where one token only is possible, the rest of the beam is filled with impossible ones."""

    def speak(_window: int, text: tuple[int, ...]) -> Tensor:
        scores = torch.full((VOCAB,), -torch.inf)
        scores[3 if len(text) < 4 else EOT] = 5.0
        return scores

    (found,) = beam_search(task(speak, [0]), beam_size=width, patience=patience)
    assert (found.tokens, found.complete) == ((3, 3, 3, 3), True)
    assert found.sum_logprob == pytest.approx(0.0)


def endless(_window: int, text: tuple[int, ...]) -> Tensor:
    scores = torch.zeros(VOCAB)
    scores[len(text) % 3] = 20.0
    return scores


@pytest.mark.timeout(20)
@pytest.mark.parametrize("search", SEARCHES.values(), ids=SEARCHES.keys())
def test_an_endless_answer_is_ended_by_the_guard(search: Callable[[SearchTask], list[Hypothesis]]):
    began = time.perf_counter()
    for found in search(task(endless, range(2), 60)):
        assert not found.complete
        assert 36 <= len(found.tokens) <= 48  # noticed within a dozen tokens
    for found in search(task(endless, range(2), 10)):
        assert not found.complete
        assert len(found.tokens) == 10
    assert time.perf_counter() - began < 10


def test_samples_belong_to_their_seed():
    speaker = dice(3)

    def drawn(windows: Sequence[int], seeds: list[int]) -> list[list[tuple[int, ...]]]:
        groups = sample(task(speaker, windows), temperature=1.0, best_of=4, seeds=seeds)
        return [[h.tokens for h in group] for group in groups]

    first = drawn([0, 1, 2], [7, 8, 9])
    assert first == drawn([0, 1, 2], [7, 8, 9])
    assert first[1:] == drawn([1, 2], [8, 9])
    assert first != drawn([0, 1, 2], [17, 18, 19])
    assert len({tokens for group in first for tokens in group}) > 6


@pytest.mark.parametrize("temperature", [1.0, 0.5])
def test_samples_follow_the_distribution(temperature: float):
    scores = dice(11, 1.0)(0, ())
    groups = sample(
        task(lambda _w, _t: scores, [0], 1), temperature=temperature, best_of=4000, seeds=[5]
    )
    counts = Counter(h.tokens[0] for h in groups[0])
    p = (scores[:WORDS] / temperature).softmax(0).tolist()
    chi2 = sum((counts[i] - 4000 * p[i]) ** 2 / (4000 * p[i]) for i in range(WORDS))
    assert chi2 < 18.5  # 0.1 % of fair dice with four degrees of freedom exceed it
    at_one = scores[:WORDS].log_softmax(0).tolist()
    for found in groups[0][:20]:  # probabilities are told at temperature 1
        assert math.isclose(found.sum_logprob, at_one[found.tokens[0]], abs_tol=1e-5)
