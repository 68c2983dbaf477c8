"""A checkpoint of Language-Codec, small and random, as published and as imported."""

from pathlib import Path

import pytest
import torch
from languagecodec_oracle import upstream_state
from torch import Tensor

from echoic.codecs.languagecodec.importer import import_files
from echoic.codecs.languagecodec.model import LanguageCodec


@pytest.fixture(scope="session")
def state() -> dict[str, Tensor]:
    return upstream_state()


@pytest.fixture(scope="session")
def checkpoint(state: dict[str, Tensor], tmp_path_factory: pytest.TempPathFactory) -> Path:
    """What Lightning writes: the tensors, and settings of the run."""
    path = tmp_path_factory.mktemp("published") / "languagecodec.ckpt"
    settings = {"sample_rate": 24_000, "root": Path("runs"), "decay_mel_coeff": False}
    torch.save({"state_dict": state, "epoch": 3, "hyper_parameters": settings}, path)
    return path


@pytest.fixture(scope="session")
def codec(checkpoint: Path, tmp_path_factory: pytest.TempPathFactory) -> LanguageCodec:
    folder = tmp_path_factory.mktemp("imported")
    import_files(checkpoint, folder)
    return LanguageCodec.from_pretrained(folder).requires_grad_(False)


@pytest.fixture
def wav() -> Tensor:
    generator = torch.Generator().manual_seed(1)
    return 0.3 * torch.randn(2, 5001, generator=generator)
