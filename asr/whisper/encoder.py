"""Whisper's encoder for windows of any length up to 30 s."""

import torch
from torch import Tensor, nn
from torch.nn import functional

from echoic.asr.whisper.attention import Attention
from echoic.asr.whisper.config import WhisperConfig


class EncoderLayer(nn.Module):
    """Pre-norm self-attention and feed-forward."""

    def __init__(self, width: int, num_heads: int, ffn_width: int) -> None:
        super().__init__()
        self.self_attn = Attention(width, num_heads)
        self.self_attn_layer_norm = nn.LayerNorm(width)
        self.fc1 = nn.Linear(width, ffn_width)
        self.fc2 = nn.Linear(ffn_width, width)
        self.final_layer_norm = nn.LayerNorm(width)

    def forward(self, x: Tensor, mask: Tensor | None) -> Tensor:
        """(B, T, C) -> (B, T, C); `mask` as in `Attention.forward`."""
        x = x + self.self_attn(self.self_attn_layer_norm(x), mask)
        return x + self.fc2(functional.gelu(self.fc1(self.final_layer_norm(x))))


class Encoder(nn.Module):
    """Two convolutions, sinusoid positions and a stack of layers.

    Unlike the original it takes windows of any length: a batch of unequal ones is masked so that
    each row gets what it would get alone.
    """

    def __init__(self, config: WhisperConfig) -> None:
        super().__init__()
        width = config.d_model
        self.conv1 = nn.Conv1d(config.num_mel_bins, width, kernel_size=3, padding=1)
        self.conv2 = nn.Conv1d(width, width, kernel_size=3, stride=2, padding=1)
        self.embed_positions = nn.Embedding(config.max_source_positions, width)
        self.layers = nn.ModuleList(
            EncoderLayer(width, config.encoder_attention_heads, config.encoder_ffn_dim)
            for _ in range(config.encoder_layers)
        )
        self.layer_norm = nn.LayerNorm(width)

    @property
    def dtype(self) -> torch.dtype:
        """Of the activations."""
        return self.layer_norm.weight.dtype

    def blocks(self) -> list[EncoderLayer]:
        """Return the layers with their type."""
        return [layer for layer in self.layers if isinstance(layer, EncoderLayer)]

    def forward(self, mel: Tensor, lengths: Tensor | None = None) -> Tensor:
        """Encode log-mel windows.

        Args:
            mel: (B, F, num_mel_bins), F frames of 10 ms, at most 2 * max_source_positions.
            lengths: int64 (B,), frames of each window, all even; None when all are F long.

        Returns:
            (B, F / 2, C), frames of 20 ms; rows beyond a window's length hold no meaning.

        Raises:
            ValueError: a window longer than the model has positions for.
        """
        limit = 2 * self.embed_positions.num_embeddings
        if mel.shape[1] > limit:
            raise ValueError(f"a window has {mel.shape[1]} frames of 10 ms, the limit is {limit}")
        x = mel.to(self.dtype).transpose(1, 2)  # (B, M, F)
        frame_mask = None if lengths is None else _mask(lengths, mel.shape[1])  # (B, F)
        x = functional.gelu(self.conv1(_keep(x, frame_mask)))
        x = functional.gelu(self.conv2(_keep(x, frame_mask)))
        x = x.transpose(1, 2) + self.embed_positions.weight[: x.shape[2]]  # (B, F / 2, C)
        mask = None if lengths is None else _mask(lengths // 2, x.shape[1])[:, None, None]
        for layer in self.blocks():
            x = layer(x, mask)
        return self.layer_norm(x)


def _mask(lengths: Tensor, size: int) -> Tensor:
    return torch.arange(size, device=lengths.device) < lengths[:, None]


def _keep(x: Tensor, mask: Tensor | None) -> Tensor:
    # The convolution of a window alone sees zeros beyond its end.
    return x if mask is None else x * mask[:, None]
