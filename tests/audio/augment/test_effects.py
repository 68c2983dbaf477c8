import itertools
import math
from pathlib import Path
from typing import Literal

import pytest
import torch
from torch import Tensor

from echoic.audio.augment import (
    Noise,
    active_power,
    add_noise,
    babble_noise,
    change_gain,
    change_speed,
    clip,
    cut_lows,
    generator_for,
    limit_band,
    pink_noise,
    recode,
    recorded_noise,
    reverberate,
    room_response,
    white_noise,
)
from echoic.audio.augment.fourier import convolve, fast_length
from echoic.audio.io import load, save

RATE = 16_000
SPEECH = Path(__file__).parents[2] / "data" / "sense-and-sensibility-0870.opus"


@pytest.fixture(scope="module")
def speech() -> Tensor:
    return load(SPEECH, sample_rate=RATE, mono=True, duration=4).wav[0]


def tone(hertz: float, seconds: float = 1.0, rate: int = RATE) -> Tensor:
    return 0.5 * torch.sin(2 * math.pi * hertz * torch.arange(round(seconds * rate)) / rate)


def power_db(wav: Tensor) -> float:
    return 10 * math.log10(float(wav.square().mean()) + 1e-12)


def delay_of(wav: Tensor, original: Tensor) -> int:
    """Samples by which `wav` lags, by the peak of the cross-correlation."""
    size = 2 * len(original)
    product = torch.fft.rfft(wav, size) * torch.fft.rfft(original, size).conj()
    at = int(torch.fft.irfft(product, size).argmax())
    return at if at < len(original) else at - size


def test_active_power_does_not_count_pauses(speech: Tensor) -> None:
    pause = torch.zeros(10 * RATE)
    assert active_power(torch.cat([speech, pause]), RATE) == pytest.approx(
        active_power(speech, RATE), rel=1e-4
    )
    assert active_power(tone(400), RATE) == pytest.approx(0.125, rel=1e-3)
    assert active_power(pause, RATE) == 0
    assert active_power(tone(400)[:7], RATE) > 0


def test_gain_is_exact_below_the_limit_and_stops_there() -> None:
    assert power_db(change_gain(tone(300), -12)) == pytest.approx(
        power_db(tone(300)) - 12, abs=0.01
    )
    assert power_db(change_gain(tone(300), 5)) == pytest.approx(power_db(tone(300)) + 5, abs=0.01)
    assert float(change_gain(tone(300), 40).abs().max()) == pytest.approx(1.0, abs=1e-4)
    hot = 1.5 * tone(300) / 0.5
    assert torch.equal(change_gain(hot, 6), hot)


def test_clip_cuts_the_peaks_only() -> None:
    wav = tone(300)
    cut = clip(wav, 6)
    limit = float(wav.abs().max()) * 10 ** (-6 / 20)
    assert float(cut.abs().max()) == pytest.approx(limit)
    inside = wav.abs() < limit
    assert 0 < int(inside.sum()) < len(wav)
    assert torch.equal(cut[inside], wav[inside])


@pytest.mark.parametrize("snr_db", [-5.0, 0.0, 20.0])
def test_noise_has_the_ratio_asked_for(speech: Tensor, snr_db: float) -> None:
    noise = pink_noise(len(speech), RATE, generator_for(0, "noise"))
    added = add_noise(speech, noise, snr_db, RATE) - speech
    measured = 10 * math.log10(active_power(speech, RATE) / float(added.square().mean()))
    assert measured == pytest.approx(snr_db, abs=0.05)


def test_pink_noise_loses_three_decibels_an_octave() -> None:
    spectrum = torch.fft.rfft(pink_noise(2**18, RATE, generator_for(1, "pink"))).abs().square()
    frequencies = torch.fft.rfftfreq(2**18, 1 / RATE)
    bands = [
        10 * math.log10(float(spectrum[(frequencies >= f) & (frequencies < 2 * f)].mean()))
        for f in (100, 200, 400, 800, 1600, 3200)
    ]
    for higher, lower in itertools.pairwise(bands):
        assert higher - lower == pytest.approx(3.0, abs=0.5)


