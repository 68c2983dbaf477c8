"""The registry: every streaming class of the toolkit, one line each, for the laws."""

import torch
from streaming_laws import Case, complex_noise, noise

from echoic.audio.features import (
    Cmvn,
    Fbank,
    FbankConfig,
    Istft,
    LogMel,
    LowFrameRate,
    Mel,
    MelConfig,
    Stft,
)
from echoic.audio.resample import Resampler
from echoic.audio.silero import SileroVad
from echoic.streaming.module import Chain, chain


def cmvn(features: int) -> Cmvn:
    """Return a normalisation with values that tell the features apart."""
    ramp = torch.linspace(0.5, 1.5, features)
    return Cmvn(-ramp, ramp.flip(0))


def paraformer_front() -> Chain:
    """Return fbank, low frame rate and normalisation, as Paraformer hears."""
    return chain(Fbank(), LowFrameRate(), cmvn(560))


def resampled_log_mel() -> Chain:
    """Return what a 48 kHz microphone needs before Whisper."""
    return chain(Resampler(48_000, 16_000), LogMel(norm="running"))


NO_GRADIENT = {"differentiable": False}

CASES = [
    Case("log_mel", lambda: LogMel(norm="running"), noise(), 4000),
    Case("log_mel_plain", lambda: LogMel(128, norm="none"), noise(), 4000),
    Case("fbank", Fbank, noise(), 4000),
    Case("fbank_edges", lambda: Fbank(FbankConfig(snip_edges=False)), noise(), 4000),
    Case("low_frame_rate", lambda: LowFrameRate(7, 6, 4), noise(4), 80),
    Case("low_frame_rate_tiled", lambda: LowFrameRate(4, 4, 3), noise(3), 80),
    Case("cmvn", lambda: cmvn(5), noise(5), 40),
    Case("paraformer_front", paraformer_front, noise(), 24_000),
    Case("stft_center", lambda: Stft(64, 16), noise(), 1000),
    Case("stft_wide_hop", lambda: Stft(64, 40), noise(), 1000),
    Case("stft_same", lambda: Stft(64, 16, padding="same", win_length=50), noise(), 1000),
    Case("stft_left", lambda: Stft(64, 24, padding="left"), noise(), 1000),
    Case("stft_none", lambda: Stft(64, 64, padding="none"), noise(), 1000),
    Case("istft_center", lambda: Istft(64, 16), complex_noise(33), 60),
    Case("istft_same", lambda: Istft(64, 24, padding="same"), complex_noise(33), 60),
    Case("istft_left", lambda: Istft(64, 16, padding="left"), complex_noise(33), 60),
    Case("istft_none", lambda: Istft(64, 32, padding="none"), complex_noise(33), 60),
    Case("mel_hificodec", lambda: Mel(MelConfig.hificodec()), noise(), 9000),
    Case("mel_vocos", lambda: Mel(MelConfig.vocos()), noise(), 9000),
    Case("mel_distilcodec", lambda: Mel(MelConfig.distilcodec()), noise(), 9000),
    Case("resampler_down", lambda: Resampler(48_000, 16_000), noise(), 12_000, **NO_GRADIENT),
    Case("resampler_up", lambda: Resampler(16_000, 24_000), noise(), 8000, **NO_GRADIENT),
    Case("resampler_441", lambda: Resampler(44_100, 16_000), noise(), 12_000, **NO_GRADIENT),
    Case("resampled_log_mel", resampled_log_mel, noise(), 12_000, **NO_GRADIENT),
    Case("silero_vad", SileroVad.from_installed, noise(), 8000, **NO_GRADIENT),
]
