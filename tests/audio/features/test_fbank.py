"""Fbank against Kaldi's two ports, and the settings they share."""

import kaldi_native_fbank
import pytest
import torch
import torchaudio.compliance.kaldi as kaldi
from torch import Tensor
from torch.utils import _device

from echoic.audio.features import Fbank, FbankConfig


@pytest.mark.parametrize("window", ["hamming", "povey", "hann"])
@pytest.mark.parametrize("snip_edges", [True, False])
@pytest.mark.parametrize("bands", [80, 40])
def test_equals_torchaudio(speech: Tensor, window, snip_edges: bool, bands: int) -> None:
    expected = kaldi.fbank(
        speech * 32768,
        num_mel_bins=bands,
        dither=0.0,
        energy_floor=0.0,
        window_type="hanning" if window == "hann" else window,
        snip_edges=snip_edges,
    )
    config = FbankConfig(num_mels=bands, window=window, snip_edges=snip_edges)
    found = Fbank(config)(speech)
    assert found.shape[1:] == expected.shape
    torch.testing.assert_close(found[0], expected, rtol=0, atol=1e-3)


def test_equals_kaldi_native_fbank(speech: Tensor) -> None:
    options = kaldi_native_fbank.FbankOptions()
    options.frame_opts.dither = 0.0
    options.frame_opts.window_type = "hamming"
    options.frame_opts.snip_edges = True
    options.mel_opts.num_bins = 80
    options.energy_floor = 0.0
    reference = kaldi_native_fbank.OnlineFbank(options)
    reference.accept_waveform(16_000, (speech[0] * 32768).tolist())
    reference.input_finished()
    expected = torch.stack(
        [torch.from_numpy(reference.get_frame(i)) for i in range(reference.num_frames_ready)]
    )
    found = Fbank()(speech)[0]
    assert found.shape == expected.shape
    torch.testing.assert_close(found, expected, rtol=0, atol=1e-3)


def test_other_rates_and_limits(speech: Tensor) -> None:
    expected = kaldi.fbank(
        speech * 32768, sample_frequency=8000, num_mel_bins=23, low_freq=60, high_freq=3800,
        remove_dc_offset=False, preemphasis_coefficient=0.5, window_type="hamming",
    )  # fmt: skip
    config = FbankConfig(
        8000, 23, 200, 80, preemphasis=0.5, remove_dc=False, fmin=60.0, fmax=3800.0
    )
    torch.testing.assert_close(Fbank(config)(speech)[0], expected, rtol=0, atol=1e-3)


def test_silence_is_kaldis_floor() -> None:
    found = Fbank()(torch.zeros(1, 1600))
    torch.testing.assert_close(found, torch.full((1, 8, 80), -15.9424), rtol=0, atol=1e-4)


@pytest.mark.parametrize(("samples", "frames"), [(0, 0), (399, 0), (400, 1), (559, 1), (560, 2)])
def test_short_signals(samples: int, frames: int) -> None:
    assert Fbank()(torch.randn(1, samples)).shape == (1, frames, 80)


def test_dither_is_seeded_and_cannot_stream() -> None:
    module, wav = Fbank(FbankConfig(dither=1.0)), 1e-4 * torch.randn(1, 1600)

    def seeded(seed: int) -> Tensor:
        return module(wav, torch.Generator().manual_seed(seed))

    assert torch.equal(seeded(0), seeded(0))
    assert not torch.equal(seeded(0), seeded(1))
    assert (seeded(0) - Fbank()(wav)).abs().mean() > 0.01
    with pytest.raises(ValueError, match="expected 0 for a stream"):
        module.initial_state(1)


@pytest.mark.parametrize(
    ("settings", "message"),
    [
        ({"window": "kaiser"}, "window is 'kaiser'"),
        ({"dither": -1.0}, "dither is -1"),
        ({"preemphasis": 2.0}, "preemphasis is 2"),
        ({"fmax": 9000.0}, "lower fmax"),
        ({"hop_length": 500}, "hop is 500"),
    ],
)
def test_impossible_settings_are_refused(settings: dict, message: str) -> None:
    with pytest.raises(ValueError, match=message):
        Fbank(FbankConfig(**settings))


def test_lies_on_one_device_after_transformers_has_loaded_a_model(
    monkeypatch: pytest.MonkeyPatch,
) -> None:
    """It replaces linspace while torch notes which functions `torch.device` is to redirect."""
    redirected = set(_device._device_constructors()) - {torch.linspace}
    monkeypatch.setattr(_device, "_device_constructors", lambda: redirected)
    with torch.device("meta"):
        assert Fbank().filters.is_meta
