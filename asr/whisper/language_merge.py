"""One language adapter out of several: the mean of their weights."""

from collections.abc import Sequence
from dataclasses import replace

import torch

from echoic.asr.errors import CheckpointError
from echoic.asr.whisper.language_adapter import LanguageAdapter, LanguageAdapterConfig

_TOLERANCE = 1e-6


def merge_language_adapters(
    adapters: Sequence[LanguageAdapter], weights: Sequence[float] | None = None
) -> LanguageAdapter:
    """Return the mean of adapters; it is of all their languages.

    The mean of networks is a network where all began from the same weights, as those of one seed
    do (see `fresh_state`).

    Args:
        adapters: one or more, of one model and one size.
        weights: share of each, which sum to 1; None for equal ones.

    Raises:
        CheckpointError: they are of different models or sizes.
        ValueError: no adapters, or weights that are no shares.
    """
    if not adapters:
        raise ValueError("no adapters to merge: give one or more")
    shares = [1 / len(adapters)] * len(adapters) if weights is None else list(weights)
    if len(shares) != len(adapters):
        raise ValueError(f"{len(shares)} weights for {len(adapters)} adapters: give one for each")
    if min(shares) < 0 or abs(sum(shares) - 1) > _TOLERANCE:
        raise ValueError(f"weights are {shares}, of sum {sum(shares):g}: expected shares of 1")
    first = adapters[0]
    for other in adapters[1:]:
        if _kind(other.config) != _kind(first.config):
            raise CheckpointError(
                f"{other.folder or 'an adapter'} is of another model or size than "
                f"{first.folder or 'the first'}; merge adapters of one"
            )
    state = {
        name: torch.stack(
            [s * a.state[name].double() for s, a in zip(shares, adapters, strict=True)]
        )
        .sum(0)
        .float()
        for name in first.state
    }
    codes = dict.fromkeys(code for adapter in adapters for code in adapter.config.languages)
    return LanguageAdapter(replace(first.config, languages=tuple(codes)), state)


def _kind(config: LanguageAdapterConfig) -> tuple[object, ...]:
    return (
        config.bottleneck, config.width, config.layers, config.base_print, config.causal_print,
    )  # fmt: skip
