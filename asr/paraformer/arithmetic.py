"""Paraformer's large products in the arithmetic that is fastest here.

Only the linear layers of encoder and decoder change. What the encoder begins with, norms,
attention, the predictor's weights and the scores of the tokens stay in float32: they decide how
many tokens there are, and which.
"""

from collections.abc import Callable, Iterator

import torch
from torch import Tensor, nn

from echoic.asr.arithmetic import (
    BYTE_KINDS,
    CANDIDATES,
    EXACT_CANDIDATES,
    CastLinear,
    Int8Linear,
    Kind,
    able,
    are_bytes,
    byte_linear,
    check,
    dtype_of,
    fastest,
)
from echoic.asr.paraformer.config import Activation, ParaformerConfig
from echoic.asr.paraformer.decoder import Decoder
from echoic.asr.paraformer.encoder import Encoder
from echoic.asr.paraformer.sanm import FeedForward, activated

# Stacked frames of a trial: 10 s.
_TRIAL_FRAMES = 167


class PackedLinear(nn.Module):
    """As `CastLinear` on a CPU, with the weights in the order that its library reads.

    Else the library puts them in that order anew each time, which costs a tenth of a long
    utterance in bfloat16, and more of a short one; float32 is left to another library, which took
    up to a fifth longer on an AMD EPYC. A frame's result is the same alone and in any batch.

    Args:
        weight: (outputs, inputs).
        bias: (outputs,), or None.
        dtype: to multiply in, float32 or bfloat16.
    """

    def __init__(self, weight: Tensor, bias: Tensor | None, dtype: torch.dtype) -> None:
        super().__init__()
        self.dtype = dtype
        cast = weight.detach().to(dtype)
        self._packed = torch.ops.mkldnn._reorder_linear_weight(cast, _TRIAL_FRAMES)
        held = None if bias is None else bias.detach().to(dtype)
        self.bias: Tensor | None
        self.register_buffer("bias", held, persistent=False)

    def forward(self, x: Tensor) -> Tensor:
        """(..., inputs) -> (..., outputs) of the dtype of x."""
        cast = x.to(self.dtype)
        y = torch.ops.mkldnn._linear_pointwise(cast, self._packed, self.bias, "none", [], "")
        return y.to(x.dtype)


class ShortFeedForward(nn.Module):
    """A feed-forward layer without a norm that stays in a shorter float inside.

    What is inside is four times as wide as what comes in: casting it there and back would cost as
    much as it saves, and change nothing.

    Args:
        layers: whose linear layers return the dtype that they are given.
        dtype: inside.
    """

    def __init__(self, layers: FeedForward, dtype: torch.dtype) -> None:
        super().__init__()
        self.inner, self.outer = layers.inner, layers.outer
        self.activation: Activation = layers.activation
        self.dtype = dtype

    def forward(self, x: Tensor) -> Tensor:
        """Transform each frame of x (B, T, D)."""
        return self.outer(activated(self.inner(x.to(self.dtype)), self.activation)).to(x.dtype)


class ByteFeedForward(nn.Module):
    """A feed-forward layer with a ReLU and without a norm that stays in bytes inside.

    Args:
        layers: whose linear layers are in eight bits.
    """

    def __init__(self, layers: FeedForward) -> None:
        super().__init__()
        assert isinstance(layers.inner, Int8Linear)
        assert isinstance(layers.outer, Int8Linear)
        self.inner, self.outer = layers.inner, layers.outer

    def forward(self, x: Tensor) -> Tensor:
        """Transform each frame of x (B, T, D)."""
        return self.inner.rectified(x, self.outer)


def apply(encoder: Encoder, decoder: Decoder, kind: Kind) -> None:
    """Turn both to inference in the given arithmetic, in place and for good.

    Raises:
        ValueError: a kind that this device cannot compute.
    """
    check(kind, encoder.norm.weight.device)
    for stack in _stacks(encoder, decoder).values():
        _convert(stack, kind)
    if encoder.stem is not None:
        _convert(encoder.stem, "float32")
    encoder.requires_grad_(False).eval()
    decoder.requires_grad_(False).eval()


def large_layers(encoder: Encoder, decoder: Decoder) -> Iterator[tuple[str, nn.Linear]]:
    """Yield the layers that `apply` changes, by their names in a model."""
    for stack, modules in _stacks(encoder, decoder).items():
        for name, layer in modules.named_modules(prefix=stack):
            if isinstance(layer, nn.Linear):
                yield name, layer


def choose(
    encoder: Encoder, decoder: Decoder, device: torch.device, config: ParaformerConfig
) -> Kind:
    """Measure for some milliseconds what this machine is fastest in.

    On a CPU a model whose large layers are bytes writes what it writes in float32.

    Args:
        encoder: of the model, before `apply`.
        decoder: likewise.
        device: where it will run.
        config: of the model; the trials have its shapes.
    """
    if device.type != "cpu":
        return "float16"
    is_exact = all(are_bytes(layer.weight) for _, layer in large_layers(encoder, decoder))
    kinds = EXACT_CANDIDATES if is_exact else CANDIDATES
    return fastest(lambda kind: _trial(kind, config), kinds)


def _stacks(encoder: Encoder, decoder: Decoder) -> dict[str, nn.Module]:
    return {
        "encoder.blocks": encoder.blocks,
        "decoder.blocks": decoder.blocks,
        "decoder.last": decoder.last,
    }


def _trial(kind: Kind, config: ParaformerConfig) -> Callable[[], object]:
    dim = config.encoder.dim
    layers = FeedForward(dim, config.encoder.ffn_dim, 0.0, activation=config.encoder.activation)
    block = nn.Sequential(layers).eval()
    _convert(block, kind)
    x = torch.randn(1, _TRIAL_FRAMES, dim)
    return lambda: block(x)


def _convert(module: nn.Module, kind: Kind) -> None:
    for name, child in module.named_children():
        if isinstance(child, nn.Linear):
            setattr(module, name, _layer(child, kind))
            continue
        _convert(child, kind)
        if isinstance(child, FeedForward) and not child.normed:
            setattr(module, name, _feed_forward(child, kind))


def _feed_forward(layers: FeedForward, kind: Kind) -> nn.Module:
    if dtype_of(kind) is not torch.float32:
        return ShortFeedForward(layers, dtype_of(kind))
    if kind == "int8" and layers.activation == "relu":
        return ByteFeedForward(layers)
    return layers


def _layer(linear: nn.Linear, kind: Kind) -> nn.Module:
    weight, bias = linear.weight, linear.bias
    if kind in BYTE_KINDS:
        return byte_linear(weight, bias, kind)
    if weight.device.type == "cpu" and _packs(kind):
        return PackedLinear(weight, bias, dtype_of(kind))
    return linear if kind == "float32" else CastLinear(weight, bias, dtype_of(kind))


def _packs(kind: Kind) -> bool:
    """Whether the library's order of weights is known to help: on x86 with instructions for it."""
    needed = "AVX" if kind == "float32" else "AVX512"
    has_order = kind in able() and torch.backends.mkldnn.is_available()
    return has_order and torch.backends.cpu.get_cpu_capability().startswith(needed)
