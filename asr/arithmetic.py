"""Kinds of arithmetic for linear layers, and how to find out which is fastest on this machine."""

import time
import warnings
from collections.abc import Callable, Iterator, Mapping, Sequence
from contextlib import contextmanager
from typing import Literal, get_args

import torch
from torch import Tensor, nn
from torch.nn import functional

Kind = Literal["float32", "bfloat16", "float16", "int8"]
KINDS: tuple[str, ...] = get_args(Kind)

# From the most precise to the least, which must be faster by this factor to be taken. So a busy
# machine does not change the choice, and with it the text, from one run to the next.
CANDIDATES: tuple[Kind, ...] = ("float32", "bfloat16", "int8")
WORTH_LESS_PRECISION = 1.25
TRIALS = 3


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


class CastLinear(nn.Module):
    """A linear layer that multiplies in a shorter float, between layers in their own.

    Args:
        weight: (outputs, inputs).
        bias: (outputs,), or None.
        dtype: to multiply in.
    """

    def __init__(self, weight: Tensor, bias: Tensor | None, dtype: torch.dtype) -> None:
        super().__init__()
        self.weight = nn.Parameter(weight.detach().to(dtype), requires_grad=False)
        held = None if bias is None else nn.Parameter(bias.detach().to(dtype), requires_grad=False)
        self.bias = held

    def forward(self, x: Tensor) -> Tensor:
        """(..., inputs) -> (..., outputs) of the dtype of x."""
        return functional.linear(x.to(self.weight.dtype), self.weight, self.bias).to(x.dtype)


def check(kind: str, device: torch.device) -> None:
    """Raise ValueError, with the mend, where `device` cannot compute in `kind`."""
    if kind not in KINDS:
        raise ValueError(f"unknown arithmetic {kind!r}: one of auto, {', '.join(KINDS)}")
    if kind == "float16" and device.type == "cpu":
        raise ValueError("float16 is for GPUs: on a CPU take float32, bfloat16, int8 or auto")
    if kind == "int8" and device.type != "cpu":
        raise ValueError(f"int8 is for CPUs: on {device.type} take float16, bfloat16 or auto")


def fastest(make: Callable[[Kind], Callable[[], object]]) -> Kind:
    """Return the kind whose trial takes the least time on the CPU; `make` returns a kind's trial.

    The trials' random numbers do not move those of the program.
    """
    with torch.random.fork_rng(devices=[]), _one_thread(), torch.inference_mode():
        return _fastest({kind: make(kind) for kind in able()})


def able() -> list[Kind]:
    """Return the kinds that this CPU has instructions for, the most precise first."""
    return [kind for kind in CANDIDATES if _has_instructions(kind)]


def dtype_of(kind: Kind) -> torch.dtype:
    """Return the dtype of what goes in and out of a layer of this kind."""
    return torch.float32 if kind == "int8" else getattr(torch, kind)


def joined(parts: Sequence[nn.Module], kind: Kind) -> nn.Module:
    """Return one linear layer whose outputs are those of `parts` side by side."""
    layers = [part for part in parts if isinstance(part, nn.Linear)]
    weight = torch.cat([layer.weight for layer in layers]).detach()
    bias = torch.cat([_bias(layer) for layer in layers]).detach()
    return Int8Linear(weight, bias) if kind == "int8" else plain(weight, bias, kind)


def plain(weight: Tensor, bias: Tensor | None, kind: Kind) -> nn.Linear:
    """Return a linear layer of weights and inputs of one float kind."""
    outputs, inputs = weight.shape
    layer = nn.Linear(inputs, outputs, bias=bias is not None, device="meta")
    layer.weight = nn.Parameter(weight.to(dtype_of(kind)), requires_grad=False)
    if bias is not None:
        layer.bias = nn.Parameter(bias.to(dtype_of(kind)), requires_grad=False)
    return layer


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


def _bias(layer: nn.Linear) -> Tensor:
    return layer.weight.new_zeros(layer.out_features) if layer.bias is None else layer.bias
