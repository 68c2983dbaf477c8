"""Discriminators: published sizes, small ones, and what each can and cannot see."""

import pytest
import torch
from torch import Tensor, nn
from torch.utils.flop_counter import FlopCounterMode

from echoic.codecs.discriminators import Discriminators
from echoic.codecs.losses import discriminator_loss

SMALL = {
    "ms_stft": {"n_ffts": [64, 128], "filters": 4},
    "mpd": {"periods": [2, 3], "channels": [4, 8]},
    "msd": {"scales": 2, "width": 1 / 64},
}


def noise(samples: int = 1000, seed: int = 0) -> Tensor:
    return torch.randn(2, samples, generator=torch.Generator().manual_seed(seed))


def made(name: str) -> Discriminators:
    torch.manual_seed(0)
    return Discriminators({name: SMALL[name]})


@pytest.mark.parametrize(
    ("name", "millions"), [("mpd", 41.1058), ("msd", 29.6188), ("ms_stft", 0.4723)]
)
def test_defaults_are_the_published_sizes(name: str, millions: float) -> None:
    # Of the big ones a single part, without memory; the transforms of the small one need some.
    parts, settings = {"mpd": (5, {"periods": [2]}), "msd": (3, {"scales": 1})}.get(name, (1, {}))
    with torch.device("cpu" if parts == 1 else "meta"):
        part = Discriminators({name: settings | ({"spectral": False} if name == "msd" else {})})
    numbers = parts * sum(p.numel() for p in part.parameters())
    assert numbers / 1e6 == pytest.approx(millions, abs=0.01)


def test_a_small_one_costs_a_processor_little() -> None:
    small = Discriminators(
        {"ms_stft": {"n_ffts": [256, 512, 1024], "filters": 16, "first_stride": 4}}
    )
    with FlopCounterMode(display=False) as counter:
        small(noise(16_000)[:1])
    assert counter.get_total_flops() / 2 < 0.5e9


@pytest.mark.parametrize("name", SMALL)
def test_all_weights_learn(name: str) -> None:
    family = made(name)
    real, fake = family(noise()), family(noise(seed=1))
    assert list(real) == [name]
    assert len(real[name]) == 2
    discriminator_loss(real[name], fake[name]).backward()
    idle = [n for n, p in family.named_parameters() if p.grad is None or not p.grad.any()]
    assert idle == []


@pytest.mark.parametrize("name", SMALL)
def test_learns_to_tell_two_kinds_of_sound(name: str) -> None:
    family = made(name)
    optimizer = torch.optim.Adam(family.parameters(), 2e-2)
    losses = []
    for step in range(15):
        real, fake = noise(400, step), noise(400, step).cumsum(1) / 10
        loss = discriminator_loss(family(real)[name], family(fake)[name])
        optimizer.zero_grad()
        loss.backward()
        optimizer.step()
        losses.append(float(loss))
    assert losses[-1] < 0.7 * losses[0]


def test_a_period_sees_its_own_samples_only() -> None:
    (judge,) = Discriminators({"mpd": {"periods": [3], "channels": [4, 8]}}).families.values()
    wav = noise(600)
    changed = wav.clone()
    changed[:, 1::3] = 0.0
    before, after = judge(wav)[0].score, judge(changed)[0].score  # (B, 1, T', 3)
    assert torch.equal(before[..., [0, 2]], after[..., [0, 2]])
    assert not torch.equal(before[..., 1], after[..., 1])


def test_magnitudes_hide_the_polarity_and_complex_spectra_show_it() -> None:
    wav = noise()
    for kind, same in (("magnitude", True), ("complex", False)):
        settings = {"n_ffts": [64], "filters": 4, "representation": kind}
        (judge,) = Discriminators({"ms_stft": settings}).families.values()
        assert torch.allclose(judge(wav)[0].score, judge(-wav)[0].score, atol=1e-6) is same


def test_the_first_scale_has_spectral_norm_and_the_others_weight_norm() -> None:
    def kinds(module: nn.Module) -> set[str]:
        return {type(m).__name__ for m in module.modules() if "Norm" in type(m).__name__}

    first, second = made("msd").families["msd"].get_submodule("discriminators").children()
    assert kinds(first) == {"_SpectralNorm"}
    assert kinds(second) == {"_WeightNorm"}


def test_odd_lengths_and_two_of_a_kind() -> None:
    settings = {"ms_stft": {"n_ffts": [64], "filters": 2}, "mpd": SMALL["mpd"]}
    family = Discriminators(
        settings | {"ms_stft.magnitude": {"n_ffts": [64], "representation": "magnitude"}}
    )
    assert set(family(noise(997))) == {"ms_stft", "mpd", "ms_stft_magnitude"}


def test_unknown_names_are_refused_in_one_line() -> None:
    with pytest.raises(ValueError, match="discriminator 'cqt' is none of ms_stft, mpd, msd"):
        Discriminators({"cqt": {}})
    with pytest.raises(ValueError, match="mpd has no period; it has channels, kernel"):
        Discriminators({"mpd": {"period": 2}})
    with pytest.raises(ValueError, match="name some of"):
        Discriminators({})
    with pytest.raises(ValueError, match="1 dilations and 3 strides"):
        Discriminators({"ms_stft": {"dilations": [1]}})
