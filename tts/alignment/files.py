"""A model of units on disk: one safetensors file."""

from pathlib import Path

import torch
from safetensors import SafetensorError
from safetensors.torch import load_file

from echoic.tts.alignment.hmm import UnitModel
from echoic.tts.errors import TtsError
from echoic.tts.folders import write_tensors

ALIGNER = "aligner.safetensors"


def save_units(model: UnitModel, path: str | Path) -> None:
    """Write a model; emissions in half precision.

    Raises:
        OSError: the file cannot be written.
    """
    tensors = {"emissions": model.emissions.half().contiguous(), "stay": model.stay.contiguous()}
    write_tensors(tensors, path, {"format": "pt"})


def load_units(path: str | Path) -> UnitModel:
    """Read a model.

    Raises:
        TtsError: not there, or damaged.
    """
    try:
        found = load_file(path)
        emissions, stay = found["emissions"].float(), found["stay"].float()
    except (SafetensorError, OSError, KeyError) as e:
        raise TtsError(f"{path} is not there or damaged ({e}): fetch it again") from e
    fits = emissions.dim() == 3 and stay.shape == emissions.shape[1:2]
    if not fits or not bool(torch.cat([emissions.flatten(), stay]).isfinite().all()):
        raise TtsError(f"{path} is damaged: fetch it again")
    return UnitModel(emissions, stay)
