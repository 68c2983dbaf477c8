"""The codes of one frame, one after the other, as Qwen3-Omni's MTP and Moshi draw them."""

import torch
from torch import Tensor, nn

from echoic.tts.lm.cache import KeyValueCache
from echoic.tts.lm.config import TransformerConfig
from echoic.tts.lm.products import apart
from echoic.tts.lm.transformer import Transformer


class DepthDecoder(nn.Module):
    """Codes 1 to Q - 1 of a frame, from what the backbone thinks of it and code 0.

    Its sequence is as long as a frame is deep: the backbone's state, then each code's embedding.

    Args:
        config: of its transformer.
        width: of the backbone's states.
        num_codebooks: Q, 2 or more.
        codebook_size: K.
    """

    def __init__(
        self, config: TransformerConfig, width: int, num_codebooks: int, codebook_size: int
    ) -> None:
        super().__init__()
        self.codebook_size = codebook_size
        self.entry = nn.Linear(width, config.dim, bias=False)
        self.embedding = nn.Embedding((num_codebooks - 1) * codebook_size, config.dim)
        self.transformer = Transformer(config)
        self.heads = nn.Parameter(torch.empty(num_codebooks - 1, codebook_size, config.dim))

    def forward(self, states: Tensor, codes: Tensor) -> Tensor:
        """Score the codes of frames that are known.

        Args:
            states: (N, C) of the backbone.
            codes: (N, Q) int64; the last one is not read.

        Returns:
            (N, Q - 1, K), of codes 1 to Q - 1.
        """
        books = torch.arange(codes.shape[1] - 1, device=codes.device)
        embedded = self.embedding(codes[:, :-1] + books * self.codebook_size)
        x = torch.cat([self.entry(states)[:, None], embedded], dim=1)
        return torch.einsum("nqc,qkc->nqk", self.transformer(x)[:, 1:], self.heads)

    def start(self, states: Tensor, codes: Tensor) -> tuple[KeyValueCache, Tensor]:
        """Read the backbone's states (N, C) of new frames and their first codes (N,).

        Returns:
            What was read, and the scores (N, K) of the second book's codes.
        """
        cache = self.transformer.new_cache(len(states), room=len(self.heads) + 1)
        x = torch.stack([apart(self.entry.weight, states), self.embedding(codes)], dim=1)
        return cache, apart(self.heads[0], self.transformer(x, cache=cache)[:, 1])

    def next(self, cache: KeyValueCache, book: int, codes: Tensor) -> Tensor:
        """Read the codes (N,) of a book, and return the scores (N, K) of the next book's."""
        x = self.embedding(codes + book * self.codebook_size)[:, None]
        return apart(self.heads[book], self.transformer(x, cache=cache)[:, 0])

    def reset(self) -> None:
        """Draw all weights anew."""
        self.transformer.reset()
        for table in (self.entry.weight, self.embedding.weight, self.heads):
            nn.init.normal_(table, std=0.02)
