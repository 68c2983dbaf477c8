"""The part of the encoder in front of the codes: causal convolutions, block-causal layers, pooling.

Encoder frame k, of 20 ms, hears mel frames 2k - 4 to 2k and none that comes later; a layer's frame
sees its own block and those before it. So nothing is heard ahead of a block, and a block is
computed once.
"""

from typing import NamedTuple

import torch
from torch import Tensor, nn
from torch.nn import functional

from echoic.asr.tokenizer.config import TokenizerConfig
from echoic.asr.whisper.encoder import EncoderLayer, embedding
from echoic.streaming.layers.key_values import KeyValues, no_key_values
from echoic.streaming.layers.masks import block_causal_mask

# A convolution of 3 taps sees two frames behind its newest one.
_BEHIND = 2


class Pooled(NamedTuple):
    """What is to be quantized.

    Attributes:
        states: (B, N, C), one for each code.
        mask: bool (B, N), True where there is sound.
    """

    states: Tensor
    mask: Tensor


class FrontState(NamedTuple):
    """What a stream through the front remembers.

    Attributes:
        mel: (B, 2, num_mel_bins), the last mel frames.
        inner: (B, 2, C), the last frames between the convolutions.
        past: keys and values of each layer since the window's begin, (B, H, S, D).
        frames: S, encoder frames since the window's begin.
    """

    mel: Tensor
    inner: Tensor
    past: tuple[KeyValues, ...]
    frames: int


class Front(nn.Module):
    """Mel frames to the states that become codes.

    Args:
        config: sizes.
    """

    def __init__(self, config: TokenizerConfig) -> None:
        super().__init__()
        self.config = config
        sizes = config.whisper
        width, heads = sizes.d_model, sizes.encoder_attention_heads
        self.conv1 = nn.Conv1d(sizes.num_mel_bins, width, kernel_size=3)
        self.conv2 = nn.Conv1d(width, width, kernel_size=3, stride=2)
        self.embed_positions = embedding(sizes.max_source_positions, width)
        self.layers = nn.ModuleList(
            EncoderLayer(width, heads, sizes.encoder_ffn_dim) for _ in range(config.layers)
        )

    def forward(self, mel: Tensor, lengths: Tensor) -> Pooled:
        """Run whole recordings in one pass; gradients flow.

        Args:
            mel: (B, F, num_mel_bins), frames of 10 ms.
            lengths: int64 (B,), frames of 20 ms that count, at most F / 2; what comes later is
                heard up to the end of their last code, and by nobody beyond.
        """
        config = self.config
        missing = -mel.shape[1] % (2 * config.pooling)
        mel = functional.pad(mel.transpose(1, 2), (0, missing), mode="replicate").transpose(1, 2)
        zeros = self._zeros(len(mel), mel.device)
        x, _ = self._convolve(*zeros, mel)
        frames = torch.arange(x.shape[1], device=x.device)
        x = x + self.embed_positions.weight[frames % config.window]
        ends = -(-lengths // config.pooling)
        heard = frames < config.pooling * ends[:, None]
        windows = frames // config.window
        seen = block_causal_mask(x.shape[1], config.block, device=x.device)
        seen = seen & (windows[:, None] == windows[None, :])
        # Each sees itself, or frames that count for nothing might see nothing, which is NaN.
        itself = frames[:, None] == frames[None, :]
        visible = (seen & heard[:, None, :] | itself)[:, None]
        for layer in self._blocks():
            q, k, v = layer.self_attn.queries_keys_values(layer.self_attn_layer_norm(x))
            heads = functional.scaled_dot_product_attention(q, k, v, attn_mask=visible)
            x = layer.finish(x + layer.self_attn.output(heads))
        states = self._pool(x)
        numbers = torch.arange(states.shape[1], device=x.device)
        return Pooled(states, numbers < ends[:, None])

    def initial_state(
        self, batch_size: int, *, device: torch.device | str | None = None
    ) -> FrontState:
        """Return the state before the first mel frame."""
        mel, inner = self._zeros(batch_size, device)
        return FrontState(mel, inner, self._no_past(batch_size, device), 0)

    def block(self, state: FrontState, mel: Tensor) -> tuple[FrontState, Tensor]:
        """Hear the next block.

        Args:
            state: at the end of a block.
            mel: (B, F, num_mel_bins) of a block, or of what is left at the end of a stream: F is a
                multiple of twice the pooling.

        Returns:
            The state behind it, and states (B, F / (2 * pooling), C).
        """
        if state.frames == self.config.window:
            state = state._replace(past=self._no_past(len(mel), mel.device), frames=0)
        x, inner = self._convolve(state.mel, state.inner, mel)
        end = state.frames + x.shape[1]
        x = x + self.embed_positions.weight[state.frames : end]
        past = []
        for layer, before in zip(self._blocks(), state.past, strict=True):
            q, k, v = layer.self_attn.queries_keys_values(layer.self_attn_layer_norm(x))
            after = before.append(k, v)
            heads = functional.scaled_dot_product_attention(q, after.keys, after.values)
            x = layer.finish(x + layer.self_attn.output(heads))
            past.append(after)
        kept = mel[:, -_BEHIND:].clone()
        return FrontState(kept, inner, tuple(past), end), self._pool(x)

    def _convolve(self, behind: Tensor, inner: Tensor, mel: Tensor) -> tuple[Tensor, Tensor]:
        """Return encoder frames (B, F / 2, C), and the last frames between the convolutions."""
        x = torch.cat([behind, mel], dim=1).to(self.conv1.weight.dtype).transpose(1, 2)
        between = functional.gelu(self.conv1(x))
        x = torch.cat([inner.transpose(1, 2).to(between.dtype), between], dim=2)
        kept = between[:, :, -_BEHIND:].transpose(1, 2).clone()
        return functional.gelu(self.conv2(x)).transpose(1, 2), kept

    def _pool(self, x: Tensor) -> Tensor:
        return x.unflatten(1, (-1, self.config.pooling)).mean(2)

    def _zeros(self, batch_size: int, device: torch.device | str | None) -> tuple[Tensor, Tensor]:
        sizes, dtype = self.config.whisper, self.conv1.weight.dtype
        widths = (sizes.num_mel_bins, sizes.d_model)
        mel, inner = (
            torch.zeros(batch_size, _BEHIND, width, device=device, dtype=dtype) for width in widths
        )
        return mel, inner

    def _no_past(self, batch_size: int, device: torch.device | str | None) -> tuple[KeyValues, ...]:
        sizes, dtype = self.config.whisper, self.conv1.weight.dtype
        heads = sizes.encoder_attention_heads
        width = sizes.d_model // heads
        return tuple(
            no_key_values(batch_size, heads, width, device=device, dtype=dtype) for _ in self.layers
        )

    def _blocks(self) -> list[EncoderLayer]:
        return [layer for layer in self.layers if isinstance(layer, EncoderLayer)]
