"""Whisper's encoder, for whole windows and for short ones with silence thinned out."""

from collections.abc import Sequence
from typing import NamedTuple

import torch
from torch import Tensor, nn
from torch.nn import functional

from echoic.asr.whisper.attention import Attention
from echoic.asr.whisper.config import WhisperConfig
from echoic.asr.whisper.layer_adapters import LayerAdapters
from echoic.asr.whisper.silence import layout


def embedding(rows: int, width: int) -> nn.Embedding:
    """Return a table of vectors, small and random.

    Nothing is drawn on the meta device: there, random numbers import torch's compiler, which takes
    two seconds of every program's start.
    """
    weight = torch.empty(rows, width)
    if not weight.is_meta:
        nn.init.normal_(weight, std=0.02)
    return nn.Embedding.from_pretrained(weight, freeze=False)


class EncoderLayer(nn.Module):
    """Pre-norm self-attention and feed-forward."""

    def __init__(self, width: int, num_heads: int, ffn_width: int) -> None:
        super().__init__()
        self.self_attn = Attention(width, num_heads)
        self.self_attn_layer_norm = nn.LayerNorm(width)
        self.fc1 = nn.Linear(width, ffn_width)
        self.fc2 = nn.Linear(ffn_width, width)
        self.final_layer_norm = nn.LayerNorm(width)
        # Set by `echoic.asr.whisper.language_adapter.hold`.
        self.adapters: LayerAdapters | None = None

    def forward(self, x: Tensor, bias: Tensor | None, which: Tensor | None = None) -> Tensor:
        """(B, T, C) -> (B, T, C); `bias` as in `Attention.forward`, `which` as in `finish`."""
        x = x + self.self_attn(self.self_attn_layer_norm(x), bias)
        return self.finish(x, which)

    def finish(self, x: Tensor, which: Tensor | None = None) -> Tensor:
        """Run what follows attention, frame by frame.

        Args:
            x: (B, T, C), attention added.
            which: int64 (B,), number of each row's language adapter; None for none.
        """
        x = x + self.fc2(functional.gelu(self.fc1(self.final_layer_norm(x))))
        return x if self.adapters is None or which is None else self.adapters(x, which)


class EncodedWindows(NamedTuple):
    """What the decoder listens to.

    Attributes:
        states: (B, N, C), frames of 20 ms, the last of them thinned-out silence.
        log_counts: float32 (B, N), see `PaddedLayout`; added to the scores of cross-attention.
    """

    states: Tensor
    log_counts: Tensor


def concatenate(parts: Sequence[EncodedWindows]) -> EncodedWindows:
    """Join batches of windows; the shorter ones are padded with frames that count for nothing."""
    width = max(part.states.shape[1] for part in parts)

    def padded(tensor: Tensor, value: float) -> Tensor:
        missing = width - tensor.shape[1]
        return functional.pad(tensor, (0, 0) * (tensor.dim() - 2) + (0, missing), value=value)

    return EncodedWindows(
        torch.cat([padded(part.states, 0.0) for part in parts]),
        torch.cat([padded(part.log_counts, -torch.inf) for part in parts]),
    )


class Encoder(nn.Module):
    """Two convolutions, sinusoid positions and a stack of layers."""

    def __init__(self, config: WhisperConfig) -> None:
        super().__init__()
        width = config.d_model
        self.conv1 = nn.Conv1d(config.num_mel_bins, width, kernel_size=3, padding=1)
        self.conv2 = nn.Conv1d(width, width, kernel_size=3, stride=2, padding=1)
        self.embed_positions = embedding(config.max_source_positions, width)
        self.layers = nn.ModuleList(
            EncoderLayer(width, config.encoder_attention_heads, config.encoder_ffn_dim)
            for _ in range(config.encoder_layers)
        )
        self.layer_norm = nn.LayerNorm(width)

    @property
    def dtype(self) -> torch.dtype:
        """Of the activations."""
        return self.layer_norm.weight.dtype

    @property
    def num_positions(self) -> int:
        """Frames of a whole window."""
        return self.embed_positions.num_embeddings

    def blocks(self) -> list[EncoderLayer]:
        """Return the layers with their type."""
        return [layer for layer in self.layers if isinstance(layer, EncoderLayer)]

    def forward(self, mel: Tensor, which: Tensor | None = None) -> Tensor:
        """Encode log-mel frames as they are, as the original model does.

        Args:
            mel: (B, F, num_mel_bins), F frames of 10 ms, at most twice `num_positions`.
            which: int64 (B,), see `EncoderLayer.finish`.

        Returns:
            (B, F / 2, C), frames of 20 ms.

        Raises:
            ValueError: more frames than the model has positions for.
        """
        x = self.convolve(mel)
        return self._transform(x + self.embed_positions.weight[: x.shape[1]], None, which)

    def encode_padded(
        self, mel: Tensor, lengths: Tensor, *, stride: int, which: Tensor | None = None
    ) -> EncodedWindows:
        """Encode windows as if silence followed up to the full length.

        Args:
            mel: (B, F, num_mel_bins), every window followed by some frames of silence.
            lengths: int64 (B,), frames of 20 ms to keep of each window, its first silence included;
                at most F / 2 - 2, or all positions.
            stride: see `echoic.asr.whisper.silence`; 1 pads with every single frame.
            which: int64 (B,), see `EncoderLayer.finish`.

        Raises:
            ValueError: more frames than the model has positions for.
        """
        plan = layout(lengths, num_positions=self.num_positions, stride=stride)
        x = self.convolve(mel)
        x = x.gather(1, plan.sources[:, :, None].expand(-1, -1, x.shape[2]))
        x = x + self.embed_positions.weight[plan.positions]
        bias = plan.log_counts[:, None, None].to(x.dtype)
        return EncodedWindows(self._transform(x, bias, which), plan.log_counts)

    def convolve(self, mel: Tensor) -> Tensor:
        """Run the two convolutions: (B, F, num_mel_bins) -> (B, F / 2, C), no positions yet.

        Raises:
            ValueError: more frames than the model has positions for.
        """
        limit = 2 * self.num_positions
        if mel.shape[1] > limit:
            raise ValueError(f"a window has {mel.shape[1]} frames of 10 ms, the limit is {limit}")
        x = functional.gelu(self.conv1(mel.to(self.dtype).transpose(1, 2)))  # (B, C, F)
        return functional.gelu(self.conv2(x)).transpose(1, 2)  # (B, F / 2, C)

    def _transform(self, x: Tensor, bias: Tensor | None, which: Tensor | None) -> Tensor:
        for layer in self.blocks():
            x = layer(x, bias, which)
        return self.layer_norm(x)
