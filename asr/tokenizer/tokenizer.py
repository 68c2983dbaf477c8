"""Speech to codes that keep its words: the part of the model that hears."""

from pathlib import Path
from typing import Literal, NamedTuple, NoReturn, Self

import torch
from torch import Tensor, nn
from torch.nn import functional

from echoic.asr.tokenizer.book import Book
from echoic.asr.tokenizer.config import TokenizerConfig
from echoic.asr.tokenizer.files import read_config, read_weights
from echoic.asr.tokenizer.front import Front
from echoic.asr.tokenizer.streaming import TokenizerStream
from echoic.asr.whisper.model import SAMPLE_RATE
from echoic.audio.features import LogMel


class Tokens(NamedTuple):
    """Recordings as codes.

    Attributes:
        codes: (B, 1, N) int64; beyond the end of a shorter recording they mean nothing.
        lengths: (B,) int64 samples of each recording.
    """

    codes: Tensor
    lengths: Tensor


class SpeechTokenizer(nn.Module):
    """Waveforms (B, T) at 16 kHz to codes (B, 1, N); it has no way back to sound.

    It encodes with the face of a codec, so that what makes corpora of codes takes it, too.

    Args:
        config: sizes.
        front: the layers.
        book: the codes.
    """

    kind = "speech-tokenizer"
    sample_rate = SAMPLE_RATE
    num_codebooks: Literal[1] = 1
    num_groups: Literal[1] = 1

    def __init__(self, config: TokenizerConfig, front: Front, book: Book) -> None:
        super().__init__()
        self.config = config
        self.front = front
        self.book = book
        self.log_mel = LogMel(
            config.whisper.num_mel_bins, "running", initial_max=config.initial_max
        )

    @classmethod
    def from_pretrained(cls, folder: str | Path, *, device: str = "cpu") -> Self:
        """Load a folder that `echoic export` wrote; the layers behind the codes are not read.

        Raises:
            CheckpointError: not there, damaged, or of another kind.
        """
        config = read_config(folder)
        front = Front(config)
        state = read_weights(folder, "front.", {k: v.shape for k, v in front.state_dict().items()})
        front.load_state_dict(state)
        shape = torch.Size((config.codebook_size, config.whisper.d_model))
        book = Book(read_weights(folder, "book.", {"vectors": shape})["vectors"])
        return cls(config, front, book).to(device).eval().requires_grad_(False)

    @property
    def codebook_size(self) -> int:
        """K, values of a code."""
        return self.config.codebook_size

    @property
    def hop_length(self) -> int:
        """Samples of a code."""
        return self.config.hop_length

    @property
    def frame_rate(self) -> float:
        """Codes a second."""
        return self.config.frame_rate

    @property
    def device(self) -> torch.device:
        """Where the weights are."""
        return self.book.vectors.device

    def check_n_q(self, n_q: int | None) -> int:
        """Return `n_q`, 1 for None.

        Raises:
            ValueError: another number.
        """
        if n_q not in (None, 1):
            raise ValueError(f"n_q is {n_q}, expected 1: a speech tokenizer has one code a frame")
        return 1

    @torch.no_grad()
    def encode(self, wav: Tensor, lengths: Tensor | None = None, n_q: int | None = None) -> Tokens:
        """Code waveforms; the end is padded with zeros to a whole code.

        Args:
            wav: (B, T) float in [-1, 1].
            lengths: (B,) samples of each row; None for all T. What lies beyond is not heard: a row
                has the codes that it has alone.
            n_q: 1 or None.

        Raises:
            ValueError: another shape, no samples, NaN or infinite samples, lengths or an n_q that
                are out of range.
        """
        self.check_n_q(n_q)
        if wav.dim() != 2 or not wav.is_floating_point() or not wav.numel():
            raise ValueError(
                f"the waveform has shape {tuple(wav.shape)} and type {wav.dtype}, expected floats "
                "(batch, samples), one sample or more"
            )
        if lengths is None:
            lengths = torch.full((len(wav),), wav.shape[1], dtype=torch.int64)
        fit = bool(((lengths >= 1) & (lengths <= wav.shape[1])).all())
        if lengths.shape != (len(wav),) or not fit:
            raise ValueError(
                f"lengths are {lengths.tolist()}, expected {len(wav)} of 1 to {wav.shape[1]}"
            )
        stream = self.streaming_encoder()
        rows = [stream(row[None, :n]) for row, n in zip(wav, lengths.tolist(), strict=True)]
        longest = -(-wav.shape[1] // self.hop_length)
        padded = [functional.pad(codes, (0, longest - codes.shape[2])) for codes in rows]
        return Tokens(torch.cat(padded), lengths.to(torch.int64))

    def decode(self, codes: Tensor, lengths: Tensor | None = None) -> NoReturn:
        """Refuse.

        Raises:
            ValueError: always.
        """
        raise ValueError(
            "a speech tokenizer makes no sound of its codes: take a flow decoder that was trained "
            "on them"
        )

    def streaming_encoder(self, n_q: int | None = None) -> TokenizerStream:
        """Return the tokenizer as a streaming module: waveforms (B, T) to codes (B, 1, N).

        Raises:
            ValueError: an n_q that is out of range.
        """
        self.check_n_q(n_q)
        return TokenizerStream(self.log_mel, self.front, self.book)
