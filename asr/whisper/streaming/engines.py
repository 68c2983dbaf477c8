"""A causal Whisper's two networks, working for many streams at once.

With 8-bit layers an answer is the same, to the last bit, whatever was asked beside it; with floats,
and with LoRA adapters, to within rounding, as the library adds in another order for another number
of rows.
"""

from collections.abc import Iterator, Sequence
from contextlib import contextmanager
from typing import NamedTuple

import torch
from torch import Tensor

from echoic.asr.whisper.decoder import Decoder
from echoic.asr.whisper.model import WhisperModel
from echoic.asr.whisper.streaming.decoder import Part, Reading, hear, read
from echoic.asr.whisper.streaming.encoder import CausalEncoder, Prepared, run_layers
from echoic.asr.whisper.streaming.lora_bank import NO_ADAPTER, LoraBank
from echoic.asr.whisper.streaming.lora_rows import LoraRows, grouped, lora_rows
from echoic.asr.whisper.streaming.rows import joined, parted
from echoic.asr.whisper.streaming.window import Window
from echoic.audio.features import LogMel


class Listening(NamedTuple):
    """A question: the window with more sound.

    Attributes:
        window: of the stream.
        wav: (1, n) samples behind it.
        log_mel: makes the stream's features.
        encoder: cuts them into blocks.
        adapter: stamp of the stream's LoRA adapter.
    """

    window: Window
    wav: Tensor
    log_mel: LogMel
    encoder: CausalEncoder
    adapter: int = NO_ADAPTER


class HearEngine:
    """Hears the next blocks of many streams; answers `Listening` by the window behind them.

    Attributes:
        stage: see `echoic.streaming.work.Engine`.
    """

    stage = 1

    def __init__(self, model: WhisperModel, bank: LoraBank | None = None) -> None:
        self._model = model
        self._bank = bank

    @torch.inference_mode()
    def answer(self, questions: Sequence[Listening]) -> list[Window]:
        """Encode all blocks that the sounds complete.

        Raises:
            ValueError: an adapter was dropped.
        """
        windows: list[Window] = []
        ready: dict[int, Prepared] = {}
        for number, question in enumerate(questions):
            window, prepared = self._prepare(question)
            windows.append(window)
            if prepared is not None:
                ready[number] = prepared
        if ready:
            adapters = [questions[number].adapter for number in ready]
            like = [prepared.x for prepared in ready.values()]
            with _adapted(self._bank, adapters, like) as (in_encoder, in_decoder):
                encoded = run_layers(self._model.encoder, list(ready.values()), in_encoder)
                sounds = [windows[number].sound for number in ready]
                frames = [frames for _, frames in encoded]
                heard = hear(self._model.decoder, sounds, frames, in_decoder)
            for number, (state, _), sound in zip(ready, encoded, heard, strict=True):
                windows[number] = windows[number]._replace(encoder=state, sound=sound)
        return windows

    def _prepare(self, question: Listening) -> tuple[Window, Prepared | None]:
        window, wav = question.window, question.wav
        mel_state, mel = question.log_mel.step(window.mel, wav.to(self._model.device))
        state, prepared = question.encoder.prepare(window.encoder, mel)
        heard = torch.cat([window.wav, wav], dim=1)
        return window._replace(wav=heard, mel=mel_state, encoder=state), prepared


class Saying(NamedTuple):
    """A question: what becomes of new tokens of a stream.

    Attributes:
        part: the tokens, and what came before them.
        first: the first of them whose scores are wanted.
        adapter: stamp of the stream's LoRA adapter.
    """

    part: Part
    first: int
    adapter: int = NO_ADAPTER


class Said(NamedTuple):
    """The answer.

    Attributes:
        reading: of all tokens.
        logits: float32 (R, N - first, vocab_size), raw scores of what follows each.
    """

    reading: Reading
    logits: Tensor


class ReadEngine:
    """Reads the next tokens of many streams.

    Attributes:
        decoder: the network.
        heads: alignment heads, (layer, head) pairs.
        bank: of LoRA adapters; None for none.
        stage: see `echoic.streaming.work.Engine`.
    """

    stage = 2

    def __init__(
        self,
        decoder: Decoder,
        heads: tuple[tuple[int, int], ...],
        bank: LoraBank | None = None,
    ) -> None:
        self.decoder = decoder
        self.heads = heads
        self.bank = bank

    @torch.inference_mode()
    def answer(self, questions: Sequence[Saying]) -> list[Said]:
        """Read, and score what follows.

        Raises:
            ValueError: more tokens than the model has positions for, or an adapter was dropped.
        """
        parts = [question.part for question in questions]
        adapters = [question.adapter for question in questions]
        with _adapted(self.bank, adapters, [part.tokens for part in parts]) as (_, lora):
            readings = read(self.decoder, parts, self.heads, lora)
        asked = [
            reading.hidden[:, question.first :]
            for reading, question in zip(readings, questions, strict=True)
        ]
        logits = parted(self.decoder.logits(joined(asked)), asked)
        return [Said(*pair) for pair in zip(readings, logits, strict=True)]


class Engines(NamedTuple):
    """The two engines of a model; recognisers that share them are heard together.

    Attributes:
        hear: hears.
        read: reads.
        bank: LoRA adapters that single streams may have.
    """

    hear: HearEngine
    read: ReadEngine
    bank: LoraBank

    @classmethod
    def of(cls, model: WhisperModel, bank: LoraBank | None = None) -> "Engines":
        """Return engines of their own for a model; with an empty bank where there is none."""
        if bank is None:
            bank = LoraBank(model)
        heads = model.generation.alignment_heads
        return cls(HearEngine(model, bank), ReadEngine(model.decoder, heads, bank), bank)


@contextmanager
def _adapted(
    bank: LoraBank | None, adapters: Sequence[int], like: Sequence[Tensor]
) -> Iterator[tuple[LoraRows | None, LoraRows | None]]:
    """Give what adapters add to rows in the encoder and in the decoder, for one pass.

    Args:
        bank: that holds them.
        adapters: stamp of each stream's.
        like: (B, N, ...) of each stream, whose B * N rows are laid end to end.
    """
    if bank is None or not any(adapters):
        yield None, None
        return
    with bank.reading(adapters) as slots:
        sizes = [part.shape[0] * part.shape[1] for part in like]
        groupings = grouped(slots, sizes, like[0].device)
        yield lora_rows(bank.encoder, groupings), lora_rows(bank.decoder, groupings)
