"""The transformer of language models: Llama's, Qwen2's and Qwen3's, by their own names of weights.

It is written anew, not wrapped, since rows of one batch begin and end apart here, and since what
only speaks can be packed (`packed.py`); beside `transformers` in `tests/benchmarks`, `-k tts`.
"""

import torch
from torch import Tensor, nn
from torch.nn import functional

from echoic.tts.lm.cache import Cache, KeyValueCache
from echoic.tts.lm.config import TransformerConfig
from echoic.tts.lm.rope import frequencies, turn, turns


class RmsNorm(nn.Module):
    """Root mean square norm (Zhang and Sennrich 2019), in float32 inside."""

    def __init__(self, width: int, eps: float) -> None:
        super().__init__()
        self.weight = nn.Parameter(torch.ones(width))
        self.eps = eps

    def forward(self, x: Tensor) -> Tensor:
        """Norm the last dimension of x."""
        if x.dtype == torch.float32:
            return functional.rms_norm(x, self.weight.shape, self.weight, self.eps)
        whole = x.float()
        whole = whole * (whole.square().mean(-1, keepdim=True) + self.eps).rsqrt()
        return self.weight * whole.to(x.dtype)


class SelfAttention(nn.Module):
    """Grouped-query attention on turned queries and keys."""

    def __init__(self, config: TransformerConfig) -> None:
        super().__init__()
        self.heads, self.kv_heads = config.heads, config.kv_heads
        self.head_size = config.head_size
        size, bias = config.head_size, config.qkv_bias
        self.q_proj = nn.Linear(config.dim, config.heads * size, bias=bias)
        self.k_proj = nn.Linear(config.dim, config.kv_heads * size, bias=bias)
        self.v_proj = nn.Linear(config.dim, config.kv_heads * size, bias=bias)
        self.o_proj = nn.Linear(config.heads * size, config.dim, bias=False)
        normed = config.qk_norm
        self.q_norm = RmsNorm(size, config.norm_eps) if normed else nn.Identity()
        self.k_norm = RmsNorm(size, config.norm_eps) if normed else nn.Identity()

    def forward(
        self,
        x: Tensor,
        turned: tuple[Tensor, Tensor],
        mask: Tensor | None,
        causal: bool,
        cache: Cache | None,
        layer: int,
    ) -> Tensor:
        """(B, T, C) -> (B, T, C)."""
        q, k, v = (
            part.unflatten(-1, (-1, self.head_size)).transpose(1, 2)
            for part in (self.q_proj(x), self.k_proj(x), self.v_proj(x))
        )
        q, k = turn(self.q_norm(q), *turned), turn(self.k_norm(k), *turned)
        if cache is not None:
            heads = cache.attend(layer, q, k, v, mask)
        else:
            shared = self.heads != self.kv_heads
            heads = functional.scaled_dot_product_attention(
                q, k, v, attn_mask=mask, is_causal=causal, enable_gqa=shared
            )
        return self.o_proj(heads.transpose(1, 2).flatten(2))


class SwiGlu(nn.Module):
    """Gated feed-forward layer (Shazeer 2020)."""

    def __init__(self, dim: int, inner: int) -> None:
        super().__init__()
        self.gate_proj = nn.Linear(dim, inner, bias=False)
        self.up_proj = nn.Linear(dim, inner, bias=False)
        self.down_proj = nn.Linear(inner, dim, bias=False)

    def forward(self, x: Tensor) -> Tensor:
        """Transform each position."""
        return self.down_proj(functional.silu(self.gate_proj(x)) * self.up_proj(x))


class Layer(nn.Module):
    """Attention and feed-forward, each on normed input and added to it."""

    def __init__(self, config: TransformerConfig) -> None:
        super().__init__()
        self.self_attn = SelfAttention(config)
        self.mlp = SwiGlu(config.dim, config.ffn_dim)
        self.input_layernorm = RmsNorm(config.dim, config.norm_eps)
        self.post_attention_layernorm = RmsNorm(config.dim, config.norm_eps)
        self.dropout = nn.Dropout(config.dropout)

    def forward(
        self,
        x: Tensor,
        turned: tuple[Tensor, Tensor],
        mask: Tensor | None,
        causal: bool,
        cache: Cache | None,
        layer: int,
    ) -> Tensor:
        """(B, T, C) -> (B, T, C)."""
        heard = self.self_attn(self.input_layernorm(x), turned, mask, causal, cache, layer)
        x = x + self.dropout(heard)
        return x + self.dropout(self.mlp(self.post_attention_layernorm(x)))


class Transformer(nn.Module):
    """A stack of layers between vectors and vectors; tables of tokens are elsewhere.

    Names of weights are Hugging Face's below their "model.".

    Args:
        config: its shape.
    """

    turning: Tensor

    def __init__(self, config: TransformerConfig) -> None:
        super().__init__()
        self.config = config
        self.layers = nn.ModuleList(Layer(config) for _ in range(config.layers))
        self.norm = RmsNorm(config.dim, config.norm_eps)
        turning = frequencies(config.rope, config.head_size)
        self.register_buffer("turning", turning, persistent=False)

    def forward(
        self,
        x: Tensor,
        *,
        positions: Tensor | None = None,
        mask: Tensor | None = None,
        cache: Cache | None = None,
    ) -> Tensor:
        """Read vectors.

        Args:
            x: (B, T, C).
            positions: (B, T) int64; from 0, or from the end of the cache.
            mask: (B, 1, T, S) bool, True where one may look; causal without one. With a cache, none
                is taken: each position sees its row up to itself.
            cache: what the rows have read; these are added to it.

        Returns:
            (B, T, C), normed.
        """
        count = x.shape[1]
        causal = False
        if cache is not None:
            cache.reserve(count)
            positions = cache.positions(count) if positions is None else positions
            mask = cache.mask(count)
        else:
            causal = mask is None
            if positions is None:
                positions = torch.arange(count, device=x.device).expand(len(x), -1)
        turned = turns(positions, self.turning, x.dtype)
        for number, layer in enumerate(self.layers):
            x = layer(x, turned, mask, causal, cache, number)
        if cache is not None:
            cache.advance(count)
        return self.norm(x)

    def new_cache(self, rows: int, room: int = 256) -> KeyValueCache:
        """Return an empty cache for so many rows, with room for some positions at first."""
        weight = self.norm.weight
        return KeyValueCache(
            self.config.layers,
            rows,
            self.config.kv_heads,
            self.config.head_size,
            device=weight.device,
            dtype=weight.dtype,
            room=room,
        )

    def reset(self) -> None:
        """Draw all weights anew: normal of deviation 0.02, smaller where layers add up."""
        for name, weight in self.named_parameters():
            if weight.dim() < 2:
                nn.init.constant_(weight, 1.0 if "norm" in name else 0.0)
                continue
            adds_up = name.endswith(("o_proj.weight", "down_proj.weight"))
            nn.init.normal_(weight, std=0.02 / (2 * self.config.layers) ** 0.5 if adds_up else 0.02)
