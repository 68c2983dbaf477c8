"""Windows: every token's click is where its time says, whatever was cut, joined and sped up."""

import random
from dataclasses import replace
from pathlib import Path

import pytest
import torch
from clicking_corpus import RATE, clicking_corpus, clicking_utterance, token_at
from torch import Tensor

from echoic.asr.whisper.training.windows import TrainingWindow, WindowConfig, WindowMaker

QUIET = WindowConfig(empty=0.0, stop_early=0.0, whole_words=False)


@pytest.fixture(scope="module")
def folder(tmp_path_factory: pytest.TempPathFactory) -> Path:
    path = tmp_path_factory.mktemp("clicks")
    clicking_corpus(path)
    return path


def maker(folder: Path, config: WindowConfig = QUIET, **options) -> WindowMaker:
    return WindowMaker(clicking_corpus(folder), folder, config, **options)


def check(window: TrainingWindow) -> None:
    assert window.wav.dtype == torch.float32
    assert len(window.tokens) == len(window.ends)
    assert window.teacher_ids.shape == window.teacher_probs.shape == (len(window.tokens), 3)
    assert window.teacher_ids[:, 0].tolist() == list(window.tokens)
    assert list(window.ends) == sorted(window.ends)
    for token, end in zip(window.tokens, window.ends, strict=True):
        if end < len(window.wav) / RATE - 0.01:
            found = token_at(window.wav, end)
            # Interpolation takes a little off a click's height.
            assert found is not None
            assert abs(found - token) <= 2


@pytest.mark.parametrize("seconds", [1.0, 3.33, 8.0, 24.0])
def test_every_token_is_where_its_time_says(folder: Path, seconds: float) -> None:
    total = 0
    for seed in range(8):
        window = maker(folder)(seconds, seed)
        check(window)
        assert len(window.wav) == round(seconds * RATE)
        assert all(0 < end <= seconds for end in window.ends)
        total += len(window.tokens)
    assert total > 4 * seconds


def test_whole_words_are_heard_at_their_last_token(folder: Path) -> None:
    whole, parts = maker(folder, replace(QUIET, whole_words=True)), maker(folder)
    for seed in range(8):
        words, tokens = whole(7.0, seed), parts(7.0, seed)
        assert torch.equal(words.wav, tokens.wav)
        # The window may end inside a word, none of which is heard then.
        count = len(words.tokens)
        assert words.tokens == tokens.tokens[:count]
        assert len(tokens.tokens) - count < 3
        assert set(words.ends) <= set(tokens.ends)
        assert all(a >= b for a, b in zip(words.ends, tokens.ends, strict=False))
        assert len(set(words.ends)) < count


def test_all_that_is_heard_has_its_token(folder: Path) -> None:
    """Nothing that clicks in a window is without a target: no token is forgotten."""
    for seed in range(8):
        window = maker(folder, replace(QUIET, mid_sentence=0.0))(6.0, seed)
        loud = (window.wav > 0.09).nonzero()[:, 0]
        clicks = [int(i) for n, i in enumerate(loud) if n == 0 or i > loud[n - 1] + 100]
        inside = [i for i in clicks if i < len(window.wav) - 200]
        assert len(inside) <= len(window.tokens) <= len(clicks)


def test_the_same_seed_makes_the_same_window(folder: Path) -> None:
    config = WindowConfig()
    for seed in (0, 1, 2**61):
        a, b = (maker(folder, config)(5.0, seed) for _ in range(2))
        assert torch.equal(a.wav, b.wav)
        assert a.tokens == b.tokens
        assert a.ends == b.ends
    assert maker(folder, config)(5.0, 0).tokens != maker(folder, config)(5.0, 1).tokens


def test_windows_begin_in_silence_or_inside_a_sentence(folder: Path) -> None:
    utterances = clicking_corpus(folder)
    heads = {u.tokens[0] for u in utterances}
    inside = [maker(folder, replace(QUIET, mid_sentence=1.0))(4.0, seed) for seed in range(12)]
    whole = [maker(folder, replace(QUIET, mid_sentence=0.0))(4.0, seed) for seed in range(12)]
    assert all(window.tokens[0] in heads for window in whole)
    assert all(window.ends[0] > 0.15 for window in whole)
    begins = {
        (u.tokens[i], u.tokens[i - 1])
        for u in utterances
        for i in range(1, len(u.tokens))
        if u.word_of[i] != u.word_of[i - 1]
    }
    for window in inside:
        check(window)
        assert window.tokens[0] in {token for token, _ in begins}
        assert window.ends[0] < 0.5


def test_a_rate_moves_times_with_the_sound(folder: Path) -> None:
    fast = replace(QUIET, speed=1.5, mid_sentence=0.0)
    ends: list[float] = []
    for seed in range(8):
        window = maker(folder, fast)(8.0, seed)
        check(window)
        ends.append(window.ends[2] - window.ends[0])
    plain = [w.ends[2] - w.ends[0] for w in (maker(folder, replace(QUIET, speed=1.0,
             mid_sentence=0.0))(8.0, seed) for seed in range(8))]  # fmt: skip
    assert min(ends) < min(plain)
    assert max(ends) > max(plain)


def test_some_windows_are_empty_and_some_end_early(folder: Path) -> None:
    empty = maker(folder, WindowConfig(empty=1.0))(3.0, 0)
    assert empty.tokens == ()
    assert empty.teacher_ids.shape == (0, 3)
    assert 0 < empty.wav.abs().max() < 0.01
    early = [maker(folder, WindowConfig(empty=0.0, stop_early=1.0))(20.0, s) for s in range(5)]
    assert all(window.ends[-1] < 8 for window in early)
    assert all(window.wav[-8 * RATE :].abs().max() < 0.01 for window in early)


def test_speakers_stay(folder: Path) -> None:
    """With one speaker at a time, no window has words of both."""
    words = {u.speaker: set[int]() for u in clicking_corpus(folder)}
    for utterance in clicking_corpus(folder):
        words[utterance.speaker].update(utterance.tokens)
    for seed in range(6):
        said = set(maker(folder, replace(QUIET, same_speaker=1.0))(15.0, seed).tokens)
        assert any(said <= own for own in words.values())


def test_what_changes_the_sound_is_told_a_seed(folder: Path) -> None:
    seeds: list[int] = []

    def halve(wav: Tensor, seed: int) -> Tensor:
        seeds.append(seed)
        return wav / 2

    plain = maker(folder)(4.0, 3)
    changed = maker(folder, change=halve)(4.0, 3)
    assert torch.equal(changed.wav, plain.wav / 2)
    assert changed.tokens == plain.tokens
    maker(folder, change=halve)(4.0, 3)
    maker(folder, change=halve)(4.0, 4)
    assert seeds[0] == seeds[1] != seeds[2]


def test_there_is_room_for_all_tokens(tmp_path: Path) -> None:
    rng = random.Random(0)
    dense = clicking_utterance(tmp_path, "dense", 1, words=10)
    many = replace(
        dense,
        **{
            name: tuple(value for value in getattr(dense, name) for _ in range(12))
            for name in ("tokens", "starts", "ends", "word_of", "teacher_ids", "teacher_probs")
        },
    )
    for _ in range(5):
        window = WindowMaker([many], tmp_path, QUIET)(29.0, rng.getrandbits(30))
        assert len(window.tokens) <= max(220, len(many.tokens))


def test_no_utterances_no_windows(tmp_path: Path) -> None:
    with pytest.raises(ValueError, match="0 utterances, expected 1 or more"):
        WindowMaker([], tmp_path, QUIET)
