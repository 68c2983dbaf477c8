"""What lies in the folder of an exported model, and what its network tells of itself.

`model.onnx` is the network; `config.json` and `tokens.json` (with some vocabularies `seg_dict` or
`bpe.model`) are as in the folder of any Paraformer of ours. The network's metadata hold what a
program needs to make its input and to read its output: how features are computed and normalised,
`(x + cmvn_shift) * cmvn_scale`, and that frame t, from 0, begins at second
`t * frame_seconds + frame_offset`.
"""

import dataclasses
import json
from collections.abc import Mapping

import torch
from torch import Tensor

from echoic.asr.errors import CheckpointError
from echoic.asr.paraformer.config import FrontendConfig
from echoic.asr.paraformer.model import Paraformer

NETWORK_FILE = "model.onnx"
FORMAT, VERSION = "echoic-paraformer", "1"

INPUTS = ("features", "lengths")
OUTPUTS = ("logits", "counts", "quantity", "starts", "ends")


def metadata_of(model: Paraformer) -> dict[str, str]:
    """Return what the network of a model tells."""
    frontend, cmvn = model.config.frontend, model.frontend.cmvn
    values = dataclasses.asdict(frontend) | {
        "format": FORMAT,
        "format_version": VERSION,
        "frame_seconds": frontend.frame_seconds,
        "frame_offset": frontend.frame_offset,
        "vocab_size": model.config.vocab_size,
        "max_frames": model.config.max_frames,
        "cmvn_shift": json.dumps(cmvn.shift.tolist()),
        "cmvn_scale": json.dumps(cmvn.scale.tolist()),
    }
    return {name: str(value) for name, value in values.items()}


def normalisation(metadata: Mapping[str, str], frontend: FrontendConfig) -> tuple[Tensor, Tensor]:
    """Return shift and scale (F,) of the features.

    Raises:
        CheckpointError: not the metadata of such a network, or of another version.
    """
    told = metadata.get("format"), metadata.get("format_version")
    if told != (FORMAT, VERSION):
        raise CheckpointError(
            f"format and version are {told[0]} {told[1]}, expected {FORMAT} {VERSION}: make it by "
            "echoic export onnx"
        )
    try:
        shift, scale = (torch.tensor(json.loads(metadata[f"cmvn_{n}"])) for n in ("shift", "scale"))
    except (KeyError, ValueError, TypeError) as error:
        raise CheckpointError(f"it does not tell how features are normalised ({error})") from error
    if shift.shape != (frontend.num_features,) or scale.shape != shift.shape:
        raise CheckpointError(
            f"it normalises {tuple(shift.shape)} and {tuple(scale.shape)} features, config.json "
            f"has {frontend.num_features}; they do not belong together"
        )
    return shift, scale
