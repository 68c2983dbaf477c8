"""Tokens where a CTC hears them: as whole as Paraformer-v2's, complete at once as CIF's.

Weights that add up to tokens drift: of pieces of words, five or more a second, some come too early
and share their sound with the next. A CTC's peaks do not. Paraformer-v2 (arXiv 2409.17746) takes
its tokens from them, from whole utterances; here a frame weighs 1 where the likeliest path says a
new token, and 0 elsewhere, so that all that is done with the weights of CIF, streams as well, is
done with these.
"""

from torch import Tensor, nn
from torch.nn import functional

from echoic.asr.paraformer.cif_predictor import CifPredictor
from echoic.asr.paraformer.config import PredictorConfig
from echoic.asr.paraformer.ctc import BLANK, CtcHead, aligned_runs
from echoic.asr.paraformer.predictor import Prediction
from echoic.asr.paraformer.sanm import length_mask


class SpikeWeights(nn.Module):
    """A weight of 1 for each frame in which the likeliest path of a CTC says a new token.

    Args:
        dim: width of the frames.
        vocab_size: tokens.
    """

    def __init__(self, dim: int, vocab_size: int) -> None:
        super().__init__()
        self.head = CtcHead(dim, vocab_size)

    def forward(self, hidden: Tensor, lengths: Tensor) -> Tensor:
        """Return (B, T) of hidden (B, T, D), 0 beyond lengths (B,)."""
        return self.unmasked(hidden) * length_mask(lengths, hidden.shape[1])

    def unmasked(self, hidden: Tensor) -> Tensor:
        """Return (B, T) of hidden (B, T, D), beyond whose ends there is silence.

        Frames that are 0, as in slots of a window without a frame, say nothing.
        """
        best = self.head(hidden).argmax(-1) * hidden.any(-1)
        before = functional.pad(best[:, :-1], (1, 0), value=BLANK)
        return ((best != BLANK) & (best != before)).float()

    def along(
        self, logits: Tensor, lengths: Tensor, labels: Tensor, label_lengths: Tensor
    ) -> Tensor:
        """Return (B, T) of the best path along labels (B, L), of which label_lengths (B,) count."""
        runs = aligned_runs(logits.float().log_softmax(-1), lengths, labels, label_lengths)
        before = functional.pad(runs[:, :-1], (1, 0), value=-1)
        return ((runs >= 0) & (runs != before)).float()


class SpikePredictor(CifPredictor):
    """The frame at which a CTC begins to hear a token is the embedding of that token.

    In training these are the frames of the best path along the labels. There is nothing to learn
    from the number of tokens: the CTC loss has it all.

    Args:
        dim: width of the frames.
        vocab_size: tokens.
        config: settings.
    """

    def __init__(self, dim: int, vocab_size: int, config: PredictorConfig) -> None:
        super().__init__(dim, config, SpikeWeights(dim, vocab_size))

    def place(
        self,
        hidden: Tensor,
        weights: Tensor,
        lengths: Tensor,
        labels: Tensor | None = None,
        label_lengths: Tensor | None = None,
    ) -> Prediction:
        """Find the tokens; see `CifPredictor.place`."""
        if labels is None or label_lengths is None:
            return super().place(hidden, weights, lengths)
        assert isinstance(self.weights, SpikeWeights)
        logits = self.weights.head(hidden)
        weights = self.weights.along(logits, lengths, labels, label_lengths)
        found = super().place(hidden, weights, lengths, labels, label_lengths)
        return found._replace(ctc_logits=logits)
