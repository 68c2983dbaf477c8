"""HiFi-Codec and DistilCodec straight from their formulas, on checkpoints as they are published.

Plain functions of tensors and of a checkpoint's names, which share nothing with the product: the
names and shapes below are those of the published files, the widths are small.
"""

import functools
from collections.abc import Callable
from typing import Any

import torch
import torch.nn.functional as F
from torch import Tensor

State = dict[str, Tensor]
Act = Callable[[Tensor], Tensor]
OLD = ("weight_g", "weight_v")
NEW = ("parametrizations.weight.original0", "parametrizations.weight.original1")
DILATIONS = (1, 3, 5)


def leaky(x: Tensor) -> Tensor:
    return F.leaky_relu(x, 0.1)


class Draw:
    """Fills a state dict with random tensors of the size that keeps signals alive."""

    def __init__(self, seed: int, norm: tuple[str, str] = OLD) -> None:
        self.generator = torch.Generator().manual_seed(seed)
        self.norm = norm
        self.state: State = {}

    def tensor(self, *shape: int, scale: float = 1.0) -> Tensor:
        return scale * torch.randn(*shape, generator=self.generator)

    def conv(self, name: str, out: int, *shape: int, normed: bool = True) -> None:
        """Draw an ordinary convolution: (out, in, taps)."""
        self._weight(name, (out, *shape), normed)
        self.state[f"{name}.bias"] = self.tensor(out, scale=0.1)

    def up(self, name: str, channels: int, out: int, taps: int) -> None:
        """Draw a transposed convolution: (in, out, taps), normalised for each input channel."""
        self._weight(name, (channels, out, taps), True)
        self.state[f"{name}.bias"] = self.tensor(out, scale=0.1)

    def affine(self, name: str, *shape: int) -> None:
        """Draw a norm's weight and bias, near 1 and 0, or a linear layer's."""
        weight = self.tensor(*shape, scale=0.1 if len(shape) == 1 else shape[-1] ** -0.5)
        self.state[f"{name}.weight"] = weight + (len(shape) == 1)
        self.state[f"{name}.bias"] = self.tensor(shape[0], scale=0.1)

    def _weight(self, name: str, shape: tuple[int, ...], normed: bool) -> None:
        direction = self.tensor(*shape)
        if not normed:
            self.state[f"{name}.weight"] = direction * (shape[1] * shape[2]) ** -0.5
            return
        length = self.tensor(shape[0], 1, 1).abs() + 0.5
        self.state[f"{name}.{self.norm[0]}"] = length
        self.state[f"{name}.{self.norm[1]}"] = direction

    def blocks(self, names: list[str], channels: int, kernels: tuple[int, ...]) -> None:
        for name, taps in zip(names, kernels, strict=True):
            for unit in range(3):
                self.conv(f"{name}.convs1.{unit}", channels, channels, taps)
                self.conv(f"{name}.convs2.{unit}", channels, channels, taps)


def hificodec_parts(
    kernels: tuple[int, ...] = (16, 11, 8, 4), *, seed: int = 0
) -> dict[str, State]:
    """Return a checkpoint of HiFi-Codec: 8 channels in place of 32, 128 latents, 32 codes."""
    return {part: dict(state) for part, state in _hificodec_parts(kernels, seed).items()}


@functools.cache
def _hificodec_parts(kernels: tuple[int, ...], seed: int) -> dict[str, State]:
    first, size = 8, 32
    dim = first * 2 ** len(kernels)
    encoder, width = Draw(seed), first
    encoder.conv("conv_pre", width, 1, 7)
    for i, taps in enumerate(reversed(kernels)):
        encoder.conv(f"ups.{i}", 2 * width, width, taps)
        width *= 2
        encoder.blocks([f"resblocks.{3 * i + j}" for j in range(3)], width, (11, 7, 3))
        for j in range(3):
            encoder.affine(f"normalize.{3 * i + j}", width)
    encoder.conv("conv_post", width, width, 3, normed=False)
    generator = Draw(seed + 1)
    _draw_generator(generator, dim, 64, kernels, 7, lambda i, j: f"resblocks.{3 * i + j}")
    books = Draw(seed + 2)
    for name in ("quantizer_modules", "quantizer_modules2"):
        for group in range(2):
            # As wide as the latents of random weights are, so that all codes occur.
            books.state[f"{name}.{group}.embedding.weight"] = books.tensor(
                size, dim // 2, scale=0.03
            )
    return {"generator": generator.state, "encoder": encoder.state, "quantizer": books.state}


