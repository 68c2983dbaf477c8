"""Which arithmetic a model computes in, and how to choose the fastest that is right.

The encoder works on hundreds of frames at once and is bound by multiplications; the decoder works
on a token at a time and is bound by the reading of weights. So the two are chosen apart.
"""

import time
import warnings
from collections.abc import Callable, Iterator, Mapping, Sequence
from contextlib import contextmanager
from dataclasses import dataclass
from typing import Literal, cast, get_args

import torch
from torch import Tensor, nn

from echoic.asr.whisper.attention import Attention
from echoic.asr.whisper.config import WhisperConfig
from echoic.asr.whisper.decoder import Decoder
from echoic.asr.whisper.encoder import Encoder, EncoderLayer

Kind = Literal["float32", "bfloat16", "float16", "int8"]
KINDS: tuple[str, ...] = get_args(Kind)


@dataclass(frozen=True, slots=True)
class Arithmetic:
    """The arithmetic of the two stacks."""

    encoder: Kind
    decoder: Kind

    def __str__(self) -> str:
        return self.encoder if self.encoder == self.decoder else f"{self.encoder}/{self.decoder}"


class Int8Linear(nn.Module):
    """A linear layer on 8-bit weights (one scale a row) and activations (one scale a frame).

    The library's dynamic quantisation takes one scale for the whole input, so that the answer for
    one recording would depend on its neighbours in the batch. Here every frame is scaled to a peak
    of one first, and a frame that spans exactly [-1, 1] is added, which pins the library's scale:
    a frame's result is the same alone and in any batch.
    """

    def __init__(self, weight: Tensor, bias: Tensor | None) -> None:
        super().__init__()
        self.out_features, self.in_features = weight.shape
        scales = weight.detach().float().abs().amax(dim=1).clamp_min(1e-12) / 127
        zeros = torch.zeros(len(scales), dtype=torch.int64)
        with warnings.catch_warnings():  # of a move to torchao, which has no such kernel for CPUs
            warnings.filterwarnings("ignore", category=UserWarning)
            quantized = torch.quantize_per_channel(
                weight.detach().float(), scales.double(), zeros, 0, torch.qint8
            )
        self._packed = torch.ops.quantized.linear_prepack(quantized, None)
        # Without VNNI the kernel adds pairs of products in 16 bits: seven bits cannot overflow.
        self._reduce_range = not torch.cpu._is_vnni_supported()
        empty = torch.zeros(self.out_features) if bias is None else bias.detach().float().clone()
        self.bias: Tensor
        self.register_buffer("bias", empty, persistent=False)
        pin = torch.zeros(self.in_features)
        pin[0], pin[-1] = -1.0, 1.0
        self.pin: Tensor
        self.register_buffer("pin", pin, persistent=False)

    def forward(self, x: Tensor) -> Tensor:
        """(..., in_features) -> (..., out_features), float32."""
        flat = x.reshape(-1, self.in_features)
        peak = flat.abs().amax(dim=1, keepdim=True).clamp_min_(1e-20)
        scaled = flat.new_empty(len(flat) + 1, self.in_features)
        torch.div(flat, peak, out=scaled[:-1])
        scaled[-1] = self.pin
        y = torch.ops.quantized.linear_dynamic(scaled, self._packed, self._reduce_range)
        y = torch.addcmul(self.bias, y[:-1], peak)
        return y.unflatten(0, x.shape[:-1])


def apply(encoder: Encoder, decoder: Decoder, arithmetic: Arithmetic) -> None:
    """Turn both stacks to inference in the given arithmetic, in place and for good.

    Raises:
        ValueError: an unknown kind, or one that this device cannot compute.
    """
    device = encoder.layer_norm.weight.device
    for kind in (arithmetic.encoder, arithmetic.decoder):
        check(kind, device)
    for layer in encoder.blocks():
        _apply_to_encoder_layer(layer, arithmetic.encoder)
    for layer in decoder.blocks():
        _fuse_self_attention(layer.self_attn, arithmetic.decoder)
        _convert(layer, ("fc1", "fc2"), arithmetic.decoder)
        sound = layer.encoder_attn
        # Keys and values of the sound are computed by the hundred, once a window: encoder's work.
        sound.fused_kv = _linear([sound.k_proj, sound.v_proj], arithmetic.encoder)
        del sound.k_proj, sound.v_proj
        _convert(sound, ("q_proj", "out_proj"), arithmetic.decoder)
    if arithmetic.decoder == "int8":
        decoder.projection = Int8Linear(decoder.embed_tokens.weight, None)
    _cast_the_rest(encoder, arithmetic.encoder)
    _cast_the_rest(decoder, arithmetic.decoder)
    encoder.requires_grad_(False).eval()
    decoder.requires_grad_(False).eval()


def check(kind: str, device: torch.device) -> None:
    """Raise ValueError, with the mend, where `device` cannot compute in `kind`."""
    if kind not in KINDS:
        raise ValueError(f"unknown arithmetic {kind!r}: one of auto, {', '.join(KINDS)}")
    if kind == "float16" and device.type == "cpu":
        raise ValueError("float16 is for GPUs: on a CPU take float32, bfloat16, int8 or auto")
    if kind == "int8" and device.type != "cpu":
        raise ValueError(f"int8 is for CPUs: on {device.type} take float16, bfloat16 or auto")


def named(kind: str) -> Arithmetic:
    """Return the arithmetic that a user means by one word: int8 is for weights that are read."""
    if kind == "int8":
        return Arithmetic(encoder="int8", decoder="int8")
    if kind not in KINDS:
        raise ValueError(f"unknown arithmetic {kind!r}: one of auto, {', '.join(KINDS)}")
    return Arithmetic(encoder=cast(Kind, kind), decoder=cast(Kind, kind))


