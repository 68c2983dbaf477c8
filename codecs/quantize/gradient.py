"""How the gradient of what was quantized reaches what it was quantized from."""

import torch
from torch import Tensor

from echoic.codecs.quantize.config import Gradient


def pass_gradient(x: Tensor, values: Tensor, how: Gradient) -> Tensor:
    """Return `values`, with a gradient to `x`.

    Args:
        x: (N, D) what was quantized.
        values: (N, D) the codes it became; taken as constant.
        how: see `QuantizerConfig.gradient`.
    """
    if not x.requires_grad:
        return values.detach()
    return rotate(x, values) if how == "rotation" else x + (values - x).detach()


def rotate(x: Tensor, values: Tensor) -> Tensor:
    """Return `values` as a rotation and scaling of `x` that the gradient takes as constant.

    The rotation turns x's direction u into v's in their plane: R x = x - 2 r (r.x) + 2 v (u.x) with
    r = (u + v) / |u + v|. Fifty et al. 2024, "Restructuring vector quantization with the rotation
    trick", section 4.3. A latent or a code of length 0 has no direction: straight through.
    """
    values = values.detach()
    length_x = x.detach().norm(dim=-1, keepdim=True)
    length_v = values.norm(dim=-1, keepdim=True)
    turnable = (length_x > 1e-6) & (length_v > 1e-6)
    u = x.detach() / length_x.clamp(min=1e-6)
    v = values / length_v.clamp(min=1e-6)
    r = torch.nn.functional.normalize(u + v, dim=-1)
    scale = length_v / length_x.clamp(min=1e-6)
    along_r = (x * r).sum(-1, keepdim=True)
    along_u = (x * u).sum(-1, keepdim=True)
    turned = scale * (x - 2.0 * r * along_r + 2.0 * v * along_u)
    return torch.where(turnable, turned, x + (values - x).detach())
