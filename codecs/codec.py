"""What all codecs are: an encoder, a quantizer and a decoder behind one face."""

import json
from dataclasses import asdict
from pathlib import Path
from typing import Any, ClassVar, NamedTuple, Self

import torch
import torch.nn.functional as F
from torch import Tensor, nn

from echoic.codecs.errors import CodecError, NotStreamable
from echoic.codecs.quantize.quantizer import Quantized, Quantizer
from echoic.codecs.settings import build
from echoic.codecs.streaming import CodecDecoder, CodecEncoder, WholeEndEncoder
from echoic.codecs.weights import read_weights, write_weights

__all__ = ["Codec", "CodecError", "Encoded", "NotStreamable", "Reconstruction"]


class Encoded(NamedTuple):
    """Recordings as codes.

    Attributes:
        codes: (B, Q, F) int64; beyond the end of a shorter recording they mean nothing.
        lengths: (B,) int64 samples of each recording.
    """

    codes: Tensor
    lengths: Tensor


class Reconstruction(NamedTuple):
    """What a pass through the codec gives.

    Attributes:
        wav: (B, T) as long as the input.
        quantized: what the quantizer did.
    """

    wav: Tensor
    quantized: Quantized


class Codec(nn.Module):
    """Base of the codecs: waveforms (B, T) in [-1, 1] to codes (B, Q, F) and back; mono.

    Args:
        config: a frozen dataclass with `sample_rate` and `hop_length`.
        encoder: (B, F * hop) -> latents (B, D, F).
        quantizer: of the latents.
        decoder: latents (B, D, F) -> (B, F * hop).
    """

    kind: ClassVar[str] = ""
    config_class: ClassVar[type]
    channels = 1
    # Why the one or the other cannot run on sound that has not ended; "" where it can.
    encoder_waits: ClassVar[str] = ""
    decoder_waits: ClassVar[str] = ""
    # Whether rows of one batch can be encoded together without changing each other's codes.
    batchable: ClassVar[bool] = True
    # Whether what lies beyond the end of a row's codes leaves the samples before it as they are.
    ends_alone: ClassVar[bool] = True
    # Whether the encoder's layers pad the end of a recording to a whole frame themselves.
    pads_end: ClassVar[bool] = False

    def __init__(
        self, config: Any, encoder: nn.Module, quantizer: Quantizer, decoder: nn.Module
    ) -> None:
        super().__init__()
        self.config = config
        self.encoder = encoder
        self.quantizer = quantizer
        self.decoder = decoder

    @property
    def sample_rate(self) -> int:
        """Hz."""
        return self.config.sample_rate

    @property
    def hop_length(self) -> int:
        """Samples of one frame."""
        return self.config.hop_length

    @property
    def frame_rate(self) -> float:
        """Frames a second."""
        return self.sample_rate / self.hop_length

    @property
    def num_codebooks(self) -> int:
        """Q, codes of one frame."""
        return self.quantizer.config.num_codebooks

    @property
    def num_groups(self) -> int:
        """Codes that n_q goes up by: groups of one residual layer."""
        return self.quantizer.config.num_groups

    @property
    def codebook_size(self) -> int:
        """K, values of one code."""
        return self.quantizer.config.codebook_size

    @property
    def device(self) -> torch.device:
        """Where the weights are."""
        return self.quantizer.codebooks.books.device

    def bits_per_second(self, n_q: int | None = None) -> float:
        """Return the bitrate of `n_q` codes a frame, without entropy coding."""
        books = self.check_n_q(n_q)
        return self.frame_rate * books * (self.codebook_size - 1).bit_length()

    def check_n_q(self, n_q: int | None) -> int:
        """Return `n_q`, all codes of a frame for None.

        Raises:
            ValueError: out of range.
        """
        return self.quantizer.config.layers_of(n_q) * self.num_groups

    def forward(self, wav: Tensor, n_q: int | None = None) -> Reconstruction:
        """Code and reconstruct waveforms (B, T), with gradients.

        Raises:
            ValueError: another shape, no samples, or an n_q that is out of range.
        """
        self._check_shape(wav)
        quantized = self.quantizer(self.encoder(self._pad(wav)), n_q=n_q)
        return Reconstruction(self.decoder(quantized.values)[:, : wav.shape[1]], quantized)

    @torch.no_grad()
    def encode(self, wav: Tensor, lengths: Tensor | None = None, n_q: int | None = None) -> Encoded:
        """Code waveforms; the end is padded with zeros to a whole frame.

        Args:
            wav: (B, T) float in [-1, 1] at `sample_rate`.
            lengths: (B,) samples of each row; None for all T. What lies beyond is not heard: a row
                has the codes that it has alone.
            n_q: codes of a frame, the first of those there are; None for all.

        Returns:
            Codes (B, n_q, ceil(T / hop)).

        Raises:
            ValueError: another shape, no samples, NaN or infinite samples, lengths or an n_q that
                are out of range.
        """
        self.check_n_q(n_q)
        self._check_shape(wav)
        lengths = self._check_lengths(wav, lengths)
        if not bool(torch.isfinite(wav).all()):
            raise ValueError("the waveform has NaN or infinite samples: repair it first")
        if lengths is None:
            lengths = torch.full((wav.shape[0],), wav.shape[1], dtype=torch.int64)
            return Encoded(self._encode(wav, n_q), lengths)
        frames = -(-wav.shape[1] // self.hop_length)
        if self.batchable:
            heard = torch.arange(wav.shape[1], device=wav.device) < lengths[:, None].to(wav.device)
            return Encoded(self._encode(torch.where(heard, wav, 0.0), n_q), lengths)
        alone = [
            self._encode(row[None, :n], n_q) for row, n in zip(wav, lengths.tolist(), strict=True)
        ]
        codes = [F.pad(c, (0, frames - c.shape[2])) for c in alone]
        return Encoded(torch.cat(codes), lengths)

    @torch.no_grad()
    def decode(self, codes: Tensor | Encoded, lengths: Tensor | None = None) -> Tensor:
        """Return the waveforms (B, T) of codes (B, Q', F).

        Args:
            codes: a prefix of the books' codes, or what `encode` returned.
            lengths: (B,) samples of each row, at most F * hop; None for those of `codes`, else all.

        Returns:
            (B, longest length), 0 beyond a row's own length; exactly as long as what was encoded.

        Raises:
            ValueError: codes or lengths that do not fit this codec.
        """
        if isinstance(codes, Encoded):
            lengths = codes.lengths if lengths is None else lengths
            codes = codes.codes
        self.quantizer.check_codes(codes)
        samples = codes.shape[2] * self.hop_length
        if lengths is None:
            return self._decode(codes)
        if lengths.shape != codes.shape[:1] or int(lengths.max()) > samples:
            raise ValueError(
                f"lengths are {lengths.tolist()}, expected {codes.shape[0]} of at most {samples} "
                f"samples ({codes.shape[2]} frames)"
            )
        if not self.ends_alone:
            codes = codes[:, :, : -(-int(lengths.max()) // self.hop_length)]
        together = self.batchable and self.ends_alone
        if together or len(set(lengths.tolist())) == 1:
            wav = self._decode(codes)[:, : int(lengths.max())]
        else:
            wav = self._decode_alone(codes, lengths)
        heard = torch.arange(wav.shape[1], device=wav.device) < lengths[:, None].to(wav.device)
        return torch.where(heard, wav, 0.0)

    def streaming_encoder(self, n_q: int | None = None) -> CodecEncoder:
        """Return the encoder as a streaming module: waveforms (B, T) to codes (B, n_q, F).

        Raises:
            NotStreamable: a codec that needs the whole recording; the message says why.
            ValueError: an n_q that is out of range.
        """
        if self.encoder_waits:
            raise NotStreamable(f"{self.kind} cannot encode a stream: {self.encoder_waits}")
        stream = WholeEndEncoder if self.pads_end else CodecEncoder
        return stream(
            self.encoder,
            self.quantizer,
            self.check_n_q(n_q),
            hop_length=self.hop_length,
            sample_rate=self.sample_rate,
        )

    def streaming_decoder(self, n_q: int | None = None) -> CodecDecoder:
        """Return the decoder as a streaming module: codes (B, n_q, F) to waveforms (B, T).

        Raises:
            NotStreamable: a codec that needs all codes; the message says why.
            ValueError: an n_q that is out of range.
        """
        if self.decoder_waits:
            raise NotStreamable(f"{self.kind} cannot decode a stream: {self.decoder_waits}")
        books = self.check_n_q(n_q)
        return CodecDecoder(self.decoder, self.quantizer, books, sample_rate=self.sample_rate)

    @classmethod
    def from_pretrained(cls, name_or_dir: str | Path, *, device: str = "cpu") -> Self:
        """Load a codec from the box, a Hugging Face id or a folder, in evaluation mode.

        Raises:
            CodecError: not there, damaged, or of another kind than this class.
        """
        from echoic.codecs.registry import load_codec

        codec = load_codec(name_or_dir, device=device)
        if not isinstance(codec, cls):
            raise CodecError(f"{name_or_dir} is a {codec.kind}, expected a {cls.kind or cls}")
        return codec

    def save_pretrained(
        self, folder: str | Path, *, dtype: torch.dtype | None = None, description: str = ""
    ) -> None:
        """Write `config.json` and `model.safetensors`; what only training needs stays out.

        Args:
            folder: made if it is not there.
            dtype: of the stored weights; None as they are. Loading makes them float32 again.
            description: a line for lists of models.
        """
        folder = Path(folder)
        folder.mkdir(parents=True, exist_ok=True)
        values = {"model": self.kind, "description": description, **asdict(self.config)}
        text = json.dumps({k: v for k, v in values.items() if v != ""}, indent=2)
        (folder / "config.json").write_text(text + "\n", encoding="utf-8")
        write_weights(self, folder, dtype)

    @classmethod
    def load_folder(cls, folder: Path, values: dict[str, Any]) -> Self:
        """Build the codec of a folder whose `config.json` holds `values`, and load its weights.

        Raises:
            CodecError: settings or weights that do not fit.
        """
        codec = cls.from_config(values)
        read_weights(codec, folder)
        return codec.eval()

    @classmethod
    def from_config(cls, values: dict[str, Any]) -> Self:
        """Build a codec from settings as in `config.json`; unknown ones are errors.

        Raises:
            ValueError: unknown, missing or unfit settings.
        """
        return cls(build(cls.config_class, values))  # pyright: ignore[reportCallIssue]

    def _pad(self, wav: Tensor) -> Tensor:
        return wav if self.pads_end else F.pad(wav, (0, -wav.shape[1] % self.hop_length))

    def _encode(self, wav: Tensor, n_q: int | None) -> Tensor:
        return self.quantizer.encode(self.encoder(self._pad(wav)), n_q)

    def _decode(self, codes: Tensor) -> Tensor:
        if codes.shape[2] == 0:
            return torch.zeros(codes.shape[0], 0, device=self.device)
        return self.decoder(self.quantizer.decode(codes))

    def _decode_alone(self, codes: Tensor, lengths: Tensor) -> Tensor:
        longest = int(lengths.max())
        rows = []
        for row, n in zip(codes, lengths.tolist(), strict=True):
            frames = -(-n // self.hop_length)
            wav = self._decode(row[None, :, :frames])[:, :n]
            rows.append(F.pad(wav, (0, longest - n)))
        return torch.cat(rows)

    def _check_shape(self, wav: Tensor) -> None:
        if wav.dim() != 2 or not wav.is_floating_point():
            raise ValueError(
                f"the waveform has shape {tuple(wav.shape)} and type {wav.dtype}, expected floats "
                "(batch, samples): add the batch dimension, or code each channel as a row"
            )
        if wav.shape[1] == 0 or wav.shape[0] == 0:
            raise ValueError(
                f"the waveform has shape {tuple(wav.shape)}, expected 1 sample or more: "
                "there is nothing to code"
            )

    def _check_lengths(self, wav: Tensor, lengths: Tensor | None) -> Tensor | None:
        if lengths is None:
            return None
        low, high = int(lengths.min()), int(lengths.max())
        if lengths.shape != wav.shape[:1] or low < 1 or high > wav.shape[1]:
            raise ValueError(
                f"lengths are {lengths.tolist()}, expected {wav.shape[0]} of 1 to {wav.shape[1]}"
            )
        return lengths.to(torch.int64)
