"""The weights of a codec on disk: safetensors, without what only training needs."""

import hashlib
from pathlib import Path

import torch
from safetensors import SafetensorError
from safetensors.torch import load_file, save_file
from torch import Tensor, nn

from echoic.codecs.errors import CodecError
from echoic.codecs.quantize.codebooks import Codebooks

WEIGHTS = "model.safetensors"


def write_weights(model: nn.Module, folder: Path, dtype: torch.dtype | None = None) -> None:
    """Write a model's tensors to `model.safetensors`.

    Args:
        model: whose.
        folder: where.
        dtype: floating-point tensors are stored as this; None as they are.
    """
    left_out = training_names(model)
    state = {}
    for name, tensor in model.state_dict().items():
        if name in left_out:
            continue
        stored = tensor.detach().cpu()
        if dtype is not None and stored.is_floating_point():
            stored = stored.to(dtype)
        state[name] = stored.contiguous().clone()
    save_file(state, folder / WEIGHTS, metadata={"format": "pt"})


def read_weights(model: nn.Module, folder: Path) -> None:
    """Load `model.safetensors` into a model, as float32.

    Raises:
        CodecError: no such file, damaged, or tensors that do not fit the model.
    """
    state = read_tensors(folder)
    ready = {k: v.float() if v.is_floating_point() else v for k, v in state.items()}
    _check(model, ready, folder / WEIGHTS)
    model.load_state_dict(ready, strict=True)


def read_tensors(folder: Path) -> dict[str, Tensor]:
    """Return what is in `model.safetensors`.

    Raises:
        CodecError: no such file, or damaged.
    """
    path = folder / WEIGHTS
    if not path.is_file():
        raise CodecError(f"{folder}: no {WEIGHTS}; export the codec with save_pretrained")
    try:
        return load_file(path)
    except (SafetensorError, OSError) as error:
        raise CodecError(
            f"{path}: damaged or no safetensors file ({error}); fetch it again"
        ) from error


def weights_hash(model: nn.Module) -> str:
    """Return a name of a model's exported weights: "sha256:" and 32 hex digits.

    The same on any device, before and after `save_pretrained`, and whatever training left behind.
    """
    digest = hashlib.sha256()
    left_out = training_names(model)
    for name, tensor in sorted(model.state_dict().items()):
        if name not in left_out:
            values = tensor.detach().cpu().contiguous()
            digest.update(f"{name} {values.dtype} {tuple(values.shape)}\n".encode())
            digest.update(values.reshape(-1).view(torch.uint8).numpy().data)
    return f"sha256:{digest.hexdigest()[:32]}"


def _check(model: nn.Module, state: dict[str, Tensor], path: Path) -> None:
    wanted = {k: v.shape for k, v in model.state_dict().items() if k not in training_names(model)}
    missing = sorted(set(wanted) - set(state))
    unknown = sorted(set(state) - set(wanted))
    if missing or unknown:
        what = f"has no {missing[0]!r}" if missing else f"has {unknown[0]!r}"
        raise CodecError(
            f"{path}: {what}, unlike the codec in config.json; they do not belong together"
        )
    for name, tensor in state.items():
        if tensor.shape != wanted[name]:
            raise CodecError(
                f"{path}: {name} has shape {tuple(tensor.shape)}, expected {tuple(wanted[name])} "
                "by config.json; they do not belong together"
            )
        if tensor.is_floating_point() and not bool(torch.isfinite(tensor).all()):
            raise CodecError(f"{path}: {name} has NaN or infinite weights; fetch the file again")


def training_names(model: nn.Module) -> set[str]:
    """Return the names of a model's tensors that stay out of exported weights."""
    return {
        f"{prefix}.{name}" if prefix else name
        for prefix, module in model.named_modules()
        if isinstance(module, Codebooks)
        for name in Codebooks.TRAINING
    }
