"""The grammar of time tokens, against a row-by-row reading of the published rules."""

import math
from types import SimpleNamespace

import pytest
import torch
from hypothesis import given, settings
from hypothesis import strategies as st
from torch import Tensor

from echoic.asr.whisper.config import GenerationConfig
from echoic.asr.whisper.rules import RowHistory, TokenRules

EOT, NO_TIMES, FIRST_TIME, VOCAB = 10, 15, 16, 40
MAX_INITIAL = 6
SUPPRESSED = (3, 12)
NOT_FIRST = (4, EOT)
CPU = torch.device("cpu")

GENERATION = GenerationConfig(
    suppress_tokens=SUPPRESSED,
    begin_suppress_tokens=NOT_FIRST,
    alignment_heads=((0, 0),),
    is_multilingual=False,
    lang_to_id={},
    task_to_id={},
    eos_token_id=EOT,
    decoder_start_token_id=11,
    prev_sot_token_id=13,
    no_speech_token_id=14,
    no_timestamps_token_id=NO_TIMES,
    max_initial_timestamp_index=MAX_INITIAL,
)


def allowed_by_grammar(tokens: list[int], limit: int) -> set[int]:
    """What may follow one row's `tokens`, before probabilities have their say."""
    never = {*SUPPRESSED, *range(EOT + 1, FIRST_TIME)}
    text = {i for i in range(EOT) if i not in never}
    times = {i for i in range(FIRST_TIME, VOCAB) if i < FIRST_TIME + limit}
    if not tokens:
        return {i for i in times if i <= FIRST_TIME + MAX_INITIAL}
    written = [i for i in tokens if i >= FIRST_TIME]
    if tokens[-1] < FIRST_TIME:  # a text goes on, ends, or is closed by a later time
        return text | {EOT} | {i for i in times if i > written[-1]}
    if len(tokens) == 1 or tokens[-2] >= FIRST_TIME:  # a time that opens wants text, or the end
        return text | {EOT}
    return {EOT} | {i for i in times if i >= written[-1]}  # a time that closes wants its pair


def expected(scores: Tensor, tokens: list[int], limit: int) -> set[int]:
    allowed = allowed_by_grammar(tokens, limit)
    p = scores.double().softmax(0)
    times = [i for i in allowed if i >= FIRST_TIME]
    words = [i for i in allowed if i < FIRST_TIME]
    if times and words and float(p[times].sum()) > max(float(p[i]) for i in words):
        return set(times)
    return allowed


def allowed(scores: Tensor) -> set[int]:
    return {i for i, score in enumerate(scores.tolist()) if score > -math.inf}


@settings(max_examples=40, deadline=None)
@given(
    seed=st.integers(0, 2**31),
    limits=st.lists(st.integers(1, VOCAB - FIRST_TIME), min_size=1, max_size=4),
    steps=st.integers(1, 12),
    sharpness=st.sampled_from([0.1, 1.0, 4.0]),
)
def test_rows_follow_the_published_rules(
    seed: int, limits: list[int], steps: int, sharpness: float
):
    rules = TokenRules(GENERATION, VOCAB, timestamps=True, device=CPU)
    generator = torch.Generator().manual_seed(seed)
    history = RowHistory.start(len(limits), CPU)
    tokens: list[list[int]] = [[] for _ in limits]
    for step in range(steps):
        scores = sharpness * torch.randn(len(limits), VOCAB, generator=generator)
        before = scores.clone()
        rules.apply(scores, history, torch.tensor(limits), first=step == 0)
        for row, limit in enumerate(limits):
            found = allowed(scores[row])
            assert found == expected(before[row], tokens[row], limit)
            kept = sorted(found)
            assert torch.equal(scores[row, kept], before[row, kept])
        chosen = torch.multinomial(scores.softmax(1), 1, generator=generator)[:, 0]
        rules.advance(history, chosen, first=step == 0)
        for row, token in enumerate(chosen.tolist()):
            tokens[row].append(token)
        history = _shuffled(history, tokens, limits, generator)
    for row, limit in zip(tokens, limits, strict=True):
        _check_answer(row, limit)


