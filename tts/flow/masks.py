"""Which spectra see which: chunks, drawn for each batch, so that one model serves all of them."""

import torch
from torch import Tensor

from echoic.streaming.layers.masks import block_causal_mask
from echoic.tts.flow.config import FlowConfig


def draw_chunk(config: FlowConfig, generator: torch.Generator) -> int | None:
    """Return the frames of codes of a batch's chunks; None where each utterance is one."""
    whole = float(torch.rand((), generator=generator)) < config.whole
    which = int(torch.randint(len(config.chunks), (), generator=generator))
    return None if whole else config.chunks[which]


def chunk_mask(
    config: FlowConfig, count: int, chunk: int | None, *, device: torch.device | str | None = None
) -> Tensor:
    """Return the mask (count, count) bool of so many spectra, True where the row sees the column.

    A spectrum sees its own chunk, to its end, and `look_back` before it.

    Args:
        config: of the model.
        count: spectra.
        chunk: frames of codes; None for one chunk.
        device: of the mask.

    Raises:
        ValueError: a chunk without frames.
    """
    if chunk is None:
        return torch.ones(count, count, dtype=torch.bool, device=device)
    ratio, back = config.ratio, config.look_back
    left = None if back is None else back * ratio
    return block_causal_mask(count, chunk * ratio, left_context=left, device=device)


def padded_mask(mask: Tensor, keep: Tensor) -> Tensor:
    """Return a mask (B, 1, T, T) of utterances of different lengths.

    Args:
        mask: (T, T) bool, see `chunk_mask`.
        keep: (B, T) bool, False for padding: nobody sees it but itself, and what it sees is of no
            consequence, as long as it is something.
    """
    return (mask & (keep[:, None, :] | ~keep[:, :, None]))[:, None]
