"""Kinds of arithmetic for linear layers, and how to find out which is fastest on this machine."""

import time
from collections.abc import Callable, Iterator, Mapping, Sequence
from contextlib import contextmanager
from typing import Literal, get_args

import torch
from torch import Tensor, nn
from torch.nn import functional

from echoic.cuda_ext.int8_rows import (
    ByteRows,
    rectified_to_bytes,
    rows_to_bytes,
    rows_to_halves,
)

# int16x8: 8-bit weights and 16-bit activations; int8: 8-bit both.
Kind = Literal["float32", "bfloat16", "float16", "int16x8", "int8"]
KINDS: tuple[str, ...] = get_args(Kind)
BYTE_KINDS: tuple[Kind, ...] = ("int16x8", "int8")

# From the most precise to the least, which must be faster by this factor to be taken. So a busy
# machine does not change the choice, and with it the text, from one run to the next.
CANDIDATES: tuple[Kind, ...] = ("float32", "bfloat16", "int8")
# Of a model whose weights are bytes, see `are_bytes`: that leave its text as it is.
EXACT_CANDIDATES: tuple[Kind, ...] = ("float32", "int16x8")
WORTH_LESS_PRECISION = 1.25
TRIALS = 3
# A scale that was rounded to float16 moves a byte by less.
_SAME_BYTE = 1e-2


class Int8Linear(nn.Module):
    """A linear layer on 8-bit weights (one scale a row) and activations (one scale a frame).

    A frame's result is the same alone and in any batch, where the library's own dynamic
    quantisation takes one scale for all of them.

    Args:
        weight: (out_features, in_features).
        bias: (out_features,), or None.
    """

    def __init__(self, weight: Tensor, bias: Tensor | None) -> None:
        super().__init__()
        self.out_features, self.in_features = weight.shape
        whole = weight.detach().float().cpu()
        scales = weight_scales(whole)
        eight = (whole / scales[:, None]).round_().clamp_(-127, 127).to(torch.int8)
        self._packed = torch.ops.onednn.qlinear_prepack(eight, None)
        self._scales = scales
        self._zeros = torch.zeros(len(scales), dtype=torch.int64)
        # Without VNNI the library adds pairs of products in 16 bits: seven bits cannot overflow.
        self._narrow = not torch.cpu._is_vnni_supported()
        empty = torch.zeros(self.out_features) if bias is None else bias.detach().float().clone()
        self.bias: Tensor
        self.register_buffer("bias", empty, persistent=False)

    def forward(self, x: Tensor) -> Tensor:
        """(..., in_features) -> (..., out_features), float32."""
        rows = rows_to_bytes(x.reshape(-1, self.in_features), narrow=self._narrow)
        return self._floats(rows).view(*x.shape[:-1], self.out_features)

    def rectified(self, x: Tensor, then: "Int8Linear") -> Tensor:
        """Return `then(relu(self(x)))`; what is between is never written down in floats.

        Args:
            x: (..., in_features).
            then: the next layer.
        """
        rows = rows_to_bytes(x.reshape(-1, self.in_features), narrow=self._narrow)
        between = rectified_to_bytes(
            self._products(rows), rows.steps, self.bias, narrow=self._narrow
        )
        return then._floats(between).view(*x.shape[:-1], then.out_features)

    def _floats(self, rows: ByteRows) -> Tensor:
        return torch.addcmul(self.bias, self._products(rows), rows.steps[:, None])

    def _products(self, rows: ByteRows) -> Tensor:
        """Return (N, out_features) float32, to be multiplied by the rows' steps."""
        if not len(rows.bytes):  # the library wants some
            return rows.steps.new_empty(0, self.out_features)
        return torch.ops.onednn.qlinear_pointwise(
            rows.bytes,
            1.0,
            rows.zero,
            self._packed,
            self._scales,
            self._zeros,
            None,
            1.0,
            0,
            torch.float32,
            "none",
            [],
            "",
        )


class Int16x8Linear(Int8Linear):
    """As `Int8Linear`, with activations in sixteen bits: two products, of their halves.

    Where the weights are bytes from the first (`are_bytes`) what is lost is some 3e-5 of a result,
    where `Int8Linear` loses a hundredth. No text was seen to change.
    """

    def forward(self, x: Tensor) -> Tensor:
        """(..., in_features) -> (..., out_features), float32."""
        rows = rows_to_halves(x.reshape(-1, self.in_features), narrow=self._narrow)
        (large, small), (upper, lower) = (y.chunk(2) for y in (self._products(rows), rows.steps))
        y = self.bias.addcmul(large, upper[:, None]).addcmul_(small, lower[:, None])
        return y.view(*x.shape[:-1], self.out_features)


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
        raise ValueError("float16 is for GPUs: on a CPU take auto, float32, bfloat16 or int8")
    if kind in BYTE_KINDS and device.type != "cpu":
        raise ValueError(f"{kind} is for CPUs: on {device.type} take float16, bfloat16 or auto")


def fastest(
    make: Callable[[Kind], Callable[[], object]], kinds: Sequence[Kind] = CANDIDATES
) -> Kind:
    """Return the kind whose trial takes the least time on the CPU.

    The trials' random numbers do not move those of the program.

    Args:
        make: returns a kind's trial.
        kinds: to choose from, the most precise first.
    """
    with torch.random.fork_rng(devices=[]), _one_thread(), torch.inference_mode():
        return _fastest({kind: make(kind) for kind in able(kinds)})


def able(kinds: Sequence[Kind] = CANDIDATES) -> list[Kind]:
    """Return those of the kinds that this CPU has instructions for."""
    return [kind for kind in kinds if _has_instructions(kind)]


def are_bytes(weight: Tensor) -> bool:
    """Whether rounding a weight to 8 bits, one scale a row, changes nothing: it was rounded so."""
    steps = weight.detach().float() / weight_scales(weight)[:, None]
    return bool((steps - steps.round()).abs().max() < _SAME_BYTE)


def weight_scales(weight: Tensor) -> Tensor:
    """Return what a step of each row is worth in 8 bits: (outputs,) float32, never 0."""
    return weight.detach().float().abs().amax(dim=1).clamp_min(1e-12) / 127


def dtype_of(kind: Kind) -> torch.dtype:
    """Return the dtype of what goes in and out of a layer of this kind."""
    return torch.float32 if kind in BYTE_KINDS else getattr(torch, kind)


def byte_linear(weight: Tensor, bias: Tensor | None, kind: Kind) -> Int8Linear:
    """Return a linear layer of one of the `BYTE_KINDS`."""
    return Int8Linear(weight, bias) if kind == "int8" else Int16x8Linear(weight, bias)


def joined(parts: Sequence[nn.Module], kind: Kind) -> nn.Module:
    """Return one linear layer whose outputs are those of `parts` side by side."""
    layers = [part for part in parts if isinstance(part, nn.Linear)]
    weight = torch.cat([layer.weight for layer in layers]).detach()
    bias = torch.cat([_bias(layer) for layer in layers]).detach()
    return byte_linear(weight, bias, kind) if kind in BYTE_KINDS else plain(weight, bias, kind)


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
    if kind in BYTE_KINDS:  # elsewhere their products are not known to be faster than floats
        return (
            torch.backends.mkldnn.is_available()
            and "x86" in torch.backends.quantized.supported_engines
        )
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
