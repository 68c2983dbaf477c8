"""Tokens from a CTC's runs (Paraformer-v2, arXiv 2409.17746): better where words are pieces."""

import torch
from torch import Tensor, nn

from echoic.asr.paraformer.ctc import BLANK, CtcHead, aligned_runs, greedy_runs
from echoic.asr.paraformer.predictor import Prediction, Predictor
from echoic.asr.paraformer.sanm import length_mask


class CtcPredictor(Predictor):
    """The mean posterior of each run of a CTC, projected, is the embedding of a token.

    In training the runs are those of the best path along the labels.

    Args:
        dim: width of the frames.
        vocab_size: tokens.
    """

    def __init__(self, dim: int, vocab_size: int) -> None:
        super().__init__()
        self.head = CtcHead(dim, vocab_size)
        self.embed = nn.Linear(vocab_size, dim)

    def forward(
        self,
        hidden: Tensor,
        lengths: Tensor,
        labels: Tensor | None = None,
        label_lengths: Tensor | None = None,
    ) -> Prediction:
        """Find the tokens; see `Predictor`."""
        logits = self.head(hidden)
        log_probs = logits.float().log_softmax(-1)
        if labels is None or label_lengths is None:
            runs = greedy_runs(log_probs.argmax(-1), lengths)
            counts = runs.max(1).values + 1
        else:
            runs = aligned_runs(log_probs, lengths, labels, label_lengths)
            counts = label_lengths
        size = int(counts.max()) if len(counts) else 0
        in_run = runs[:, None, :] == torch.arange(size, device=runs.device)[:, None]
        share = in_run / in_run.sum(2, keepdim=True).clamp(min=1)
        tokens = self.embed(share @ log_probs.exp())
        tokens = tokens * length_mask(counts, size)[:, :, None]
        starts, ends = _run_times(in_run)
        weights = (1 - log_probs[:, :, BLANK].exp()) * length_mask(lengths, runs.shape[1])
        # Nothing to learn from the number of runs: the CTC loss has it all.
        return Prediction(tokens, counts, counts.float(), weights, starts, ends, logits)


def _run_times(in_run: Tensor) -> tuple[Tensor, Tensor]:
    frames = torch.arange(in_run.shape[2], device=in_run.device, dtype=torch.float64)
    first = torch.where(in_run, frames, float("inf")).amin(2)
    ends = torch.where(in_run, frames + 1, 0.0).amax(2)
    # Labels without a frame begin where they end.
    return torch.minimum(first, ends), ends
