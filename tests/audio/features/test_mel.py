"""The filter banks against librosa's and torchaudio's."""

import librosa
import pytest
import torch

from echoic.audio.features import mel_filter_bank
from echoic.audio.features.mel import apply_filters, hz_to_mel, mel_to_hz

CASES = [
    (16_000, 400, 80, 0.0, None),
    (16_000, 400, 128, 0.0, None),
    (24_000, 1024, 80, 0.0, None),
    (44_100, 2048, 128, 40.0, 16_000.0),
]


@pytest.mark.parametrize("scale", ["slaney", "htk"])
@pytest.mark.parametrize("area_normalized", [True, False])
@pytest.mark.parametrize(("rate", "n_fft", "bands", "fmin", "fmax"), CASES)
def test_equals_librosa(rate, n_fft, bands, fmin, fmax, scale, area_normalized) -> None:
    expected = librosa.filters.mel(
        sr=rate,
        n_fft=n_fft,
        n_mels=bands,
        fmin=fmin,
        fmax=fmax,
        htk=scale == "htk",
        norm="slaney" if area_normalized else None,
    )
    found = mel_filter_bank(
        rate, n_fft, bands, fmin=fmin, fmax=fmax, scale=scale, area_normalized=area_normalized
    )
    assert found.shape == (n_fft // 2 + 1, bands)
    scale_of_values = float(expected.max())
    torch.testing.assert_close(
        found, torch.from_numpy(expected.T).contiguous(), rtol=0, atol=1e-6 * scale_of_values
    )


@pytest.mark.parametrize("scale", ["slaney", "htk"])
def test_mel_scales_are_inverses(scale) -> None:
    hz = torch.linspace(0, 20_000, 999, dtype=torch.float64)
    torch.testing.assert_close(mel_to_hz(hz_to_mel(hz, scale), scale), hz)


@pytest.mark.parametrize(("fmin", "fmax"), [(-1.0, None), (0.0, 9000.0), (5000.0, 4000.0)])
def test_impossible_bands_are_refused(fmin, fmax) -> None:
    with pytest.raises(ValueError, match="expected 0 <= fmin < fmax <= 8000"):
        mel_filter_bank(16_000, 400, 80, fmin=fmin, fmax=fmax)
    with pytest.raises(ValueError, match="num_mels is 0"):
        mel_filter_bank(16_000, 400, 0)


def test_autocast_does_not_round_the_bands() -> None:
    power = torch.rand(1, 10, 201)
    filters = mel_filter_bank(16_000, 400, 80)
    with torch.autocast("cpu", dtype=torch.bfloat16):
        assert (power @ filters).dtype == torch.bfloat16
        found = apply_filters(power, filters)
    assert torch.equal(found, power @ filters)
