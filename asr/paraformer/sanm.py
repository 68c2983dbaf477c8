"""The parts of encoder and decoder: memory, attention and feed-forward layers (SAN-M).

Gao et al. 2020, "SAN-M: Memory Equipped Self-Attention for End-to-End Speech Recognition"
(arXiv 2006.01713).
"""

from collections.abc import Callable
from typing import NamedTuple

import torch
from torch import Tensor, nn
from torch.nn import functional

from echoic.asr.paraformer.config import Activation

LAYER_NORM_EPS = 1e-12
# Scores of one head: 10 s of stacked frames by as many, and some more.
_FEW_SCORES = 200 * 200


def length_mask(lengths: Tensor, size: int) -> Tensor:
    """Return (B, size), True within each row's length."""
    return torch.arange(size, device=lengths.device) < lengths[:, None]


def layer_norm(dim: int) -> nn.LayerNorm:
    """Return a layer norm as all of Paraformer's are."""
    return nn.LayerNorm(dim, eps=LAYER_NORM_EPS)


class Memory(nn.Module):
    """A convolution of each channel alone over time, added to its input (FSMN).

    Args:
        dim: channels.
        kernel_size: frames that it sees.
        shift: by how many of them it looks back further than ahead.
        dropout: of the sum.
    """

    def __init__(self, dim: int, kernel_size: int, shift: int, dropout: float) -> None:
        super().__init__()
        self.left = (kernel_size - 1) // 2 + shift
        self.right = kernel_size - 1 - self.left
        self.conv = nn.Conv1d(dim, dim, kernel_size, groups=dim, bias=False)
        self.dropout = nn.Dropout(dropout)

    def forward(self, x: Tensor, mask: Tensor, before: Tensor | None = None) -> Tensor:
        """Filter x (B, T, D); frames outside of mask (B, T) count as 0 and come out as 0.

        Args:
            x: frames.
            mask: which of them count.
            before: (B, left, D) frames before x; zeros where None.
        """
        kept = mask[:, :, None].to(x.dtype)
        x = x * kept
        if before is None:
            padded = functional.pad(x, (0, 0, self.left, self.right))
        else:
            padded = functional.pad(torch.cat([before, x], dim=1), (0, 0, 0, self.right))
        return self.dropout(self._filter(padded) + x) * kept

    def _filter(self, x: Tensor) -> Tensor:
        x = x.transpose(1, 2)
        if x.device.type != "cpu" or torch.compiler.is_exporting():
            return self.conv(x).transpose(1, 2)
        # The same convolution over an image one pixel high: CPUs take that with its channels last,
        # as they are, where they copy a sound to put its channels first, and take three times as
        # long.
        weight = self.conv.weight
        y = functional.conv2d(x[:, :, None], weight[:, :, None], groups=len(weight))
        return y.squeeze(2).transpose(1, 2)


class FeedForward(nn.Module):
    """Two linear layers with a ReLU, or another function, between.

    Args:
        dim: width outside.
        inner: width inside.
        dropout: of what is inside.
        normed: as the decoder has it: a norm inside, and no bias outside.
        activation: the function.
    """

    def __init__(
        self,
        dim: int,
        inner: int,
        dropout: float,
        *,
        normed: bool = False,
        activation: Activation = "relu",
    ) -> None:
        super().__init__()
        self.normed = normed
        self.activation: Activation = activation
        self.inner = nn.Linear(dim, inner)
        self.norm = layer_norm(inner) if normed else nn.Identity()
        self.outer = nn.Linear(inner, dim, bias=not normed)
        self.dropout = nn.Dropout(dropout)

    def forward(self, x: Tensor) -> Tensor:
        """Transform each frame of x (B, T, D)."""
        inner = activated(self.inner(x), self.activation)
        return self.outer(self.norm(self.dropout(inner)))


def activated(x: Tensor, activation: Activation) -> Tensor:
    """Apply a feed-forward layer's function; what is given may change."""
    return functional.relu_(x) if activation == "relu" else functional.gelu(x)


