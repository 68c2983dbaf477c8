"""Streaming transposed convolutions beside the plain layer, and beside codecs and vocoders."""

import pytest
import torch
from torch import Tensor, nn
from torch.nn.utils.parametrizations import weight_norm

from echoic.streaming import state as states
from echoic.streaming.layers.conv_transpose import StreamingConvTranspose1d
from echoic.streaming.module import run_streamed


def signal(frames: int) -> Tensor:
    return torch.randn(2, 4, frames, generator=torch.Generator().manual_seed(frames))


def assert_streams(layer: StreamingConvTranspose1d, x: Tensor, expected: Tensor) -> None:
    torch.testing.assert_close(layer(x), expected, rtol=0, atol=2e-6)
    torch.testing.assert_close(run_streamed(layer, x, [1, 0, 2, 3, 1]), expected, rtol=0, atol=2e-6)


@pytest.mark.parametrize(
    ("options", "lookahead"),
    [
        ({"kernel_size": 16, "stride": 8, "padding": 4}, 1),  # HiFi-GAN
        ({"kernel_size": 11, "stride": 5, "padding": 3}, 1),  # HiFi-GAN at 5 to 1
        ({"kernel_size": 10, "stride": 5, "padding": 3, "output_padding": 1}, 1),  # DAC
        ({"kernel_size": 4, "stride": 4, "groups": 4}, 0),
        ({"kernel_size": 7, "stride": 2, "padding": 5, "bias": False}, 3),
        ({"kernel_size": 3, "stride": 2, "dilation": 2}, 0),
    ],
    ids=str,
)
def test_a_plain_layer_streams_with_its_own_parameters(options: dict, lookahead: int) -> None:
    plain = nn.ConvTranspose1d(4, 8, **options)
    layer = StreamingConvTranspose1d.from_plain(plain)
    assert list(layer.state_dict()) == list(plain.state_dict())
    assert layer.weight is plain.weight
    assert layer.lookahead == lookahead
    for frames in (4, 5, 21):
        assert_streams(layer, signal(frames), plain(signal(frames)))


@pytest.mark.parametrize("trim", ["causal", (0, 0), (3, 1)])
def test_short_signals(trim) -> None:
    layer = StreamingConvTranspose1d(4, 8, 7, stride=4, trim=trim)
    assert layer(signal(0)).shape == (2, 8, 0)
    assert run_streamed(layer, signal(0), [0]).shape == (2, 8, 0)
    for frames in (1, 2):
        assert_streams(layer, signal(frames), layer(signal(frames)))
        assert layer(signal(frames)).shape[2] == 4 * frames + 3 - layer.left - layer.right


@pytest.mark.parametrize("causal", [True, False])
@pytest.mark.parametrize(("kernel", "stride"), [(16, 8), (10, 5), (7, 4)])
def test_equals_encodec(causal: bool, kernel: int, stride: int) -> None:
    pytest.importorskip("transformers")
    from transformers import EncodecConfig
    from transformers.models.encodec.modeling_encodec import EncodecConvTranspose1d

    config = EncodecConfig(use_causal_conv=causal)
    theirs = EncodecConvTranspose1d(config, 4, 8, kernel, stride=stride)
    total = kernel - stride
    trim = "causal" if causal else (total - total // 2, total // 2)
    ours = StreamingConvTranspose1d(4, 8, kernel, stride=stride, trim=trim)
    weight_norm(ours).load_state_dict(theirs.conv.state_dict())
    assert_streams(ours, signal(13), theirs(signal(13)))
    assert ours.lookahead == (0 if causal else 1)


def test_a_causal_layer_answers_at_once_and_rows_start_anew() -> None:
    layer = StreamingConvTranspose1d(4, 8, 8, stride=4)
    running, y = layer.step(layer.initial_state(2), signal(1))
    assert y.shape == (2, 8, 4)
    mixed = states.where(torch.tensor([False, True]), layer.initial_state(2), running)
    x = signal(5)
    torch.testing.assert_close(layer.step(mixed, x)[1][1:], layer(x)[1:])
    torch.testing.assert_close(layer.step(mixed, x)[1][:1], layer.step(running, x)[1][:1])


def test_training_on_chunks_gives_the_gradients_of_the_whole() -> None:
    layer = StreamingConvTranspose1d(4, 8, 8, stride=3, trim=(2, 3))
    x = signal(21)
    whole = torch.autograd.grad(layer(x).square().sum(), list(layer.parameters()))
    streamed = run_streamed(layer, x, [4, 5, 1, 2]).square().sum()
    for a, b in zip(torch.autograd.grad(streamed, list(layer.parameters())), whole, strict=True):
        torch.testing.assert_close(a, b)


@pytest.mark.parametrize(
    ("options", "message"),
    [
        ({"stride": 4}, "a kernel of 3 frames and a stride of 4"),
        ({"stride": 2, "trim": (0, 2)}, r"trim is \(0, 2\)"),
        ({"stride": 2, "trim": (-1, 0)}, r"trim is \(-1, 0\)"),
    ],
)
def test_what_cannot_stream_is_refused(options: dict, message: str) -> None:
    with pytest.raises(ValueError, match=message):
        StreamingConvTranspose1d(4, 8, 3, **options)
    with pytest.raises(ValueError, match=r"trim is \(0, -1\)"):
        StreamingConvTranspose1d.from_plain(nn.ConvTranspose1d(4, 8, 3, 2, output_padding=1))
