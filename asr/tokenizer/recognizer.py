"""What codes say: the layers behind them and Whisper's decoder write it down."""

from collections.abc import Sequence
from dataclasses import dataclass
from pathlib import Path
from typing import Self

import torch
from torch import Tensor
from torch.nn.utils.rnn import pad_sequence

from echoic.asr.guards import token_budget
from echoic.asr.tokenizer.book import Book
from echoic.asr.tokenizer.config import TokenizerConfig
from echoic.asr.tokenizer.files import GENERATION, read_config, read_object, read_weights
from echoic.asr.tokenizer.model import Back
from echoic.asr.whisper.config import GenerationConfig
from echoic.asr.whisper.decoder import Decoder
from echoic.asr.whisper.encoder import EncodedWindows
from echoic.asr.whisper.greedy import greedy_search
from echoic.asr.whisper.hypothesis import SearchTask, capacity
from echoic.asr.whisper.rules import TokenRules
from echoic.asr.whisper.tokenizer import WhisperTokenizer


@dataclass(frozen=True)
class Writer:
    """Whisper's decoder, and what it needs to know to write greedily.

    Attributes:
        config: sizes.
        decoder: the network.
        generation: ids that steer it.
        text: from ids to text.
    """

    config: TokenizerConfig
    decoder: Decoder
    generation: GenerationConfig
    text: WhisperTokenizer

    @torch.no_grad()
    def write(self, encoded: EncodedWindows, language: str = "en") -> list[str]:
        """Return the texts of what was encoded.

        Args:
            encoded: of codes, see `Back`.
            language: of the speech, for multilingual models.
        """
        device = encoded.states.device
        multilingual = self.generation.is_multilingual
        prompt = list(self.text.prompt(language if multilingual else None))
        room = self.config.whisper.max_target_positions
        limit = min(room // 2, room - len(prompt) - 1)
        counts = (encoded.log_counts == 0).sum(1).tolist()
        budgets = [token_budget(n / self.config.frame_rate, limit) for n in counts]
        vocabulary = self.config.whisper.vocab_size
        task = SearchTask(
            decoder=self.decoder,
            cache=self.decoder.start(*encoded, capacity=capacity(len(prompt), budgets)),
            prompts=torch.tensor([prompt] * len(counts), device=device),
            rules=TokenRules(self.generation, vocabulary, timestamps=False, device=device),
            time_limits=torch.zeros(len(counts), dtype=torch.int64, device=device),
            budgets=budgets,
            no_speech=self.generation.no_speech_token_id,
            start=self.generation.decoder_start_token_id,
            end=self.generation.eos_token_id,
        )
        return [self.text.decode(found.tokens).strip() for found in greedy_search(task)]


class CodeRecognizer:
    """Recognises speech by its codes alone.

    Args:
        book: their vectors.
        back: the layers behind them.
        writer: what writes.
    """

    def __init__(self, book: Book, back: Back, writer: Writer) -> None:
        self.book = book
        self.back = back
        self.writer = writer

    @classmethod
    def from_pretrained(cls, folder: str | Path, *, device: str = "cpu") -> Self:
        """Load the parts of a tokenizer's folder that lie behind its codes.

        Raises:
            CheckpointError: not there, damaged, or of another kind.
        """
        config = read_config(folder)
        back, decoder = Back(config), Decoder(config.whisper)
        for part, module in (("back.", back), ("decoder.", decoder)):
            shapes = {name: value.shape for name, value in module.state_dict().items()}
            module.load_state_dict(read_weights(folder, part, shapes))
            module.to(device).eval().requires_grad_(False)
        shape = torch.Size((config.codebook_size, config.whisper.d_model))
        book = Book(read_weights(folder, "book.", {"vectors": shape})["vectors"]).to(device)
        text = WhisperTokenizer.from_folder(folder)
        values = read_object(Path(folder) / GENERATION)
        generation = GenerationConfig.from_dict(values, config.whisper, text)
        return cls(book, back, Writer(config, decoder, generation, text))

    @torch.no_grad()
    def recognize(self, codes: Sequence[Tensor], *, language: str = "en") -> list[str]:
        """Return what recordings say.

        Args:
            codes: of each, (N,) int64, 30 s at most.
            language: of the speech, for multilingual models.

        Raises:
            ValueError: no codes, too many, or such as the book does not have.
        """
        if not codes or not all(len(row) for row in codes):
            raise ValueError("a recording has no codes: leave it out")
        device = self.book.vectors.device
        lengths = torch.tensor([len(row) for row in codes], device=device)
        padded = pad_sequence(list(codes), batch_first=True).to(device)
        mask = torch.arange(padded.shape[1], device=device) < lengths[:, None]
        return self.writer.write(self.back(self.book.decode(padded), mask), language)
