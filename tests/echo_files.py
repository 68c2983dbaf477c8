"""Small `.echo` files for tests."""

import io
from typing import Any

import torch
from torch import Tensor

from echoic.codecs.container import EchoReader, EchoWriter, Header

HOP = 160


def small_header(**changes: Any) -> Header:
    fields: dict[str, Any] = {
        "model": "tiny",
        "weights": "sha256:0123",
        "sample_rate": 16000,
        "hop_length": HOP,
        "num_codebooks": 3,
        "codebook_size": 50,
        "original_sample_rate": 16000,
        "channels": 1,
        "segment_frames": 8,
    }
    return Header(**(fields | changes))


def random_codes(header: Header, frames: int, seed: int = 0) -> Tensor:
    generator = torch.Generator().manual_seed(seed)
    shape = (header.channels, header.num_codebooks, frames)
    return torch.randint(header.codebook_size, shape, generator=generator)


def written(header: Header, codes: Tensor, *, entropy: bool = False, samples: int = -1) -> bytes:
    """A whole file; its sound ends with the last frame unless `samples` are given."""
    file = io.BytesIO()
    writer = EchoWriter(file, header, entropy=entropy)
    writer.write(codes)
    writer.close(codes.shape[2] * HOP if samples < 0 else samples)
    return file.getvalue()


def read(data: bytes, *, salvage: bool = False) -> tuple[EchoReader, Tensor]:
    """All codes of a file, and its reader."""
    reader = EchoReader(io.BytesIO(data), salvage=salvage)
    empty = torch.empty(reader.header.channels, reader.header.num_codebooks, 0, dtype=torch.int64)
    return reader, torch.cat([empty, *(segment.codes for segment in reader)], dim=2)
