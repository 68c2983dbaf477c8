"""The complex spectral loss: phases count, resolutions weigh the same."""

import pytest
import torch

from echoic.codecs.losses import ComplexStftLoss, MelLoss


def noise(seed: int, samples: int = 8192) -> torch.Tensor:
    return torch.randn(2, samples, generator=torch.Generator().manual_seed(seed))


def test_is_the_distance_of_the_parts_of_torchs_spectra() -> None:
    ours, theirs = noise(0), noise(1)
    window = torch.hann_window(256)
    spectra = [
        torch.stft(
            torch.nn.functional.pad(x[:, None], (96, 96), "reflect")[:, 0],
            256,
            64,
            window=window,
            center=False,
            return_complex=True,
        )
        for x in (ours, theirs)
    ]
    difference = torch.view_as_real(spectra[0] - spectra[1]) / window.norm()
    expected = difference.abs().mean()
    assert float(ComplexStftLoss((256,))(ours, theirs)) == pytest.approx(float(expected), rel=1e-4)


def test_hears_the_polarity_that_mels_do_not() -> None:
    wav = noise(0)
    assert float(MelLoss(16_000)(wav, -wav)) == 0.0
    assert float(ComplexStftLoss()(wav, -wav)) > 0.5


def test_resolutions_weigh_the_same() -> None:
    sounds = noise(0, 32_768), noise(1, 32_768)
    values = [float(ComplexStftLoss((n,))(*sounds)) for n in (128, 512, 2048)]
    assert max(values) < 1.05 * min(values)
    assert float(ComplexStftLoss((128, 512, 2048))(*sounds)) == pytest.approx(sum(values) / 3)


def test_magnitudes_are_added_by_their_weight() -> None:
    wav = noise(0)
    parts, both = (ComplexStftLoss((256,), magnitude_weight=w) for w in (0.0, 1.0))
    assert float(both(wav, -wav)) == pytest.approx(float(parts(wav, -wav)), rel=1e-5)
    assert float(both(wav, 2 * wav)) > 1.5 * float(parts(wav, 2 * wav))


def test_silence_has_a_finite_gradient() -> None:
    wav = torch.zeros(1, 4096, requires_grad=True)
    ComplexStftLoss(magnitude_weight=1.0)(wav, noise(0, 4096)[:1]).backward()
    assert wav.grad is not None
    assert bool(torch.isfinite(wav.grad).all())


def test_needs_a_transform() -> None:
    with pytest.raises(ValueError, match="n_ffts is empty"):
        ComplexStftLoss(())
