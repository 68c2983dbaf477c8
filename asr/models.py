"""The kinds of models for whole recordings: which one a name means, and how it reads.

Live recognisers of the same kinds are in `echoic.asr.recognizers`.
"""

import json
from collections.abc import Sequence
from pathlib import Path
from typing import Literal

import torch

from echoic.asr.errors import CheckpointError
from echoic.asr.hub import download
from echoic.asr.options import TranscribeOptions
from echoic.asr.paraformer.box import box_models as paraformers
from echoic.asr.paraformer.config import MODEL_TYPE
from echoic.asr.paraformer.model import Paraformer
from echoic.asr.paraformer.reader import ParaformerReader
from echoic.asr.reader import Reader
from echoic.asr.whisper.hub import SHORT_NAMES
from echoic.asr.whisper.language_adapter_file import load_whisper
from echoic.asr.whisper.model import WhisperModel
from echoic.asr.whisper.reader import WhisperReader

Kind = Literal["whisper", "paraformer"]
Model = WhisperModel | Paraformer

_CONFIG_FILE = "config.json"


def kind_of(name_or_dir: str | Path) -> Kind:
    """Return the kind of a model; what cannot be told is left to Whisper, which says what is wrong.

    Args:
        name_or_dir: name in a box, folder, or Hugging Face id, of which the config is fetched.
    """
    name = str(name_or_dir)
    if isinstance(name_or_dir, str) and name in {model.name for model in paraformers()}:
        return "paraformer"
    folder = Path(name_or_dir).expanduser()
    if folder.is_dir():
        return _kind_in(folder)
    if isinstance(name_or_dir, Path) or name in SHORT_NAMES or name.count("/") != 1:
        return "whisper"
    if name.startswith((".", "/", "~", "openai/")):
        return "whisper"
    try:
        return _kind_in(download(name, None, [_CONFIG_FILE], ""))
    except CheckpointError:
        return "whisper"


def load_model(
    name_or_dir: str | Path,
    *,
    device: torch.device,
    dtype: str = "auto",
    language_adapters: Sequence[str | Path] = (),
    ngram_weight: float | None = None,
) -> Model:
    """Load a model for inference.

    Args:
        name_or_dir: name in a box, Hugging Face id, or folder of a Whisper or a Paraformer.
        device: where to compute.
        dtype: "auto" measures what is fastest there; else one of `arithmetic.KINDS`.
        language_adapters: folders of these, for a Whisper.
        ngram_weight: of a Paraformer's n-grams beside the sound, 0 for none of them; None for the
            model's own.

    Raises:
        CheckpointError: nothing there, neither of the two, or adapters of another model.
        ValueError: a dtype that this device cannot compute in, or adapters or a weight that cannot
            be used.
    """
    if kind_of(name_or_dir) == "paraformer":
        refuse_adapters(language_adapters)
        found = Paraformer.from_pretrained(name_or_dir, ngram_weight=ngram_weight)
        return found.to_inference(device=device, dtype=dtype)
    refuse_ngrams(ngram_weight)
    return load_whisper(
        name_or_dir, device=device, dtype=dtype, language_adapters=language_adapters
    )


def refuse_adapters(language_adapters: Sequence[str | Path]) -> None:
    """Refuse language adapters where the model is a Paraformer.

    Raises:
        ValueError: there are some.
    """
    if language_adapters:
        raise ValueError(
            f"{language_adapters[0]} is an adapter of a Whisper; this is a Paraformer: leave it out"
        )


def refuse_ngrams(ngram_weight: float | None) -> None:
    """Refuse a weight of n-grams where the model is a Whisper.

    Raises:
        ValueError: there is one.
    """
    if ngram_weight is not None:
        raise ValueError(
            f"ngram_weight is {ngram_weight}, but a Whisper has no n-grams: leave it out"
        )


def open_reader(model: Model, options: TranscribeOptions) -> Reader:
    """Return what reads windows with a model.

    Raises:
        ValueError: options that the model cannot follow.
    """
    if isinstance(model, Paraformer):
        return ParaformerReader(model, options)
    return WhisperReader(model, options)


def _kind_in(folder: Path) -> Kind:
    path = folder / _CONFIG_FILE
    if not path.is_file():
        # FunASR's own folders, which are told how to become ours.
        funasr = (folder / "config.yaml").is_file() and (folder / "model.pt").is_file()
        return "paraformer" if funasr else "whisper"
    try:
        values = json.loads(path.read_text(encoding="utf-8"))
    except (OSError, ValueError):
        return "whisper"
    own = isinstance(values, dict) and values.get("model_type") == MODEL_TYPE
    return "paraformer" if own else "whisper"
