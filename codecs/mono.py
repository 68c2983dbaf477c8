"""Between waveforms (B, T) and the one channel (B, 1, T) that convolutions of codecs begin with."""

from collections import OrderedDict
from typing import Any

from torch import Tensor, nn

from echoic.streaming.layers.pointwise import Pointwise, SwapTime
from echoic.streaming.layers.sequential import StreamingSequential


class MonoEncoder(StreamingSequential):
    """Layers on (B, 1, T), given waveforms (B, T); see `StreamingSequential`."""

    def __init__(self, *modules: nn.Module | OrderedDict[str, nn.Module]) -> None:
        super().__init__(*modules)
        self.input_time_dim = 1

    def forward(self, wav: Tensor) -> Tensor:  # pyright: ignore[reportIncompatibleMethodOverride]
        """Encode whole recordings."""
        return super().forward(wav[:, None])

    def step(self, state: tuple[Any, ...], x: Tensor) -> tuple[tuple[Any, ...], Tensor]:
        """Take samples (B, T), T >= 0, and return the latents that are complete."""
        return super().step(state, x[:, None])


def mono_end() -> OrderedDict[str, nn.Module]:
    """Return the named layers, without weights, that make waveforms (B, T) of (B, 1, T)."""
    return OrderedDict(
        swap=SwapTime(1, to=1), mono=Pointwise(nn.Flatten(1), channels=1, time_dim=1)
    )
