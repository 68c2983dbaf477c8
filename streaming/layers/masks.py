"""Which frames see which: attention masks of streams that are cut into blocks."""

import torch
from torch import Tensor


def block_index(
    length: int, block: int, *, first: int | None = None, device: torch.device | str | None = None
) -> Tensor:
    """Return the number of the block that each frame lies in.

    Args:
        length: frames.
        block: frames of a block.
        first: frames of the first block where it is another; None for `block`.
        device: of the result.

    Returns:
        int64 (length,), 0 for the first block.

    Raises:
        ValueError: a block of no frames.
    """
    first = block if first is None else first
    if block < 1 or first < 1:
        raise ValueError(f"blocks of {block} frames, the first of {first}: expected 1 or more")
    frames = torch.arange(length, device=device)
    later = torch.div(frames - first, block, rounding_mode="floor") + 1
    return later.clamp(min=0)


def block_causal_mask(
    length: int,
    block: int,
    *,
    first: int | None = None,
    left_context: int | None = None,
    device: torch.device | str | None = None,
) -> Tensor:
    """Return the mask of attention that is free inside a block and causal between blocks.

    Args:
        length: frames T.
        block: frames of a block; 1 is plain causal attention.
        first: frames of the first block where it is another.
        left_context: frames before its own block that a frame sees; None for all.
        device: of the result.

    Returns:
        bool (T, T), True where the row's frame sees the column's.
    """
    blocks = block_index(length, block, first=first, device=device)
    seen = blocks[None, :] <= blocks[:, None]
    if left_context is None:
        return seen
    frames = torch.arange(length, device=device)
    starts = torch.searchsorted(blocks, blocks)  # of each frame's block
    return seen & (frames[None, :] >= starts[:, None] - left_context)