def attend(q: Tensor, k: Tensor, v: Tensor, mask: Tensor, heads: int, dropout: float) -> Tensor:
    """Attend with several heads.

    Args:
        q: (B, N, D).
        k: (B, T, D), T >= 1.
        v: (B, T, D).
        mask: (B, T) or (B, N, T), True where k and v may be looked at; what sees none gets zeros.
        heads: D is split over these.
        dropout: of the attention's weights.

    Returns:
        (B, N, D).
    """
    batch, tokens, dim = q.shape
    split = [x.view(batch, -1, heads, dim // heads).transpose(1, 2) for x in (q, k, v)]
    if batch == 1 and not dropout and _is_plain(split[0], split[1], mask):
        scores = split[0] * (dim // heads) ** -0.5 @ split[1].transpose(2, 3)
        return (scores.softmax(-1) @ split[2]).transpose(1, 2).reshape(batch, tokens, dim)
    mask = mask[:, None, :] if mask.dim() == 2 else mask
    # Someone to look at in rows without frames, for whom softmax would be NaN.
    some = mask.any(2, keepdim=True)
    y = functional.scaled_dot_product_attention(
        *split, attn_mask=(mask | ~some)[:, None], dropout_p=dropout
    )
    y = y.transpose(1, 2).reshape(batch, tokens, dim)
    return y * some.to(y.dtype)


def _is_plain(q: Tensor, k: Tensor, mask: Tensor) -> bool:
    """Whether all may be seen, and so few that a CPU is done sooner without the fused kernel."""
    return (
        q.device.type == "cpu"
        and q.shape[2] * k.shape[2] <= _FEW_SCORES
        and not torch.compiler.is_exporting()
        and bool(mask.all())
    )


class Context(NamedTuple):
    """What attention sees beside its own frames.

    Attributes:
        extend: is given keys and values (B, T, D) of the frames, and returns those to be seen.
        mask: (B, S), which of these count.
    """

    extend: Callable[[Tensor, Tensor], tuple[Tensor, Tensor]]
    mask: Tensor


class SanmAttention(nn.Module):
    """Self-attention with a memory beside it, which works on the values.

    Args:
        size: width of the input.
        dim: width of the output.
        heads: of the attention.
        kernel_size: of the memory.
        shift: of the memory.
        dropout: of the attention's weights and of the memory.
    """

    def __init__(
        self, size: int, dim: int, heads: int, kernel_size: int, shift: int, dropout: float
    ) -> None:
        super().__init__()
        self.heads = heads
        self.dropout = dropout
        self.qkv = nn.Linear(size, 3 * dim)
        self.out = nn.Linear(dim, dim)
        self.memory = Memory(dim, kernel_size, shift, dropout)

    def forward(self, x: Tensor, mask: Tensor, context: Context | None = None) -> Tensor:
        """Turn x (B, T, size) into (B, T, dim); mask (B, T) tells the frames that count."""
        q, k, v = self.qkv(x).chunk(3, dim=-1)
        dropout = self.dropout if self.training else 0.0
        memory, seen = self.memory(v, mask), mask
        if context is not None:
            (k, v), seen = context.extend(k, v), context.mask
        return self.out(attend(q, k, v, seen, self.heads, dropout)) + memory


class CrossAttention(nn.Module):
    """Attention of tokens to the encoder's output.

    Args:
        dim: width of both.
        heads: of the attention.
        dropout: of its weights.
    """

    def __init__(self, dim: int, heads: int, dropout: float) -> None:
        super().__init__()
        self.heads = heads
        self.dropout = dropout
        self.q = nn.Linear(dim, dim)
        self.kv = nn.Linear(dim, 2 * dim)
        self.out = nn.Linear(dim, dim)

    def forward(self, x: Tensor, hidden: Tensor, mask: Tensor) -> Tensor:
        """Let x (B, N, D) look at hidden (B, T, D) where mask (B, T) or (B, N, T) is True."""
        k, v = self.kv(hidden).chunk(2, dim=-1)
        dropout = self.dropout if self.training else 0.0
        return self.out(attend(self.q(x), k, v, mask, self.heads, dropout))
