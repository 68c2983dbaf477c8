"""The multi-scale mel loss against hand-made ones, and at its edges."""

import math

import pytest
import torch

from echoic.audio.features import Mel, MelConfig
from echoic.codecs.losses import MelLoss, MelLossConfig

SMALL = MelLossConfig(windows=(64, 256), num_mels=(8, 20))


def noise(seed: int, samples: int = 4000) -> torch.Tensor:
    return 0.3 * torch.randn(2, samples, generator=torch.Generator().manual_seed(seed))


def test_is_nothing_between_a_sound_and_itself() -> None:
    assert float(MelLoss(16_000, SMALL)(noise(0), noise(0))) == 0.0


def test_a_louder_sound_is_as_far_as_the_logarithm_of_its_gain() -> None:
    loss = MelLoss(16_000, SMALL)
    assert float(loss(2 * noise(0), noise(0))) == pytest.approx(2 * math.log(2), rel=1e-3)


def test_is_the_published_loss_of_hificodec() -> None:
    ours, theirs = noise(0), noise(1)
    expected = 0.0
    for window, hop, weight in ((1024, 240, 45.0), (512, 120, 1.0), (256, 60, 1.0)):
        mel = Mel(MelConfig(24_000, window, hop, num_mels=80))
        expected += weight * float((mel(ours) - mel(theirs)).abs().mean())
    loss = MelLoss(24_000, MelLossConfig.hificodec())
    assert float(loss(ours, theirs)) == pytest.approx(expected, rel=1e-5)


def test_linear_magnitudes_are_added_by_their_weight() -> None:
    sounds = noise(0), noise(1)
    both = MelLoss(16_000, MelLossConfig((64,), (8,), linear_weight=2.0))(*sounds)
    logs = MelLoss(16_000, MelLossConfig((64,), (8,)))(*sounds)
    mel = Mel(MelConfig(16_000, 64, 16, num_mels=8, log_floor=None))
    linear = (mel(sounds[0]) - mel(sounds[1])).abs().mean()
    assert float(both) == pytest.approx(float(logs + 2 * linear), rel=1e-5)


@pytest.mark.parametrize("sample_rate", [8000, 16_000, 44_100, 48_000])
def test_any_sample_rate(sample_rate: int) -> None:
    assert torch.isfinite(MelLoss(sample_rate)(noise(0), noise(1)))


def test_silence_has_a_finite_gradient() -> None:
    wav = torch.zeros(1, 4000, requires_grad=True)
    MelLoss(16_000)(wav, noise(0)[:1]).backward()
    assert wav.grad is not None
    assert bool(torch.isfinite(wav.grad).all())


def test_the_target_learns_nothing_and_autocast_changes_nothing() -> None:
    loss = MelLoss(16_000, SMALL)
    wav, target = noise(0).requires_grad_(), noise(1).requires_grad_()
    plain = loss(wav, target)
    with torch.autocast("cpu", dtype=torch.bfloat16):
        inside = loss(wav, target)
    inside.backward()
    assert target.grad is None
    assert torch.equal(plain, inside)


def test_lists_must_fit() -> None:
    with pytest.raises(ValueError, match="num_mels has 1 entries and windows 2"):
        MelLossConfig((64, 128), (8,))
    with pytest.raises(ValueError, match="log_floor 0"):
        MelLossConfig((64,), (8,), log_floor=0.0)
