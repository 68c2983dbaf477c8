"""Self-attention on a stream: block by block, over a bounded past.

Shapes: B batch, H heads, T frames, C model width, D = C / H channels of a head, L left context.
"""

from typing import NamedTuple, Self

import torch
import torch.nn.functional as F
from torch import Tensor, nn

from echoic.streaming.layers.checks import check_input
from echoic.streaming.layers.key_values import KeyValues, no_key_values
from echoic.streaming.layers.rotary import rotate

# Queries of a long input attend tile by tile, so that time and memory grow with its length and not
# with its square; smaller tiles are slower for their overhead.
_SMALLEST_TILE = 128


class AttentionState(NamedTuple):
    """What streamed attention remembers.

    Attributes:
        past: keys and values of the newest L frames, the oldest first; zeros where a stream is
            younger. All frames so far when the left context is unbounded.
        position: int64 (B,), frames that have gone into `past`; may differ between rows when the
            left context is bounded.
        pending: (B, n, C) frames of a block that is not complete, n < block_size.
    """

    past: KeyValues
    position: Tensor
    pending: Tensor


class StreamingAttention(nn.Module):
    """Multi-head self-attention (B, T, C) -> (B, T, C), free inside a block, causal between blocks.

    A frame sees its whole block and `left_context` frames before the block (the chunk
    masks of U2, Zhang et al. 2020, arXiv:2012.05481). The stream gives out whole blocks, the last
    of which may be short. Parameters are q_proj, k_proj, v_proj and
    out_proj, each an `nn.Linear`; `from_plain` takes those of `nn.MultiheadAttention`.

    With a bounded left context all states have one shape and positions are counted per row, so
    streams of any age share a batch and rows can be reset, as long as their blocks are in step. An
    unbounded past (None) grows with the stream: for streams that are known to end.

    Args:
        width: C.
        num_heads: H.
        left_context: L, frames; None for all.
        block_size: frames of a block; 1 is plain causal attention.
        rotary_base: see `rotary.rotate`; None for no positions.
        bias: whether the projections have biases.

    Raises:
        ValueError: sizes that do not fit each other.
    """

    input_time_dim = 1
    output_time_dim = 1
    lookahead = 0

    def __init__(
        self,
        width: int,
        num_heads: int,
        *,
        left_context: int | None = None,
        block_size: int = 1,
        rotary_base: float | None = None,
        bias: bool = True,
    ) -> None:
        super().__init__()
        if width % num_heads or (rotary_base is not None and width // num_heads % 2):
            raise ValueError(
                f"{num_heads} heads of a width of {width}, expected a whole number of channels for "
                "each, and an even one for rotary positions"
            )
        if block_size < 1 or (left_context is not None and left_context < 0):
            raise ValueError(
                f"block_size is {block_size} and left_context {left_context}, expected 1 or more, "
                "and 0 or more or None"
            )
        self.width, self.num_heads = width, num_heads
        self.left_context, self.rotary_base = left_context, rotary_base
        self.frame_size = self.output_size = block_size
        self.q_proj = nn.Linear(width, width, bias=bias)
        self.k_proj = nn.Linear(width, width, bias=bias)
        self.v_proj = nn.Linear(width, width, bias=bias)
        self.out_proj = nn.Linear(width, width, bias=bias)

    @classmethod
    def from_plain(
        cls,
        attention: nn.MultiheadAttention,
        *,
        left_context: int | None = None,
        block_size: int = 1,
        rotary_base: float | None = None,
    ) -> Self:
        """Return a layer with copies of the weights of a plain one.

        Raises:
            ValueError: keys or values of another width than the queries, or extra biases.
        """
        if attention.in_proj_weight is None or attention.bias_k is not None:
            raise ValueError(
                "the layer has kdim, vdim or add_bias_kv, expected plain self-attention"
            )
        layer = cls(
            attention.embed_dim,
            attention.num_heads,
            left_context=left_context,
            block_size=block_size,
            rotary_base=rotary_base,
            bias=attention.in_proj_bias is not None,
        )
        named = {"weight": attention.in_proj_weight, "bias": attention.in_proj_bias}
        parts = {
            f"{place}_proj.{name}": part
            for name, joined in named.items()
            if joined is not None
            for place, part in zip("qkv", joined.chunk(3), strict=True)
        }
        out = {f"out_proj.{name}": p for name, p in attention.out_proj.named_parameters()}
        layer.load_state_dict({**parts, **out})
        return layer.to(attention.in_proj_weight).train(attention.training)

    def forward(self, x: Tensor) -> Tensor:
        """Attend over a whole signal (B, T, C)."""
        check_input(x, self.width, time_dim=1)
        state = self.initial_state(x.shape[0], device=x.device, dtype=x.dtype)
        return self._attend(state, x)[1]

    def initial_state(
        self,
        batch_size: int,
        *,
        device: torch.device | str | None = None,
        dtype: torch.dtype = torch.float32,
    ) -> AttentionState:
        """Return the state before the first frame."""
        head = self.width // self.num_heads
        past = no_key_values(batch_size, self.num_heads, head, device=device, dtype=dtype)
        if self.left_context:
            shape = (batch_size, self.num_heads, self.left_context, head)
            zeros = torch.zeros(shape, device=device, dtype=dtype)
            past = KeyValues(zeros, zeros)
        position = torch.zeros(batch_size, dtype=torch.int64, device=device)
        pending = torch.empty(batch_size, 0, self.width, device=device, dtype=dtype)
        return AttentionState(past, position, pending)

    def step(self, state: AttentionState, x: Tensor) -> tuple[AttentionState, Tensor]:
        """Take frames (B, T, C), T >= 0, and return those of the blocks that are complete."""
        check_input(x, self.width, time_dim=1)
        held = torch.cat([state.pending, x], dim=1)
        ready = held.shape[1] // self.frame_size * self.frame_size
        # A copy, so that a small state does not keep a large chunk alive.
        state = state._replace(pending=held[:, ready:].clone())
        if ready == 0:
            return state, x[:, :0]
        return self._attend(state, held[:, :ready])

    def finish(self, state: AttentionState) -> tuple[AttentionState, Tensor]:
        """Return the frames of the block that the end of the signal cut short; a fresh state."""
        x = state.pending
        fresh = self.initial_state(x.shape[0], device=x.device, dtype=x.dtype)
        return fresh, self._attend(state, x)[1] if x.shape[1] else x

    def _attend(self, state: AttentionState, x: Tensor) -> tuple[AttentionState, Tensor]:
        """Attend from frames that start a block over the past and themselves."""
        q, k, v = (self._heads(p(x)) for p in (self.q_proj, self.k_proj, self.v_proj))
        if self.rotary_base is not None:
            frames = torch.arange(x.shape[1], device=x.device)
            positions = state.position[:, None] + frames
            q, k = (rotate(part, positions, self.rotary_base) for part in (q, k))
        seen = state.past.append(k, v)
        y = self.out_proj(self._tiles(q, seen, state.position).transpose(1, 2).flatten(2))
        past = seen if self.left_context is None else seen.last(self.left_context)
        return state._replace(past=past, position=state.position + x.shape[1]), y

    def _heads(self, x: Tensor) -> Tensor:
        return x.unflatten(-1, (self.num_heads, -1)).transpose(1, 2)

    def _tiles(self, queries: Tensor, seen: KeyValues, position: Tensor) -> Tensor:
        """Attend from queries (B, H, T, D); `seen` ends with their own T frames."""
        length = queries.shape[2]
        past = seen.length - length
        tile = length
        if self.left_context is not None:
            wanted = max(self.left_context, _SMALLEST_TILE)
            tile = -(-wanted // self.frame_size) * self.frame_size
        parts = []
        for start in range(0, length, tile):
            end = min(start + tile, length)
            mask = self._mask(end - start, past, position + start)
            part = [tensor[:, :, start : past + end] for tensor in seen]
            parts.append(
                F.scaled_dot_product_attention(queries[:, :, start:end], *part, attn_mask=mask)
            )
        return torch.cat(parts, dim=2) if len(parts) != 1 else parts[0]

    def _mask(self, frames: int, past: int, position: Tensor) -> Tensor | None:
        """Return what the frames of a tile see of `past` frames and themselves; None for all.

        Returns:
            bool, broadcastable to (B, 1, frames, past + frames).
        """
        mask, keys = None, torch.arange(past + frames, device=position.device)
        if frames > self.frame_size:
            own = torch.arange(frames, device=position.device)
            block = (own - own % self.frame_size)[:, None]
            mask = keys < block + past + self.frame_size
            if self.left_context is not None:
                mask &= keys >= block
        if self.left_context:
            lived = (keys + position[:, None] >= past)[:, None, None]
            mask = lived if mask is None else mask & lived
        return mask
