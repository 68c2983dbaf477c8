"""Chance for augmentation: generators that depend on nothing but a seed and a name."""

import hashlib
import math
from collections.abc import Sequence
from typing import TypeVar

import torch

Range = tuple[float, float]
T = TypeVar("T")


def generator_for(seed: int | str, name: str) -> torch.Generator:
    """Return a generator on the CPU that is the same in every process, worker and order.

    Args:
        seed: of the utterance; a number, or a text such as "epoch 3, row 17".
        name: what the numbers are for; other names give independent numbers.
    """
    digest = hashlib.sha256(f"{seed}|{name}".encode()).digest()
    return torch.Generator().manual_seed(int.from_bytes(digest[:7], "big"))


def uniform(generator: torch.Generator, between: Range) -> float:
    """Draw a number between two."""
    low, high = between
    return low + (high - low) * float(torch.rand((), generator=generator, dtype=torch.float64))


def choose(generator: torch.Generator, choices: Sequence[T]) -> T:
    """Draw one of some things, all equally likely."""
    return choices[int(torch.randint(len(choices), (), generator=generator))]


def check_probability(probability: float) -> None:
    """Raise ValueError for a probability that is none."""
    if not 0 <= probability <= 1:
        raise ValueError(f"probability is {probability}; choose 0 (never) to 1 (always)")


def check_range(name: str, between: Range, lowest: float, highest: float) -> None:
    """Raise ValueError for a range that runs backwards or beyond its limits."""
    low, high = between
    if not (math.isfinite(low) and math.isfinite(high) and lowest <= low <= high <= highest):
        raise ValueError(
            f"{name} is {between}; give (least, most) with {lowest} <= least <= most <= {highest}"
        )
