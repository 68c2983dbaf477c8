"""Parallel integrate-and-fire (E-Paraformer, Interspeech 2024): tokens look for their place."""

import torch
from torch import Tensor, nn

from echoic.asr.paraformer.config import PredictorConfig
from echoic.asr.paraformer.predictor import Prediction, Predictor, token_times
from echoic.asr.paraformer.sanm import length_mask
from echoic.asr.paraformer.weights import FrameWeights, scale_to


class PifPredictor(Predictor):
    """Token k attends to the frames where the running sum of the weights is about k - 1/2.

    The sum is scaled to a whole number: that of the labels in training, the nearest one at
    inference. In each head the score falls with the square of the distance, by a learned width and
    from a learned centre. (A term outside of the square would cancel in the softmax.)

    Args:
        dim: width of the frames.
        config: settings.
    """

    def __init__(self, dim: int, config: PredictorConfig) -> None:
        super().__init__()
        self.heads = config.heads
        self.weights = FrameWeights(dim, config)
        self.width = nn.Parameter(torch.full((config.heads,), 0.5))
        self.centre = nn.Parameter(torch.zeros(config.heads))

    def forward(
        self,
        hidden: Tensor,
        lengths: Tensor,
        labels: Tensor | None = None,
        label_lengths: Tensor | None = None,
    ) -> Prediction:
        """Find the tokens; see `Predictor`."""
        weights = self.weights(hidden, lengths)
        quantity = weights.sum(1)
        found = quantity.detach().round().long() if label_lengths is None else label_lengths
        counts = torch.where(lengths > 0, found, 0)
        size = int(counts.max()) if len(counts) else 0
        scaled = scale_to(weights, quantity, counts)
        with torch.autocast(hidden.device.type, enabled=False):
            tokens = self._attend(hidden.float(), scaled, lengths, size)
        tokens = tokens * length_mask(counts, size)[:, :, None]
        starts, ends = token_times(scaled, size)
        ends = torch.minimum(ends, lengths[:, None])
        return Prediction(tokens, counts, quantity, weights, torch.minimum(starts, ends), ends)

    def _attend(self, hidden: Tensor, scaled: Tensor, lengths: Tensor, size: int) -> Tensor:
        batch, frames, dim = hidden.shape
        places = torch.arange(size, device=hidden.device) + 0.5
        distance = places[:, None] - scaled.cumsum(1)[:, None, None, :]
        shape = (1, -1, 1, 1)
        score = -((self.width.view(shape) * distance + self.centre.view(shape)) ** 2)
        real = length_mask(lengths.clamp(min=1), frames)
        share = score.masked_fill(~real[:, None, None, :], float("-inf")).softmax(-1)
        values = hidden.view(batch, frames, self.heads, -1).transpose(1, 2)
        return (share @ values).transpose(1, 2).reshape(batch, size, dim)