def _shuffled(
    history: RowHistory, tokens: list[list[int]], limits: list[int], generator: torch.Generator
) -> RowHistory:
    order = torch.randperm(len(tokens), generator=generator)
    places = order.tolist()
    tokens[:], limits[:] = [tokens[i] for i in places], [limits[i] for i in places]
    return history.select(order)


def _check_answer(tokens: list[int], limit: int) -> None:
    """Said once more without any state: pairs, never back, inside the window."""
    answer = tokens[: tokens.index(EOT)] if EOT in tokens else tokens
    times = [i - FIRST_TIME for i in answer if i >= FIRST_TIME]
    assert times == sorted(times)
    assert times[0] <= MAX_INITIAL
    assert all(t < limit for t in times)
    signs = "".join("t" if i >= FIRST_TIME else "w" for i in answer)
    assert "ttt" not in signs
    assert signs.startswith("t")
    assert "tw" in signs or len(signs) == 1


def test_probability_decides_between_times_together_and_the_best_word():
    rules = TokenRules(GENERATION, VOCAB, timestamps=True, device=CPU)
    history = RowHistory(
        last_is_time=torch.tensor([False, False]),
        previous_is_time=torch.tensor([False, False]),
        latest_time=torch.tensor([3, 3]),
    )
    scores = torch.full((2, VOCAB), -20.0)
    scores[:, 5] = 0.0
    scores[0, FIRST_TIME + 4 : FIRST_TIME + 9] = -1.5  # five times 0.223 is more than 1
    scores[1, FIRST_TIME + 4 : FIRST_TIME + 8] = -1.5  # four times is less
    scores[:, FIRST_TIME : FIRST_TIME + 4] = 9.0  # times gone by do not count
    rules.apply(scores, history, torch.tensor([24, 24]), first=False)
    assert allowed(scores[0]) == set(range(FIRST_TIME + 4, VOCAB))
    assert 5 in allowed(scores[1])


def test_without_times_there_are_none():
    rules = TokenRules(GENERATION, VOCAB, timestamps=False, device=CPU)
    history = RowHistory.start(1, CPU)
    limits = torch.tensor([20])
    scores = torch.zeros(1, VOCAB)
    rules.apply(scores, history, limits, first=True)
    assert allowed(scores[0]) == set(range(EOT)) - {3, 4}
    scores = torch.zeros(1, VOCAB)
    rules.advance(history, torch.tensor([1]), first=True)
    rules.apply(scores, history, limits, first=False)
    assert allowed(scores[0]) == set(range(EOT + 1)) - {3}


@settings(max_examples=40, deadline=None)
@given(seed=st.integers(0, 2**31), steps=st.integers(1, 10))
def test_openai_whisper_masks_the_same(seed: int, steps: int):
    decoding = pytest.importorskip("whisper.decoding")
    names = SimpleNamespace(eot=EOT, no_timestamps=NO_TIMES, timestamp_begin=FIRST_TIME)
    theirs = decoding.ApplyTimestampRules(names, 1, MAX_INITIAL)
    rules = TokenRules(GENERATION, VOCAB, timestamps=True, device=CPU)
    generator = torch.Generator().manual_seed(seed)
    history = RowHistory.start(3, CPU)
    tokens = torch.full((3, 1), 11)
    limits = torch.full((3,), VOCAB)
    for step in range(steps):
        scores = 2 * torch.randn(3, VOCAB, generator=generator)
        scores[:, [*SUPPRESSED, *range(EOT + 1, FIRST_TIME)]] = -torch.inf
        if step == 0:
            scores[:, list(NOT_FIRST)] = -torch.inf
        other = scores.clone()
        theirs.apply(other, tokens)
        rules.apply(scores, history, limits, first=step == 0)
        assert torch.equal(scores, other)
        chosen = torch.multinomial(scores.softmax(1), 1, generator=generator)
        rules.advance(history, chosen[:, 0], first=step == 0)
        tokens = torch.cat([tokens, chosen], dim=1)
