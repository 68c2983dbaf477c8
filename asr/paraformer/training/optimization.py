"""AdamW, its learning rate as a function of the step, and a mean of the weights."""

import copy
import math
from collections.abc import Mapping, Sequence
from dataclasses import dataclass
from typing import Literal, get_args

import torch
from torch import Tensor, nn

from echoic.asr.paraformer.model import Paraformer

Schedule = Literal["noam", "cosine", "constant"]


@dataclass(frozen=True, slots=True)
class OptimizerConfig:
    """AdamW, warm-up and decay.

    Attributes:
        learning_rate: at the end of the warm-up, where it is highest.
        betas: of AdamW.
        weight_decay: of AdamW, for weights of two dimensions and more.
        warmup_steps: steps of linear rise.
        schedule: what comes after it: "noam" falls with the root of the step, "cosine" to
            `final_share` at `total_steps`, "constant" stays.
        total_steps: where the cosine ends; None for the trainer's `max_steps`.
        final_share: of the learning rate that the cosine ends at.
        clip_norm: longest gradient of all weights together; None for any.
        encoder_rest: first steps, in which an encoder that was trained before does not learn: a
            predictor and a decoder that know nothing would only undo it.
        encoder_share: of the learning rate, for the encoder, which after its rest has a warm-up
            of its own.
    """

    learning_rate: float = 1e-3
    betas: tuple[float, float] = (0.9, 0.98)
    weight_decay: float = 0.01
    warmup_steps: int = 1000
    schedule: Schedule = "noam"
    total_steps: int | None = None
    final_share: float = 0.02
    clip_norm: float | None = 5.0
    encoder_rest: int = 0
    encoder_share: float = 1.0

    def __post_init__(self) -> None:
        if self.schedule not in get_args(Schedule):
            raise ValueError(
                f"schedule is {self.schedule!r}, expected one of {', '.join(get_args(Schedule))}"
            )
        if self.learning_rate <= 0 or self.warmup_steps < 1:
            raise ValueError(
                f"learning_rate {self.learning_rate}, warmup_steps {self.warmup_steps}: expected "
                "above 0, 1 or more"
            )

        if self.encoder_rest < 0 or not 0 < self.encoder_share <= 1:
            raise ValueError(
                f"encoder_rest {self.encoder_rest}, encoder_share {self.encoder_share}: expected "
                "0 or more, above 0 to 1"
            )

    def share_of_encoder(self, step: int, total: int) -> float:
        """Return the encoder's share of the learning rate at a step, see `share`."""
        share = self.encoder_share * self.share(step, total)
        if not self.encoder_rest:
            return share
        awake = (step + 1 - self.encoder_rest) / self.warmup_steps
        return share * min(1.0, max(0.0, awake))

    def share(self, step: int, total: int) -> float:
        """Return the share of the learning rate at a step, from 0, in a run of `total` steps."""
        done = step + 1
        if done <= self.warmup_steps:
            return done / self.warmup_steps
        if self.schedule == "constant":
            return 1.0
        if self.schedule == "noam":
            return (self.warmup_steps / done) ** 0.5
        after = min(1.0, (done - self.warmup_steps) / max(1, total - self.warmup_steps))
        return self.final_share + (1 - self.final_share) * (1 + math.cos(math.pi * after)) / 2


def make_optimizer(
    encoder: nn.Module,
    others: Sequence[nn.Module],
    config: OptimizerConfig,
    *,
    scaled: bool = False,
) -> torch.optim.AdamW:
    """Return AdamW over the weights of an encoder, in its first two groups, and of all others.

    Args:
        encoder: whose learning rate is `share_of_encoder`.
        others: modules; one of these may hold the encoder.
        config: settings.
        scaled: whether the loss is, as with float16.
    """
    own = list(encoder.parameters())
    known = set(map(id, own))
    rest = [p for module in others for p in module.parameters() if id(p) not in known]
    weights = own + rest
    groups = [
        {"params": [p for p in part if (p.dim() > 1) == decays], "weight_decay": decay}
        for part in (own, rest)
        for decays, decay in ((True, config.weight_decay), (False, 0.0))
    ]
    # One kernel for all weights, where there is one: a loop over hundreds of small ones is slow. It
    # takes the scale off the gradients by itself, which would be behind the clipping.
    kind = {p.device.type for p in weights}
    fused = kind <= {"cpu", "cuda"} and not scaled
    return torch.optim.AdamW(groups, lr=config.learning_rate, betas=config.betas, fused=fused)


def clip(weights: Sequence[Tensor], longest: float | None) -> Tensor:
    """Shorten the gradients; drop all of them where one is not finite.

    Returns:
        The norm that they had before.
    """
    norm = nn.utils.clip_grad_norm_(weights, math.inf if longest is None else longest)
    if not bool(torch.isfinite(norm)):
        for weight in weights:
            weight.grad = None
    return norm


class AveragedModel(nn.Module):
    """A running mean of a model's weights; what is validated and shipped.

    The mean is short at first (TensorFlow's `(1 + n) / (10 + n)`), so that random weights are soon
    forgotten.

    Args:
        source: what is averaged; copied.
        decay: of the mean; 0 follows at once.
    """

    updates: Tensor

    def __init__(self, source: Paraformer, decay: float) -> None:
        super().__init__()
        if not 0 <= decay < 1:
            raise ValueError(f"ema_decay is {decay}, expected 0 (no average) to less than 1")
        self.decay = decay
        # The vocabulary is shared: nothing changes it.
        shared = {id(source.tokenizer): source.tokenizer}
        self.model = copy.deepcopy(source, shared).requires_grad_(False)
        self.register_buffer("updates", torch.zeros((), dtype=torch.int64))
        self.train(False)

    def train(self, mode: bool = True) -> "AveragedModel":
        """Stay in evaluation mode: the average never learns by itself."""
        return super().train(False)

    @torch.no_grad()
    def update(self, source: Paraformer) -> None:
        """Take one step towards the source."""
        count = int(self.updates)
        decay = min(self.decay, (1 + count) / (10 + count))
        new = source.state_dict()
        ours = list(self.model.state_dict().items())
        # One call for all tensors: a loop over hundreds of small ones is slow.
        torch._foreach_lerp_(  # pyright: ignore[reportPrivateImportUsage]
            [value for _, value in ours], [new[name] for name, _ in ours], 1 - decay
        )
        self.updates += 1


def mean_of(states: Sequence[Mapping[str, Tensor]]) -> dict[str, Tensor]:
    """Return the mean of the weights of several checkpoints, one or more.

    Raises:
        ValueError: they are not of one model.
    """
    shapes = [{name: tensor.shape for name, tensor in state.items()} for state in states]
    if any(other != shapes[0] for other in shapes):
        raise ValueError("the checkpoints are of different models and have no mean")
    return {
        name: torch.stack([state[name].double() for state in states]).mean(0).to(tensor.dtype)
        for name, tensor in states[0].items()
    }
