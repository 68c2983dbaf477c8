"""Features in, tokens out, as soon as they are complete; each is said once, and stays."""

from typing import NamedTuple

import torch
from torch import Tensor

from echoic.asr.paraformer.chooser import Chooser, ChooserState
from echoic.asr.paraformer.hotwords import Choice, HotWords
from echoic.asr.paraformer.model import Paraformer
from echoic.asr.paraformer.predictor import ONSET, crossings
from echoic.asr.paraformer.streaming.chunks import Chunks
from echoic.asr.paraformer.streaming.decoder import ChunkedDecoder, DecoderState
from echoic.asr.paraformer.streaming.encoder import ChunkedEncoder, EncoderState, Window
from echoic.asr.paraformer.streaming.whole import ROUNDING, frames_of, streaming_predictor
from echoic.cuda_ext.cif import cif_step

NO_TOKEN = -1


class Tokens(NamedTuple):
    """What was said, frame by frame: a frame has the token that is complete in it, if there is one.

    The end of a stream has one frame more, for the token that the end completes. Of frames without
    a token, `ids` is -1 and the others are 0.

    Attributes:
        ids: (B, T) int64.
        probabilities: (B, T) float32, of each token, that it is right if its place is.
        starts: (B, T) float64 seconds at which the token begins.
        ends: (B, T) float64 seconds at which it is complete.
    """

    ids: Tensor
    probabilities: Tensor
    starts: Tensor
    ends: Tensor


class TokenState(NamedTuple):
    """What a stream from features to tokens remembers.

    Attributes:
        encoder: of the encoder.
        weight: (B,) float64, how much of a token is there already.
        part: (B, D), that part.
        onset: (B,) float64 frames at which it began, if there is enough of it.
        decoder: of the decoder.
        chosen: of the choice of tokens.
    """

    encoder: EncoderState
    weight: Tensor
    part: Tensor
    onset: Tensor
    decoder: DecoderState
    chosen: ChooserState


