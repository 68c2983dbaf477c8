"""Whisper's decoder over a cache of fixed size."""

import torch
from torch import Tensor, nn
from torch.nn import functional

from echoic.asr.whisper.attention import Attention, attend_few
from echoic.asr.whisper.cache import DecoderCache
from echoic.asr.whisper.config import WhisperConfig
from echoic.asr.whisper.encoder import embedding


class DecoderLayer(nn.Module):
    """Pre-norm self-attention, cross-attention and feed-forward."""

    def __init__(self, width: int, num_heads: int, ffn_width: int) -> None:
        super().__init__()
        self.self_attn = Attention(width, num_heads)
        self.self_attn_layer_norm = nn.LayerNorm(width)
        self.encoder_attn = Attention(width, num_heads)
        self.encoder_attn_layer_norm = nn.LayerNorm(width)
        self.fc1 = nn.Linear(width, ffn_width)
        self.fc2 = nn.Linear(ffn_width, width)
        self.final_layer_norm = nn.LayerNorm(width)

    def forward(self, x: Tensor, index: int, cache: DecoderCache, causal: Tensor | None) -> Tensor:
        """One layer over the new tokens `x` (R, N, C); writes their keys and values."""
        x = x + self._attend_past(self.self_attn_layer_norm(x), index, cache, causal)
        x = x + self._attend_sound(self.encoder_attn_layer_norm(x), index, cache)
        return x + self.fc2(functional.gelu(self.fc1(self.final_layer_norm(x))))

    def _attend_past(
        self, x: Tensor, index: int, cache: DecoderCache, causal: Tensor | None
    ) -> Tensor:
        start, end = cache.length, cache.length + x.shape[1]
        queries, keys, values = self.self_attn.queries_keys_values(x)
        cache.self_keys[index, :, :, start:end] = keys
        cache.self_values[index, :, :, start:end] = values
        heads = attend_few(
            queries,
            cache.self_keys[index, :, :, :end],
            cache.self_values[index, :, :, :end],
            causal,
        )
        return self.self_attn.output(heads)

    def _attend_sound(self, x: Tensor, index: int, cache: DecoderCache) -> Tensor:
        group, tokens = cache.group_size, x.shape[1]
        # The hypotheses of one window read the same keys: they are queries of one product.
        queries = self.encoder_attn.queries(x)  # (R, H, N, D)
        queries = queries.unflatten(0, (-1, group)).transpose(1, 2).flatten(2, 3)
        heads = attend_few(
            queries, cache.cross_keys[index], cache.cross_values[index], cache.cross_bias
        )  # (B, H, G * N, D)
        heads = heads.unflatten(2, (group, tokens)).transpose(1, 2).flatten(0, 1)
        return self.encoder_attn.output(heads)


class Decoder(nn.Module):
    """Token and position embeddings, a stack of layers, and the tied output projection."""

    def __init__(self, config: WhisperConfig) -> None:
        super().__init__()
        width = config.d_model
        self.embed_tokens = embedding(config.vocab_size, width)
        self.embed_positions = embedding(config.max_target_positions, width)
        self.layers = nn.ModuleList(
            DecoderLayer(width, config.decoder_attention_heads, config.decoder_ffn_dim)
            for _ in range(config.decoder_layers)
        )
        self.layer_norm = nn.LayerNorm(width)
        # Replaced by faster arithmetic at inference; the weight stays that of the embedding.
        self.projection: nn.Module | None = None

    def start(
        self, encoded: Tensor, log_counts: Tensor | None = None, *, capacity: int | None = None
    ) -> DecoderCache:
        """Compute the keys and values of the sound once, for all steps.

        Args:
            encoded: (B, T, C), the encoder's output.
            log_counts: float32 (B, T), see `EncodedWindows`; None when all frames are single.
            capacity: tokens the cache can hold; None for all positions the model has.
        """
        pairs = [layer.encoder_attn.keys_values(encoded) for layer in self.blocks()]
        batch, heads, _, channels = pairs[0][0].shape
        capacity = capacity or self.embed_positions.num_embeddings
        shape = (len(pairs), batch, heads, capacity, channels)
        dtype = self.layer_norm.weight.dtype
        return DecoderCache(
            self_keys=encoded.new_empty(shape, dtype=dtype),
            self_values=encoded.new_empty(shape, dtype=dtype),
            cross_keys=torch.stack([keys for keys, _ in pairs]),
            cross_values=torch.stack([values for _, values in pairs]),
            cross_bias=None if log_counts is None else log_counts[:, None, None],
        )

    def forward(self, tokens: Tensor, cache: DecoderCache) -> Tensor:
        """Run new tokens through the stack and remember them.

        Args:
            tokens: int64 (R, N).
            cache: what came before; grows by N.

        Returns:
            (R, N, C), hidden states of the new tokens.

        Raises:
            ValueError: more tokens than the cache or the model has room for.
        """
        start, new = cache.length, tokens.shape[1]
        room = min(cache.self_keys.shape[3], self.embed_positions.num_embeddings)
        if start + new > room:
            raise ValueError(
                f"{start} tokens and {new} more are too many: there is room for {room}"
            )
        positions = self.embed_positions.weight[start : start + new]
        x = functional.embedding(tokens, self.embed_tokens.weight) + positions
        causal = None if new == 1 else self._causal_mask(start, new, x.device)
        for index, layer in enumerate(self.blocks()):
            x = layer(x, index, cache, causal)
        cache.length = start + new
        return self.layer_norm(x)

    def logits(self, hidden: Tensor) -> Tensor:
        """Project hidden states (..., C) to float32 scores (..., vocab_size)."""
        if self.projection is not None:
            return self.projection(hidden).float()
        return functional.linear(hidden, self.embed_tokens.weight).float()

    def cross_scores(
        self, tokens: Tensor, cache: DecoderCache, heads: tuple[tuple[int, int], ...]
    ) -> tuple[Tensor, Tensor]:
        """Run tokens and keep what some heads of the cross-attention look at.

        Args:
            tokens: int64 (B, N), teacher forced, one row a window.
            cache: a fresh one.
            heads: (layer, head) pairs.

        Returns:
            Hidden states (B, N, C), and attention weights (B, len(heads), N, T) after the softmax.
        """
        blocks = self.blocks()
        inputs: list[Tensor] = []

        def remember(_module: nn.Module, _args: object, output: Tensor) -> None:
            inputs.append(output)

        hooks = [block.encoder_attn_layer_norm.register_forward_hook(remember) for block in blocks]
        try:
            hidden = self(tokens, cache)
        finally:
            for hook in hooks:
                hook.remove()
        weights = []
        for layer, head in heads:
            q = blocks[layer].encoder_attn.queries(inputs[layer])[:, head]
            k = cache.cross_keys[layer, :, head]
            scores = torch.matmul(q.float() * q.shape[-1] ** -0.5, k.float().transpose(1, 2))
            if cache.cross_bias is not None:
                scores = scores + cache.cross_bias[:, 0]
            weights.append(scores.softmax(-1))
        return hidden, torch.stack(weights, dim=1)

    def blocks(self) -> list[DecoderLayer]:
        """Return the layers with their type."""
        return [layer for layer in self.layers if isinstance(layer, DecoderLayer)]

    @staticmethod
    def _causal_mask(start: int, new: int, device: torch.device) -> Tensor:
        later = torch.ones(new, start + new, dtype=torch.bool, device=device).triu_(start + 1)
        return torch.zeros(later.shape, device=device).masked_fill_(later, -torch.inf)
