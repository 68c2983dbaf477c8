"""Paraformer straight from its formulas, on weights with the names of FunASR's files.

Plain functions of tensors, for one utterance at a time, which share nothing with the product.
"""

import math
from typing import NamedTuple

import torch
import torch.nn.functional as F
from torch import Tensor

State = dict[str, Tensor]
EPS = 1e-12


class Sizes(NamedTuple):
    dim: int = 16
    layers: int = 3
    ffn: int = 24
    vocab: int = 12
    cross: int = 2
    plain: int = 1
    heads: int = 2
    kernel: int = 5
    features: int = 560
    depthwise: bool = False
    ctc: bool = False


def shapes(sizes: Sizes) -> dict[str, tuple[int, ...]]:
    """Every tensor of a file of this size."""
    d, f, v, k = sizes.dim, sizes.ffn, sizes.vocab, sizes.kernel
    found: dict[str, tuple[int, ...]] = {}

    def affine(name: str, *shape: int) -> None:
        found[f"{name}.weight"] = shape
        found[f"{name}.bias"] = shape[:1]

    for i in range(sizes.layers):
        width = sizes.features if i == 0 else d
        block = "encoder.encoders0.0" if i == 0 else f"encoder.encoders.{i - 1}"
        affine(f"{block}.norm1", width)
        affine(f"{block}.self_attn.linear_q_k_v", 3 * d, width)
        affine(f"{block}.self_attn.linear_out", d, d)
        found[f"{block}.self_attn.fsmn_block.weight"] = (d, 1, k)
        affine(f"{block}.norm2", d)
        affine(f"{block}.feed_forward.w_1", f, d)
        affine(f"{block}.feed_forward.w_2", d, f)
    affine("encoder.after_norm", d)
    found["decoder.embed.0.weight"] = (v, d)
    affine("decoder.after_norm", d)
    affine("decoder.output_layer", v, d)
    crossed = [f"decoder.decoders.{i}" for i in range(sizes.cross)]
    plain = [f"decoder.decoders2.{i}" for i in range(sizes.plain)]
    for block in [*crossed, *plain, "decoder.decoders3.0"]:
        affine(f"{block}.norm1", d)
        affine(f"{block}.feed_forward.w_1", f, d)
        affine(f"{block}.feed_forward.norm", f)
        found[f"{block}.feed_forward.w_2.weight"] = (d, f)
        if block in (*crossed, *plain):
            affine(f"{block}.norm2", d)
            found[f"{block}.self_attn.fsmn_block.weight"] = (d, 1, k)
        if block in crossed:
            affine(f"{block}.norm3", d)
            affine(f"{block}.src_attn.linear_q", d, d)
            affine(f"{block}.src_attn.linear_k_v", 2 * d, d)
            affine(f"{block}.src_attn.linear_out", d, d)
    affine("predictor.cif_conv1d", d, 1 if sizes.depthwise else d, 3)
    affine("predictor.cif_output", 1, d)
    if sizes.ctc:
        affine("ctc.ctc_lo", v, d)
    return found


def draw(sizes: Sizes, seed: int = 0) -> State:
    """Random weights of the size that keeps signals alive."""
    generator = torch.Generator().manual_seed(seed)
    state: State = {}
    for name, shape in shapes(sizes).items():
        wide = max(math.prod(shape[1:]), 1)
        values = torch.randn(*shape, generator=generator) / math.sqrt(wide)
        one = "norm" in name and name.endswith("weight")
        state[name] = 1 + 0.1 * values if one else values if len(shape) > 1 else 0.1 * values
    # Some tokens in few frames, but never so many that all weights are 1.
    state["predictor.cif_output.bias"] -= 0.5
    return state


def norm(s: State, name: str, x: Tensor) -> Tensor:
    return F.layer_norm(x, x.shape[-1:], s[f"{name}.weight"], s[f"{name}.bias"], EPS)


def linear(s: State, name: str, x: Tensor) -> Tensor:
    return x @ s[f"{name}.weight"].T + s.get(f"{name}.bias", torch.zeros(()))


def memory(s: State, name: str, v: Tensor, shift: int = 0) -> Tensor:
    """v (T, D): each channel filtered over time, plus v."""
    weight = s[f"{name}.fsmn_block.weight"][:, 0]
    size = weight.shape[1]
    left = (size - 1) // 2 + shift
    padded = F.pad(v, (0, 0, left, size - 1 - left))
    taps = [padded[i : i + len(v)] * weight[:, i] for i in range(size)]
    return sum(taps, v)


def attention(q: Tensor, k: Tensor, v: Tensor, heads: int) -> Tensor:
    width = q.shape[1] // heads
    outs = []
    for h in range(heads):
        part = slice(h * width, (h + 1) * width)
        scores = q[:, part] @ k[:, part].T * width**-0.5
        outs.append(scores.softmax(1) @ v[:, part])
    return torch.cat(outs, dim=1)