class TokenStream:
    """A Paraformer that hears chunk by chunk; obeys the Streaming contract on features (B, T, F).

    Not differentiable; `Paraformer.forward` with the same chunks is what trains it.

    The tokens of a chunk are chosen as if the utterance ended with it, given those said before: a
    hot word changes tokens of the one chunk that completes it, and where it began in chunks before,
    that must have been heard without its help. Behind one that a chunk ends with, the
    next chunk prefers to begin with a new word. Likewise n-grams know what was said before, but not
    what is said next.

    Args:
        model: turned to inference.
        chunks: the cut.
        hotwords: to expect, written with the model's tokenizer.

    Raises:
        ValueError: a model that does not stream: its predictor needs whole utterances or lets one
            frame complete several tokens, or its decoder looks ahead; or hot words of another
            vocabulary.
    """

    def __init__(self, model: Paraformer, chunks: Chunks, hotwords: HotWords | None = None) -> None:
        if hotwords is not None:
            hotwords.check(model.tokenizer)
        self.model = model
        self.chunks = chunks
        self.chooser = Chooser(hotwords, model.fusion)
        self.predictor = streaming_predictor(model.predictor, chunks)
        most = model.config.predictor.smooth_factor - model.config.predictor.noise_threshold
        if most > 1:
            raise ValueError(
                f"a frame can weigh up to {most:g} tokens, expected 1 or less: lower "
                "predictor.smooth_factor"
            )
        self.encoder = ChunkedEncoder(model.encoder, chunks)
        self.decoder = ChunkedDecoder(model.decoder, chunks)
        self.frame_size, self.output_size = self.encoder.frame_size, self.encoder.output_size
        self.lookahead = self.encoder.lookahead

    @torch.inference_mode()
    def __call__(self, features: Tensor) -> Tokens:
        """Find the tokens of whole signals (B, T, F), T >= 1, in one pass."""
        batch, frames = features.shape[:2]
        lengths = torch.full((batch,), frames, device=features.device)
        heard = self.model.hear(features, lengths, self.chunks)
        found = heard.predict()
        logits = heard.decode(found, found.tokens, found.counts)
        # What the sound does not complete, its end does.
        number = torch.arange(1, found.tokens.shape[1] + 1, device=features.device)
        by_end = number > found.quantity.double()[:, None] + ROUNDING
        at = torch.where(by_end, frames, frames_of(found.ends))
        blocks = torch.minimum(at // self.chunks.stride, self.chunks.last(lengths)[:, None])
        state = self.chooser.initial_state(batch, features.device)
        best = self.chooser.step(state, logits, found.counts, blocks)[1]
        return self._tokens(best, found.counts, at, found.starts, found.ends, frames + 1)

    def initial_state(
        self,
        batch_size: int = 1,
        *,
        device: torch.device | str | None = None,
        dtype: torch.dtype = torch.float32,
    ) -> TokenState:
        """Return the state before the first frame."""
        encoder = self.encoder.initial_state(batch_size, device=device, dtype=dtype)
        device = encoder.held.device
        zeros = torch.zeros(batch_size, dtype=torch.float64, device=device)
        part = torch.zeros(batch_size, self.model.config.encoder.dim, device=device)
        decoder = self.decoder.initial_state(batch_size, device)
        chosen = self.chooser.initial_state(batch_size, device)
        return TokenState(encoder, zeros, part, zeros.clone(), decoder, chosen)

    @torch.inference_mode()
    def step(self, state: TokenState, features: Tensor) -> tuple[TokenState, Tokens]:
        """Hear frames (B, T, F), T >= 0; return the tokens of the chunks that are complete."""
        outputs = [_nothing(state)]
        heard = self.encoder.hear(state.encoder, features)
        for after, window in self.encoder.complete(heard):
            heard = after
            state, tokens = self._say(state, window)
            outputs.append(tokens)
        return state._replace(encoder=heard), _joined(outputs)

    @torch.inference_mode()
    def finish(self, state: TokenState) -> tuple[TokenState, Tokens]:
        """End the streams; return the tokens of the last chunk, and one that is nearly complete."""
        batch, device = len(state.weight), state.weight.device
        window = self.encoder.rest(state.encoder)
        tokens = _nothing(state) if window is None else self._say(state, window, last=True)[1]
        return self.initial_state(batch, device=device), tokens

    def _say(
        self, state: TokenState, window: Window, *, last: bool = False
    ) -> tuple[TokenState, Tokens]:
        """Find the tokens that a chunk completes."""
        hidden = window.hidden[:, window.own].float()
        weights = self.predictor.weights.unmasked(window.hidden) * window.valid
        weights = weights[:, window.own]
        frames = weights.shape[1]
        if last:
            hidden = torch.cat([hidden, torch.zeros_like(hidden[:, :1])], dim=1)
            tail = weights.new_full((len(weights), 1), self.predictor.config.tail)
            weights = torch.cat([weights, tail], dim=1)
        fired, weight, part = cif_step(state.weight, state.part, hidden, weights)
        starts, onset = _starts(state, weights, window.start, fired.counts)
        # The tail is not part of the sound.
        ends = window.start[:, None] + fired.fires.clamp(max=frames)
        at = frames_of(fired.fires).clamp(max=weights.shape[1] - 1)
        decoder, logits = self.decoder.step(state.decoder, fired.tokens, fired.counts, window)
        chosen, best = self.chooser.step(state.chosen, logits, fired.counts)
        tokens = self._tokens(
            best, fired.counts, at, torch.minimum(starts, ends), ends, weights.shape[1]
        )
        return TokenState(state.encoder, weight, part, onset, decoder, chosen), tokens

    def _tokens(
        self,
        best: Choice,
        counts: Tensor,
        at: Tensor,
        starts: Tensor,
        ends: Tensor,
        frames: int,
    ) -> Tokens:
        """Put tokens (B, N) into the frames `at` (B, N) in which they are complete."""
        real = torch.arange(at.shape[1], device=at.device) < counts[:, None]
        front = self.model.config.frontend
        times = [
            (part * front.frame_seconds + front.frame_offset).clamp(min=0)
            for part in (starts, ends)
        ]
        # What is no token goes to a frame of its own, which is taken off.
        place = torch.where(real, at, frames)
        parts = []
        for values, empty in (
            (best.ids, NO_TOKEN),
            (best.probabilities, 0),
            (times[0], 0),
            (times[1], 0),
        ):
            spread = values.new_full((len(values), frames + 1), empty)
            parts.append(spread.scatter(1, place, values)[:, :frames].clone())
        return Tokens(*parts)


def _starts(
    state: TokenState, weights: Tensor, start: Tensor, counts: Tensor
) -> tuple[Tensor, Tensor]:
    """Return where the tokens of a chunk begin, (B, N), and (B,) where the one begins that is open.

    Both are in frames of the stream.
    """
    number = torch.arange(int(counts.max()) + 1, device=weights.device)
    levels = number + ONSET - state.weight[:, None]
    begun = start[:, None] + crossings(weights, levels.clamp(min=0))
    begun = torch.where(levels <= 0, state.onset[:, None], begun)
    return begun[:, :-1], begun.gather(1, counts[:, None])[:, 0]


def _nothing(state: TokenState) -> Tokens:
    batch, device = len(state.weight), state.weight.device
    ids = torch.empty(batch, 0, dtype=torch.int64, device=device)
    probabilities = torch.empty(batch, 0, device=device)
    times = torch.empty(batch, 0, dtype=torch.float64, device=device)
    return Tokens(ids, probabilities, times, times.clone())


def _joined(parts: list[Tokens]) -> Tokens:
    return Tokens(*(torch.cat(fields, dim=1) for fields in zip(*parts, strict=True)))
