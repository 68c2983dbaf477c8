"""Sizes of a speech tokenizer."""

from collections.abc import Mapping
from dataclasses import dataclass, fields
from typing import Any, Self

from echoic.asr.errors import CheckpointError
from echoic.asr.whisper.config import WhisperConfig
from echoic.asr.whisper.model import FRAMES_PER_SECOND, SAMPLES_PER_FRAME


@dataclass(frozen=True, slots=True)
class TokenizerConfig:
    """Where Whisper's encoder is cut, and what the cut makes of speech.

    After Zeng et al. 2024 (arXiv 2412.02612, section 2.1), who cut whisper-large-v3 behind layer
    16 of 32, pool by 4 and have 16,384 codes.

    Attributes:
        whisper: sizes of the model that it was made of.
        layers: of the encoder in front of the codes.
        pooling: frames of 20 ms that become one code: 4 for 12.5 codes a second, 2 for 25.
        block: frames of 20 ms in which attention is free; between blocks it is causal.
        codebook_size: K, values of a code.
        initial_max: where the running maximum of the features starts, see `LogMel`.

    Raises:
        CheckpointError: sizes that do not fit each other.
    """

    whisper: WhisperConfig
    layers: int
    pooling: int = 4
    block: int = 100
    codebook_size: int = 4096
    initial_max: float = 0.0

    def __post_init__(self) -> None:
        for name in ("layers", "pooling", "block"):
            if getattr(self, name) < 1:
                raise CheckpointError(f"{name} is {getattr(self, name)}, expected 1 or more")
        if self.layers > self.whisper.encoder_layers:
            raise CheckpointError(
                f"layers is {self.layers}, and the encoder has {self.whisper.encoder_layers}"
            )
        if self.block % self.pooling or self.block > self.whisper.max_source_positions:
            raise CheckpointError(
                f"block is {self.block} frames, expected a multiple of pooling ({self.pooling}), "
                f"{self.whisper.max_source_positions} at most"
            )
        if self.codebook_size < 2:
            raise CheckpointError(f"codebook_size is {self.codebook_size}, expected 2 or more")

    @classmethod
    def from_dict(cls, values: Mapping[str, Any]) -> Self:
        """Read what `to_dict` wrote.

        Raises:
            CheckpointError: unknown, missing or unfit values.
        """
        unknown = sorted(set(values) - {field.name for field in fields(cls)})
        if unknown:
            raise CheckpointError(f"unknown settings of a speech tokenizer: {', '.join(unknown)}")
        try:
            whisper = WhisperConfig.from_dict(values["whisper"])
            return cls(**{**values, "whisper": whisper})
        except CheckpointError:
            raise
        except (KeyError, TypeError, AttributeError) as e:
            raise CheckpointError(
                f"settings of a speech tokenizer are wrong or missing: {e}"
            ) from e

    def to_dict(self) -> dict[str, Any]:
        """Return plain values."""
        values = {field.name: getattr(self, field.name) for field in fields(self)}
        return {**values, "whisper": self.whisper.to_dict()}

    @property
    def window(self) -> int:
        """Frames of 20 ms, whole blocks, that have positions: attention begins anew behind them."""
        return self.whisper.max_source_positions // self.block * self.block

    @property
    def positions(self) -> int:
        """Codes with a position, of a recording that is recognised."""
        return -(-self.whisper.max_source_positions // self.pooling)

    @property
    def frame_rate(self) -> float:
        """Codes a second."""
        return FRAMES_PER_SECOND / self.pooling

    @property
    def hop_length(self) -> int:
        """Samples of a code."""
        return SAMPLES_PER_FRAME * self.pooling
