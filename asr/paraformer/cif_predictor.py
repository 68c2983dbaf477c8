"""Continuous integrate-and-fire (Dong & Xu 2020, arXiv 1905.11235): weights add up to tokens."""

import torch
from torch import Tensor

from echoic.asr.paraformer.config import PredictorConfig
from echoic.asr.paraformer.predictor import Prediction, Predictor, token_times
from echoic.asr.paraformer.weights import FrameWeights, Weights, scale_to
from echoic.cuda_ext.cif import cif


class CifPredictor(Predictor):
    """Each time the weights have added up to 1, the frames that they belong to make a token.

    In training the weights are scaled to the number of labels. At inference one more silent frame
    of a fixed weight follows, so that what is nearly a token becomes one.

    Args:
        dim: width of the frames.
        config: settings.
        weights: of the frames; None for a convolution's.
    """

    def __init__(self, dim: int, config: PredictorConfig, weights: Weights | None = None) -> None:
        super().__init__()
        self.config = config
        self.weights = FrameWeights(dim, config) if weights is None else weights

    def forward(
        self,
        hidden: Tensor,
        lengths: Tensor,
        labels: Tensor | None = None,
        label_lengths: Tensor | None = None,
    ) -> Prediction:
        """Find the tokens; see `Predictor`."""
        return self.place(hidden, self.weights(hidden, lengths), lengths, labels, label_lengths)

    def place(
        self,
        hidden: Tensor,
        weights: Tensor,
        lengths: Tensor,
        labels: Tensor | None = None,
        label_lengths: Tensor | None = None,
    ) -> Prediction:
        """Find the tokens by weights (B, T) of the frames; see `Predictor`."""
        del labels
        return self.integrate(hidden, weights, lengths, label_lengths)

    def integrate(
        self, hidden: Tensor, weights: Tensor, lengths: Tensor, label_lengths: Tensor | None = None
    ) -> Prediction:
        """Find the tokens by weights (B, T), 0 beyond the lengths; see `Predictor`."""
        quantity = weights.sum(1)
        hidden = hidden.float()
        if label_lengths is not None:
            scaled, counts = scale_to(weights, quantity, label_lengths), label_lengths
        else:
            hidden, scaled = self.with_tail(hidden, weights, lengths)
            lengths, counts = lengths + 1, None
        fired = cif(hidden, scaled, lengths, counts)
        starts, ends = token_times(scaled, fired.tokens.shape[1])
        # The tail is not part of the sound.
        last = lengths[:, None] - int(label_lengths is None)
        ends = torch.minimum(ends, last)
        starts = torch.minimum(starts, ends)
        return Prediction(fired.tokens, fired.counts, quantity, weights, starts, ends)

    def with_tail(self, hidden: Tensor, weights: Tensor, lengths: Tensor) -> tuple[Tensor, Tensor]:
        """Append a silent frame to hidden and weights, and weigh it behind each row's last."""
        hidden = torch.cat([hidden, torch.zeros_like(hidden[:, :1])], dim=1)
        weights = torch.cat([weights, torch.zeros_like(weights[:, :1])], dim=1)
        at = torch.arange(weights.shape[1], device=weights.device)
        return hidden, weights + (at == lengths[:, None]) * self.config.tail
