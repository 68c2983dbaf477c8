"""Small products that do not depend on the company a row is in."""

import torch
from torch import Tensor


def apart(weight: Tensor, rows: Tensor) -> Tensor:
    """Return the products (B, N) of a matrix (N, C) and vectors (B, C).

    On a processor each is computed by itself: a product of matrices adds up in another order when
    it has more rows, and what is drawn from scores would depend on who else is speaking. It costs
    little, since these weights stay in the caches from one row to the next.
    """
    if rows.device.type != "cpu":
        return rows @ weight.T
    if len(rows) == 1:
        return torch.mv(weight, rows[0])[None]
    return torch.stack([torch.mv(weight, row) for row in rows])
