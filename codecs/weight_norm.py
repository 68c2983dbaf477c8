"""Codecs whose convolutions are trained as direction and length, and used as plain weights.

Weight normalisation: Salimans and Kingma 2016 (arXiv:1602.07868).
"""

from dataclasses import replace
from pathlib import Path
from typing import Self, TypeVar

import torch
from torch import Tensor, nn
from torch.nn.utils.parametrizations import weight_norm
from torch.nn.utils.parametrize import is_parametrized

from echoic.codecs.codec import Codec

M = TypeVar("M", bound=nn.Module)


def normed(module: M, wanted: bool = True) -> M:
    """Return the module, with its weight normalised along all dimensions but the first if wanted.

    Of a transposed convolution the first dimension is that of the input channels.
    """
    if wanted:
        weight_norm(module)
    return module


def plain_state(module: nn.Module) -> dict[str, Tensor]:
    """Return the state dict that the module would have without weight normalisation."""
    state = dict(module.state_dict())
    for prefix, part in module.named_modules():
        if not is_parametrized(part):
            continue
        dot = f"{prefix}." if prefix else ""
        hidden = f"{dot}parametrizations."
        state = {name: value for name, value in state.items() if not name.startswith(hidden)}
        names: nn.ModuleDict = part.parametrizations  # pyright: ignore[reportAssignmentType]
        state |= {f"{dot}{name}": getattr(part, name).detach() for name in names}
    return state


@torch.no_grad()
def load_plain(module: nn.Module, state: dict[str, Tensor]) -> None:
    """Load plain weights into a module whose weights may be normalised.

    Raises:
        ValueError: a missing or unknown tensor, or one of another shape.
    """
    wanted = plain_state(module)
    for name in [*wanted, *state]:
        if name not in wanted or name not in state:
            what = "is missing" if name in wanted else "has no place in this model"
            raise ValueError(f"{name} {what}: the settings of the two models differ")
        if wanted[name].shape != state[name].shape:
            raise ValueError(
                f"{name} has shape {tuple(state[name].shape)}, expected "
                f"{tuple(wanted[name].shape)}: the settings of the two models differ"
            )
    rest = dict(state)
    for prefix, part in module.named_modules():
        if is_parametrized(part):
            for name in part.parametrizations:  # pyright: ignore[reportGeneralTypeIssues]
                own = f"{prefix}.{name}" if prefix else name
                setattr(part, name, rest.pop(own).to(wanted[own]))
    module.load_state_dict(rest, strict=False)


class WeightNormCodec(Codec):
    """Base of codecs with a setting `weight_norm`; their files hold plain weights."""

    def folded(self) -> Self:
        """Return a copy with plain weights, for use: no norm is computed at each call."""
        return self._copy(weight_norm=False)

    def unfolded(self) -> Self:
        """Return a copy with normalised weights, to train a loaded codec further."""
        return self._copy(weight_norm=True)

    def save_pretrained(
        self, folder: str | Path, *, dtype: torch.dtype | None = None, description: str = ""
    ) -> None:
        """Write `config.json` and `model.safetensors` with plain weights; see `Codec`."""
        if self.config.weight_norm:
            self.folded().save_pretrained(folder, dtype=dtype, description=description)
        else:
            super().save_pretrained(folder, dtype=dtype, description=description)

    def _copy(self, *, weight_norm: bool) -> Self:
        # A run that saves as it goes draws the same numbers as one that does not.
        with torch.random.fork_rng(devices=[]):
            copy = type(self)(replace(self.config, weight_norm=weight_norm))  # pyright: ignore
        load_plain(copy, plain_state(self))
        return copy.to(self.device).train(self.training)
