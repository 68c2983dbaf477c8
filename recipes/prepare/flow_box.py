"""Make folders of flows and vocoders from the checkpoints of training runs, for `echoic export`."""

from collections.abc import Sequence
from pathlib import Path

import torch
from torch import nn

from echoic.recipes.model_card import About, Options, megabytes
from echoic.tts.flow.config import MelSpace
from echoic.tts.flow.speech import FlowSettings, save_flow, save_vocoder
from echoic.tts.flow.training.export import flow_of_run, vocoder_of_run
from echoic.tts.folders import WEIGHTS

DTYPES = {"float16": torch.float16, "bfloat16": torch.bfloat16, "float32": torch.float32}


def write_flow(checkpoints: Sequence[Path], folder: Path, options: Options) -> About:
    """Write the flow of a checkpoint, and tell what it is.

    Args:
        checkpoints: the one.
        folder: made if it does not exist.
        options: how to store it.

    Raises:
        TtsError: no such checkpoint.
    """
    trained = flow_of_run(checkpoints[0], averaged=options.averaged)
    config = trained.model.config
    middle = sorted(config.chunks)[len(config.chunks) // 2]
    settings = FlowSettings(trained.codec_hash, middle, description=options.description)
    save_flow(trained.model, settings, folder, dtype=DTYPES[options.precision])
    form = config.frames
    return About(
        what=options.description or f"flow decoder of {_millions(trained.model)} M parameters",
        rows={
            "codec": form.codec,
            "frames": f"{form.frame_rate:g} a second of {form.num_codebooks} codes",
            "spectra": _spectra(config.mels),
            "chunks": f"{', '.join(map(str, config.chunks))} frames, or the whole utterance",
            "stored": f"{options.precision}, {megabytes(folder / WEIGHTS)}",
        },
        use="echoic export runs/vocoder DIR/vocoder",
        tags=["speech", "text-to-speech", "flow-matching"],
        pipeline="audio-to-audio",
    )


def write_vocoder(checkpoints: Sequence[Path], folder: Path, options: Options) -> About:
    """Write the vocoder of a checkpoint; for the arguments and errors see `write_flow`."""
    vocoder = vocoder_of_run(checkpoints[0], averaged=options.averaged)
    dtype = DTYPES[options.precision]
    save_vocoder(vocoder, folder, dtype=dtype, description=options.description)
    return About(
        what=options.description or f"vocoder of {_millions(vocoder)} M parameters",
        rows={
            "spectra": _spectra(vocoder.config.mels),
            "stored": f"{options.precision}, {megabytes(folder / WEIGHTS)}",
        },
        use='from echoic.tts.flow.speech import load_vocoder; vocoder = load_vocoder("DIR")',
        tags=["speech", "vocoder"],
        pipeline="audio-to-audio",
    )


def _millions(model: nn.Module) -> str:
    return f"{sum(p.numel() for p in model.parameters()) / 1e6:.1f}"


def _spectra(mels: MelSpace) -> str:
    mel = mels.mel
    return f"{mel.num_mels} mels, {mels.rate:g} a second, {mel.sample_rate} Hz"
