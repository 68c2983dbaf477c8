"""Multi-head attention with Whisper's parameter names, in the forms that its two stacks need."""

import torch
from torch import Tensor, nn
from torch.nn import functional


class Attention(nn.Module):
    """Projections of one attention layer (Radford et al. 2022, section 2.2; keys have no bias).

    Shapes: B batch, T queries, S keys, C model width, H heads, D = C / H channels a head.
    """

    def __init__(self, width: int, num_heads: int) -> None:
        super().__init__()
        self.num_heads = num_heads
        self.q_proj = nn.Linear(width, width)
        self.k_proj = nn.Linear(width, width, bias=False)
        self.v_proj = nn.Linear(width, width)
        self.out_proj = nn.Linear(width, width)
        # The projections of one input as a single product: set for inference by `arithmetic`.
        self.fused_qkv: nn.Module | None = None
        self.fused_kv: nn.Module | None = None

    def queries_keys_values(self, x: Tensor) -> tuple[Tensor, Tensor, Tensor]:
        """Project (B, T, C) to queries, keys and values, each (B, H, T, D)."""
        q, k, v = self.projected(x)
        return self.split_heads(q), self.split_heads(k), self.split_heads(v)

    def projected(self, x: Tensor) -> tuple[Tensor, Tensor, Tensor]:
        """Project (..., C) to queries, keys and values, each (..., C), heads side by side."""
        if self.fused_qkv is None:
            return self.q_proj(x), *self.projected_sound(x)
        q, k, v = self.fused_qkv(x).chunk(3, dim=-1)
        return q, k, v

    def queries(self, x: Tensor) -> Tensor:
        """Project (B, T, C) to queries (B, H, T, D)."""
        return self.split_heads(self.q_proj(x))

    def keys_values(self, x: Tensor) -> tuple[Tensor, Tensor]:
        """Project (B, S, C) to keys and values, each (B, H, S, D)."""
        k, v = self.projected_sound(x)
        return self.split_heads(k), self.split_heads(v)

    def projected_sound(self, x: Tensor) -> tuple[Tensor, Tensor]:
        """Project (..., C) to keys and values, each (..., C), heads side by side."""
        if self.fused_kv is None:
            return self.k_proj(x), self.v_proj(x)
        k, v = self.fused_kv(x).chunk(2, dim=-1)
        return k, v

    def split_heads(self, x: Tensor) -> Tensor:
        """(B, T, C) -> (B, H, T, D)."""
        return x.unflatten(-1, (self.num_heads, -1)).transpose(1, 2)

    def output(self, heads: Tensor) -> Tensor:
        """Join (B, H, T, D) and project to (B, T, C)."""
        return self.out_proj(heads.transpose(1, 2).flatten(2))

    def forward(self, x: Tensor, bias: Tensor | None = None) -> Tensor:
        """Attend over the whole of `x` (B, T, C), for long inputs.

        Args:
            x: (B, T, C).
            bias: added to the scores, broadcastable to (B, H, T, T).
        """
        q, k, v = self.queries_keys_values(x)
        if x.dtype == torch.bfloat16 and x.device.type == "cpu":
            return self.out_proj(attend_by_head(q, k, v, bias))
        heads = functional.scaled_dot_product_attention(q, k, v, attn_mask=bias)
        return self.output(heads)


def attend_by_head(queries: Tensor, keys: Tensor, values: Tensor, bias: Tensor | None) -> Tensor:
    """Attention of many queries in bfloat16 on a CPU, a head at a time.

    Two plain products reach the processor's bfloat16 units, which torch's tiled kernel does not
    (40 % less time at 1,440 frames), and one head's scores stay in the cache.

    Args:
        queries: (B, H, T, D).
        keys: (B, H, S, D).
        values: (B, H, S, D).
        bias: added to the scores, (B, 1, 1, S) or None.

    Returns:
        (B, T, H * D), the heads side by side.
    """
    batch, num_heads, length, width = queries.shape
    out = queries.new_empty(batch, length, num_heads, width)
    scaled = queries * width**-0.5
    for row in range(batch):
        added = queries.new_zeros(1) if bias is None else bias[row, 0, 0]
        for head in range(num_heads):
            scores = torch.addmm(added, scaled[row, head], keys[row, head].t())
            out[row, :, head] = torch.mm(scores.softmax(-1), values[row, head])
    return out.flatten(2)


def attend_few(queries: Tensor, keys: Tensor, values: Tensor, mask: Tensor | None) -> Tensor:
    """Attention of a handful of queries over many keys.

    Two batched products read the keys and values once, in their own dtype: on a CPU this is several
    times faster than the tiled kernel, which is made for many queries.

    Args:
        queries: (B, H, T, D) with T small.
        keys: (B, H, S, D).
        values: (B, H, S, D).
        mask: additive, broadcastable to (B, H, T, S).

    Returns:
        (B, H, T, D) in the dtype of the queries.
    """
    scale = queries.shape[-1] ** -0.5
    scores = torch.matmul((queries * scale).to(keys.dtype), keys.transpose(2, 3)).float()
    if mask is not None:
        scores = scores + mask
    weights = scores.softmax(-1).to(values.dtype)
    return torch.matmul(weights, values).to(queries.dtype)
