"""How weights of codecs and discriminators are updated: settings, schedule, averages."""

import copy
import math
from dataclasses import dataclass
from typing import Literal, get_args

import torch
from torch import Tensor, nn

Schedule = Literal["constant", "cosine", "exponential"]


@dataclass(frozen=True, slots=True)
class OptimizerConfig:
    """AdamW, warm-up and decay; the learning rate is a function of the step and nothing else.

    Attributes:
        learning_rate: at the end of the warm-up.
        betas: of AdamW.
        weight_decay: of AdamW, for weights of two dimensions and more.
        warmup_steps: steps of linear rise.
        schedule: what comes after it.
        total_steps: where the cosine ends; None for the trainer's `max_steps`.
        final_share: of the learning rate that the cosine ends at.
        gamma: factor of the exponential, every `gamma_every` steps; between them it is smooth.
        gamma_every: see above; the published recipes decay by epoch, say how many steps one has.
        clip_norm: longest gradient of all weights together; None for any.
    """

    learning_rate: float = 3e-4
    betas: tuple[float, float] = (0.8, 0.99)
    weight_decay: float = 0.01
    warmup_steps: int = 100
    schedule: Schedule = "cosine"
    total_steps: int | None = None
    final_share: float = 0.02
    gamma: float = 0.98
    gamma_every: int = 1000
    clip_norm: float | None = 1.0

    def __post_init__(self) -> None:
        if self.schedule not in get_args(Schedule):
            raise ValueError(
                f"schedule is {self.schedule!r}, expected one of {', '.join(get_args(Schedule))}"
            )
        if self.learning_rate <= 0 or self.warmup_steps < 0 or self.gamma_every < 1:
            raise ValueError(
                f"learning_rate {self.learning_rate}, warmup_steps {self.warmup_steps}, "
                f"gamma_every {self.gamma_every}: expected above 0, 0 or more, 1 or more"
            )

    def rate(self, step: int, total: int) -> float:
        """Return the learning rate of a step, from 0, in a run of `total` (for the cosine)."""
        if step < self.warmup_steps:
            return self.learning_rate * (step + 1) / self.warmup_steps
        after = step - self.warmup_steps
        if self.schedule == "constant":
            return self.learning_rate
        if self.schedule == "exponential":
            return self.learning_rate * self.gamma ** (after / self.gamma_every)
        done = min(1.0, after / max(1, total - self.warmup_steps))
        cosine = (1 + math.cos(math.pi * done)) / 2
        return self.learning_rate * (self.final_share + (1 - self.final_share) * cosine)


def make_optimizer(module: nn.Module, config: OptimizerConfig) -> torch.optim.AdamW:
    """Return AdamW over all weights of a module that learn; none may be left out."""
    weights = [p for p in module.parameters() if p.requires_grad]
    groups = [
        {"params": [p for p in weights if p.dim() > 1], "weight_decay": config.weight_decay},
        {"params": [p for p in weights if p.dim() <= 1], "weight_decay": 0.0},
    ]
    # One kernel for all weights, where there is one: a loop over hundreds of small ones is slow.
    kind = {p.device.type for p in weights}
    return torch.optim.AdamW(
        groups, lr=config.learning_rate, betas=config.betas, fused=kind <= {"cpu", "cuda"}
    )


def step_optimizer(optimizer: torch.optim.Optimizer, config: OptimizerConfig) -> Tensor:
    """Clip the gradients that are there; a gradient that is not finite is dropped whole.

    The step itself is left to the caller: without gradients it changes nothing.

    Returns:
        The norm that the gradient had before.
    """
    weights = [p for group in optimizer.param_groups for p in group["params"]]
    bound = math.inf if config.clip_norm is None else config.clip_norm
    norm = nn.utils.clip_grad_norm_(weights, bound)
    if not bool(torch.isfinite(norm)):
        optimizer.zero_grad(set_to_none=True)
    return norm


class AveragedCodec(nn.Module):
    """A running mean of a module's weights and of its books; what is validated and shipped.

    The mean is short at first (Tensorflow's `(1 + n) / (10 + n)`), so that random weights and
    books that do not exist yet are soon forgotten. Counters and flags are copied.

    Args:
        source: what is averaged; copied.
        decay: of the mean; 0 follows at once.
    """

    updates: Tensor

    def __init__(self, source: nn.Module, decay: float = 0.999) -> None:
        super().__init__()
        if not 0 <= decay < 1:
            raise ValueError(f"ema_decay is {decay}, expected 0 (no average) to less than 1")
        self.decay = decay
        self.codec = copy.deepcopy(source).requires_grad_(False)
        self.register_buffer("updates", torch.zeros((), dtype=torch.int64))
        self.train(False)

    def train(self, mode: bool = True) -> "AveragedCodec":
        """Stay in evaluation mode: the average never learns by itself."""
        return super().train(False)

    @torch.no_grad()
    def update(self, source: nn.Module) -> None:
        """Take one step towards the source."""
        count = int(self.updates)
        decay = min(self.decay, (1 + count) / (10 + count))
        ours, theirs = [], []
        new = source.state_dict()
        for name, value in self.codec.state_dict().items():
            if value.shape != new[name].shape:
                continue  # what fills up while books wait for their start
            if value.is_floating_point():
                ours.append(value)
                theirs.append(new[name])
            else:
                value.copy_(new[name])
        # One call for all tensors: a loop over hundreds of small ones is slow.
        torch._foreach_lerp_(ours, theirs, 1 - decay)  # pyright: ignore[reportPrivateImportUsage]
        self.updates += 1
