"""Language-Codec as published, from its published tensors, in plain functions: slow, and on paper.

Small sizes; `upstream_state` draws the tensors of a checkpoint, `encode` and `decode` compute what
the published code computes from them, layer by layer as it is described (see the importer).
"""

import math
from typing import Any

import torch
import torch.nn.functional as F
from torch import Tensor

SIZES: dict[str, Any] = {
    "ratios": (2, 4, 5, 8),
    "channels": 4,
    "dim": 14,
    "layers": 8,
    "codes": 32,
    "width": 24,
    "hidden": 40,
    "blocks": 3,
    "conditions": 4,
    "n_fft": 1280,
    "lstm": 2,
}
CUTS = (0, 1 / 3, 2 / 3, 1)
ENCODER = "feature_extractor.encodec.encoder.model."
BOOKS = "feature_extractor.encodec.quantizer.vq.layers."


def upstream_state(seed: int = 0, **changes: Any) -> dict[str, Tensor]:
    """Return the tensors of a checkpoint, those that no importer needs among them."""
    sizes, draw = SIZES | changes, _Draw(seed)
    _draw_encoder(draw, sizes)
    for layer in range(sizes["layers"]):
        book = f"{BOOKS}{layer}._codebook."
        draw(f"{book}embed", sizes["codes"], sizes["dim"], scale=0.6 * 0.7**layer)
        if layer < 3:
            draw.state[f"{book}embed"] *= band(sizes["dim"], layer)
        draw.state[f"{book}embed_avg"] = draw.state[f"{book}embed"].clone()
        draw.state[f"{book}cluster_size"] = torch.ones(sizes["codes"])
        draw.state[f"{book}inited"] = torch.ones(1)
    _draw_decoder(draw, sizes)
    draw("feature_extractor.encodec.decoder.model.0.conv.conv.bias", 3)
    draw("multiperioddisc.discriminators.0.convs.0.bias", 3)
    draw("melspec_loss.mel_spec.spectrogram.window", 3)
    return draw.state


class _Draw:
    """Draws tensors by name, of a size that keeps what passes through them near 1."""

    def __init__(self, seed: int) -> None:
        self.generator = torch.Generator().manual_seed(seed)
        self.state: dict[str, Tensor] = {}

    def __call__(self, name: str, *shape: int, scale: float = 0.0, around: float = 0.0) -> None:
        scale = scale or (1.5 / math.sqrt(math.prod(shape[1:])) if len(shape) > 1 else 0.1)
        self.state[name] = around + scale * torch.randn(shape, generator=self.generator)

    def conv(self, name: str, channels: int, out: int, kernel: int) -> None:
        """Draw a convolution with weight norm."""
        self(f"{name}.conv.conv.bias", out)
        self(f"{name}.conv.conv.weight_v", out, channels, kernel, scale=1.0)
        self(f"{name}.conv.conv.weight_g", out, 1, 1, around=1.3, scale=0.2)


