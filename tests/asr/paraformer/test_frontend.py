"""The features: as a stream, in a batch, and against Kaldi's semantics elsewhere."""

import pytest
import torch
from paraformer_files import statistics
from speech_data import novel
from streaming_laws import (
    Case,
    check_bounded_state,
    check_causality,
    check_chunk_invariance,
    check_untouched,
    noise,
)

from echoic.asr.paraformer.config import FrontendConfig
from echoic.asr.paraformer.frontend import Frontend
from echoic.audio.features import LogMel
from echoic.streaming.module import run_streamed

LOG_MEL = FrontendConfig(features="log_mel", window="hann", lfr_n=4)


@pytest.fixture(scope="module")
def frontend() -> Frontend:
    return Frontend(None, *statistics())


@pytest.mark.parametrize("samples", [400, 1359, 1360, 16_000, 33_333])
def test_a_stream_has_the_same_features(frontend: Frontend, samples: int):
    wav = novel()[0].wav[None, 8000 : 8000 + samples]
    whole, lengths = frontend(wav)
    assert lengths.tolist() == [whole.shape[1]]
    for size in (160, 999, 9600):
        pieces = run_streamed(frontend, wav, [size] * (samples // size))
        assert torch.allclose(pieces, whole, atol=1e-4)


@pytest.mark.parametrize("config", [FrontendConfig(), LOG_MEL], ids=["fbank", "log_mel"])
def test_the_laws_of_streams(config: FrontendConfig):
    case = Case("frontend", lambda: Frontend(config, *statistics()), noise(), 20_000)
    for check in (check_chunk_invariance, check_causality, check_bounded_state, check_untouched):
        check(case)


@pytest.mark.parametrize("config", [FrontendConfig(), LOG_MEL], ids=["fbank", "log_mel"])
def test_a_batch_is_its_rows(config: FrontendConfig):
    frontend = Frontend(config, *statistics())
    # The last ones are shorter than what is mirrored at their ends.
    wavs = [*(u.wav for u in novel()), novel()[0].wav[8000:8170], novel()[0].wav[:0]]
    wav = torch.nn.utils.rnn.pad_sequence(wavs, batch_first=True)
    lengths = torch.tensor([len(wav) for wav in wavs])
    together, frames = frontend(wav, lengths)
    for row, wav in enumerate(wavs):
        (alone,), _ = frontend(wav[None])
        assert len(alone) == frames[row]
        assert torch.allclose(together[row, : len(alone)], alone, atol=1e-4)
        assert not together[row, len(alone) :].any()


def test_log_mel_frames_are_whispers():
    wav = novel()[0].wav[None, :32_000]
    found, lengths = Frontend(LOG_MEL)(wav)
    expected = LogMel(norm="running")(wav)
    assert lengths.tolist() == [50]
    assert torch.equal(found[0, 3].view(7, 80), expected[0, 9:16])


def test_number_of_frames(frontend: Frontend):
    for fbank, stacks in ((1, 1), (6, 1), (7, 2), (12, 2), (13, 3), (98, 17), (102, 17), (103, 18)):
        wav = torch.zeros(1, 400 + 160 * (fbank - 1))
        assert frontend(wav)[0].shape == (1, stacks, 560)


def test_silence_is_the_floor_normalised(frontend: Frontend):
    shift, scale = statistics()
    (features,), _ = frontend(torch.zeros(1, 16_000))
    assert torch.allclose(features, ((-15.9424 + shift) * scale).expand_as(features), atol=1e-4)


def test_times_of_frames():
    config = FrontendConfig()
    assert config.frame_seconds == pytest.approx(0.06)
    # The window in the middle of stack 0 is centred on 12.5 ms.
    assert config.frame_offset + config.frame_seconds / 2 == pytest.approx(0.0125)
