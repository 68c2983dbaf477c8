"""The whole model that teaches a tokenizer: what hears, and what recognises behind the codes."""

from collections.abc import Mapping
from typing import Self

import torch
from torch import Tensor, nn
from torch.nn import functional

from echoic.asr.tokenizer.config import TokenizerConfig
from echoic.asr.tokenizer.front import Front
from echoic.asr.whisper.decoder import Decoder
from echoic.asr.whisper.encoder import EncodedWindows, EncoderLayer
from echoic.asr.whisper.layout import sinusoids
from echoic.streaming.layers.masks import block_causal_mask


class Back(nn.Module):
    """The encoder's layers behind the codes, with positions of their own.

    Args:
        config: sizes.
    """

    positions: Tensor

    def __init__(self, config: TokenizerConfig) -> None:
        super().__init__()
        self.config = config
        sizes = config.whisper
        width, heads = sizes.d_model, sizes.encoder_attention_heads
        table = sinusoids(config.positions, width).float()
        self.register_buffer("positions", table, persistent=False)
        self.layers = nn.ModuleList(
            EncoderLayer(width, heads, sizes.encoder_ffn_dim)
            for _ in range(sizes.encoder_layers - config.layers)
        )
        self.layer_norm = nn.LayerNorm(width)

    def forward(self, values: Tensor, mask: Tensor) -> EncodedWindows:
        """Return what the decoder listens to.

        Args:
            values: (B, N, C), the vectors of the codes.
            mask: bool (B, N), True where there are some.

        Raises:
            ValueError: more codes than there are positions for.
        """
        count, config = values.shape[1], self.config
        if count > config.positions:
            raise ValueError(
                f"{count} codes are {count / config.frame_rate:.1f} s, and the model recognises "
                f"{config.positions / config.frame_rate:g} s at once: cut the recording"
            )
        x = values + self.positions[:count]
        seen = block_causal_mask(count, config.block // config.pooling, device=x.device)
        itself = torch.eye(count, dtype=torch.bool, device=x.device)
        visible = (seen & mask[:, None, :] | itself)[:, None]
        for layer in self.layers:
            assert isinstance(layer, EncoderLayer)
            q, k, v = layer.self_attn.queries_keys_values(layer.self_attn_layer_norm(x))
            heads = functional.scaled_dot_product_attention(q, k, v, attn_mask=visible)
            x = layer.finish(x + layer.self_attn.output(heads))
        log_counts = torch.zeros(mask.shape, device=x.device).masked_fill_(~mask, -torch.inf)
        return EncodedWindows(self.layer_norm(x), log_counts)


class TokenizerModel(nn.Module):
    """Front, back and decoder; the book between the first two is elsewhere while it learns.

    Args:
        config: sizes.
    """

    def __init__(self, config: TokenizerConfig) -> None:
        super().__init__()
        self.config = config
        self.front = Front(config)
        self.back = Back(config)
        self.decoder = Decoder(config.whisper)
        # Sinusoids, which are as good where the codes are as they were before.
        self.front.embed_positions.weight.requires_grad_(False)

    @classmethod
    def of_whisper(cls, config: TokenizerConfig, state: Mapping[str, Tensor]) -> Self:
        """Cut a Whisper.

        Args:
            config: where to cut it.
            state: its weights by Hugging Face's names, see `Checkpoint.state`.
        """
        model = cls(config)
        model.load_state_dict({_name(key, config.layers): value for key, value in state.items()})
        return model


def _name(name: str, cut: int) -> str:
    """Return the name here of a tensor of Whisper's, whose encoder is cut behind `cut` layers."""
    side, part, *rest = name.removeprefix("model.").split(".")
    if side != "encoder":
        return ".".join((side, part, *rest))
    if part == "layers" and int(rest[0]) >= cut:
        rest[0] = str(int(rest[0]) - cut)
        return ".".join(("back", part, *rest))
    return ".".join(("back" if part == "layer_norm" else "front", part, *rest))
