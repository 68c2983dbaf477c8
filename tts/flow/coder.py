"""From recordings to what the flow learns from: codes, and the spectra that they should become."""

from typing import NamedTuple

import torch
from torch import Tensor, nn
from torch.nn import functional

from echoic.audio.features import Mel
from echoic.audio.resample import Resampler
from echoic.codecs.codec import Codec
from echoic.tts.flow.config import FlowConfig, MelSpace
from echoic.tts.flow.prompt import Prompt


class Spectra(nn.Module):
    """Spectra (B, T, M) of waveforms (B, T * hop), as flow and vocoder see them.

    Args:
        config: which ones.
    """

    def __init__(self, config: MelSpace) -> None:
        super().__init__()
        self.config = config
        self.mel = Mel(config.mel)

    def forward(self, wav: Tensor) -> Tensor:
        """Return as many spectra as there are whole hops; silence counts as what follows."""
        config, count = self.config, wav.shape[1] // self.config.mel.hop_length
        # Behind the end the same for all rows of a batch, not a mirror for the longest alone.
        mels = self.mel(functional.pad(wav.float(), (0, config.mel.n_fft)))[:, :count]
        return (mels - config.mean) / config.scale


class Coded(NamedTuple):
    """Recordings, ready to learn from.

    Attributes:
        codes: (B, Q, F) int64.
        mels: (B, F * ratio, M).
        lengths: (B,) frames of codes of each.
    """

    codes: Tensor
    mels: Tensor
    lengths: Tensor


class Coder:
    """A codec that is not trained, beside the spectra. No module: checkpoints do not hold it.

    Args:
        codec: in evaluation mode.
        config: of the flow: its books, mels and rates.
    """

    def __init__(self, codec: Codec, config: FlowConfig) -> None:
        self.codec = codec
        self.config = config
        self.spectra = Spectra(config.mels)
        self.sample_rate = config.mels.mel.sample_rate
        self.resampler = Resampler(self.sample_rate, codec.sample_rate)

    def to(self, device: torch.device | str) -> "Coder":
        """Move codec and transforms, which does nothing where they are there already."""
        self.codec.to(device)
        self.spectra.to(device)
        return self

    @torch.no_grad()
    def __call__(self, wav: Tensor, lengths: Tensor) -> Coded:
        """Code waveforms.

        Args:
            wav: (B, T) at the spectra's sample rate, 0 beyond each row's length.
            lengths: (B,) samples.
        """
        config = self.config
        hop = config.ratio * config.mels.mel.hop_length
        frames = torch.div(lengths + hop - 1, hop, rounding_mode="floor")
        wav = functional.pad(wav, (0, int(frames.max()) * hop - wav.shape[1]))
        heard = self.resampler(wav).clamp(-1, 1)
        samples = frames * self.codec.hop_length
        books = config.frames.num_codebooks
        with torch.autocast(wav.device.type, enabled=False):
            codes = self.codec.encode(heard, samples, n_q=books).codes
            mels = self.spectra(wav)
        return Coded(codes, mels, frames)

    def prompt(self, wav: Tensor) -> Prompt:
        """Return a recording (T,) at the spectra's sample rate as speech to go on from."""
        coded = self(wav[None], torch.tensor([len(wav)], device=wav.device))
        return Prompt(coded.codes[0], coded.mels[0])
