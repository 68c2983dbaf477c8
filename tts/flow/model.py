"""The flow's network: which way noise has to go to become the spectra of codes."""

import math
from typing import NamedTuple

import torch
from torch import Tensor, nn

from echoic.streaming.layers.conv import StreamingConv1d
from echoic.tts.flow.config import FlowConfig
from echoic.tts.lm.cache import KeyValueCache
from echoic.tts.lm.transformer import Transformer


class Conditions(NamedTuple):
    """What the spectra depend on, beside time and noise.

    Attributes:
        codes: (B, T, C) of each spectrum's codes.
        prompt: (B, T, M) spectra that are known, 0 elsewhere.
        speaker: (B, S), S = 0 where the model knows no speakers.
    """

    codes: Tensor
    prompt: Tensor
    speaker: Tensor

    def where(self, keep: Tensor) -> "Conditions":
        """Return those of the rows (B,) bool that are kept, and none for the others."""
        kept = keep.to(self.codes.dtype)
        wide = kept[:, None, None]
        return Conditions(self.codes * wide, self.prompt * wide, self.speaker * kept[:, None])

    def with_none(self) -> "Conditions":
        """Return twice as many rows: each as it is, and behind it without any condition."""
        pairs = (torch.stack([part, torch.zeros_like(part)], dim=1) for part in self)
        return Conditions(*(pair.flatten(0, 1) for pair in pairs))


class CodeEmbedding(nn.Module):
    """Frames of codes as vectors: those of the books, summed, and of some frames around.

    Args:
        config: its `frames`, `condition_dim` and `lookahead`.
    """

    firsts: Tensor

    def __init__(self, config: FlowConfig) -> None:
        super().__init__()
        form, width = config.frames, config.condition_dim
        self.form = form
        self.ratio = config.ratio
        self.books = nn.Embedding(form.num_codebooks * form.codebook_size, width)
        around = config.lookahead
        self.around = StreamingConv1d(width, width, 2 * around + 1, padding=(around, around))
        self.places = nn.Parameter(0.02 * torch.randn(config.ratio, width))
        firsts = torch.arange(form.num_codebooks) * form.codebook_size
        self.register_buffer("firsts", firsts, persistent=False)

    def forward(self, codes: Tensor, keep: Tensor | None = None) -> Tensor:
        """Return the vectors (B, F * ratio, C) of codes (B, Q, F).

        Args:
            codes: int64; of more books than the model's, the first.
            keep: (B, F) bool, False for padding, which is not heard.

        Raises:
            ValueError: another shape, or codes that no book has.
        """
        vectors = self.of_books(codes)
        if keep is not None:
            vectors = vectors * keep[:, None].to(vectors.dtype)
        return self.spread(self.around(vectors))

    def of_books(self, codes: Tensor) -> Tensor:
        """Return (B, C, F) of codes (B, Q, F), each frame by itself; errors as in `forward`."""
        books, size = self.form.num_codebooks, self.form.codebook_size
        if codes.dim() != 3 or codes.shape[1] < books:
            raise ValueError(f"codes have shape {tuple(codes.shape)}, expected (B, {books}, F)")
        codes = codes[:, :books]
        if codes.numel() and not 0 <= int(codes.min()) <= int(codes.max()) < size:
            raise ValueError(
                f"codes from {int(codes.min())} to {int(codes.max())}, expected 0 to {size - 1}"
            )
        return self.books(codes + self.firsts[:, None]).sum(1).transpose(1, 2)

    def spread(self, vectors: Tensor) -> Tensor:
        """Return (B, F * ratio, C): each of (B, C, F) for its spectra, and which of them it is."""
        repeated = vectors.transpose(1, 2)[:, :, None] + self.places
        return repeated.flatten(1, 2)


class FlowModel(nn.Module):
    """Velocities of spectra between noise and speech.

    TouchTTS (arXiv:2412.08237): the backbone is a language model's, with a mask that looks ahead
    within a chunk; so its keys and values of earlier chunks never change, and can be kept.

    Args:
        config: settings.
    """

    def __init__(self, config: FlowConfig) -> None:
        super().__init__()
        self.config = config
        mels, width = config.mels.mel.num_mels, config.condition_dim
        self.codes = CodeEmbedding(config)
        self.time = nn.Sequential(nn.Linear(width, width), nn.SiLU(), nn.Linear(width, width))
        entry = 2 * mels + 2 * width + config.speaker_dim
        self.enter = nn.Linear(entry, config.backbone.dim)
        self.backbone = Transformer(config.backbone)
        self.leave = nn.Linear(config.backbone.dim, mels)
        self.backbone.reset()

    @property
    def device(self) -> torch.device:
        """Where the weights are."""
        return self.leave.weight.device

    def forward(
        self,
        x: Tensor,
        time: Tensor,
        given: Conditions,
        *,
        mask: Tensor | None = None,
        positions: Tensor | None = None,
        cache: KeyValueCache | None = None,
    ) -> Tensor:
        """Return the velocities (B, T, M).

        Args:
            x: (B, T, M) on its way from noise to spectra.
            time: (B,) from 0, noise, to 1.
            given: what they depend on.
            mask: (B, 1, T, T) bool, see `padded_mask`; needed without a cache.
            positions: (B, T) int64 of the spectra; from 0, or the cache's.
            cache: keys and values of earlier chunks.
        """
        moment = self.time(_waves(time, self.config.condition_dim).to(x.dtype))
        still = torch.cat([moment, given.speaker], dim=1)[:, None].expand(-1, x.shape[1], -1)
        entry = self.enter(torch.cat([x, given.codes, given.prompt, still], dim=2))
        return self.leave(self.backbone(entry, mask=mask, positions=positions, cache=cache))

    def no_speaker(self, rows: int) -> Tensor:
        """Return the vectors (rows, S) of nobody in particular."""
        return torch.zeros(rows, self.config.speaker_dim, device=self.device)


def _waves(time: Tensor, width: int) -> Tensor:
    """Return cosines and sines (B, width) of moments (B,) in [0, 1]."""
    exponents = torch.arange(width // 2, device=time.device) / (width // 2)
    angles = 1000 * time[:, None] * torch.exp(-math.log(10_000.0) * exponents)
    return torch.cat([angles.cos(), angles.sin()], dim=1)
