"""The distance inside a listener: zero for the same sound, blind to scale, deaf to nobody."""

from pathlib import Path

import pytest
import torch
from codec_runs import RATE, data, task, tone, trainer, write_tones
from torch import Tensor, nn

from echoic.codecs.losses import PerceptualLoss
from echoic.codecs.training.objective import LossWeights


class Ear(nn.Module):
    """Two layers of frames, the second with one channel a thousand times as large."""

    sample_rate = RATE

    def __init__(self) -> None:
        super().__init__()
        torch.manual_seed(0)
        self.frames = nn.Conv1d(1, 8, 20, stride=10)
        self.mix = nn.Linear(8, 8)
        self.register_buffer("loud", torch.tensor([1000.0] + [1.0] * 7))

    def forward(self, wav: Tensor) -> list[Tensor]:
        first = self.frames(wav[:, None]).tanh().transpose(1, 2)
        return [first, self.mix(first) * self.get_buffer("loud")]


def test_it_is_zero_for_the_same_sound_and_grows_with_noise() -> None:
    loss = PerceptualLoss(Ear())
    wav = torch.cat([tone(0.5, 0), tone(0.5, 1)])
    noise = torch.randn(wav.shape, generator=torch.Generator().manual_seed(0))
    assert float(loss(wav, wav)) == 0
    near, far = float(loss(wav + 0.01 * noise, wav)), float(loss(wav + 0.1 * noise, wav))
    assert 0 < near < far


def test_a_large_channel_counts_as_any_other() -> None:
    wav = tone(0.5, 0)
    changed = wav + 0.05 * tone(0.5, 3)
    ear, even = Ear(), Ear()
    even.get_buffer("loud").fill_(1.0)
    assert float(PerceptualLoss(ear)(changed, wav)) == pytest.approx(
        float(PerceptualLoss(even)(changed, wav)), rel=0.2
    )


def test_a_gradient_goes_to_the_sound_alone() -> None:
    ear = Ear()
    wav, target = tone(0.5, 0).requires_grad_(), tone(0.5, 1).requires_grad_()
    PerceptualLoss(ear)(wav, target).backward()
    assert wav.grad is not None
    assert float(wav.grad.abs().sum()) > 0
    assert target.grad is None
    assert all(p.grad is None for p in ear.parameters())


def test_a_listener_is_in_no_checkpoint() -> None:
    module = task(listener=Ear(), weights=LossWeights(perceptual=1.0))
    assert not [name for name in module.state_dict() if "listener" in name or "ear" in name]
    assert set(module.state_dict()) == set(task().state_dict())


@pytest.mark.parametrize("balance", [False, True])
def test_a_codec_learns_from_it_alone(tmp_path: Path, balance: bool) -> None:
    weights = LossWeights(mel=0.0, perceptual=1.0)
    module = task(
        discriminators=None, listener=Ear(), weights=weights, balance=balance, ema_decay=0.5
    )
    wav = torch.cat([tone(0.5, number) for number in range(4)])

    def distance() -> float:
        with torch.no_grad():
            made = module.average.codec(wav).wav
        return float(module.objective.reconstruction(made, wav)["perceptual"])

    before = distance()
    trainer(40).fit(module, datamodule=data(write_tones(tmp_path)))
    assert distance() < 0.9 * before


@pytest.mark.parametrize(
    ("weights", "rate", "message"),
    [
        (LossWeights(perceptual=1.0), None, "name a listener"),
        (LossWeights(), 16_000, "hears 16000 Hz and the codec has 2000"),
    ],
)
def test_a_listener_that_is_missing_or_unfit(
    weights: LossWeights, rate: int | None, message: str
) -> None:
    ear = None
    if rate is not None:
        ear = Ear()
        ear.sample_rate = rate
    with pytest.raises(ValueError, match=message):
        task(weights=weights, listener=ear)
