"""Overlap-add beside a sum written out, and beside the inverse transform."""

import pytest
import torch

from echoic.audio.features.stft import Istft, Stft
from echoic.streaming.layers.overlap_add import OverlapAdd
from echoic.streaming.module import run_streamed


@pytest.mark.parametrize("normalize", ["none", "window", "power"])
@pytest.mark.parametrize(("length", "hop"), [(8, 4), (9, 2), (6, 6)])
def test_equals_the_sum_written_out(length: int, hop: int, normalize) -> None:
    generator = torch.Generator().manual_seed(0)
    frames = torch.randn(2, 7, length, generator=generator)
    window = torch.rand(length, generator=generator) + 0.1
    total, weight = torch.zeros(2, 6 * hop + length), torch.zeros(6 * hop + length)
    for k in range(7):
        total[:, k * hop : k * hop + length] += frames[:, k] * window
        weight[k * hop : k * hop + length] += window if normalize == "window" else window**2
    expected = total if normalize == "none" else total / weight
    layer = OverlapAdd(length, hop, window=window, normalize=normalize)
    torch.testing.assert_close(layer(frames), expected)
    torch.testing.assert_close(run_streamed(layer, frames, [2, 0, 1, 3]), expected)


def test_equals_the_inverse_transform() -> None:
    wav = torch.randn(2, 400, generator=torch.Generator().manual_seed(0))
    spectra = Stft(64, 16)(wav)
    options = {"window": torch.hann_window(64), "trim": (32, 32)}
    layer = OverlapAdd(64, 16, normalize="power", **options)
    assert layer.lookahead == Istft(64, 16).lookahead
    frames = torch.fft.irfft(spectra, n=64)
    torch.testing.assert_close(layer(frames), Istft(64, 16)(spectra))
    torch.testing.assert_close(run_streamed(layer, frames, [3] * 9), wav, rtol=0, atol=1e-5)


def test_equal_frames_fade_into_each_other() -> None:
    layer = OverlapAdd(8, 3, window=torch.hann_window(8), normalize="window")
    y = layer(torch.ones(1, 5, 8))
    assert y[0, 0] == 0  # the window starts with 0, where nothing else reaches
    torch.testing.assert_close(y[:, 1:], torch.ones(1, 19))


def test_no_frames_make_no_sound() -> None:
    for trim in ((0, 0), (0, 4)):
        layer = OverlapAdd(8, 4, trim=trim)
        assert layer(torch.zeros(2, 0, 8)).shape == (2, 0)
        assert layer(torch.ones(2, 1, 8)).shape == (2, 8 - sum(trim))


@pytest.mark.parametrize(
    ("options", "message"),
    [
        ({"hop": 9}, "hop is 9"),
        ({"hop": 4, "trim": (5, 0)}, r"trim is \(5, 0\)"),
        ({"hop": 4, "window": torch.ones(7)}, r"window has shape \(7,\)"),
        ({"hop": 4, "normalize": "sum"}, "normalize is 'sum'"),
    ],
)
def test_sizes_that_do_not_fit_are_refused(options: dict, message: str) -> None:
    with pytest.raises(ValueError, match=message):
        OverlapAdd(8, **options)
