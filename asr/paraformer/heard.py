"""What a model hears of a batch, and what it makes of it: the steps that training needs."""

from typing import NamedTuple, Protocol

from torch import Tensor

from echoic.asr.paraformer.decoder import Decoder
from echoic.asr.paraformer.predictor import Prediction, Predictor


class Heard(Protocol):
    """A batch that went through the encoder."""

    @property
    def hidden(self) -> Tensor:
        """(B, T, D) of the encoder."""
        ...

    def predict(
        self, labels: Tensor | None = None, label_lengths: Tensor | None = None
    ) -> Prediction:
        """Find the tokens; see `Predictor`."""
        ...

    def decode(self, prediction: Prediction, tokens: Tensor, counts: Tensor) -> Tensor:
        """Score tokens (B, N, D), the prediction's or others in their places: logits (B, N, V)."""
        ...


class HeardWhole(NamedTuple):
    """A batch of utterances that were heard to their ends.

    Attributes:
        predictor: of the model.
        decoder: of the model.
        hidden: (B, T, D) of the encoder.
        lengths: (B,) frames that count.
    """

    predictor: Predictor
    decoder: Decoder
    hidden: Tensor
    lengths: Tensor

    def predict(
        self, labels: Tensor | None = None, label_lengths: Tensor | None = None
    ) -> Prediction:
        """Find the tokens; see `Predictor`."""
        return self.predictor(self.hidden, self.lengths, labels, label_lengths)

    def decode(self, prediction: Prediction, tokens: Tensor, counts: Tensor) -> Tensor:
        """Score tokens (B, N, D), the prediction's or others in their places: logits (B, N, V)."""
        del prediction
        return self.decoder(tokens, counts, self.hidden, self.lengths)
