"""Minimum word error rate: a fine-tuning loss that speaks of errors, not of likelihood.

One pass gives one likeliest text. Others to compare it with are made by changing some of its
tokens for less likely ones; the loss moves probability to those with fewer errors than the mean.
"""

import torch
from torch import Tensor

from echoic.asr.paraformer.sanm import length_mask


def sample_candidates(
    logits: Tensor,
    counts: Tensor,
    samples: int,
    rate: float,
    generator: torch.Generator | None = None,
) -> Tensor:
    """Draw texts that are near the likeliest one.

    Args:
        logits: (B, N, V).
        counts: (B,) tokens that count.
        samples: texts of each row; the first is the likeliest.
        rate: probability that a token is changed, for one drawn from the rest of its posterior.
        generator: on the CPU.

    Returns:
        (B, samples, N) ids, 0 beyond each row's count.
    """
    batch, size, vocab = logits.shape
    best = logits.argmax(-1)
    others = logits.detach().float().scatter(2, best[:, :, None], float("-inf")).softmax(-1).cpu()
    draws = torch.zeros(batch, size, samples, dtype=torch.int64)
    if draws.numel():
        flat = others.reshape(-1, vocab)
        drawn = torch.multinomial(flat, samples, replacement=True, generator=generator)
        draws = drawn.view(batch, size, samples)
    changed = torch.rand(batch, samples, size, generator=generator) < rate
    changed[:, 0] = False
    drawn = draws.transpose(1, 2).to(best.device)
    mixed = torch.where(changed.to(best.device), drawn, best[:, None])
    return mixed * length_mask(counts, size)[:, None]


def edit_distances(
    texts: Tensor, text_lengths: Tensor, references: Tensor, lengths: Tensor
) -> Tensor:
    """Count the insertions, deletions and substitutions between rows.

    Args:
        texts: (R, N) ids.
        text_lengths: (R,) that count.
        references: (R, L) ids.
        lengths: (R,) that count.

    Returns:
        (R,) int64.
    """
    columns = torch.arange(references.shape[1] + 1, device=texts.device)
    row = columns.expand(len(texts), -1)
    final = row
    for i in range(texts.shape[1]):
        wrong = (texts[:, i : i + 1] != references).long()
        kept = torch.minimum(row[:, 1:] + 1, row[:, :-1] + wrong)
        kept = torch.cat([row[:, :1] + 1, kept], dim=1)
        # An insertion costs 1 for each column: a running minimum does them all.
        row = (kept - columns).cummin(1).values + columns
        final = torch.where((text_lengths == i + 1)[:, None], row, final)
    return final.gather(1, lengths[:, None]).squeeze(1)


def mwer_loss(
    logits: Tensor,
    counts: Tensor,
    labels: Tensor,
    lengths: Tensor,
    *,
    samples: int = 4,
    rate: float = 0.2,
    generator: torch.Generator | None = None,
) -> Tensor:
    """Return the expected number of errors among sampled texts, less their plain mean.

    Args:
        logits: (B, N, V), N >= 1.
        counts: (B,) tokens that count.
        labels: (B, L) ids.
        lengths: (B,) labels that count.
        samples: texts compared; equal ones count once.
        rate: see `sample_candidates`.
        generator: on the CPU.

    Returns:
        A scalar, the mean over the batch; 0 where all texts are equally wrong.

    Raises:
        ValueError: fewer than two samples.
    """
    if samples < 2:
        raise ValueError(f"samples is {samples}, expected 2 or more: there must be a choice")
    texts = sample_candidates(logits, counts, samples, rate, generator)
    real = length_mask(counts, logits.shape[1])[:, None]
    # (B, N, S) of the chosen tokens, without a copy of the logits for each text.
    chosen = logits.float().log_softmax(-1).gather(2, texts.transpose(1, 2)).transpose(1, 2)
    scores = (chosen * real).sum(2)
    errors = edit_distances(
        texts.flatten(0, 1),
        counts.repeat_interleave(samples),
        labels.repeat_interleave(samples, 0),
        lengths.repeat_interleave(samples),
    ).view(-1, samples)
    same = (texts[:, :, None] == texts[:, None]).all(3)
    first = ~same.tril(-1).any(2)
    share = scores.masked_fill(~first, float("-inf")).softmax(1)
    mean = (errors * first).sum(1, keepdim=True) / first.sum(1, keepdim=True)
    return (share * (errors - mean)).sum(1).mean()
