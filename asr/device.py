"""Where to compute: names that users give, as torch's devices."""

import torch


def named_device(name: str) -> torch.device:
    """Return the device of a name: "auto" takes a GPU where there is one.

    Raises:
        ValueError: no such device, or not here.
    """
    if name == "auto":
        return torch.device("cuda" if torch.cuda.is_available() else "cpu")
    try:
        device = torch.device(name)
    except RuntimeError as error:
        raise ValueError(f"unknown device {name!r}: auto, cpu, cuda or cuda:0") from error
    if device.type not in ("cpu", "cuda"):
        raise ValueError(f"unknown device {name!r}: auto, cpu, cuda or cuda:0")
    if device.type == "cuda" and not torch.cuda.is_available():
        raise ValueError(f"device {name!r} is not there: no CUDA device is visible; take cpu")
    return device
