import math
import pickle
from concurrent.futures import ProcessPoolExecutor
from dataclasses import fields, replace
from multiprocessing import get_context

import pytest
import torch

from echoic.audio.augment import (
    Augment,
    AugmentConfig,
    Band,
    Clipping,
    Codec,
    Gain,
    Noise,
    Reverb,
    Speed,
)

RATE = 16_000
ALWAYS = AugmentConfig(
    speed=Speed(probability=1),
    reverb=Reverb(probability=1),
    noise=Noise(probability=1),
    gain=Gain(probability=1),
    clipping=Clipping(probability=1),
    band=Band(probability=1),
    codec=Codec(probability=1),
)


def bursts(seconds: float = 0.6) -> torch.Tensor:
    generator = torch.Generator().manual_seed(5)
    wav = 0.1 * torch.randn(round(seconds * RATE), generator=generator)
    return wav * (torch.arange(len(wav)) % 8000 < 5000)


def only(**effects: object) -> AugmentConfig:
    off: dict[str, object] = {f.name: None for f in fields(AugmentConfig)}
    return AugmentConfig(**(off | effects))  # pyright: ignore[reportArgumentType]


def in_another_process(seed: int) -> torch.Tensor:
    return Augment(ALWAYS)(bursts(), RATE, seed).wav


def test_same_seed_same_sound_in_any_order() -> None:
    augment, wav = Augment(ALWAYS), bursts()
    forth = {seed: augment(wav, RATE, seed) for seed in range(6)}
    back = {seed: Augment(ALWAYS)(wav, RATE, seed) for seed in reversed(range(6))}
    for seed, one in forth.items():
        assert torch.equal(one.wav, back[seed].wav)
        assert one.speed == back[seed].speed
    assert len({one.wav.sum().item() for one in forth.values()}) == 6


def test_same_seed_same_sound_whatever_the_global_generator() -> None:
    torch.manual_seed(1)
    before = torch.get_rng_state()
    one = Augment(ALWAYS)(bursts(), RATE, "a")
    assert torch.equal(torch.get_rng_state(), before)
    torch.manual_seed(2)
    assert torch.equal(Augment(ALWAYS)(bursts(), RATE, "a").wav, one.wav)


@pytest.mark.slow
def test_same_seed_same_sound_in_another_process() -> None:
    with ProcessPoolExecutor(1, mp_context=get_context("spawn")) as pool:
        there = pool.submit(in_another_process, 3).result()
    assert torch.allclose(there, in_another_process(3), atol=1e-6)


def test_an_effect_draws_the_same_when_others_are_off() -> None:
    alone = Augment(only(speed=Speed(probability=1)))
    for seed in range(8):
        assert alone(bursts(), RATE, seed).speed == Augment(ALWAYS)(bursts(), RATE, seed).speed


def test_the_input_is_left_as_it_is() -> None:
    wav = bursts()
    kept = wav.clone()
    Augment(ALWAYS)(wav, RATE, 0)
    assert torch.equal(wav, kept)


@pytest.mark.parametrize("channels", [0, 1, 2])
def test_shape_and_limits(channels: int) -> None:
    wav = bursts() if channels == 0 else torch.stack([bursts()] * channels)
    for seed in range(6):
        out, speed = Augment(ALWAYS)(wav * 9, RATE, seed)
        assert out.shape[:-1] == wav.shape[:-1]
        assert out.shape[-1] == pytest.approx(wav.shape[-1] / speed, abs=1)
        assert out.dtype == torch.float32
        assert float(out.abs().max()) <= 1


def test_length_stays_without_speed() -> None:
    config = replace(ALWAYS, speed=None)
    for length in (1, 7, 333, 24_001):
        wav = bursts(2)[:length]
        for seed in range(4):
            out, speed = Augment(config)(wav, RATE, seed)
            assert (out.shape, speed) == (wav.shape, 1.0)
            assert bool(out.isfinite().all())


def test_silence_and_nothing() -> None:
    quiet = Augment(replace(ALWAYS, codec=None))(torch.zeros(800), RATE, 1)
    assert not quiet.wav.any()
    assert Augment(ALWAYS)(torch.zeros(2, 0), RATE, 1).wav.shape == (2, 0)


def test_all_off_gives_the_sound_back() -> None:
    wav = bursts()
    assert torch.equal(Augment(only())(wav, RATE, 0).wav, wav)


def test_probabilities() -> None:
    augment = Augment(only(gain=Gain(gain_db=(-6, -6), probability=0.3)))
    wav = bursts(0.05)
    changed = sum(not torch.equal(augment(wav, RATE, seed).wav, wav) for seed in range(1000))
    # 1000 draws: the standard deviation is 14.5.
    assert 235 < changed < 365


def test_it_can_be_pickled() -> None:
    copy = pickle.loads(pickle.dumps(Augment(ALWAYS)))
    assert torch.equal(copy(bursts(), RATE, 4).wav, Augment(ALWAYS)(bursts(), RATE, 4).wav)


@pytest.mark.parametrize("wav", [torch.zeros(1, 1, 8), torch.zeros(8, dtype=torch.float64)])
def test_other_tensors_are_refused(wav: torch.Tensor) -> None:
    with pytest.raises(ValueError, match="give float32"):
        Augment()(wav, RATE, 0)


@pytest.mark.parametrize(
    ("make", "message"),
    [
        (lambda: Gain(gain_db=(3, -3)), "gain_db is"),
        (lambda: Gain(probability=1.5), "probability is 1.5"),
        (lambda: Clipping(below_peak_db=(-1, 2)), "below_peak_db is"),
        (lambda: Noise(snr_db=(0, math.nan)), "snr_db is"),
        (lambda: Noise(kinds=()), "kinds are"),
        (lambda: Noise(kinds=("brown",)), "kinds are"),  # pyright: ignore[reportArgumentType]
        (lambda: Noise(kinds=("babble",)), "folder in speech"),
        (lambda: Noise(kinds=("recorded",)), "folder in recordings"),
        (lambda: Reverb(rt60=(0, 1)), "rt60 is"),
        (lambda: Band(rates=()), "rates are"),
        (lambda: Codec(codecs=("mp9",)), "codecs are"),  # pyright: ignore[reportArgumentType]
        (lambda: Codec(compression=(0, 2)), "compression is"),
        (lambda: Speed(factor=(0, 1)), "factor is"),
    ],
)
def test_configs_are_checked(make: object, message: str) -> None:
    with pytest.raises(ValueError, match=message):
        make()  # pyright: ignore[reportCallIssue]