def test_white_noise_is_flat() -> None:
    noise = white_noise(2**17, generator_for(1, "white"))
    spectrum = torch.fft.rfft(noise).abs().square()
    low, high = spectrum[: 2**15].mean(), spectrum[2**15 :].mean()
    assert float(low / high) == pytest.approx(1, abs=0.05)
    assert power_db(noise) == pytest.approx(0, abs=0.1)


def test_recorded_noise_takes_a_stretch_and_repeats_short_ones(tmp_path: Path) -> None:
    ramp = torch.linspace(-0.9, 0.9, 3 * RATE)
    save(tmp_path / "ramp.wav", ramp, RATE, subtype="FLOAT")
    stretch = recorded_noise(str(tmp_path), RATE, RATE, generator_for(0, "a"))
    at = int((ramp - stretch[0]).abs().argmin())
    torch.testing.assert_close(stretch, ramp[at : at + RATE], atol=1e-6, rtol=0)
    other = recorded_noise(str(tmp_path), RATE, RATE, generator_for(1, "a"))
    assert not torch.equal(stretch, other)
    long = recorded_noise(str(tmp_path), 7 * RATE, RATE, generator_for(0, "a"))
    torch.testing.assert_close(long, ramp.repeat(3)[: 7 * RATE], atol=1e-6, rtol=0)


def test_a_folder_without_sound_is_told(tmp_path: Path) -> None:
    with pytest.raises(ValueError, match="holds no sound files"):
        recorded_noise(str(tmp_path), RATE, RATE, generator_for(0, "a"))


def test_babble_mixes_equally_loud_voices(tmp_path: Path) -> None:
    save(tmp_path / "low.wav", 0.02 * tone(500), RATE)
    save(tmp_path / "high.wav", tone(3000), RATE)
    babble = babble_noise(str(tmp_path), 12, RATE, RATE, generator_for(0, "babble"))
    spectrum = torch.fft.rfft(babble).abs().square()
    share = float(spectrum[:1500].sum() / spectrum.sum())
    assert 0.05 < share < 0.95, "a voice that was recorded softly must be heard too"
    config = Noise(kinds=("babble",), speech=str(tmp_path), snr_db=(10, 10))
    noisy = config(tone(1000), RATE, generator_for(0, "noise"))
    added = noisy - tone(1000)
    assert power_db(tone(1000)) - power_db(added) == pytest.approx(10, abs=0.1)


def test_a_room_decays_in_its_time() -> None:
    response = room_response(
        RATE, rt60=0.4, direct_db=3, delay=0.01, generator=generator_for(0, "room")
    )
    assert float(response[0]) == 1
    assert not response[1:160].any()
    tail = response[160:]
    assert 10 * math.log10(1 / float(tail.square().sum())) == pytest.approx(3, abs=0.01)
    early, late = tail[:800], tail[3200:4000]  # 0.2 s apart: half the reverberation time
    assert power_db(early) - power_db(late) == pytest.approx(30, abs=1.5)


def test_reverb_keeps_time_and_level(speech: Tensor) -> None:
    room = room_response(RATE, rt60=0.5, direct_db=0, delay=0.005, generator=generator_for(3, "r"))
    wet = reverberate(speech, room, RATE)
    assert wet.shape == speech.shape
    assert delay_of(wet, speech) == 0
    assert active_power(wet, RATE) == pytest.approx(active_power(speech, RATE), rel=1e-3)
    pulse = torch.zeros(RATE)
    pulse[4000] = 1
    assert not bool((reverberate(pulse, room, RATE)[:4000].abs() > 1e-5).any())


def test_convolution_is_that_of_torch() -> None:
    generator = generator_for(0, "c")
    wav, response = torch.randn(2, 500, generator=generator), torch.randn(90, generator=generator)
    padded = torch.nn.functional.pad(wav, (89, 0))[:, None]
    expected = torch.nn.functional.conv1d(padded, response.flip(0)[None, None])[:, 0]
    torch.testing.assert_close(convolve(wav, response), expected, atol=1e-4, rtol=1e-4)


