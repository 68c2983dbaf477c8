"""Running and chaining streaming modules."""

from dataclasses import dataclass
from typing import Any, NamedTuple

import pytest
import torch
from torch import Tensor

from echoic.audio.features import Fbank, Istft, LogMel, LowFrameRate, Stft
from echoic.streaming.module import chain, concatenate, run_offline, run_streamed


class Pooled:
    """Every `size` frames of (B, C, T) become `out` copies of their mean; the last may be short."""

    input_time_dim = output_time_dim = 2

    def __init__(self, size: int, out: int = 1, lookahead: int = 0) -> None:
        self.frame_size, self.output_size, self.lookahead = size, out, lookahead

    def initial_state(self, batch_size: int, *, device: Any = None, dtype: Any = None) -> Tensor:
        return torch.zeros(batch_size, 2, 0, dtype=dtype)

    def step(self, state: Tensor, x: Tensor) -> tuple[Tensor, Tensor]:
        held = torch.cat([state, x], dim=2)
        blocks = max(0, held.shape[2] - self.lookahead) // self.frame_size
        used = blocks * self.frame_size
        means = held[:, :, :used].unflatten(2, (blocks, self.frame_size)).mean(3)
        return held[:, :, used:].clone(), means.repeat_interleave(self.output_size, dim=2)

    def finish(self, state: Tensor) -> tuple[Tensor, Tensor]:
        if state.shape[2] == 0:
            return state, state
        means = [part.mean(2, keepdim=True) for part in state.split(self.frame_size, dim=2)]
        y = torch.cat(means, dim=2).repeat_interleave(self.output_size, dim=2)
        return state[:, :, :0], y


def test_convolutional_tensors_have_time_last() -> None:
    x = torch.arange(14.0).reshape(1, 2, 7)
    expected = torch.tensor([[[1.0, 4.0, 6.0], [8.0, 11.0, 13.0]]])
    assert torch.equal(run_offline(Pooled(3), x), expected)
    assert torch.equal(run_streamed(Pooled(3), x, [0, 1, 5]), expected)


def test_chunk_sizes_may_miss_the_end_and_go_beyond_it() -> None:
    x = torch.arange(14.0).reshape(1, 2, 7)
    whole = run_offline(Pooled(3), x)
    for sizes in ([], [100], [6], [3, 3, 3, 3], [7, 0, 0]):
        assert torch.equal(run_streamed(Pooled(3), x, sizes), whole)
    with pytest.raises(ValueError, match="a chunk of -1 frames"):
        run_streamed(Pooled(3), x, [-1])


def test_a_chain_flushes_through_all_of_its_modules() -> None:
    x = torch.randn(1, 2, 41)
    modules = [Pooled(2, lookahead=3), Pooled(3, lookahead=5), Pooled(2)]
    expected = x
    for module in modules:
        expected = run_offline(module, expected)
    for sizes in ([41], [1] * 41, [7, 0, 13]):
        assert torch.equal(run_streamed(chain(*modules), x, sizes), expected)
    nested = chain(modules[0], chain(*modules[1:]))
    assert torch.equal(run_streamed(nested, x, [5] * 9), expected)
    assert nested.lookahead == chain(*modules).lookahead == 3 + 2 * 5


@pytest.mark.parametrize(
    ("modules", "frame_size", "output_size", "lookahead"),
    [
        ([LogMel(norm="running")], 160, 1, 40),
        ([Fbank(), LowFrameRate()], 960, 1, 240),
        ([Pooled(441, 160, lookahead=20), Pooled(160, 1, lookahead=40)], 441, 1, 20 + 441),
        ([Pooled(1, 3), Pooled(160, 1, lookahead=40)], 160, 3, 14),
        ([Pooled(3, 1), Pooled(160, 1, lookahead=40)], 480, 1, 120),
        ([Pooled(2, 1), Pooled(1, 2)], 2, 2, 0),
        ([Pooled(1, 2), Pooled(2, 1)], 1, 1, 0),
        ([Stft(64, 16, padding="left"), Istft(64, 16, padding="left")], 16, 16, 48),
    ],
)
def test_rates_and_lookahead_compose(modules, frame_size, output_size, lookahead) -> None:
    composed = chain(*modules)
    found = (composed.frame_size, composed.output_size, composed.lookahead)
    assert found == (frame_size, output_size, lookahead)


def test_a_chain_emits_within_its_lookahead() -> None:
    composed = chain(Pooled(3, 2, lookahead=4), Pooled(5, 1, lookahead=7), Pooled(1, 2))
    x = torch.randn(1, 2, 200)
    for cut in range(0, 200, 7):
        _, y = composed.step(composed.initial_state(1), x[:, :, :cut])
        blocks = max(0, cut - composed.lookahead) // composed.frame_size
        assert y.shape[2] >= blocks * composed.output_size


def test_an_empty_chain_is_refused() -> None:
    with pytest.raises(ValueError, match="the chain has 0 modules"):
        chain()


class Scored(NamedTuple):
    codes: Tensor
    events: list[str]


@dataclass(frozen=True)
class Wrapped:
    scored: Scored
    extra: None = None


def test_structured_outputs_are_joined_field_by_field() -> None:
    parts = [Wrapped(Scored(torch.full((1, n), n), [f"e{n}"])) for n in (1, 0, 2)]
    joined = concatenate(parts, 1)
    assert joined.scored.codes.tolist() == [[1, 2, 2]]
    assert joined.scored.events == ["e1", "e0", "e2"]
    assert joined.extra is None
    with pytest.raises(TypeError, match="an output is a str"):
        concatenate(["a", "b"], 1)
