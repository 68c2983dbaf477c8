"""LogMel against transformers' Whisper features, and what Whisper does not define."""

import pytest
import torch
import torch.nn.functional as F
from torch import Tensor
from transformers import WhisperFeatureExtractor

from echoic.audio.features import LogMel
from echoic.streaming.module import run_offline, run_streamed

THIRTY_SECONDS = 480_000


@pytest.mark.parametrize("bands", [80, 128])
@pytest.mark.parametrize("padded", [True, False])
def test_equals_whisper(speech: Tensor, bands: int, padded: bool) -> None:
    extractor = WhisperFeatureExtractor(feature_size=bands)
    expected = extractor(
        speech[0].numpy(),
        sampling_rate=16_000,
        padding="max_length" if padded else "do_not_pad",
        return_tensors="pt",
    ).input_features.transpose(1, 2)
    wav = F.pad(speech, (0, THIRTY_SECONDS - speech.shape[1])) if padded else speech
    found = LogMel(bands)(wav)
    assert found.shape == (1, wav.shape[1] // 160, bands)
    torch.testing.assert_close(found, expected, rtol=0, atol=1e-5)


def test_a_row_of_a_batch_equals_the_row_alone(speech: Tensor) -> None:
    module = LogMel()
    quiet = 1e-3 * speech.flip(1)
    both = module(torch.cat([speech, quiet]))
    torch.testing.assert_close(both[:1], module(speech), rtol=0, atol=1e-6)
    torch.testing.assert_close(both[1:], module(quiet), rtol=0, atol=1e-6)


@pytest.mark.parametrize("samples", [0, 1, 159, 160, 199, 200, 201, 320, 401])
@pytest.mark.parametrize("norm", ["running", "none"])
def test_short_signals(samples: int, norm) -> None:
    wav = torch.randn(2, samples, generator=torch.Generator().manual_seed(0))
    module = LogMel(norm=norm)
    mel = module(wav)
    assert mel.shape == (2, samples // 160, 80)
    assert mel.isfinite().all()
    assert LogMel()(wav).shape == mel.shape
    for sizes in ([samples], [1] * samples, [150, 49, 1, 1]):
        torch.testing.assert_close(run_streamed(module, wav, sizes), mel, rtol=0, atol=1e-5)


@pytest.mark.parametrize("samples", [160, 199, 200, 201])
def test_short_signals_are_mirrored_to_and_fro(samples: int) -> None:
    import numpy as np

    wav = torch.randn(1, samples, generator=torch.Generator().manual_seed(1))
    mirrored = torch.from_numpy(np.pad(wav[0].numpy(), 200, mode="reflect"))
    spectra = torch.stft(
        mirrored, 400, 160, window=torch.hann_window(400), center=False, return_complex=True
    )
    module = LogMel(norm="none")
    expected = (spectra.abs().square().T[:1] @ module.filters).clamp(min=1e-10).log10()
    torch.testing.assert_close(module(wav)[0], expected, rtol=0, atol=1e-4)


def test_running_maximum_is_that_of_the_frames_so_far(speech: Tensor) -> None:
    plain = LogMel(norm="none")(speech)
    found = LogMel(norm="running", initial_max=-1.0)(speech)
    for frame in (0, 5, 100, 250):
        loudest = max(-1.0, float(plain[:, : frame + 1].max()))
        expected = (plain[:, frame].clamp(min=loudest - 8) + 4) / 4
        torch.testing.assert_close(found[:, frame], expected, rtol=0, atol=1e-6)


def test_running_norm_ends_up_near_whispers(speech: Tensor) -> None:
    whisper, running = LogMel()(speech), LogMel(norm="running", initial_max=-10.0)(speech)
    assert not torch.equal(whisper, running)
    torch.testing.assert_close(whisper[:, -1], running[:, -1], rtol=0, atol=1e-6)
    seeded = LogMel(norm="running")(speech)
    assert (whisper - seeded).abs().mean() < 0.02


def test_streamed_speech_equals_offline(speech: Tensor) -> None:
    module = LogMel(norm="running")
    streamed = run_streamed(module, speech, [5120] * 10)
    torch.testing.assert_close(streamed, module(speech), rtol=0, atol=1e-6)
    assert run_offline(module, speech).shape == streamed.shape


def test_a_frame_comes_40_samples_after_its_hop() -> None:
    module = LogMel(norm="running")
    assert (module.frame_size, module.lookahead) == (160, 40)
    state = module.initial_state(1)
    emitted = []
    for _ in range(521):
        state, y = module.step(state, torch.randn(1, 1))
        emitted.append(y.shape[1])
    assert [n for n, frames in enumerate(emitted, start=1) if frames] == [200, 360, 520]


def test_the_global_maximum_cannot_stream() -> None:
    with pytest.raises(ValueError, match='use LogMel\\(norm="running"\\)'):
        LogMel().initial_state(1)


def test_wrong_input_is_told() -> None:
    with pytest.raises(ValueError, match="add a batch dimension"):
        LogMel()(torch.zeros(16_000))
    with pytest.raises(ValueError, match="int16"):
        LogMel()(torch.zeros(1, 16_000, dtype=torch.int16))
    with pytest.raises(ValueError, match="norm is 'max'"):
        LogMel(norm="max")  # type: ignore[arg-type]