def test_fast_lengths() -> None:
    for least in [*range(1, 300), 160_000, 9_999_991]:
        length = fast_length(least)
        assert least <= length <= max(8, 1.26 * least)
        for factor in (2, 3, 5):
            while length % factor == 0:
                length //= factor
        assert length == 1


def test_a_band_is_lost_above_half_the_rate_only() -> None:
    for hertz, lost in ((1000, 0.0), (3000, 0.0), (5000, 60.0), (7000, 60.0)):
        before, after = tone(hertz), limit_band(tone(hertz), RATE, 8000)
        assert after.shape == before.shape
        loss = power_db(before[800:-800]) - power_db(after[800:-800])
        assert loss == pytest.approx(0, abs=0.05) if lost == 0 else loss > lost
    assert torch.equal(limit_band(tone(7000), RATE, RATE), tone(7000))


def test_low_frequencies_are_cut() -> None:
    for hertz, loss in ((75.0, 24.1), (300.0, 3.01), (3000.0, 0.0)):
        kept = cut_lows(tone(hertz, 2), RATE, 300)[8000:-8000]
        assert power_db(tone(hertz, 2)[8000:-8000]) - power_db(kept) == pytest.approx(loss, abs=0.2)
    assert torch.equal(cut_lows(tone(50), RATE, 0), tone(50))


@pytest.mark.parametrize("factor", [0.9, 1.0, 1.07, 1.1])
def test_speed_moves_pitch_and_times(factor: float) -> None:
    fast, used = change_speed(tone(500, 2), RATE, factor)
    assert used == pytest.approx(factor)
    assert len(fast) == pytest.approx(2 * RATE / factor, abs=1)
    peak = int(torch.fft.rfft(fast).abs().argmax()) * RATE / len(fast)
    assert peak == pytest.approx(500 * factor, abs=1)
    click = torch.zeros(2 * RATE)
    click[RATE] = 1
    assert int(change_speed(click, RATE, factor)[0].argmax()) == pytest.approx(RATE / used, abs=1)


@pytest.mark.parametrize(
    ("codec", "least", "most"),
    [("opus", 5, 40), ("vorbis", 5, 40), ("mulaw", 10, 45), ("gsm", 3, 20)],
)
def test_codecs_lose_something_but_no_time(
    speech: Tensor, codec: Literal["opus", "vorbis", "mulaw", "gsm"], least: float, most: float
) -> None:
    wav = speech[: 2 * RATE + 123]
    out = recode(wav, RATE, codec, compression=0.5)
    assert out.shape == wav.shape
    assert abs(delay_of(out, wav)) <= 1
    # What the telephone's band takes away is not the codec's doing.
    original = limit_band(wav, RATE, 8000) if codec in ("mulaw", "gsm") else wav
    snr = power_db(original) - power_db(out - original)
    assert least < snr < most


def test_more_compression_loses_more(speech: Tensor) -> None:
    errors = [power_db(recode(speech, RATE, "vorbis", compression=c) - speech) for c in (0.0, 1.0)]
    assert errors[0] < errors[1] - 3


def test_codecs_at_other_rates_and_channels() -> None:
    stereo = torch.stack([tone(440, 0.5, 44_100), torch.zeros(22_050)])
    for codec in ("opus", "vorbis", "mulaw"):
        out = recode(stereo, 44_100, codec)
        assert out.shape == stereo.shape
        assert power_db(out[0]) == pytest.approx(power_db(stereo[0]), abs=1)
        assert power_db(out[1]) < -60, "one channel must not be heard in the other"


def test_bad_sound_is_refused_by_codecs() -> None:
    with pytest.raises(ValueError, match="NaN or infinite"):
        recode(torch.full((800,), math.nan), RATE, "mulaw")
    with pytest.raises(ValueError, match="choose of opus"):
        recode(torch.zeros(800), RATE, "mp9")  # pyright: ignore[reportArgumentType]
