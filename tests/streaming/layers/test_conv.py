"""Streaming convolutions beside the plain layer and beside the codecs that they are for."""

import pytest
import torch
import torch.nn.functional as F
from torch import Tensor, nn
from torch.nn.utils.parametrizations import weight_norm

from echoic.streaming import state as states
from echoic.streaming.layers.conv import StreamingConv1d
from echoic.streaming.layers.padding import extend
from echoic.streaming.module import run_streamed

LENGTHS = (0, 1, 2, 3, 5, 8, 9, 40, 41)


def signal(frames: int, channels: int = 4) -> Tensor:
    return torch.randn(2, channels, frames, generator=torch.Generator().manual_seed(frames))


def assert_streams(layer: StreamingConv1d, x: Tensor, expected: Tensor) -> None:
    torch.testing.assert_close(layer(x), expected, rtol=0, atol=1e-6)
    torch.testing.assert_close(run_streamed(layer, x, [1, 0, 2, 3, 1]), expected, rtol=0, atol=1e-6)


@pytest.mark.parametrize(
    "options",
    [
        {"kernel_size": 3, "padding": 1},
        {"kernel_size": 3, "padding": 1, "stride": 2},
        {"kernel_size": 5, "padding": "same", "dilation": 2},
        {"kernel_size": 4, "padding": "same"},
        {"kernel_size": 6, "padding": "valid", "stride": 3, "bias": False},
        {"kernel_size": 7, "padding": 3, "groups": 4},
        {"kernel_size": 3, "padding": 9, "dilation": 3},
        {"kernel_size": 1, "stride": 2},
        {"kernel_size": 5, "padding": 2, "padding_mode": "replicate"},
        {"kernel_size": 7, "padding": 3, "padding_mode": "reflect", "stride": 2},
    ],
    ids=str,
)
def test_a_plain_layer_streams_with_its_own_parameters(options: dict) -> None:
    plain = nn.Conv1d(4, 8, **options)
    layer = StreamingConv1d.from_plain(plain)
    assert list(layer.state_dict()) == list(plain.state_dict())
    assert layer.weight is plain.weight
    for frames in (6, 7, 9, 40, 41):  # the plain layer refuses what is shorter than its kernel
        assert_streams(layer, signal(frames), plain(signal(frames)))


def test_what_is_shorter_than_the_kernel_has_no_output() -> None:
    layer = StreamingConv1d(4, 8, 7, padding=(1, 1))
    for frames in range(5):
        assert layer(signal(frames)).shape == (2, 8, 0)
        assert run_streamed(layer, signal(frames), [1] * frames).shape == (2, 8, 0)


def test_whispers_stem_is_exact_with_a_look_ahead_of_one_frame_each() -> None:
    plain = [nn.Conv1d(4, 8, 3, padding=1), nn.Conv1d(8, 8, 3, stride=2, padding=1)]
    first, second = (StreamingConv1d.from_plain(conv) for conv in plain)
    assert (first.lookahead, second.lookahead) == (1, 0)
    x = signal(100)
    assert torch.equal(second(first(x)), plain[1](plain[0](x)))
    middle = run_streamed(first, x, [7] * 15)
    streamed = run_streamed(second, middle, [3] * 34)
    torch.testing.assert_close(streamed, plain[1](plain[0](x)), rtol=0, atol=1e-6)


