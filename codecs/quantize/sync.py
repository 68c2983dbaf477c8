"""Statistics that all processes of a run share; without a process group, those of the one."""

import torch
import torch.distributed as dist
from torch import Tensor


def is_distributed() -> bool:
    """Return whether several processes train together."""
    return dist.is_available() and dist.is_initialized() and dist.get_world_size() > 1


def add_up(*tensors: Tensor) -> None:
    """Replace each tensor by its sum over the processes."""
    if is_distributed():
        for tensor in tensors:
            dist.all_reduce(tensor)


def share(tensor: Tensor) -> None:
    """Replace the tensor by the first process's."""
    if is_distributed():
        dist.broadcast(tensor, src=0)


def gather_rows(rows: Tensor) -> Tensor:
    """Return the rows (N, D) of all processes, in their order; each may have another N."""
    if not is_distributed():
        return rows
    world = dist.get_world_size()
    counts = torch.zeros(world, dtype=torch.int64, device=rows.device)
    counts[dist.get_rank()] = rows.shape[0]
    dist.all_reduce(counts)
    longest = int(counts.max())
    padded = rows.new_zeros(longest, rows.shape[1])
    padded[: rows.shape[0]] = rows
    parts = [torch.empty_like(padded) for _ in range(world)]
    dist.all_gather(parts, padded)
    return torch.cat([part[:n] for part, n in zip(parts, counts.tolist(), strict=True)])
