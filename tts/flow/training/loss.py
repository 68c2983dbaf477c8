"""What a flow learns from: the way from some noise to the spectra, at some moment of it."""

from dataclasses import dataclass
from typing import NamedTuple

import torch
from torch import Tensor

from echoic.tts.flow.coder import Coded
from echoic.tts.flow.masks import chunk_mask, draw_chunk, padded_mask
from echoic.tts.flow.model import Conditions, FlowModel
from echoic.tts.flow.solver import warp

#: What is left of the noise at the end of the way.
REST = 1e-6


@dataclass(frozen=True, slots=True)
class FlowLossConfig:
    """What is drawn for each utterance.

    Attributes:
        dropout: share that gets no conditions at all, for the guidance.
        prompted: share whose beginning is known.
        longest_prompt: share of an utterance that is known at most.

    Raises:
        ValueError: no shares.
    """

    dropout: float = 0.2
    prompted: float = 0.5
    longest_prompt: float = 0.3

    def __post_init__(self) -> None:
        for name in ("dropout", "prompted", "longest_prompt"):
            if not 0 <= getattr(self, name) <= 1:
                raise ValueError(f"{name} is {getattr(self, name)}, expected 0 to 1")


class FlowLoss(NamedTuple):
    """The loss of a batch.

    Attributes:
        total: mean square of the velocities' errors, over what is neither padding nor known.
        chunk: frames of codes of its chunks; None where each utterance was one.
        weighed: (B, T) bool, the spectra that counted.
    """

    total: Tensor
    chunk: int | None
    weighed: Tensor


def flow_loss(
    model: FlowModel,
    coded: Coded,
    speaker: Tensor | None,
    config: FlowLossConfig,
    generator: torch.Generator,
) -> FlowLoss:
    """Return the loss of a batch (Lipman et al. 2023, arXiv:2210.02747, equation 23).

    Args:
        model: what learns.
        coded: utterances.
        speaker: (B, S); None for nobody in particular.
        config: what is drawn.
        generator: of all that is drawn, on the CPU.
    """
    target, ratio = coded.mels, model.config.ratio
    rows, count, device = len(target), target.shape[1], target.device
    lengths = coded.lengths.cpu() * ratio
    moment = warp(torch.rand(rows, generator=generator))
    start = torch.randn(target.shape, generator=generator).to(target)
    has_prompt = torch.rand(rows, generator=generator) < config.prompted
    share = config.longest_prompt * torch.rand(rows, generator=generator)
    with_conditions = torch.rand(rows, generator=generator) >= config.dropout
    chunk = draw_chunk(model.config, generator)

    numbers = torch.arange(count)
    known = numbers < (has_prompt * share * lengths).long()[:, None]
    keep = numbers < lengths[:, None]
    known, keep = known.to(device), keep.to(device)
    time = moment.to(target)[:, None, None]
    x = (1 - (1 - REST) * time) * start + time * target
    frames = torch.arange(coded.codes.shape[2], device=device) < coded.lengths[:, None].to(device)
    given = Conditions(
        model.codes(coded.codes, frames),
        torch.where(known[:, :, None], target, 0.0),
        model.no_speaker(rows) if speaker is None else speaker,
    ).where(with_conditions.to(device))
    mask = padded_mask(chunk_mask(model.config, count, chunk, device=device), keep)
    velocity = model(x, moment.to(target), given, mask=mask).float()
    weighed = keep & ~known
    error = (velocity - (target - (1 - REST) * start)).square().mean(-1)
    total = torch.where(weighed, error, 0.0).sum() / weighed.sum().clamp(min=1)
    return FlowLoss(total, chunk, weighed)
