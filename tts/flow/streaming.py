"""Codes to spectra to sound while the codes are still coming; each spectrum is worked on once."""

from typing import Any, NamedTuple

import torch
from torch import Tensor

from echoic.streaming.module import Chain, run_offline
from echoic.tts.flow.config import SolverConfig
from echoic.tts.flow.model import Conditions, FlowModel
from echoic.tts.flow.prompt import Prompt, place_prompt
from echoic.tts.flow.solver import solve
from echoic.tts.flow.vocoder import Vocoder
from echoic.tts.lm.cache import KeyValueCache


class ChunkCache(KeyValueCache):
    """What the backbone read of earlier chunks at one moment of the flow, and now of the next.

    All that is kept may be seen, so there is no mask. What it is made of stays as it is.

    Args:
        past: (rows, layers, 2, H, S, D) keys and values.
        count: T, spectra of the next chunk.
    """

    def __init__(self, past: Tensor, count: int) -> None:
        self.start = past.shape[4]
        self.both = past.new_empty(*past.shape[:4], self.start + count, past.shape[5])
        self.both[..., : self.start, :] = past

    def reserve(self, more: int) -> None:
        """Need no more room."""

    def append(self, layer: int, keys: Tensor, values: Tensor) -> tuple[Tensor, Tensor]:
        """Return the past and the new of a layer, (rows, H, S + T, D) each."""
        self.both[:, layer, 0, :, self.start :] = keys
        self.both[:, layer, 1, :, self.start :] = values
        return self.both[:, layer, 0], self.both[:, layer, 1]

    def mask(self, count: int) -> Tensor | None:
        """Return None: all may be seen."""
        return None

    def advance(self, count: int) -> None:
        """Count nothing: positions are the caller's."""

    def last(self, count: int | None) -> Tensor:
        """Return the newest keys and values, (rows, layers, 2, H, count, D); all for None."""
        length = self.both.shape[4]
        if count is None or length <= count:
            return self.both
        return self.both[..., length - count :, :].clone()


class MelState(NamedTuple):
    """What a stream of spectra remembers.

    Attributes:
        around: of the codes' convolution.
        waiting: (B, C, F) vectors of codes that do not make a chunk yet.
        past: for each of Euler's steps (B, 1 or 2, layers, 2, H, S, D) keys and values, with codes
            and, for the guidance, without.
        number: of the next spectrum.
    """

    around: Any
    waiting: Tensor
    past: tuple[Tensor, ...]
    number: int


