"""Whole batches as streams would hear them, in one pass with gradients.

With a cut drawn for each batch, training makes one model for streams and for whole recordings.
"""

from typing import NamedTuple

from torch import Tensor

from echoic.asr.paraformer.cif_predictor import CifPredictor
from echoic.asr.paraformer.decoder import Decoder
from echoic.asr.paraformer.encoder import Encoder
from echoic.asr.paraformer.predictor import Prediction, Predictor
from echoic.asr.paraformer.sanm import length_mask
from echoic.asr.paraformer.spike_predictor import SpikePredictor
from echoic.asr.paraformer.streaming.chunks import Chunks, Grid, heard_by
from echoic.asr.paraformer.streaming.decoder import check_decoder
from echoic.asr.paraformer.streaming.encoder import encode_chunks

# A token that is complete at the very end of a frame belongs to that frame, whatever is rounded.
ROUNDING = 1e-9


class HeardInChunks(NamedTuple):
    """A batch of utterances that were heard chunk by chunk; see `echoic.asr.paraformer.heard`.

    Attributes:
        predictor: of the model.
        decoder: of the model.
        windows: (B, C, W, D) of the encoder.
        grid: the cut.
        hidden: (B, T, D), each frame as its own chunk hears it, 0 behind an utterance's end.
        lengths: (B,) frames that count.
    """

    predictor: CifPredictor
    decoder: Decoder
    windows: Tensor
    grid: Grid
    hidden: Tensor
    lengths: Tensor

    def predict(
        self, labels: Tensor | None = None, label_lengths: Tensor | None = None
    ) -> Prediction:
        """Find the tokens; see `Predictor`."""
        weights = self.predictor.weights.unmasked(self.windows.flatten(0, 1))
        weights = self.grid.centres(weights.unflatten(0, self.windows.shape[:2]))
        weights = weights * length_mask(self.lengths, weights.shape[1])
        return self.predictor.place(self.hidden, weights, self.lengths, labels, label_lengths)

    def decode(self, prediction: Prediction, tokens: Tensor, counts: Tensor) -> Tensor:
        """Score tokens (B, N, D), the prediction's or others in their places: logits (B, N, V)."""
        at = frames_of(prediction.ends).clamp(max=self.hidden.shape[1] - 1)
        seen = heard_by(self.grid.chunk.gather(1, at), self.grid)
        hidden = self.windows.flatten(1, 2)
        return self.decoder.output(self.decoder.masked_features(tokens, counts, hidden, seen))


def hear_in_chunks(
    encoder: Encoder,
    predictor: Predictor,
    decoder: Decoder,
    features: Tensor,
    lengths: Tensor,
    chunks: Chunks,
    before: Tensor | None = None,
) -> HeardInChunks:
    """Encode a batch chunk by chunk.

    Args:
        encoder: of the model.
        predictor: of the model.
        decoder: of the model.
        features: (B, T, F), T >= 1.
        lengths: (B,) frames that count.
        chunks: the cut, without `compat`.
        before: see `encode_chunks`.

    Raises:
        ValueError: parts of a model that does not stream, or `compat`.
    """
    cif = streaming_predictor(predictor, chunks)
    windows = encode_chunks(encoder, features, lengths, chunks, before)
    hidden = windows.centres * length_mask(lengths, features.shape[1])[:, :, None]
    return HeardInChunks(cif, check_decoder(decoder), windows.hidden, windows.grid, hidden, lengths)


def streaming_predictor(predictor: Predictor, chunks: Chunks) -> CifPredictor:
    """Return the predictor, if it can say which tokens are complete before the sound is.

    Raises:
        ValueError: it cannot, or not in these chunks.
    """
    if isinstance(predictor, SpikePredictor) and not chunks.look_back:
        raise ValueError(
            "chunks have no look_back: whether a token is new, the frame before it tells; give 1 "
            "or more"
        )
    if not isinstance(predictor, CifPredictor):
        raise ValueError(
            f"a {type(predictor).__name__} needs whole utterances: expected a model with "
            'predictor.kind "cif" or "spikes"'
        )
    return predictor


def frames_of(ends: Tensor) -> Tensor:
    """Return the frames, int64, in which tokens are complete by times in frames."""
    return ((ends - ROUNDING).ceil().long() - 1).clamp(min=0)