def choose(device: torch.device, config: WhisperConfig) -> Arithmetic:
    """Measure for some milliseconds what this machine is fastest in.

    Args:
        device: where the model will run.
        config: of the model; the trials have its shapes.
    """
    if device.type != "cpu":
        return Arithmetic("float16", "float16")
    able = _able()
    # The trials' random numbers shall not move those of the program that loads a model.
    with torch.random.fork_rng(devices=[]), _one_thread(), torch.inference_mode():
        return Arithmetic(
            encoder=_fastest({kind: _encoder_trial(kind, config) for kind in able}),
            decoder=_fastest({kind: _decoder_trial(kind, config) for kind in able}),
        )


# From the most precise to the least, which must be faster by this factor to be taken. So a busy
# machine does not change the choice, and with it the text, from one run to the next.
CANDIDATES: tuple[Kind, ...] = ("float32", "bfloat16", "int8")
WORTH_LESS_PRECISION = 1.25
TRIALS = 3


def _encoder_trial(kind: Kind, config: WhisperConfig) -> Callable[[], object]:
    """One layer over some seconds of sound, enough for attention to weigh what it does."""
    layer = EncoderLayer(config.d_model, config.encoder_attention_heads, config.encoder_ffn_dim)
    _apply_to_encoder_layer(layer, kind)
    _cast_the_rest(layer, kind)
    x = torch.randn(1, 640, config.d_model, dtype=_dtype(kind))
    return lambda: layer(x, None)


def _decoder_trial(kind: Kind, config: WhisperConfig) -> Callable[[], object]:
    """A slice of the output projection, for a step of eight hypotheses."""
    weight = torch.randn(16 * config.d_model, config.d_model)
    layer = Int8Linear(weight, None) if kind == "int8" else _plain_linear(weight, None, kind)
    x = torch.randn(8, config.d_model, dtype=_dtype(kind))
    return lambda: layer(x)


def _fastest(trials: Mapping[Kind, Callable[[], object]]) -> Kind:
    # The least of several turns is what the machine can do; others were disturbed.
    best: dict[Kind, float] = {
        kind: min(_seconds(trial) for _ in range(TRIALS)) for kind, trial in trials.items()
    }
    kinds: list[Kind] = list(best)
    chosen = kinds[0]
    for kind in kinds[1:]:
        if best[kind] * WORTH_LESS_PRECISION < best[chosen]:
            chosen = kind
    return chosen


def _able() -> list[Kind]:
    able: list[Kind] = []
    for kind in CANDIDATES:
        if _has_instructions(kind):
            able.append(kind)
    return able


def _has_instructions(kind: Kind) -> bool:
    if kind == "bfloat16":  # without them it is emulated, and fast at some sizes only
        ops = torch.ops.mkldnn
        return hasattr(ops, "_is_mkldnn_bf16_supported") and ops._is_mkldnn_bf16_supported()
    if kind == "int8":
        return "x86" in torch.backends.quantized.supported_engines
    return True


def _seconds(trial: Callable[[], object]) -> float:
    start = time.thread_time()
    trial()
    return time.thread_time() - start


@contextmanager
def _one_thread() -> Iterator[None]:
    """Compute in this thread alone, whose clock stands still while other programs run."""
    threads = torch.get_num_threads()
    torch.set_num_threads(1)
    try:
        yield
    finally:
        torch.set_num_threads(threads)


def _dtype(kind: Kind) -> torch.dtype:
    return torch.float32 if kind == "int8" else getattr(torch, kind)


def _apply_to_encoder_layer(layer: EncoderLayer, kind: Kind) -> None:
    _fuse_self_attention(layer.self_attn, kind)
    _convert(layer, ("fc1", "fc2"), kind)


def _fuse_self_attention(attention: Attention, kind: Kind) -> None:
    parts = [attention.q_proj, attention.k_proj, attention.v_proj]
    attention.fused_qkv = _linear(parts, kind)
    del attention.q_proj, attention.k_proj, attention.v_proj
    _convert(attention, ("out_proj",), kind)


def _convert(module: nn.Module, names: Sequence[str], kind: Kind) -> None:
    for name in names:
        setattr(module, name, _linear([module.get_submodule(name)], kind))


def _linear(parts: Sequence[nn.Module], kind: Kind) -> nn.Module:
    """Return one layer whose outputs are those of `parts` side by side."""
    layers = [part for part in parts if isinstance(part, nn.Linear)]
    weight = torch.cat([layer.weight for layer in layers]).detach()
    bias = torch.cat([_bias(layer) for layer in layers]).detach()
    if kind == "int8":
        return Int8Linear(weight, bias)
    return _plain_linear(weight, bias, kind)


def _plain_linear(weight: Tensor, bias: Tensor | None, kind: Kind) -> nn.Linear:
    outputs, inputs = weight.shape
    layer = nn.Linear(inputs, outputs, bias=bias is not None, device="meta")
    layer.weight = nn.Parameter(weight.to(_dtype(kind)), requires_grad=False)
    if bias is not None:
        layer.bias = nn.Parameter(bias.to(_dtype(kind)), requires_grad=False)
    return layer


def _bias(layer: nn.Linear) -> Tensor:
    return layer.weight.new_zeros(layer.out_features) if layer.bias is None else layer.bias


def _cast_the_rest(stack: nn.Module, kind: Kind) -> None:
    for module in stack.modules():
        if isinstance(module, nn.LayerNorm | nn.Embedding | nn.Conv1d):
            module.to(_dtype(kind))