def _draw_encoder(draw: _Draw, sizes: dict[str, Any]) -> None:
    width, place = sizes["channels"], 0
    draw.conv(f"{ENCODER}0", 1, width, 7)
    for ratio in sizes["ratios"]:
        draw.conv(f"{ENCODER}{place + 1}.block.1", width, width // 2, 3)
        draw.conv(f"{ENCODER}{place + 1}.block.3", width // 2, width, 1)
        draw.conv(f"{ENCODER}{place + 1}.shortcut", width, width, 1)
        draw.conv(f"{ENCODER}{place + 3}", width, 2 * width, 2 * ratio)
        width, place = 2 * width, place + 3
    for layer in range(sizes["lstm"]):
        for side in ("ih", "hh"):
            draw(f"{ENCODER}{place + 1}.lstm.weight_{side}_l{layer}", 4 * width, width)
            draw(f"{ENCODER}{place + 1}.lstm.bias_{side}_l{layer}", 4 * width)
    draw.conv(f"{ENCODER}{place + 3}", width, sizes["dim"], 7)


def _draw_decoder(draw: _Draw, sizes: dict[str, Any]) -> None:
    wide, deep = sizes["width"], sizes["hidden"]
    blocks = [f"backbone.convnext.{i}." for i in range(sizes["blocks"])]
    draw("backbone.embed.weight", wide, sizes["dim"], 7)
    draw("backbone.embed.bias", wide)
    for norm in ("backbone.norm", *(f"{block}norm" for block in blocks)):
        draw(f"{norm}.scale.weight", sizes["conditions"], wide, around=1.0, scale=0.1)
        draw(f"{norm}.shift.weight", sizes["conditions"], wide, scale=0.1)
    for block in blocks:
        draw(f"{block}gamma", wide, around=0.3)
        draw(f"{block}dwconv.weight", wide, 1, 7)
        draw(f"{block}dwconv.bias", wide)
        draw(f"{block}pwconv1.weight", deep, wide)
        draw(f"{block}pwconv1.bias", deep)
        draw(f"{block}pwconv2.weight", wide, deep)
        draw(f"{block}pwconv2.bias", wide)
    draw("backbone.final_layer_norm.weight", wide, around=1.0)
    draw("backbone.final_layer_norm.bias", wide)
    draw("head.out.weight", sizes["n_fft"] + 2, wide)
    draw("head.out.bias", sizes["n_fft"] + 2)
    draw.state["head.istft.window"] = torch.hann_window(sizes["n_fft"])


def band(dim: int, layer: int) -> Tensor:
    """Return 1 for the channels that a masked layer sees, 0 for the others."""
    start, end = (int(dim * third) for third in CUTS[layer : layer + 2])
    return torch.tensor([float(start <= channel < end) for channel in range(dim)])


def latents(state: dict[str, Tensor], wav: Tensor) -> Tensor:
    """Return what the published encoder makes of waveforms (B, T)."""
    x = _conv(wav[:, None], state, f"{ENCODER}0")
    place = 0
    while f"{ENCODER}{place + 1}.shortcut.conv.conv.bias" in state:
        unit = f"{ENCODER}{place + 1}"
        y = _conv(F.elu(x), state, f"{unit}.block.1")
        y = _conv(F.elu(y), state, f"{unit}.block.3")
        x = _conv(x, state, f"{unit}.shortcut") + y
        kernel = state[f"{ENCODER}{place + 3}.conv.conv.weight_v"].shape[2]
        x = _conv(F.elu(x), state, f"{ENCODER}{place + 3}", stride=kernel // 2)
        place += 3
    x = x + _lstm(x, state, f"{ENCODER}{place + 1}.lstm.")
    return _conv(F.elu(x), state, f"{ENCODER}{place + 3}")


def quantize(state: dict[str, Tensor], z: Tensor, n_q: int) -> tuple[Tensor, Tensor]:
    """Return the codes (B, n_q, F) of latents (B, D, F), and the sum of what they stand for."""
    rows, total, codes = z.transpose(1, 2).double(), torch.zeros(()), []
    for layer in range(n_q):
        book = state[f"{BOOKS}{layer}._codebook.embed"].double()
        seen = rows * band(z.shape[1], layer) if layer < 3 else rows - total
        found = (seen[:, :, None] - book).square().sum(-1).argmin(-1)
        codes.append(found)
        total = total + book[found]
    return torch.stack(codes, dim=1), total.transpose(1, 2).float()


def decode(state: dict[str, Tensor], values: Tensor, condition: int = 0) -> Tensor:
    """Return what the published decoder makes of quantized latents (B, D, F)."""

    def norm(x: Tensor, name: str) -> Tensor:
        mean, variance = x.mean(1, keepdim=True), x.var(1, keepdim=True, correction=0)
        scale, shift = (state[f"{name}.{k}.weight"][condition] for k in ("scale", "shift"))
        return (x - mean) / (variance + 1e-6).sqrt() * scale[:, None] + shift[:, None]

    x = F.conv1d(values, state["backbone.embed.weight"], state["backbone.embed.bias"], padding=3)
    x, block = norm(x, "backbone.norm"), 0
    while (name := f"backbone.convnext.{block}.") + "gamma" in state:
        weight, bias = state[f"{name}dwconv.weight"], state[f"{name}dwconv.bias"]
        y = norm(F.conv1d(x, weight, bias, padding=3, groups=len(weight)), f"{name}norm")
        y = F.gelu(_linear(y, state, f"{name}pwconv1"))
        x = x + state[f"{name}gamma"][:, None] * _linear(y, state, f"{name}pwconv2")
        block += 1
    weight, bias = (state[f"backbone.final_layer_norm.{k}"] for k in ("weight", "bias"))
    x = F.layer_norm(x.transpose(1, 2), weight.shape, weight, bias, 1e-6).transpose(1, 2)
    size, phase = _linear(x, state, "head.out").chunk(2, dim=1)
    return _overlap_add(torch.polar(size.exp().clip(max=100), phase), hop=320)


def _overlap_add(spectra: Tensor, hop: int) -> Tensor:
    """Return waveforms of spectra (B, bins, F): frames added one by one, 'same' padding cut off."""
    n_fft, frames = 2 * (spectra.shape[1] - 1), spectra.shape[2]
    window, length = torch.hann_window(n_fft), (frames - 1) * hop + n_fft
    total, weight = torch.zeros(spectra.shape[0], length), torch.zeros(length)
    for frame in range(frames):
        span = slice(frame * hop, frame * hop + n_fft)
        total[:, span] += torch.fft.irfft(spectra[:, :, frame], n=n_fft) * window
        weight[span] += window.square()
    side = (n_fft - hop) // 2
    return (total / weight)[:, side : length - side]


def _linear(x: Tensor, state: dict[str, Tensor], name: str) -> Tensor:
    return torch.einsum("oc,bct->bot", state[f"{name}.weight"], x) + state[f"{name}.bias"][:, None]


def _conv(x: Tensor, state: dict[str, Tensor], name: str, stride: int = 1) -> Tensor:
    v, g, bias = (state[f"{name}.conv.conv.{k}"] for k in ("weight_v", "weight_g", "bias"))
    weight = g * v / v.square().sum((1, 2), keepdim=True).sqrt()
    total, length = v.shape[2] - stride, x.shape[2]
    extra = math.ceil(length / stride) * stride - length
    left, right = total - total // 2, total // 2 + extra
    short = max(0, max(left, right) + 1 - length)
    x = F.pad(F.pad(x, (0, short)), (left, right), mode="reflect")
    return F.conv1d(x[:, :, : x.shape[2] - short], weight, bias, stride)


def _lstm(x: Tensor, state: dict[str, Tensor], name: str) -> Tensor:
    layer, y = 0, x
    while f"{name}weight_ih_l{layer}" in state:
        wi, wh, bi, bh = (
            state[f"{name}{k}_l{layer}"] for k in ("weight_ih", "weight_hh", "bias_ih", "bias_hh")
        )
        hidden = cell = torch.zeros(x.shape[0], x.shape[1])
        outputs = []
        for frame in y.unbind(2):
            gates = frame @ wi.T + bi + hidden @ wh.T + bh
            keep_in, forget, new, out = gates.chunk(4, dim=1)
            cell = forget.sigmoid() * cell + keep_in.sigmoid() * new.tanh()
            hidden = out.sigmoid() * cell.tanh()
            outputs.append(hidden)
        y, layer = torch.stack(outputs, dim=2), layer + 1
    return y