def _draw_generator(
    draw: Draw, dim: int, width: int, kernels: tuple[int, ...], outer: int, name: Any
) -> None:
    draw.conv("conv_pre", width, dim, outer)
    for i, taps in enumerate(kernels):
        draw.up(f"ups.{i}", width, width // 2, taps)
        width //= 2
        draw.blocks([name(i, j) for j in range(3)], width, (3, 7, 11))
    draw.conv("conv_post", 1, width, outer)


def weight(state: State, name: str) -> Tensor:
    """Return the weight of a convolution, computed where it is stored as length and direction."""
    for length, direction in (OLD, NEW):
        if f"{name}.{length}" in state:
            v = state[f"{name}.{direction}"]
            return state[f"{name}.{length}"] * v / v.square().sum((1, 2), keepdim=True).sqrt()
    return state[f"{name}.weight"]


def convolve(state: State, name: str, x: Tensor, dilation: int = 1) -> Tensor:
    w = weight(state, name)
    side = dilation * (w.shape[2] - 1) // 2
    return F.conv1d(x, w, state[f"{name}.bias"], 1, side, dilation)


def residuals(state: State, name: str, x: Tensor, act: Act) -> Tensor:
    for unit, dilation in enumerate(DILATIONS):
        inner = convolve(state, f"{name}.convs1.{unit}", act(x), dilation)
        x = x + convolve(state, f"{name}.convs2.{unit}", act(inner))
    return x


def hificodec_encode(state: State, wav: Tensor, rates: tuple[int, ...]) -> Tensor:
    """Return latents (B, D, F) of waveforms (B, F * hop)."""
    x = convolve(state, "conv_pre", wav[:, None])
    for i, rate in enumerate(reversed(rates)):
        w = weight(state, f"ups.{i}")
        side = (w.shape[2] - rate) // 2
        x = F.conv1d(leaky(x), w, state[f"ups.{i}.bias"], rate, side)
        total = torch.zeros_like(x)
        for place in range(3 * i, 3 * i + 3):
            total = total + residuals(state, f"resblocks.{place}", x, leaky)
            total = _group_norm(total, state, f"normalize.{place}")
        x = total / 3
    return convolve(state, "conv_post", F.leaky_relu(x, 0.01))


def _group_norm(x: Tensor, state: State, name: str) -> Tensor:
    """Normalise groups of 16 channels over channels and time, and scale and shift each channel."""
    groups = x.reshape(len(x), -1, 16 * x.shape[2])
    centred = groups - groups.mean(2, keepdim=True)
    normal = centred / (centred.square().mean(2, keepdim=True) + 1e-6).sqrt()
    scale, shift = (state[f"{name}.{kind}"][:, None] for kind in ("weight", "bias"))
    return normal.view_as(x) * scale + shift


def nearest(x: Tensor, book: Tensor) -> Tensor:
    """Return the code of each row, by distances in double precision."""
    return torch.cdist(x.double(), book.double()).argmin(1)


def grvq(state: State, z: Tensor) -> tuple[Tensor, Tensor]:
    """Return codes (B, 4, F), ordered [L1g0, L1g1, L2g0, L2g1], and what they stand for."""
    rows = z.transpose(1, 2).reshape(-1, z.shape[1])
    left, total, codes = rows, torch.zeros_like(rows), []
    for name in ("quantizer_modules", "quantizer_modules2"):
        books = [state[f"{name}.{group}.embedding.weight"] for group in range(2)]
        own = [nearest(h, book) for h, book in zip(left.chunk(2, 1), books, strict=True)]
        quantized = torch.cat([book[c] for c, book in zip(own, books, strict=True)], 1)
        left, total = left - quantized, total + quantized
        codes += own
    shape = (len(z), z.shape[2], -1)
    return torch.stack(codes, 1).view(shape).transpose(1, 2), total.view(shape).transpose(1, 2)


def generate(state: State, x: Tensor, rates: tuple[int, ...], act: Act, name: Any) -> Tensor:
    """Return waveforms (B, F * hop) of latents; `name(stage, block)` is a residual block's."""
    x = convolve(state, "conv_pre", x)
    for i, rate in enumerate(rates):
        w = weight(state, f"ups.{i}")
        side = (w.shape[2] - rate) // 2
        x = F.conv_transpose1d(act(x), w, state[f"ups.{i}.bias"], rate, side)
        x = (sum(residuals(state, name(i, j), x, act) for j in range(3)) / torch.tensor(3.0)).to(x)
    return convolve(state, "conv_post", act(x)).tanh()[:, 0]


def hificodec_decode(state: State, z: Tensor, rates: tuple[int, ...]) -> Tensor:
    """Return waveforms (B, F * hop) of latents (B, D, F)."""
    return generate(state, z, rates, leaky, lambda i, j: f"resblocks.{3 * i + j}")


def silu(x: Tensor) -> Tensor:
    return x * x.sigmoid()


KERNELS, RATES = (16, 12, 4, 4, 4), (8, 4, 2, 2, 2)


def distilcodec_parts(
    *, seed: int = 0, widths: tuple[int, ...] = (6, 8), depths: tuple[int, ...] = (1, 2)
) -> dict[str, State]:
    """Return a checkpoint of DistilCodec: 128 bands, small widths, a book of 64 codes of 20."""
    encoder = Draw(seed)
    encoder.conv("downsample_layers.0.0", widths[0], 128, 7, normed=False)
    encoder.affine("downsample_layers.0.1", widths[0])
    for stage, (width, depth) in enumerate(zip(widths, depths, strict=True)):
        if stage:
            encoder.affine(f"downsample_layers.{stage}.0", widths[stage - 1])
            encoder.conv(f"downsample_layers.{stage}.1", width, widths[stage - 1], 1, normed=False)
        for number in range(depth):
            _draw_convnext(encoder, f"stages.{stage}.{number}", width)
    dim = widths[-1]
    encoder.affine("norm", dim)
    quantizer = Draw(seed + 1)
    for name in ("downsample", "upsample"):
        quantizer.conv(f"{name}.0.0", dim, dim, 1, normed=False)
        _draw_convnext(quantizer, f"{name}.0.1", dim)
    quantizer.affine("grvq.rvqs.0.project_in", 20, dim)
    quantizer.affine("grvq.rvqs.0.project_out", dim, 20)
    book = "grvq.rvqs.0.layers.0._codebook"
    quantizer.state |= {
        f"{book}.initted": torch.ones(1),
        f"{book}.cluster_size": torch.ones(1, 64),
        f"{book}.embed": quantizer.tensor(1, 64, 20),
        f"{book}.embed_avg": quantizer.tensor(1, 64, 20),
    }
    generator = Draw(seed + 2, NEW)
    _draw_generator(generator, dim, 64, KERNELS, 13, lambda i, j: f"resblocks.{i}.blocks.{j}")
    return {"generator": generator.state, "encoder": encoder.state, "quantizer": quantizer.state}


def _draw_convnext(draw: Draw, name: str, width: int) -> None:
    draw.state[f"{name}.gamma"] = draw.tensor(width)
    draw.conv(f"{name}.dwconv", width, 1, 7, normed=False)
    draw.affine(f"{name}.norm", width)
    draw.affine(f"{name}.pwconv1", 4 * width, width)
    draw.affine(f"{name}.pwconv2", width, 4 * width)


def layer_norm(x: Tensor, state: State, name: str) -> Tensor:
    """Normalise (B, C, F) over its channels."""
    centred = x - x.mean(1, keepdim=True)
    normal = centred / (centred.square().mean(1, keepdim=True) + 1e-6).sqrt()
    scale, shift = (state[f"{name}.{kind}"][:, None] for kind in ("weight", "bias"))
    return normal * scale + shift


def convnext(x: Tensor, state: State, name: str) -> Tensor:
    w = state[f"{name}.dwconv.weight"]
    y = F.conv1d(x, w, state[f"{name}.dwconv.bias"], padding=3, groups=len(w))
    y = layer_norm(y, state, f"{name}.norm")
    y = F.gelu(linear(y, state, f"{name}.pwconv1"))
    return x + state[f"{name}.gamma"][:, None] * linear(y, state, f"{name}.pwconv2")


def linear(x: Tensor, state: State, name: str) -> Tensor:
    """Apply a linear layer to the channels of (B, C, F)."""
    return torch.einsum("oc,bcf->bof", state[f"{name}.weight"], x) + state[f"{name}.bias"][:, None]


def distilcodec_encode(parts: dict[str, State], mel: Tensor) -> Tensor:
    """Return the projected latents (B, 20, F) of log-mel spectra (B, 128, F)."""
    state, stage = parts["encoder"], 0
    x = layer_norm(convolve(state, "downsample_layers.0.0", mel), state, "downsample_layers.0.1")
    while f"stages.{stage}.0.gamma" in state:
        if stage:
            x = layer_norm(x, state, f"downsample_layers.{stage}.0")
            x = convolve(state, f"downsample_layers.{stage}.1", x)
        number = 0
        while f"stages.{stage}.{number}.gamma" in state:
            x = convnext(x, state, f"stages.{stage}.{number}")
            number += 1
        stage += 1
    x, state = layer_norm(x, state, "norm"), parts["quantizer"]
    x = convnext(convolve(state, "downsample.0.0", x), state, "downsample.0.1")
    return linear(x, state, "grvq.rvqs.0.project_in")


def distilcodec_decode(parts: dict[str, State], codes: Tensor) -> Tensor:
    """Return waveforms (B, F * 256) of codes (B, F)."""
    state = parts["quantizer"]
    inside = state["grvq.rvqs.0.layers.0._codebook.embed"][0][codes].transpose(1, 2)
    x = linear(inside, state, "grvq.rvqs.0.project_out")
    x = F.conv_transpose1d(x, state["upsample.0.0.weight"], state["upsample.0.0.bias"])
    x = convnext(x, state, "upsample.0.1")
    name = "resblocks.{}.blocks.{}".format
    return generate(parts["generator"], x, RATES, silu, name)
