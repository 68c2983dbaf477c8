"""Drawing a code from a language model's scores."""

import math
from collections.abc import Sequence
from dataclasses import dataclass
from typing import NamedTuple

import torch
from torch import Tensor


@dataclass(frozen=True, slots=True)
class SamplingConfig:
    """How codes are drawn.

    Attributes:
        temperature: scores are divided by it; 0 takes the best.
        top_k: only so many of the best; 0 for all.
        top_p: only the best that together have this probability; 1 for all.
        min_p: only those with this share of the best one's probability; 0 for all.
        window: codes that are looked back on for repetitions; 0 for none.
        threshold: a code that makes up this share of the window is drawn anew, from all others
            (repetition-aware sampling: Chen et al. 2024, "VALL-E 2", arXiv 2406.05370).

    Raises:
        ValueError: a number outside its range.
    """

    temperature: float = 0.8
    top_k: int = 50
    top_p: float = 0.95
    min_p: float = 0.0
    window: int = 10
    threshold: float = 0.3

    def __post_init__(self) -> None:
        fits = {
            "temperature": self.temperature >= 0,
            "top_k": self.top_k >= 0,
            "top_p": 0 < self.top_p <= 1,
            "min_p": 0 <= self.min_p < 1,
            "window": self.window >= 0,
            "threshold": 0 < self.threshold <= 1,
        }
        for name, good in fits.items():
            if not good:
                raise ValueError(f"{name} is {getattr(self, name)}, which is out of its range")


class ScoresNotFinite(ValueError):
    """A model's scores are NaN, or all minus infinity: its weights are damaged, or overflowed."""


class Draw(NamedTuple):
    """How a code is to be drawn.

    Attributes:
        size: of the scores that count, the first ones.
        config: how.
        generator: of the random numbers.
        recent: codes drawn before, the newest last.
        barred: a code that must not be drawn.
    """

    size: int
    config: SamplingConfig
    generator: torch.Generator | None = None
    recent: Sequence[int] = ()
    barred: int | None = None


def draw(
    scores: Tensor,
    config: SamplingConfig,
    generator: torch.Generator | None = None,
    recent: Sequence[int] = (),
) -> int:
    """Draw a code.

    Args:
        scores: (V,) logits; minus infinity for what must not be drawn.
        config: how.
        generator: of the random numbers.
        recent: codes drawn before, the newest last.

    Raises:
        ScoresNotFinite: NaN, or nothing that may be drawn.
    """
    (code,) = draw_each(scores[None], [Draw(len(scores), config, generator, recent)])
    if isinstance(code, ScoresNotFinite):
        raise code
    return code


def draw_each(scores: Tensor, draws: Sequence[Draw]) -> list[int | ScoresNotFinite]:
    """Draw a code from each row of scores (B, V), the same as it would be alone.

    Returns:
        Codes, and errors in their place where a row is NaN, or nothing in it may be drawn.
    """
    if len(draws) == 1:
        return _draw_alike(scores.float(), draws)
    kinds: dict[tuple[int, float, int, float, float], list[int]] = {}
    for row, one in enumerate(draws):
        config = one.config
        how = (one.size, config.temperature, config.top_k, config.top_p, config.min_p)
        kinds.setdefault(how, []).append(row)
    codes: dict[int, int | ScoresNotFinite] = {}
    for rows in kinds.values():
        own = scores if len(rows) == len(scores) else scores[rows]
        found = _draw_alike(own.float(), [draws[row] for row in rows])
        codes.update(zip(rows, found, strict=True))
    return [codes[row] for row in range(len(draws))]


def _draw_alike(scores: Tensor, draws: Sequence[Draw]) -> list[int | ScoresNotFinite]:
    """Draw from rows whose scores are cut and bent in the same way."""
    config = draws[0].config
    scores = scores[:, : draws[0].size]
    if any(one.barred is not None for one in draws):
        scores = scores.clone()
        for row, one in enumerate(draws):
            if one.barred is not None:
                scores[row, one.barred] = -torch.inf
    best, likeliest = scores.max(dim=1)
    if config.temperature == 0:
        chosen = likeliest.tolist()
    else:
        scores = scores / config.temperature
        chosen = _multinomial(_truncated(scores, config).softmax(1), draws)
    codes: list[int | ScoresNotFinite] = []
    for row, (one, top, code) in enumerate(zip(draws, best.tolist(), chosen, strict=True)):
        if not -math.inf < top < math.inf:  # NaN is on neither side of anything
            codes.append(
                ScoresNotFinite(
                    "the model's scores are not finite: its weights are damaged, or its "
                    "arithmetic is too short; try float32"
                )
            )
            continue
        if _is_repeated(code, one.config, one.recent) and _others(scores[row], code):
            others = _without(scores[row], code)
            if config.temperature == 0:
                code = int(others.argmax())
            else:
                (code,) = _multinomial(others.softmax(0)[None], [one])
        codes.append(code)
    return codes


def _truncated(scores: Tensor, config: SamplingConfig) -> Tensor:
    count = min(config.top_k or scores.shape[1], scores.shape[1])
    kept, places = scores.topk(count)
    chances = kept.softmax(1)
    # The first one that reaches top_p still belongs to them.
    before = chances.cumsum(1) - chances
    out = (before >= config.top_p) | (chances < config.min_p * chances[:, :1])
    out[:, 0] = False
    result = torch.full_like(scores, -torch.inf)
    return result.scatter_(1, places, kept.masked_fill(out, -torch.inf))


def _is_repeated(code: int, config: SamplingConfig, recent: Sequence[int]) -> bool:
    if not config.window:
        return False
    seen = list(recent[-config.window :]).count(code)
    return seen >= max(1.0, config.threshold * config.window)


def _others(scores: Tensor, code: int) -> bool:
    return bool((_without(scores, code) > -torch.inf).any())


def _without(scores: Tensor, code: int) -> Tensor:
    scores = scores.clone()
    scores[code] = -torch.inf
    return scores


def _multinomial(chances: Tensor, draws: Sequence[Draw]) -> list[int]:
    """Draw by chances (B, V), with each row's own random numbers, what `torch.multinomial` does."""
    waits = torch.empty_like(chances)
    for row, one in zip(waits, draws, strict=True):
        row.exponential_(generator=one.generator)
    return (chances / waits).argmax(1).tolist()
