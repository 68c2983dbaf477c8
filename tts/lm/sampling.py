"""Drawing a code from a language model's scores."""

from collections.abc import Sequence
from dataclasses import dataclass

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
    scores = scores.float()
    best = float(scores.max())
    if not best > -torch.inf or best == torch.inf:  # NaN is not greater than anything
        raise ScoresNotFinite(
            "the model's scores are not finite: its weights are damaged, or its arithmetic is too "
            "short; try float32"
        )
    if config.temperature == 0:
        code = int(scores.argmax())
        again = _is_repeated(code, config, recent)
        return int(_without(scores, code).argmax()) if again and _others(scores, code) else code
    scores = scores / config.temperature
    code = _multinomial(_truncated(scores, config), generator)
    if _is_repeated(code, config, recent) and _others(scores, code):
        code = _multinomial(_without(scores, code), generator)
    return code


def _truncated(scores: Tensor, config: SamplingConfig) -> Tensor:
    count = min(config.top_k or len(scores), len(scores))
    kept, places = scores.topk(count)
    probabilities = kept.softmax(0)
    # The first one that reaches top_p still belongs to them.
    before = probabilities.cumsum(0) - probabilities
    out = (before >= config.top_p) | (probabilities < config.min_p * probabilities[0])
    out[0] = False
    result = torch.full_like(scores, -torch.inf)
    result[places] = kept.masked_fill(out, -torch.inf)
    return result


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


def _multinomial(scores: Tensor, generator: torch.Generator | None) -> int:
    return int(torch.multinomial(scores.softmax(0), 1, generator=generator))