@pytest.mark.parametrize("mode", ["zeros", "replicate", "reflect"])
@pytest.mark.parametrize(("kernel", "stride"), [(7, 1), (4, 2), (16, 8), (5, 5)])
def test_whole_frames_lose_nothing(kernel: int, stride: int, mode) -> None:
    layer = StreamingConv1d(4, 8, kernel, stride=stride, pad_mode=mode, pad_end=True)
    for frames in LENGTHS:
        x = signal(frames)
        wanted = -(-frames // stride)
        right = wanted * stride - frames
        padded = extend(x, kernel - stride, right, mode)
        expected = (
            F.conv1d(padded, layer.weight, layer.bias, stride) if frames else x.new_empty(2, 8, 0)
        )
        assert expected.shape[2] == wanted
        assert_streams(layer, x, expected)


def test_short_signals_are_mirrored_to_and_fro() -> None:
    x = torch.tensor([[[1.0, 2.0, 3.0]]])
    expected = [[[2.0, 1.0, 2.0, 3.0, 2.0, 1.0, 2.0, 3.0, 2.0, 1.0]]]
    assert extend(x, 1, 6, "reflect").tolist() == expected
    assert extend(x[:, :, :1], 2, 1, "reflect").tolist() == [[[1.0] * 4]]
    assert extend(x, 1, 2, "replicate").tolist() == [[[1.0, 1.0, 2.0, 3.0, 3.0, 3.0]]]
    assert extend(x[:, :, :0], 1, 2, "replicate").tolist() == [[[0.0] * 3]]


@pytest.mark.parametrize("causal", [True, False])
@pytest.mark.parametrize("mode", ["reflect", "replicate", "constant"])
@pytest.mark.parametrize(("kernel", "stride", "dilation"), [(7, 1, 1), (3, 1, 2), (10, 5, 1)])
def test_equals_encodec(causal: bool, mode, kernel: int, stride: int, dilation: int) -> None:
    pytest.importorskip("transformers")
    from transformers import EncodecConfig
    from transformers.models.encodec.modeling_encodec import EncodecConv1d

    config = EncodecConfig(use_causal_conv=causal, pad_mode=mode, norm_type="weight_norm")
    theirs = EncodecConv1d(config, 4, 8, kernel, stride=stride, dilation=dilation)
    total = (kernel - 1) * dilation + 1 - stride
    ours = StreamingConv1d(
        4,
        8,
        kernel,
        stride=stride,
        dilation=dilation,
        padding="causal" if causal else (total - total // 2, total // 2),
        pad_mode="zeros" if mode == "constant" else mode,
        pad_end=True,
    )
    weight_norm(ours).load_state_dict(theirs.conv.state_dict())
    for frames in (12, 13, 14, 15, 61):
        assert_streams(ours, signal(frames), theirs(signal(frames)))


@pytest.mark.parametrize(("kernel", "stride"), [(7, 1), (8, 4)])
def test_equals_mimi_whole_and_cached(kernel: int, stride: int) -> None:
    pytest.importorskip("transformers")
    from transformers import MimiConfig
    from transformers.models.mimi.modeling_mimi import MimiConv1d, MimiConv1dPaddingCache

    theirs = MimiConv1d(MimiConfig(), 4, 8, kernel, stride=stride, layer_idx=0)
    ours = StreamingConv1d(4, 8, kernel, stride=stride, pad_end=True)
    ours.load_state_dict(theirs.conv.state_dict())
    x = signal(37)
    assert_streams(ours, x, theirs(x))
    cache = MimiConv1dPaddingCache(1, [kernel - stride], ["constant"], [4])
    state = ours.initial_state(2)
    for part in x[:, :, :36].split(4, dim=2):
        state, y = ours.step(state, part)
        torch.testing.assert_close(y, theirs(part, padding_cache=cache), rtol=0, atol=1e-6)


def test_training_on_chunks_gives_the_gradients_of_the_whole() -> None:
    layer = StreamingConv1d(4, 8, 5, stride=2, padding=(2, 2))
    x = signal(41)
    whole = torch.autograd.grad(layer(x).square().sum(), list(layer.parameters()))
    streamed = run_streamed(layer, x, [4, 5, 1, 20]).square().sum()
    for a, b in zip(torch.autograd.grad(streamed, list(layer.parameters())), whole, strict=True):
        torch.testing.assert_close(a, b)


def test_rows_of_a_causal_convolution_start_anew_beside_others() -> None:
    layer = StreamingConv1d(4, 8, 6, stride=2)
    running, _ = layer.step(layer.initial_state(2), signal(10))
    mixed = states.where(torch.tensor([True, False]), layer.initial_state(2), running)
    x = signal(9)
    _, y = layer.step(mixed, x)
    torch.testing.assert_close(y[:1], layer.step(layer.initial_state(1), x[:1])[1])
    torch.testing.assert_close(y[1:], layer.step(running, x)[1][1:])


def test_a_weight_that_is_computed_is_loaded_and_not_shared() -> None:
    plain = nn.Conv1d(4, 8, 3)
    weight_norm(plain)
    with pytest.raises(ValueError, match="weight is computed"):
        StreamingConv1d.from_plain(plain)
    layer = StreamingConv1d(4, 8, 3, padding=(0, 0))
    weight_norm(layer)
    layer.load_state_dict(plain.state_dict())
    assert_streams(layer, signal(9), plain(signal(9)))


def test_half_precision_and_modes_are_kept() -> None:
    plain = nn.Conv1d(4, 8, 3, padding=1).bfloat16().eval()
    layer = StreamingConv1d.from_plain(plain, padding="causal")
    assert (layer.left, layer.right, layer.lookahead, layer.training) == (2, 0, 0, False)
    x = signal(20).bfloat16()
    assert run_streamed(layer, x, [5] * 4).dtype == torch.bfloat16


@pytest.mark.parametrize(
    ("options", "message"),
    [
        ({"padding": (-1, 0)}, r"padding is \(-1, 0\)"),
        ({"pad_mode": "circular"}, "pad_mode is 'circular'"),
        ({"stride": 4, "pad_end": True}, "a kernel of 3 frames and a stride of 4"),
    ],
)
def test_what_cannot_stream_is_refused(options: dict, message: str) -> None:
    with pytest.raises(ValueError, match=message):
        StreamingConv1d(4, 8, 3, **options)


def test_wrong_input_is_refused() -> None:
    with pytest.raises(ValueError, match=r"shape \(2, 5, 9\), expected \(batch, 4, frames\)"):
        StreamingConv1d(4, 8, 3)(signal(9, 5))
    with pytest.raises(ValueError, match="padding_mode is 'circular'"):
        StreamingConv1d.from_plain(nn.Conv1d(4, 8, 3, padding=1, padding_mode="circular"))
