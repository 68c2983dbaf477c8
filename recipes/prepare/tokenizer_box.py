"""Make a speech tokenizer's folder from the checkpoint of a run, as `echoic export` does."""

from collections.abc import Sequence
from pathlib import Path

import torch

from echoic.asr.tokenizer.config import TokenizerConfig
from echoic.asr.tokenizer.files import WEIGHTS
from echoic.asr.tokenizer.training.export import export_tokenizer
from echoic.asr.whisper.hub import SHORT_NAMES
from echoic.recipes.model_card import About, Options, megabytes

DTYPES = {"float16": torch.float16, "bfloat16": torch.bfloat16, "float32": torch.float32}
PRECISIONS = tuple(DTYPES)


def write(checkpoints: Sequence[Path], folder: Path, options: Options) -> About:
    """Write the tokenizer of a checkpoint, and tell what it is.

    Args:
        checkpoints: the one.
        folder: made if it does not exist.
        options: how to store it.

    Raises:
        CheckpointError: no such checkpoint, its codes have not begun, or its base is not there.
        OSError: the folder cannot be written.
    """
    told = export_tokenizer(
        checkpoints[0],
        folder,
        dtype=DTYPES[options.precision],
        description=options.description,
    )
    config, base = told["config"], str(told["base"])
    is_id = base.count("/") == 1 and not Path(base).is_dir()
    assert isinstance(config, TokenizerConfig)
    return About(
        what=options.description or f"speech tokenizer of {config.codebook_size} codes",
        rows={
            "made of": f"`{Path(base).name}`, cut behind layer {config.layers} of "
            f"{config.whisper.encoder_layers}",
            "codes": f"{config.frame_rate:g} a second of {config.codebook_size}",
            "hears": f"blocks of {20 * config.block} ms",
            "method": "recognition behind the codes, after Zeng et al. 2024 (arXiv 2412.02612)",
            "stored": f"{options.precision}, {megabytes(folder / WEIGHTS)}",
        },
        use="echoic prepare coded-speech MANIFEST OUT --codec DIR",
        tags=("speech", "whisper", "tokenizer"),
        pipeline="feature-extraction",
        metrics=("wer",),
        language=str(told["language"]),
        base=SHORT_NAMES.get(base, base if is_id else None),
    )
