"""Rows to bytes in plain torch: what the kernel computes, a little apart in the last bit."""

import torch
from torch import Tensor

# Rows of silence have some step, too.
SMALLEST_PEAK = 1e-30


def rows_to_bytes(
    x: Tensor, factor: Tensor | None, bias: Tensor | None, rectify: bool, levels: int, halves: bool
) -> tuple[Tensor, Tensor]:
    """Return bytes (N, D) uint8 and the step (N,) of each row.

    With `halves` as many rows follow, of what the bytes leave.
    """
    if factor is not None and bias is not None:
        x = torch.addcmul(bias, x, factor[:, None])
    if rectify:
        x = x.relu()
    if x.shape[1]:
        # As the largest of floats, NaN is a matter of luck; amax passes it on.
        peak = x.abs().amax(dim=1).clamp_min(SMALLEST_PEAK)
    else:
        peak = x.new_full((x.shape[0],), SMALLEST_PEAK)
    steps = (x * (levels / peak)[:, None]).round_()
    zero = 0 if rectify else levels + 1
    if not halves:
        return _bytes(steps, zero), peak / levels
    rest = x.addcmul(steps, (peak / levels)[:, None], value=-1)
    left = rows_to_bytes(rest, None, None, rectify, levels, False)
    return torch.cat([_bytes(steps, zero), left[0]]), torch.cat([peak / levels, left[1]])


def _bytes(steps: Tensor, zero: int) -> Tensor:
    # Through int32: of NaN no byte is defined, and none matters, since its row's step is NaN.
    return steps.nan_to_num_(0.0).add_(zero).to(torch.int32).to(torch.uint8)
