"""What the layers ask of their input, said once."""

from torch import Tensor


def check_input(x: Tensor, channels: int, *, time_dim: int) -> None:
    """Raise when `x` is not (B, C, T) for time dimension 2, or (B, T, C) for 1.

    Raises:
        ValueError: another number of dimensions or channels.
    """
    if x.dim() != 3 or x.shape[3 - time_dim] != channels:
        shape = f"(batch, {channels}, frames)" if time_dim == 2 else f"(batch, frames, {channels})"
        raise ValueError(
            f"input has shape {tuple(x.shape)}, expected {shape}: add the batch dimension, swap "
            "channels and time, or change the layer's number of channels"
        )
