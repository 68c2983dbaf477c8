"""From a checkpoint of a tokenizer's training to a folder that loads."""

from pathlib import Path
from typing import Any

import torch

from echoic.asr.errors import CheckpointError
from echoic.asr.run_checkpoint import read_checkpoint
from echoic.asr.tokenizer.config import TokenizerConfig
from echoic.asr.tokenizer.files import save_tokenizer
from echoic.asr.tokenizer.training.task import TOKENIZER_KEY
from echoic.asr.whisper.checkpoint import load_checkpoint


def export_tokenizer(
    checkpoint: str | Path,
    folder: str | Path,
    *,
    dtype: torch.dtype | None = None,
    description: str = "",
) -> dict[str, Any]:
    """Write the tokenizer of a checkpoint: tensors and plain values are read, never code.

    Args:
        checkpoint: a `.ckpt` of `echoic train fit`.
        folder: made if it does not exist.
        dtype: to store in; None as they are.
        description: one line for lists of models.

    Returns:
        What the checkpoint tells: `base`, `language` and `config`.

    Raises:
        CheckpointError: no such file, not such a checkpoint, its codes have not begun, or its base
            is not there, whose text files are copied.
        OSError: the folder cannot be written.
    """
    values = _read(Path(checkpoint))
    told = values[TOKENIZER_KEY]
    book = told["book"]
    if book is None:
        raise CheckpointError(
            f"{checkpoint} has no codes yet: train beyond the quantizer's warm-up and reservoir"
        )
    parts = {
        name.removeprefix("model."): value
        for name, value in values["state_dict"].items()
        if name.startswith("model.")
    }
    base = load_checkpoint(told["base"])
    config = TokenizerConfig.from_dict(told["config"])
    state = {**parts, "book.vectors": book}
    save_tokenizer(
        folder, config, state, base.generation, base.folder, dtype=dtype, description=description
    )
    return {"base": told["base"], "language": told["language"], "config": config}


def _read(path: Path) -> dict[str, Any]:
    return read_checkpoint(path, TOKENIZER_KEY, "speech tokenizer", "SpeechTokenizerTask")