class MelDecoder:
    """Codes (B, Q, F) to spectra (B, F * ratio, M), chunk by chunk.

    All rows of a batch have the same noise, prompt and phase of their chunks. The state grows with
    the utterance only where the model looks back without bound.

    Args:
        model: in evaluation mode.
        solver: how the flow is followed.
        chunk: frames of codes of a chunk.
        prompt: that the stream goes on from; its end of whole chunks is used.
        speaker: (S,); None for nobody in particular.

    Raises:
        ValueError: a chunk or prompt without frames, or a speaker's vector of another size.
    """

    input_time_dim = 2
    output_time_dim = 1

    def __init__(
        self,
        model: FlowModel,
        solver: SolverConfig,
        chunk: int,
        *,
        prompt: Prompt | None = None,
        speaker: Tensor | None = None,
    ) -> None:
        config = model.config
        if chunk < 1:
            raise ValueError(f"chunks of {chunk} frames of codes, expected 1 or more")
        if speaker is not None and speaker.shape != (config.speaker_dim,):
            raise ValueError(
                f"a speaker's vector of shape {tuple(speaker.shape)}, expected "
                f"({config.speaker_dim},)"
            )
        self.model = model
        self.solver = solver
        self.prompt = None if prompt is None else prompt.whole(chunk, config.ratio)
        self.speaker = speaker
        self.frame_size = chunk
        self.output_size = chunk * config.ratio
        self.lookahead = config.lookahead
        self.look_back = None if config.look_back is None else config.look_back * config.ratio

    def __call__(self, codes: Tensor) -> Tensor:
        """Decode all codes."""
        return run_offline(self, codes)

    def initial_state(
        self,
        batch_size: int,
        *,
        device: torch.device | str | None = None,
        dtype: torch.dtype = torch.float32,
    ) -> MelState:
        """Return the state before the first frame that is not the prompt's."""
        dtype = dtype if dtype.is_floating_point else torch.float32
        embedding, backbone = self.model.codes, self.model.config.backbone
        branches = 2 if self.solver.guidance > 0 else 1
        shape = (batch_size, branches, backbone.layers, 2, backbone.kv_heads, 0, backbone.head_size)
        nothing = torch.zeros(shape, device=device, dtype=dtype)
        state = MelState(
            embedding.around.initial_state(batch_size, device=device, dtype=dtype),
            torch.zeros(batch_size, self.model.config.condition_dim, 0, device=device, dtype=dtype),
            (nothing,) * self.solver.steps,
            0,
        )
        if self.prompt is None:
            return state
        codes = self.prompt.codes.to(state.waiting.device).expand(batch_size, -1, -1)
        return self.step(state, codes)[0]

    @torch.no_grad()
    def step(self, state: MelState, x: Tensor) -> tuple[MelState, Tensor]:
        """Take codes (B, Q, F), F >= 0; return the spectra of the chunks that are complete.

        Raises:
            ValueError: codes that no book has.
        """
        embedding = self.model.codes
        around, vectors = embedding.around.step(state.around, embedding.of_books(x))
        return self._chunks(state._replace(around=around), vectors, least=self.frame_size)

    @torch.no_grad()
    def finish(self, state: MelState) -> tuple[MelState, Tensor]:
        """Return the spectra of the codes that are left; the last chunk may be smaller."""
        around, vectors = self.model.codes.around.finish(state.around)
        return self._chunks(state._replace(around=around), vectors, least=1)

    def _chunks(self, state: MelState, vectors: Tensor, least: int) -> tuple[MelState, Tensor]:
        waiting = torch.cat([state.waiting, vectors], dim=2)
        made = []
        while waiting.shape[2] >= least:
            part, waiting = waiting[..., : self.frame_size], waiting[..., self.frame_size :]
            state, mels = self._chunk(state, part)
            made.append(mels)
        # A copy, so that a small state does not keep a large chunk alive.
        state = state._replace(waiting=waiting.clone())
        if not made:
            return state, waiting.new_zeros(len(waiting), 0, self.model.config.mels.mel.num_mels)
        return state, torch.cat(made, dim=1)

    def _chunk(self, state: MelState, vectors: Tensor) -> tuple[MelState, Tensor]:
        """Return the spectra of one chunk, none of which belongs to the prompt."""
        embedded = self.model.codes.spread(vectors)
        rows, count = embedded.shape[:2]
        given = Conditions(
            embedded,
            place_prompt(self.prompt, state.number, embedded, self.model.config.mels.mel.num_mels),
            self._speakers(rows),
        )
        caches = [ChunkCache(step.flatten(0, 1), count) for step in state.past]
        mels = solve(self.model, given, self.solver, start=state.number, caches=caches)
        past = tuple(cache.last(self.look_back).unflatten(0, (rows, -1)) for cache in caches)
        known = 0 if self.prompt is None else len(self.prompt.mels) - state.number
        state = state._replace(past=past, number=state.number + count)
        return state, mels[:, max(0, known) :]

    def _speakers(self, rows: int) -> Tensor:
        if self.speaker is None:
            return self.model.no_speaker(rows)
        return self.speaker.to(self.model.device).expand(rows, -1)


class FlowDecoder(Chain):
    """Codes (B, Q, F) to waveforms (B, T): what a codec's streaming decoder does, by a flow.

    The sound of a chunk is whole when the vocoder has heard some spectra of the next one; the
    declared look-ahead says "a chunk" for that.

    Args:
        mels: codes to spectra.
        vocoder: spectra to sound, of the same spectra.
    """

    def __init__(self, mels: MelDecoder, vocoder: Vocoder) -> None:
        super().__init__([mels, vocoder])
        self.sample_rate = vocoder.config.mels.mel.sample_rate

    @torch.no_grad()
    def step(self, state: tuple[Any, ...], x: Tensor) -> tuple[tuple[Any, ...], Tensor]:
        """Take codes (B, Q, F), F >= 0; return the samples now complete.

        Raises:
            ValueError: codes that no book has.
        """
        return super().step(state, x)

    @torch.no_grad()
    def finish(self, state: tuple[Any, ...]) -> tuple[tuple[Any, ...], Tensor]:
        """Return the samples that were held back."""
        return super().finish(state)
