"""The mels of codecs against librosa's and torchaudio's, and their gradients."""

import librosa
import pytest
import torch
import torch.nn.functional as F
import torchaudio
from torch import Tensor

from echoic.audio.features import Mel, MelConfig


def hifigan_mel(wav: Tensor, config: MelConfig) -> Tensor:
    """Compute HiFi-GAN's mel with librosa's filters, as its published description says."""
    win = config.win_length or config.n_fft
    side = (config.n_fft - config.hop_length) // 2
    spectra = torch.stft(
        F.pad(wav[:, None], (side, side), mode="reflect")[:, 0],
        config.n_fft,
        config.hop_length,
        win,
        torch.hann_window(win),
        center=False,
        return_complex=True,
    )
    magnitude = (spectra.real**2 + spectra.imag**2 + config.epsilon).sqrt()
    filters = librosa.filters.mel(
        sr=config.sample_rate, n_fft=config.n_fft, n_mels=config.num_mels, fmin=0, fmax=None
    )
    return (torch.from_numpy(filters) @ magnitude).clamp(min=1e-5).log().transpose(1, 2)


@pytest.mark.parametrize(
    "config", [MelConfig.hificodec(), MelConfig.hificodec(16_000), MelConfig.distilcodec()]
)
def test_equals_hifigans(speech: Tensor, config: MelConfig) -> None:
    found = Mel(config)(speech)
    assert found.shape == (1, speech.shape[1] // config.hop_length, config.num_mels)
    torch.testing.assert_close(found, hifigan_mel(speech, config), rtol=0, atol=1e-3)


def test_equals_torchaudios_for_vocos(speech: Tensor) -> None:
    reference = torchaudio.transforms.MelSpectrogram(
        24_000, n_fft=1024, hop_length=256, n_mels=100, center=True, power=1
    )
    expected = reference(speech).clamp(min=1e-7).log().transpose(1, 2)
    found = Mel(MelConfig.vocos())(speech)
    assert found.shape == expected.shape
    torch.testing.assert_close(found, expected, rtol=0, atol=1e-3)


def test_linear_power_equals_librosa(speech: Tensor) -> None:
    expected = librosa.feature.melspectrogram(
        y=speech[0].numpy(), sr=16_000, n_fft=512, hop_length=128, n_mels=40, fmin=50, fmax=7000,
        pad_mode="reflect", power=2.0,
    )  # fmt: skip
    config = MelConfig(
        16_000, 512, 128, num_mels=40, fmin=50.0, fmax=7000.0, power=2, log_floor=None,
        padding="center",
    )  # fmt: skip
    found = Mel(config)(speech)[0].T
    torch.testing.assert_close(found, torch.from_numpy(expected), rtol=1e-4, atol=1e-6)


@pytest.mark.parametrize("config", [MelConfig.hificodec(), MelConfig.vocos()])
def test_gradients_are_finite_in_silence_and_right_in_noise(config: MelConfig) -> None:
    module = Mel(config).double()
    silence = torch.zeros(1, 2048, requires_grad=True, dtype=torch.float64)
    module(silence).sum().backward()
    assert silence.grad is not None
    assert silence.grad.isfinite().all()
    wav = torch.randn(1, 2048, dtype=torch.float64, generator=torch.Generator().manual_seed(0))
    wav.requires_grad_()
    direction = torch.randn(wav.shape, dtype=torch.float64)
    (gradient,) = torch.autograd.grad(module(wav).sum(), wav)
    step = 1e-6 * direction
    numeric = (module(wav + step).sum() - module(wav - step).sum()) / 2e-6
    torch.testing.assert_close((gradient * direction).sum(), numeric, rtol=1e-5, atol=1e-6)


def test_impossible_settings_are_refused() -> None:
    with pytest.raises(ValueError, match="power is 3"):
        MelConfig(power=3)
    with pytest.raises(ValueError, match="log_floor is 0"):
        MelConfig(log_floor=0.0)
    with pytest.raises(ValueError, match="sample_rate is 44100"):
        MelConfig.hificodec(44_100)
    with pytest.raises(ValueError, match="lower fmax"):
        Mel(MelConfig(fmax=13_000.0))