def encode(s: State, x: Tensor, sizes: Sizes) -> Tensor:
    """Features (T, 560) to (T, D)."""
    x = x * math.sqrt(sizes.dim)
    half = sizes.features // 2
    rate = torch.exp(torch.arange(half).float() * -(math.log(10_000) / (half - 1)))
    angle = torch.arange(1, len(x) + 1).float()[:, None] * rate
    x = x + torch.cat([angle.sin(), angle.cos()], dim=1)
    for i in range(sizes.layers):
        b = "encoder.encoders0.0" if i == 0 else f"encoder.encoders.{i - 1}"
        qkv = linear(s, f"{b}.self_attn.linear_q_k_v", norm(s, f"{b}.norm1", x))
        q, k, v = qkv.split(sizes.dim, dim=1)
        y = linear(s, f"{b}.self_attn.linear_out", attention(q, k, v, sizes.heads))
        y = y + memory(s, f"{b}.self_attn", v)
        x = y if i == 0 else x + y
        inner = linear(s, f"{b}.feed_forward.w_1", norm(s, f"{b}.norm2", x)).relu()
        x = x + linear(s, f"{b}.feed_forward.w_2", inner)
    return norm(s, "encoder.after_norm", x)


def alphas(s: State, h: Tensor, sizes: Sizes) -> Tensor:
    """Weights (T,) of the frames h (T, D)."""
    weight, bias = s["predictor.cif_conv1d.weight"], s["predictor.cif_conv1d.bias"]
    groups = sizes.dim if sizes.depthwise else 1
    y = F.conv1d(F.pad(h.T[None], (1, 1)), weight, bias, groups=groups)[0].T
    y = y + h if sizes.depthwise else y
    return linear(s, "predictor.cif_output", y.relu()).sigmoid()[:, 0]


def integrate(h: Tensor, a: Tensor, count: int | None = None) -> Tensor:
    """Tokens (N, D): token k gets of each frame what of the running sum lies in (k - 1, k]."""
    sums = torch.cat([torch.zeros(1, dtype=torch.float64), a.double().cumsum(0)])
    n = int(sums[-1]) if count is None else count
    rows = []
    for k in range(1, n + 1):
        top = sums[1:] if k == count else sums[1:].clamp(max=k)
        share = (top - sums[:-1].clamp(min=k - 1)).clamp(min=0)
        rows.append((share[:, None] * h.double()).sum(0))
    return torch.stack(rows).to(h.dtype) if rows else h.new_zeros(0, h.shape[1])


def with_tail(h: Tensor, a: Tensor, tail: float = 0.45) -> tuple[Tensor, Tensor]:
    return F.pad(h, (0, 0, 0, 1)), F.pad(a, (0, 1), value=tail)


def feed_forward(s: State, name: str, x: Tensor) -> Tensor:
    inner = norm(s, f"{name}.norm", linear(s, f"{name}.w_1", x).relu())
    return linear(s, f"{name}.w_2", inner)


def decode(s: State, tokens: Tensor, h: Tensor, sizes: Sizes, shift: int = 0) -> Tensor:
    """Log-probabilities (N, V) of tokens (N, D) that hear h (T, D)."""
    x = tokens
    crossed = [f"decoder.decoders.{i}" for i in range(sizes.cross)]
    for b in [*crossed, *(f"decoder.decoders2.{i}" for i in range(sizes.plain))]:
        y = norm(s, f"{b}.norm2", feed_forward(s, f"{b}.feed_forward", norm(s, f"{b}.norm1", x)))
        x = x + memory(s, f"{b}.self_attn", y, shift)
        if b in crossed:
            q = linear(s, f"{b}.src_attn.linear_q", norm(s, f"{b}.norm3", x))
            k, v = linear(s, f"{b}.src_attn.linear_k_v", h).split(sizes.dim, dim=1)
            x = x + linear(s, f"{b}.src_attn.linear_out", attention(q, k, v, sizes.heads))
    b = "decoder.decoders3.0"
    x = norm(
        s, "decoder.after_norm", feed_forward(s, f"{b}.feed_forward", norm(s, f"{b}.norm1", x))
    )
    return linear(s, "decoder.output_layer", x).log_softmax(1)


def recognise(s: State, x: Tensor, sizes: Sizes) -> tuple[Tensor, Tensor]:
    """Weights (T,) and log-probabilities (N, V) of features (T, 560)."""
    h = encode(s, x, sizes)
    a = alphas(s, h, sizes)
    return a, decode(s, integrate(*with_tail(h, a)), h, sizes)


def loss(s: State, x: list[Tensor], y: list[list[int]], sizes: Sizes, smoothing: float) -> Tensor:
    """Loss of a batch where no embedding of a label is mixed in, an end token (2) follows."""
    total, quantity, tokens = torch.zeros(()), torch.zeros(()), 0
    for features, ids in zip(x, y, strict=True):
        labels = torch.tensor([*ids, 2])
        n = len(labels)
        h = encode(s, features, sizes)
        a = alphas(s, h, sizes)
        logp = decode(s, integrate(h, a * (n / a.sum()), n), h, sizes)
        target = torch.full_like(logp, smoothing / (sizes.vocab - 1))
        target[torch.arange(n), labels] = 1 - smoothing
        total = total + (target * (target.log() - logp)).sum()
        quantity = quantity + (a.sum() - n).abs()
        tokens += n
    return (total + quantity) / tokens
