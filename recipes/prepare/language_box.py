"""Make a language adapter's folder from the checkpoints of a training run, for `echoic export`."""

from collections.abc import Sequence
from pathlib import Path

import torch

from echoic.asr.languages import LANGUAGES
from echoic.asr.whisper.hub import SHORT_NAMES
from echoic.asr.whisper.language_adapter_file import WEIGHTS_FILE, save_language_adapter
from echoic.asr.whisper.training.language_export import adapter_of_runs
from echoic.recipes.model_card import About, Options, megabytes

PRECISIONS = ("float16", "float32")


def write(checkpoints: Sequence[str | Path], folder: Path, options: Options) -> About:
    """Write the adapter of a run, or the mean of several checkpoints of it; tell what it is.

    Raises:
        CheckpointError: not such checkpoints, or not of one model.
        OSError: the folder cannot be written.
    """
    adapter = adapter_of_runs(checkpoints, averaged=options.averaged)
    dtype = torch.float16 if options.precision == "float16" else torch.float32
    save_language_adapter(folder, adapter, dtype=dtype)
    config = adapter.config
    base, code = config.base_model, config.languages[0]
    name = Path(base).name
    is_id = base.count("/") == 1 and not Path(base).is_dir()
    thousands = config.num_parameters / 1000
    causal = config.causal_print is not None
    verb = "echoic stream FILE" if causal else "echoic transcribe FILE"
    return About(
        what=options.description or f"Adapter of Whisper {name} for {LANGUAGES[code].title()}",
        rows={
            "loads in": "`echoic transcribe` and `echoic stream`, `--language-adapter`",
            "model": f"`{name}`; its layer norms {config.base_print}",
            "hears": f"blocks, by LoRA adapter {config.causal_print}"
            if causal
            else "whole windows",
            "method": "residual bottleneck adapters behind the encoder's layers, after Bai et al. "
            "2024 (arXiv 2401.08992)",
            "size": f"bottleneck {config.bottleneck}, {thousands:.0f} thousand parameters",
            "stored": f"{options.precision}, {megabytes(folder / WEIGHTS_FILE)}",
        },
        use=f"{verb} --model {base if is_id else name} --language {code} --language-adapter DIR",
        tags=("speech", "whisper", "adapter"),
        pipeline="automatic-speech-recognition",
        metrics=("wer",),
        language=code,
        base=SHORT_NAMES.get(base, base if is_id else None),
    )
