"""The CTC head: scores of each frame, its greedy runs, and its best path along given labels."""

import torch
from torch import Tensor, nn

from echoic.asr.paraformer.sanm import length_mask

BLANK = 0


class CtcHead(nn.Module):
    """A projection of each frame to the vocabulary.

    Args:
        dim: width of the frames.
        vocab_size: tokens; 0 is the blank.
    """

    def __init__(self, dim: int, vocab_size: int) -> None:
        super().__init__()
        self.output = nn.Linear(dim, vocab_size)

    def forward(self, hidden: Tensor) -> Tensor:
        """Return logits (B, T, V) of hidden (B, T, D)."""
        return self.output(hidden)


def greedy_runs(best: Tensor, lengths: Tensor) -> Tensor:
    """Number the runs of equal tokens.

    Args:
        best: (B, T) the likeliest token of each frame.
        lengths: (B,) frames that count.

    Returns:
        (B, T) int64: which run, from 0, a frame is in; -1 for blanks and beyond the length.
    """
    before = torch.cat([torch.full_like(best[:, :1], BLANK), best[:, :-1]], dim=1)
    spoken = (best != BLANK) & length_mask(lengths, best.shape[1])
    return torch.where(spoken, (spoken & (best != before)).cumsum(1) - 1, -1)


def aligned_runs(
    log_probs: Tensor, lengths: Tensor, labels: Tensor, label_lengths: Tensor
) -> Tensor:
    """Find the likeliest path along the labels (Viterbi).

    Args:
        log_probs: (B, T, V).
        lengths: (B,) frames that count.
        labels: (B, L) tokens; what stands beyond the length does not matter.
        label_lengths: (B,) labels that count.

    Returns:
        (B, T) int64: which label, from 0, a frame says; -1 for blanks and beyond the length. Where
        an utterance has too few frames for its labels, some labels have none.
    """
    batch, frames, _ = log_probs.shape
    device = log_probs.device
    # States: blank, label 0, blank, label 1, ... blank.
    size = 2 * labels.shape[1] + 1
    states = torch.full((batch, size), BLANK, device=device)
    states[:, 1::2] = labels.clamp(min=0)
    scores = log_probs.detach().float().gather(2, states[:, None].expand(-1, frames, -1))
    skips = torch.zeros(batch, size, dtype=torch.bool, device=device)
    skips[:, 3::2] = states[:, 3::2] != states[:, 1:-2:2]
    best = torch.full((batch, size), float("-inf"), device=device)
    best[:, :2] = scores[:, 0, :2]
    came_from = torch.zeros(batch, frames, size, dtype=torch.int64, device=device)
    final = best
    for t in range(1, frames):
        moves = torch.stack([best, _shifted(best, 1), _shifted(best, 2)])
        moves[2] = moves[2].masked_fill(~skips, float("-inf"))
        best, came_from[:, t] = moves.max(0)
        best = best + scores[:, t]
        final = torch.where((t < lengths)[:, None], best, final)
    return _trace(final, came_from, lengths, label_lengths)


def _shifted(x: Tensor, by: int) -> Tensor:
    return nn.functional.pad(x, (by, 0), value=float("-inf"))[:, : x.shape[1]]


def _trace(final: Tensor, came_from: Tensor, lengths: Tensor, label_lengths: Tensor) -> Tensor:
    frames = came_from.shape[1]
    ends = torch.stack([2 * label_lengths, (2 * label_lengths - 1).clamp(min=0)], dim=1)
    state = ends.gather(1, final.gather(1, ends).argmax(1, keepdim=True)).squeeze(1)
    path = torch.full_like(came_from[:, :, 0], -1)
    for t in range(frames - 1, -1, -1):
        inside = t < lengths
        path[:, t] = torch.where(inside & (state % 2 == 1), state // 2, -1)
        step = came_from[:, t].gather(1, state[:, None]).squeeze(1)
        state = torch.where(inside, state - step, state).clamp(min=0)
    return path
