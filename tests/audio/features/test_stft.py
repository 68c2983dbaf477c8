"""Stft and Istft against torch's, round trips, and refusals."""

import pytest
import torch
from torch import Tensor

from echoic.audio.features import Istft, Stft

SIZES = [(400, 160, None), (1024, 256, None), (512, 128, 300), (64, 32, None)]


@pytest.mark.parametrize(("n_fft", "hop", "win"), SIZES)
def test_equals_torch(speech: Tensor, n_fft: int, hop: int, win: int | None) -> None:
    window = torch.hann_window(win or n_fft)
    expected = torch.stft(
        speech, n_fft, hop, win, window, center=True, pad_mode="reflect", return_complex=True
    ).transpose(1, 2)
    found = Stft(n_fft, hop, win_length=win)(speech)
    assert found.shape == expected.shape
    torch.testing.assert_close(found, expected, rtol=0, atol=1e-5)
    back = torch.istft(expected.transpose(1, 2), n_fft, hop, win, window)
    ours = Istft(n_fft, hop, win_length=win)(expected)
    assert ours.shape == back.shape
    torch.testing.assert_close(ours, back, rtol=0, atol=1e-5)


@pytest.mark.parametrize(("n_fft", "hop", "win"), SIZES)
@pytest.mark.parametrize("padding", ["center", "same", "left"])
def test_round_trip(speech: Tensor, n_fft: int, hop: int, win: int | None, padding) -> None:
    spectra = Stft(n_fft, hop, win_length=win, padding=padding)(speech)
    back = Istft(n_fft, hop, win_length=win, padding=padding)(spectra)
    frames = spectra.shape[1] - (padding == "center")
    assert frames == speech.shape[1] // hop
    assert back.shape == (1, frames * hop)
    inside = slice(0, back.shape[1] - (n_fft if padding != "center" else 0))
    kept = speech[:, : back.shape[1]]
    torch.testing.assert_close(back[:, inside], kept[:, inside], atol=1e-4, rtol=0)


def test_round_trip_without_padding(speech: Tensor) -> None:
    back = Istft(400, 160, padding="none")(Stft(400, 160, padding="none")(speech))
    inside = slice(400, back.shape[1] - 400)
    torch.testing.assert_close(back[:, inside], speech[:, inside], atol=1e-4, rtol=0)


def test_left_padding_needs_no_lookahead(speech: Tensor) -> None:
    module = Stft(400, 100, padding="left")
    assert module.lookahead == 0
    spectra = module(speech)
    expected = torch.fft.rfft(speech[0, 100:500] * module.window)
    torch.testing.assert_close(spectra[0, 4], expected, rtol=0, atol=1e-5)
    assert Istft(400, 100, padding="left").lookahead == 3


@pytest.mark.parametrize("padding", ["center", "same", "left", "none"])
def test_silence_and_nothing(padding) -> None:
    stft, istft = Stft(64, 16, padding=padding), Istft(64, 16, padding=padding)
    assert not istft(stft(torch.zeros(2, 640))).any()
    spectra = stft(torch.zeros(2, 0))
    assert spectra.shape == (2, 0, 33)
    assert spectra.is_complex()
    assert istft(spectra).shape == (2, 0)


def test_impossible_sizes_are_refused() -> None:
    with pytest.raises(ValueError, match="win_length is 500"):
        Stft(400, 160, win_length=500)
    with pytest.raises(ValueError, match="hop is 401"):
        Stft(400, 401)
    with pytest.raises(ValueError, match="leave gaps"):
        Istft(400, 300, win_length=200, padding="none")
    with pytest.raises(ValueError, match="leave gaps"):
        Istft(400, 250, padding="center")
    with pytest.raises(ValueError, match="padding is 'right'"):
        Stft(400, 160, padding="right")  # type: ignore[arg-type]
    with pytest.raises(ValueError, match="transpose them"):
        Istft(400, 160)(torch.zeros(1, 400, 10, dtype=torch.complex64))
