"""Transformers that only speak: fewer and larger products, on weights of fewer bits.

A step of one position reads all weights and does little with them, so a weight's bytes are its
time. Norms, attention and everything between the products stay in float32.
"""

import copy
from typing import Literal, get_args

import torch
from torch import Tensor, nn
from torch.nn import functional

from echoic.tts.lm.cache import Cache
from echoic.tts.lm.rope import turn
from echoic.tts.lm.speech import SpeechLM
from echoic.tts.lm.transformer import Layer, Transformer

Arithmetic = Literal["float32", "bfloat16", "int8"]
ARITHMETICS: tuple[str, ...] = get_args(Arithmetic)


def fitting_arithmetic(device: torch.device | str = "cpu") -> Arithmetic:
    """Return the arithmetic that talkers are fastest in, by what the processor has.

    Not by a race: what is chosen, and with it the voice, should not depend on what else runs.
    """
    wide = torch.backends.cpu.get_cpu_capability() in ("AVX512", "AMX")
    return "int8" if wide and torch.device(device).type == "cpu" else "float32"


def pack(model: SpeechLM, arithmetic: Arithmetic) -> SpeechLM:
    """Return a model that speaks as this one does, faster; it can be neither trained nor saved.

    Args:
        model: in evaluation mode; it stays as it is.
        arithmetic: of the products. Eight bits: a scale for each row of the weights; what they are
            multiplied with has bfloat16's precision.

    Raises:
        ValueError: an unknown arithmetic, or one that the model's device does not have.
    """
    if arithmetic not in ARITHMETICS:
        raise ValueError(f"arithmetic is {arithmetic!r}, expected one of {', '.join(ARITHMETICS)}")
    if arithmetic == "int8" and model.device.type != "cpu":
        raise ValueError(f"int8 is for processors, not for {model.device}: take bfloat16 there")
    made = copy.deepcopy(model)
    made.backbone = PackedTransformer(made.backbone, arithmetic)
    if made.depth is not None:
        made.depth.transformer = PackedTransformer(made.depth.transformer, arithmetic)
    return made.eval().requires_grad_(False)


class PackedTransformer(Transformer):
    """A transformer whose layers are packed; it has the same face.

    Args:
        source: what it computes.
        arithmetic: see `pack`.
    """

    def __init__(self, source: Transformer, arithmetic: Arithmetic) -> None:
        nn.Module.__init__(self)
        self.config = source.config
        self.layers = nn.ModuleList(
            _PackedLayer(layer, arithmetic) for layer in source.layers if isinstance(layer, Layer)
        )
        self.norm = source.norm
        self.register_buffer("turning", source.turning, persistent=False)


class _PackedLayer(nn.Module):
    def __init__(self, source: Layer, arithmetic: Arithmetic) -> None:
        super().__init__()
        own, inner = source.self_attn, source.mlp
        self.heads, self.kv_heads, self.size = own.heads, own.kv_heads, own.head_size
        self.normed = not isinstance(own.q_norm, nn.Identity)
        self.q_norm, self.k_norm = own.q_norm, own.k_norm
        self.input_norm = source.input_layernorm
        self.inner_norm = source.post_attention_layernorm
        self.enter = _product([own.q_proj, own.k_proj, own.v_proj], arithmetic)
        self.leave = _product([own.o_proj], arithmetic)
        self.up = _product([inner.gate_proj, inner.up_proj], arithmetic)
        self.down = _product([inner.down_proj], arithmetic)

    def forward(
        self,
        x: Tensor,
        turned: tuple[Tensor, Tensor],
        mask: Tensor | None,
        causal: bool,
        cache: Cache | None,
        layer: int,
    ) -> Tensor:
        every = self.enter(self.input_norm(x)).unflatten(-1, (-1, self.size)).transpose(1, 2)
        q, k, v = every.split([self.heads, self.kv_heads, self.kv_heads], dim=1)
        if self.normed:
            q, k = self.q_norm(q), self.k_norm(k)
        q, k = turn(q, *turned), turn(k, *turned)
        if cache is not None:
            heard = cache.attend(layer, q, k, v, mask)
        else:
            shared = self.heads != self.kv_heads
            heard = functional.scaled_dot_product_attention(
                q, k, v, attn_mask=mask, is_causal=causal, enable_gqa=shared
            )
        x = x + self.leave(heard.transpose(1, 2).flatten(2))
        gate, up = self.up(self.inner_norm(x)).chunk(2, dim=-1)
        return x + self.down(functional.silu(gate) * up)


class _Product(nn.Module):
    """A linear layer on weights of fewer bits; in and out is float32."""

    def __init__(self, weight: Tensor, bias: Tensor | None, arithmetic: Arithmetic) -> None:
        super().__init__()
        # torch's kernel reads 16 at once, and beyond the end of what is no multiple of them.
        self.eight = arithmetic == "int8" and weight.shape[1] % 16 == 0
        self.bias = bias
        if self.eight:
            scales = weight.abs().amax(1).clamp_min(1e-12) / 127
            self.scales = scales.bfloat16()
            # Rounded by the scale that is kept, so that its own rounding costs nothing.
            self.weight = (weight / self.scales.float()[:, None]).round().clamp(-127, 127)
            self.weight = self.weight.to(torch.int8)
        else:
            short = torch.float32 if arithmetic == "float32" else torch.bfloat16
            self.weight = weight.to(short)

    def forward(self, x: Tensor) -> Tensor:
        if not self.eight:
            made = functional.linear(x.to(self.weight.dtype), self.weight).float()
        else:
            rows = x.reshape(-1, x.shape[-1]).bfloat16()
            made = torch.ops.aten._weight_int8pack_mm(rows, self.weight, self.scales).float()
            made = made.view(*x.shape[:-1], -1)
        return made if self.bias is None else made + self.bias


def _product(sources: list[nn.Linear], arithmetic: Arithmetic) -> _Product:
    weight = torch.cat([source.weight.detach() for source in sources])
    biases = [source.bias.detach() for source in sources if source.bias is not None]
    return _Product(weight, torch.cat(biases) if biases else None, arithmetic)
