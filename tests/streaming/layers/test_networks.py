"""Whole networks of streaming layers: in a row, side by side, with the names of torch's."""

from collections import OrderedDict

import pytest
import torch
from torch import nn

from echoic.streaming.layers.conv import StreamingConv1d
from echoic.streaming.layers.conv_transpose import StreamingConvTranspose1d
from echoic.streaming.layers.parallel import StreamingParallel, StreamingResidual
from echoic.streaming.layers.pointwise import Pointwise, SwapTime
from echoic.streaming.layers.sequential import StreamingSequential
from echoic.streaming.module import chain, run_streamed


def conv(kernel: int, **options) -> StreamingConv1d:
    return StreamingConv1d(4, 4, kernel, **options)


def test_a_sequence_has_the_names_and_outputs_of_torchs() -> None:
    plain = nn.Sequential(nn.Conv1d(4, 4, 3, padding=1), nn.ELU(), nn.ConvTranspose1d(4, 2, 4, 4))
    up = StreamingConvTranspose1d(4, 2, 4, stride=4)
    ours = StreamingSequential(conv(3, padding=(1, 1)), Pointwise(nn.ELU(), 4), up)
    ours.load_state_dict(plain.state_dict())
    x = torch.randn(2, 4, 25)
    torch.testing.assert_close(ours(x), plain(x))
    torch.testing.assert_close(run_streamed(ours, x, [3] * 8), plain(x))
    assert (ours.frame_size, ours.output_size, ours.lookahead) == (1, 4, 1)


def test_sequences_nest_and_join_chains() -> None:
    down, mix, last = conv(4, stride=2), conv(3, padding=(1, 1)), conv(6, stride=3, padding=(2, 2))
    inner = StreamingSequential(OrderedDict[str, nn.Module](down=down, mix=mix))
    outer = StreamingSequential(inner, last)
    x = torch.randn(2, 4, 60)
    assert (outer.frame_size, outer.lookahead) == (6, 2 + 2)
    assert set(dict(outer.named_parameters())) >= {"0.down.weight", "0.mix.bias", "1.weight"}
    for whole in (outer, chain(down, mix, last)):
        torch.testing.assert_close(run_streamed(whole, x, [7] * 9), outer(x))


def test_a_residual_meets_its_branch_however_far_it_looks() -> None:
    branch = StreamingSequential(conv(7, padding=(0, 6)), conv(5, padding=(2, 2)))
    block = StreamingResidual(branch)
    assert (block.lookahead, block.frame_size) == (8, 1)
    x = torch.randn(2, 4, 50)
    torch.testing.assert_close(block(x), x + branch(x))
    state = block.initial_state(2)
    state, y = block.step(state, x[:, :, :8])
    assert y.shape[2] == 0
    state, y = block.step(state, x[:, :, 8:9])
    torch.testing.assert_close(y, (x + branch(x))[:, :, :1])
    torch.testing.assert_close(run_streamed(block, x, [1, 20, 0, 3]), x + branch(x))


def test_a_residual_without_look_ahead_holds_nothing() -> None:
    block = StreamingResidual(conv(7))
    state, _ = block.step(block.initial_state(2), torch.randn(2, 4, 50))
    assert state.ahead == (None, None)


def test_a_strided_residual_has_a_strided_shortcut() -> None:
    block = StreamingResidual(conv(4, stride=2, pad_end=True), conv(1, stride=2))
    x = torch.randn(2, 4, 31)
    expected = block.branch(x) + block.shortcut(x)
    torch.testing.assert_close(run_streamed(block, x, [1, 20, 0, 3]), expected)
    assert (block.frame_size, block.output_size) == (2, 1)


def test_the_mean_of_paths() -> None:
    paths = [conv(k, padding=(k // 2, k // 2)) for k in (3, 7, 11)]
    fused, x = StreamingParallel(*paths, mean=True), torch.randn(2, 4, 31)
    torch.testing.assert_close(fused(x), sum(p(x) for p in paths) / 3)
    assert fused.lookahead == 5
    assert next(iter(fused.state_dict())) == "paths.0.weight"


def test_layers_of_frames_work_between_convolutions() -> None:
    norm, x = nn.LayerNorm(4), torch.randn(2, 4, 9)
    layer = Pointwise(norm, 4, channels_last=True)
    torch.testing.assert_close(layer(x), norm(x.mT).mT)
    torch.testing.assert_close(Pointwise(norm, 4, time_dim=1)(x.mT), norm(x.mT))
    assert torch.equal(SwapTime(4, to=1)(x), x.mT)
    empty = chain(SwapTime(4, to=1), Pointwise(nn.Linear(4, 6), 4, time_dim=1), SwapTime(6, to=2))
    assert run_streamed(empty, x[:, :, :0], []).shape == (2, 6, 0)


def test_what_cannot_stream_is_refused() -> None:
    with pytest.raises(TypeError, match="layer '1' is a Conv1d, expected one that streams"):
        StreamingSequential(conv(3), nn.Conv1d(4, 4, 3))
    with pytest.raises(TypeError, match="layer 'branch' is a ELU"):
        StreamingResidual(nn.ELU())
    with pytest.raises(ValueError, match=r"per output frame \['1', '2'\]"):
        StreamingResidual(conv(4, stride=2))
    with pytest.raises(ValueError, match="0 modules"):
        StreamingSequential()
    with pytest.raises(ValueError, match="per output frame"):
        StreamingParallel()
    with pytest.raises(ValueError, match="expected one shape"):
        StreamingResidual(conv(3, padding=(0, 0)))(torch.zeros(1, 4, 9))
    for wrong in (0, 3):
        with pytest.raises(ValueError, match=f"time_dim is {wrong}"):
            Pointwise(nn.ELU(), 4, time_dim=wrong)
        with pytest.raises(ValueError, match=f"to is {wrong}"):
            SwapTime(4, to=wrong)
