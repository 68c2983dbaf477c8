import math

import numpy as np
import pytest
import torch

from echoic.codecs.metrics.distances import SHORTEST, mel_distance, si_sdr, stft_distance


def noise(seed: int, samples: int = 16000) -> torch.Tensor:
    return 0.1 * torch.randn(1, samples, generator=torch.Generator().manual_seed(seed))


@pytest.mark.parametrize("decibels", [-10.0, 0.0, 30.0])
def test_si_sdr_of_a_known_ratio(decibels):
    reference = noise(0).double() - noise(0).double().mean()
    error = noise(1).double() - noise(1).double().mean()
    error = error - (error * reference).sum() / reference.square().sum() * reference
    error = error * reference.norm() / error.norm() * 10 ** (-decibels / 20)
    for scale, offset in ((1.0, 0.0), (0.1, 0.0), (-3.0, 0.5)):
        estimate = scale * (reference + error) + offset
        assert float(si_sdr(reference, estimate)) == pytest.approx(decibels, abs=1e-6)


def test_si_sdr_takes_each_row_alone_and_knows_silence():
    reference = torch.cat([noise(0), noise(1), torch.zeros(1, 16000)])
    estimate = torch.cat([noise(0) + 0.1 * noise(2), noise(3), noise(4)])
    ratios = si_sdr(reference, estimate)
    assert float(ratios[0]) == pytest.approx(float(si_sdr(reference[:1], estimate[:1])[0]))
    assert 18 < float(ratios[0]) < 22
    assert float(ratios[1]) < -20
    assert torch.isnan(ratios[2])


@pytest.mark.parametrize("distance", [lambda x, y: mel_distance(x, y, 16000), stft_distance])
def test_distances_are_0_for_the_same_and_grow_with_noise(distance):
    clean = noise(0)
    near, far = (distance(clean, clean + level * noise(1)) for level in (0.01, 0.5))
    assert distance(clean, clean) == 0.0
    assert 0 < near < far
    assert distance(clean + 0.5 * noise(1), clean) == pytest.approx(far, rel=1e-5)


def test_stft_distance_by_another_transform():
    x, y = (noise(seed, SHORTEST)[0].double().numpy() for seed in (0, 1))
    expected = 0.0
    for size in (2048, 512):
        window = 0.5 - 0.5 * np.cos(2 * np.pi * np.arange(size) / size)
        spectra = []
        for wav in (x, y):
            padded = np.pad(wav, size // 2, mode="reflect")
            starts = range(0, len(padded) - size + 1, size // 4)
            frames = np.stack([padded[s : s + size] * window for s in starts])
            spectra.append(np.maximum(np.abs(np.fft.rfft(frames)), 0))
        a, b = spectra
        floor = 1e-5
        logs = np.log10(np.maximum(a, floor) ** 2) - np.log10(np.maximum(b, floor) ** 2)
        expected += np.abs(a - b).mean() + np.abs(logs).mean()
    found = stft_distance(*(torch.from_numpy(w).float()[None] for w in (x, y)))
    assert found == pytest.approx(expected, rel=1e-4)


def test_mel_distance_of_a_louder_sound_is_its_decades():
    """Ten times louder is one decade in each band of each window that is above the floor."""
    loud = torch.from_numpy(np.random.default_rng(0).normal(0, 1, (1, 16000))).float()
    distance = mel_distance(loud, 10 * loud, 16000)
    assert 6.0 < distance <= 7.0 + 1e-4  # bands narrower than a bin hold nothing, at both levels
    assert mel_distance(loud, loud * math.sqrt(10), 16000) == pytest.approx(distance / 2, rel=2e-2)
