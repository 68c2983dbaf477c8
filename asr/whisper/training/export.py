"""From a training checkpoint to an adapter folder that peft and echoic load."""

from pathlib import Path
from typing import Any

import torch

from echoic.asr.run_checkpoint import read_checkpoint
from echoic.asr.whisper.adapter import (
    AdapterConfig,
    StreamingAdapterConfig,
    save_adapter,
)
from echoic.asr.whisper.hub import find_folder
from echoic.asr.whisper.training.lora import LoraSettings


def read_run(checkpoint: str | Path) -> dict[str, Any]:
    """Read a checkpoint of `CausalWhisperTask`: tensors and plain values, never code.

    Raises:
        CheckpointError: no such file, or not such a checkpoint.
    """
    return read_checkpoint(checkpoint, "adapter", "adapter", "CausalWhisperTask")


def export_adapter(
    checkpoint: str | Path, folder: str | Path, *, dtype: torch.dtype = torch.float16
) -> None:
    """Write the adapter of a checkpoint, as peft lays it out.

    Args:
        checkpoint: see `read_run`.
        folder: made if it does not exist.
        dtype: to store in.

    Raises:
        CheckpointError: see `read_run`.
    """
    values = read_run(checkpoint)
    settings = LoraSettings(**values["adapter"]["lora"])
    base = values["adapter"]["base"]
    if Path(base).is_dir() and find_folder(base) == Path(base):  # and no name in the box
        base = str(Path(base).resolve())  # else it would be found from here alone
    streaming = values["adapter"].get("streaming")
    save_adapter(
        folder,
        values["state_dict"],
        AdapterConfig(
            r=settings.rank,
            lora_alpha=settings.alpha or settings.rank,
            target_modules=settings.pattern,
            base_model=base,
        ),
        streaming=None
        if streaming is None
        else StreamingAdapterConfig.from_dict({"base_model": base, **streaming}),
        metadata={"steps": str(values.get("global_step", ""))},
        dtype=dtype,
    )
