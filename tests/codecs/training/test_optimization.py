"""Learning rates, clipping and the averaged codec."""

import math

import pytest
import torch
from torch import nn

from echoic.codecs.training.optimization import (
    AveragedCodec,
    OptimizerConfig,
    make_optimizer,
    step_optimizer,
)


def test_learning_rates() -> None:
    cosine = OptimizerConfig(learning_rate=1.0, warmup_steps=4, final_share=0.1)
    assert [cosine.rate(s, 104) for s in (0, 3)] == [0.25, 1.0]
    assert cosine.rate(54, 104) == pytest.approx(0.55)
    assert cosine.rate(104, 104) == cosine.rate(999, 104) == pytest.approx(0.1)
    constant = OptimizerConfig(learning_rate=1.0, warmup_steps=0, schedule="constant")
    assert constant.rate(10**6, -1) == 1.0
    falling = OptimizerConfig(
        learning_rate=1.0, warmup_steps=0, schedule="exponential", gamma=0.5, gamma_every=10
    )
    assert falling.rate(20, -1) == pytest.approx(0.25)


def test_settings_are_checked() -> None:
    with pytest.raises(ValueError, match="schedule is 'linear', expected one of"):
        OptimizerConfig(schedule="linear")  # pyright: ignore[reportArgumentType]
    with pytest.raises(ValueError, match="learning_rate 0"):
        OptimizerConfig(learning_rate=0)


def test_long_gradients_are_clipped_and_broken_ones_dropped() -> None:
    layer = nn.Linear(4, 1, bias=False)
    config = OptimizerConfig(clip_norm=1.0)
    optimizer = make_optimizer(layer, config)
    layer.weight.grad = torch.full((1, 4), 10.0)
    assert float(step_optimizer(optimizer, config)) == pytest.approx(20.0)
    assert float(layer.weight.grad.norm()) == pytest.approx(1.0, rel=1e-4)
    layer.weight.grad[0, 0] = math.inf
    step_optimizer(optimizer, config)
    assert layer.weight.grad is None


def test_only_matrices_decay() -> None:
    groups = make_optimizer(nn.Linear(2, 2), OptimizerConfig(weight_decay=0.1)).param_groups
    assert [(g["weight_decay"], [p.dim() for p in g["params"]]) for g in groups] == [
        (0.1, [2]),
        (0.0, [1]),
    ]


class Counted(nn.Module):
    def __init__(self) -> None:
        super().__init__()
        self.weight = nn.Parameter(torch.zeros(3))
        self.register_buffer("books", torch.zeros(2))
        self.register_buffer("steps", torch.zeros((), dtype=torch.int64))
        self.register_buffer("kept", torch.zeros(0))


def test_the_average_follows_weights_and_books_and_copies_counters() -> None:
    source = Counted()
    average = AveragedCodec(source, decay=0.5)
    with torch.no_grad():
        source.weight.fill_(1.0)
    source.get_buffer("books").fill_(2.0)
    source.get_buffer("steps").fill_(7)
    source.kept = torch.ones(5)  # another shape: books that have not begun
    average.update(source)
    ours = average.codec.state_dict()
    assert ours["weight"].tolist() == pytest.approx([0.9] * 3)  # the first mean is short
    assert ours["books"].tolist() == pytest.approx([1.8] * 2)
    assert int(ours["steps"]) == 7
    for _ in range(20):
        average.update(source)
    before = ours["weight"].clone()
    with torch.no_grad():
        source.weight.fill_(0.0)
    average.update(source)
    assert torch.allclose(average.codec.state_dict()["weight"], before / 2)


def test_the_average_does_not_train() -> None:
    average = AveragedCodec(nn.Dropout(0.5))
    assert not average.train().codec.training
    assert not any(p.requires_grad for p in AveragedCodec(Counted()).parameters())
    with pytest.raises(ValueError, match="ema_decay is 1"):
        AveragedCodec(Counted(), 1.0)
