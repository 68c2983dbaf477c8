"""Drawing codes, and when to stop."""

import pytest
import torch
from torch import Tensor

from echoic.tts.lm.guard import Bounds, loops
from echoic.tts.lm.sampling import Draw, SamplingConfig, ScoresNotFinite, draw, draw_each

PLAIN = SamplingConfig(temperature=1.0, top_k=0, top_p=1.0, window=0)
SCORES = torch.tensor([0.5, 0.25, 0.15, 0.1]).log()


def shares(scores: Tensor, config: SamplingConfig, recent: tuple[int, ...] = ()) -> list[float]:
    generator = torch.Generator().manual_seed(0)
    drawn = [draw(scores, config, generator, recent) for _ in range(2000)]
    return [drawn.count(code) / len(drawn) for code in range(len(scores))]


def test_codes_come_as_often_as_their_probability() -> None:
    assert shares(SCORES, PLAIN) == pytest.approx([0.5, 0.25, 0.15, 0.1], abs=0.04)
    cold = SamplingConfig(0.5, 0, 1.0, window=0)
    squares = torch.tensor([0.25, 0.0625, 0.0225, 0.01])
    assert shares(SCORES, cold) == pytest.approx((squares / squares.sum()).tolist(), abs=0.04)
    assert draw(SCORES, SamplingConfig(0.0)) == 0


@pytest.mark.parametrize(
    ("config", "kept"),
    [
        (SamplingConfig(1.0, 2, 1.0, window=0), 2),
        (SamplingConfig(1.0, 0, 0.7, window=0), 2),
        (SamplingConfig(1.0, 0, 0.76, window=0), 3),
        (SamplingConfig(1.0, 0, 0.01, window=0), 1),
        (SamplingConfig(1.0, 0, 1.0, 0.25, window=0), 3),
        (SamplingConfig(1.0, 9, 1.0, window=0), 4),
    ],
)
def test_only_the_best_are_drawn(config: SamplingConfig, kept: int) -> None:
    found = shares(SCORES, config)
    assert sum(share > 0 for share in found) == kept
    assert found[:kept] == sorted(found[:kept], reverse=True)


def test_what_was_said_too_often_is_drawn_from_all_others() -> None:
    config = SamplingConfig(1.0, 1, 1.0, window=10, threshold=0.3)
    assert shares(SCORES, config, (0, 0))[0] == 1.0  # twice in ten is not too often
    again = shares(SCORES, config, (0, 3, 0, 0))
    assert again[0] == 0
    assert again[1:] == pytest.approx([0.5, 0.3, 0.2], abs=0.04)
    assert shares(SCORES, config, (0, 0, 0, *range(1, 11)))[0] == 1.0  # long ago
    greedy = SamplingConfig(0.0, window=10, threshold=0.1)
    assert draw(SCORES, greedy, None, (0,)) == 1
    alone = torch.tensor([-torch.inf, 1.0])
    assert draw(alone, config, None, (1,) * 10) == 1  # there is nothing else


def test_a_seed_gives_the_same_codes() -> None:
    def some(seed: int) -> list[int]:
        generator = torch.Generator().manual_seed(seed)
        return [draw(SCORES, PLAIN, generator) for _ in range(20)]

    assert some(1) == some(1) != some(2)


@pytest.mark.parametrize("bad", [torch.nan, torch.inf, -torch.inf])
@pytest.mark.parametrize("temperature", [0.0, 1.0])
def test_scores_that_are_not_finite(bad: float, temperature: float) -> None:
    scores = torch.full((4,), bad)
    if bad == torch.nan:
        scores[0] = 1.0
    with pytest.raises(ScoresNotFinite, match="its weights are damaged"):
        draw(scores, SamplingConfig(temperature))


@pytest.mark.parametrize(
    "fields",
    [{"temperature": -1.0}, {"top_p": 0.0}, {"min_p": 1.0}, {"threshold": 0.0}, {"top_k": -1}],
)
def test_numbers_out_of_their_range(fields: dict[str, float]) -> None:
    with pytest.raises(ValueError, match=f"{next(iter(fields))} is"):
        SamplingConfig(**fields)  # pyright: ignore[reportArgumentType]


def test_bounds_follow_the_text() -> None:
    bounds = Bounds(shortest=0.02, longest=0.4, least=1.5)
    assert bounds.frames(1, 50.0) == (1, 75)
    assert bounds.frames(100, 50.0) == (100, 2000)


def test_patterns_that_go_on_and_on() -> None:
    bounds = Bounds(loop_seconds=1.0, loop_period=0.2)
    generator = torch.Generator().manual_seed(0)
    speech = torch.randint(100, (500,), generator=generator).tolist()
    assert not any(loops(speech[:n], bounds, 50.0) for n in range(500))
    assert loops([*speech, *[7] * 50], bounds, 50.0)
    assert not loops([*speech, *[7] * 49], bounds, 50.0)
    assert loops([*speech, *[1, 2, 3, 4] * 13], bounds, 50.0)
    assert not loops([*speech, *range(25), *range(25)], bounds, 50.0)  # too long a pattern


def test_rows_are_drawn_together_as_each_alone() -> None:
    scores = 3 * torch.randn(6, 40, generator=torch.Generator().manual_seed(3))
    scores[4, 2] = torch.nan
    configs = [
        PLAIN,
        SamplingConfig(0.7, 5, 0.9),
        SamplingConfig(0.0, window=0),
        SamplingConfig(0.7, 5, 0.9, window=2, threshold=0.5),
        PLAIN,
        SamplingConfig(1.0, 0, 1.0, 0.3, window=0),
    ]
    recent = [(), (3,) * 10, (), (int(scores[3].argmax()),) * 2, (), ()]
    barred = [None, int(scores[1].argmax()), None, None, None, 7]

    def generators() -> list[torch.Generator]:
        return [torch.Generator().manual_seed(row) for row in range(6)]

    draws = [
        Draw(39 if row == 5 else 40, configs[row], made, recent[row], barred[row])
        for row, made in enumerate(generators())
    ]
    together = [draw_each(scores, draws) for _ in range(20)]
    own = generators()
    for found in together:
        for row, code in enumerate(found):
            if row == 4:
                assert isinstance(code, ScoresNotFinite)
                continue
            single = scores[row, : draws[row].size].clone()
            if barred[row] is not None:
                single[barred[row]] = -torch.inf
            assert code == draw(single, configs[row], own[row], recent[row])


def test_it_draws_what_torch_draws() -> None:
    scores = torch.randn(300, generator=torch.Generator().manual_seed(3))
    mine, theirs = (torch.Generator().manual_seed(7) for _ in range(2))
    for _ in range(50):
        expected = torch.multinomial(scores.softmax(0), 1, generator=theirs)
        assert draw(scores, PLAIN, mine) == int(expected)
