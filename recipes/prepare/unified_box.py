"""Make the folder of a unified model from the checkpoint of a run, as `echoic export` does."""

from collections.abc import Sequence
from pathlib import Path

import torch

from echoic.recipes.model_card import About, Options, megabytes
from echoic.tts.unified.files import WEIGHTS, save_unified
from echoic.tts.unified.training.export import unified_of_run

DTYPES = {"float16": torch.float16, "bfloat16": torch.bfloat16, "float32": torch.float32}


def write(checkpoints: Sequence[Path], folder: Path, options: Options) -> About:
    """Write the model of a checkpoint, adapters merged, and tell what it is.

    Args:
        checkpoints: the one.
        folder: made if it does not exist.
        options: how to store it.

    Raises:
        TtsError: no such checkpoint, or the model that it began with is gone.
        ValueError: adapters that are not finite.
    """
    unified = unified_of_run(checkpoints[0])
    save_unified(unified, folder, dtype=DTYPES[options.precision])
    backbone, form = unified.model.backbone, unified.model.vocabulary.format
    count = backbone.num_parameters() / 1e6
    return About(
        what=options.description or f"{backbone.config.model_type} of {count:.1f} M that speaks",
        rows={
            "codec": form.codec,
            "frames": f"{form.frame_rate:g} a second of {form.num_codebooks} codes",
            "ids": f"{unified.model.vocabulary.size}, of text {unified.model.vocabulary.text_size}",
            "stored": f"{options.precision}, {megabytes(folder / WEIGHTS)}",
        },
        use='load_unified("DIR")  # echoic.tts.unified.files; transformers reads it, too',
        tags=["speech", "text-to-speech"],
        pipeline="text-to-speech",
        metrics=["wer"],
    )
