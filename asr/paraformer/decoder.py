"""The bidirectional decoder: acoustic embeddings of all tokens in, scores of all tokens out."""

from torch import Tensor, nn

from echoic.asr.paraformer.config import DecoderConfig
from echoic.asr.paraformer.sanm import (
    CrossAttention,
    FeedForward,
    Memory,
    layer_norm,
    length_mask,
)


class DecoderBlock(nn.Module):
    """Feed-forward layer and memory, then a look at the encoder's output.

    Nothing is added around the feed-forward layer: its output goes through the memory first.

    Args:
        dim: width.
        config: sizes.
        cross: whether it looks at the encoder's output.
    """

    def __init__(self, dim: int, config: DecoderConfig, *, cross: bool) -> None:
        super().__init__()
        self.norm1 = layer_norm(dim)
        self.feed_forward = FeedForward(dim, config.ffn_dim, config.dropout, normed=True)
        self.norm2 = layer_norm(dim)
        self.memory = Memory(dim, config.kernel_size, config.shift, config.dropout)
        self.norm3 = layer_norm(dim) if cross else None
        self.cross = CrossAttention(dim, config.heads, config.dropout) if cross else None
        self.dropout = nn.Dropout(config.dropout)

    def forward(self, x: Tensor, mask: Tensor, hidden: Tensor, hidden_mask: Tensor) -> Tensor:
        """Transform tokens x (B, N, D) that hear hidden (B, T, D)."""
        return self.listen(x, self.memory(self.ready(x), mask), hidden, hidden_mask)

    def ready(self, x: Tensor) -> Tensor:
        """Return what of the tokens the memory is given."""
        return self.norm2(self.feed_forward(self.norm1(x)))

    def listen(self, x: Tensor, memory: Tensor, hidden: Tensor, hidden_mask: Tensor) -> Tensor:
        """Add to tokens x what the memory made of them, and what they hear."""
        x = x + self.dropout(memory)
        if self.norm3 is None or self.cross is None:
            return x
        return x + self.dropout(self.cross(self.norm3(x), hidden, hidden_mask))


class LastBlock(nn.Module):
    """The feed-forward layer behind all blocks; it replaces what it is given.

    Args:
        dim: width.
        config: sizes.
    """

    def __init__(self, dim: int, config: DecoderConfig) -> None:
        super().__init__()
        self.norm = layer_norm(dim)
        self.feed_forward = FeedForward(dim, config.ffn_dim, config.dropout, normed=True)

    def forward(self, x: Tensor) -> Tensor:
        """Transform each token of x (B, N, D)."""
        return self.feed_forward(self.norm(x))


class Decoder(nn.Module):
    """All blocks, a norm and the projection to the vocabulary.

    Args:
        vocab_size: tokens.
        dim: width.
        config: sizes.

    Attributes:
        embed: (vocab_size, dim) embeddings of labels, which only training mixes in.
    """

    def __init__(self, vocab_size: int, dim: int, config: DecoderConfig) -> None:
        super().__init__()
        self.embed = nn.Embedding(vocab_size, dim)
        self.blocks = nn.ModuleList(
            [DecoderBlock(dim, config, cross=i < config.cross_layers) for i in range(config.layers)]
        )
        self.last = LastBlock(dim, config)
        self.norm = layer_norm(dim)
        self.output = nn.Linear(dim, vocab_size)

    def forward(self, tokens: Tensor, counts: Tensor, hidden: Tensor, lengths: Tensor) -> Tensor:
        """Score every token.

        Args:
            tokens: (B, N, D) acoustic embeddings.
            counts: (B,) tokens that count.
            hidden: (B, T, D), T >= 1, of the encoder.
            lengths: (B,) frames that count.

        Returns:
            Logits (B, N, vocab_size).
        """
        return self.output(self.features(tokens, counts, hidden, lengths))

    def features(self, tokens: Tensor, counts: Tensor, hidden: Tensor, lengths: Tensor) -> Tensor:
        """Return what the last projection is given, (B, N, D); see `forward`."""
        return self.masked_features(tokens, counts, hidden, length_mask(lengths, hidden.shape[1]))

    def masked_features(
        self, tokens: Tensor, counts: Tensor, hidden: Tensor, hidden_mask: Tensor
    ) -> Tensor:
        """Do as `features`, with a mask (B, T) or (B, N, T) of what tokens hear."""
        if not tokens.shape[1]:
            return tokens
        mask = length_mask(counts, tokens.shape[1])
        x = tokens
        for block in self.blocks:
            x = block(x, mask, hidden, hidden_mask)
        return self.norm(self.last(x))
