"""Where Paraformer models come from and how they lie on disk.

A folder holds `config.json`, `model.safetensors` and `tokens.json`, and with some vocabularies
`seg_dict` or `bpe.model`; it may hold n-grams, `ngrams.safetensors`.
"""

import json
from collections.abc import Collection
from pathlib import Path
from typing import Literal

import torch
from safetensors import SafetensorError
from safetensors.torch import load_file, save_file
from torch import nn

from echoic.asr.errors import CheckpointError
from echoic.asr.hub import download
from echoic.asr.paraformer.box import box_models
from echoic.asr.paraformer.config import ParaformerConfig
from echoic.asr.paraformer.fusion import FILE as NGRAMS_FILE
from echoic.asr.paraformer.tokenizer import PIECES_FILE, SEG_DICT_FILE, TOKENS_FILE, Tokenizer
from echoic.asr.quantized import is_quantized, load_quantized, save_quantized

Precision = Literal["float32", "float16", "int8"]

CONFIG_FILE, WEIGHTS_FILE = "config.json", "model.safetensors"
_WANTED = (CONFIG_FILE, WEIGHTS_FILE, TOKENS_FILE, SEG_DICT_FILE, PIECES_FILE, NGRAMS_FILE)


def find_folder(name_or_dir: str | Path, revision: str | None = None) -> Path:
    """Return the folder of a model, after a download if need be.

    A name in the box wins over a folder of that name; write "./name" for the latter.

    Args:
        name_or_dir: name in the box, Hugging Face id or folder.
        revision: branch, tag or commit of a Hugging Face repository.

    Raises:
        CheckpointError: no such model, or no network.
    """
    name = str(name_or_dir)
    boxed = {model.name: model.folder for model in box_models()}
    if revision is None and isinstance(name_or_dir, str) and name in boxed:
        return boxed[name]
    path = Path(name_or_dir).expanduser()
    if path.is_dir():
        if revision is not None:
            raise CheckpointError(f"{name} is a folder, it has no revision {revision!r}")
        return path
    if path.is_file():
        raise CheckpointError(f"{name} is a file, expected the folder that holds it")
    if isinstance(name_or_dir, Path) or name.startswith((".", "/", "~")) or name.count("/") != 1:
        raise CheckpointError(f"no Paraformer {name}; {_choices()}")
    return download(name, revision, _WANTED, _choices())


def read_settings(folder: Path) -> tuple[ParaformerConfig, Tokenizer]:
    """Read `config.json` and the vocabulary.

    Raises:
        CheckpointError: a file is missing or says something else than expected.
    """
    path = folder / CONFIG_FILE
    if not path.is_file():
        mend = ""
        if (folder / "config.yaml").is_file():
            mend = f"; FunASR's models become ours by: echoic import paraformer {folder} NEW"
        raise CheckpointError(f"{folder} is no Paraformer: it has no {CONFIG_FILE}{mend}")
    try:
        values = json.loads(path.read_text(encoding="utf-8"))
    except (OSError, ValueError) as error:
        raise CheckpointError(f"{path} is not readable JSON: {error}") from error
    if not isinstance(values, dict):
        raise CheckpointError(f"{path} holds a {type(values).__name__}, expected an object")
    try:
        config = ParaformerConfig.from_dict(values)
        tokenizer = Tokenizer.from_folder(folder)
    except CheckpointError as error:
        where = "" if str(folder) in str(error) else f"{folder}: "
        raise CheckpointError(f"{where}{error}") from error
    if len(tokenizer) != config.vocab_size:
        raise CheckpointError(
            f"{folder}: {TOKENS_FILE} has {len(tokenizer)} tokens, {CONFIG_FILE} says "
            f"{config.vocab_size}; they do not belong together"
        )
    return config, tokenizer


def read_weights(model: nn.Module, folder: Path) -> None:
    """Load `model.safetensors` into a model on the device "meta", as float32.

    Raises:
        CheckpointError: no such file, damaged, or tensors that do not fit the model.
    """
    path = folder / WEIGHTS_FILE
    if not path.is_file():
        raise CheckpointError(f"{folder} is no Paraformer: it has no {WEIGHTS_FILE}")
    try:
        state = load_quantized(path) if is_quantized(path) else load_file(path)
    except (SafetensorError, OSError) as error:
        raise CheckpointError(f"{path} is damaged or no safetensors file: {error}") from error
    expected = {name: tensor.shape for name, tensor in model.state_dict().items()}
    strange = sorted(expected.keys() ^ state.keys())
    if strange:
        verb = "lacks" if strange[0] in expected else "has"
        raise CheckpointError(
            f"{path} {verb} {strange[0]}, unlike {CONFIG_FILE}; they do not belong together"
        )
    for name, tensor in state.items():
        if tensor.shape != expected[name]:
            raise CheckpointError(
                f"{path}: {name} has shape {tuple(tensor.shape)}, expected "
                f"{tuple(expected[name])} by {CONFIG_FILE}; they do not belong together"
            )
        if not bool(torch.isfinite(tensor).all()):
            raise CheckpointError(f"{path}: {name} has NaN or infinity; fetch the file again")
    model.load_state_dict({name: t.float() for name, t in state.items()}, assign=True)


def save(
    model: nn.Module,
    config: ParaformerConfig,
    tokenizer: Tokenizer,
    folder: Path,
    description: str = "",
    precision: Precision = "float32",
    whole_rows: Collection[str] = (),
) -> None:
    """Write a folder that the functions above read; it is made if it does not exist.

    Args:
        model: what to write.
        config: of it.
        tokenizer: of it.
        folder: where.
        description: a line for lists of models.
        precision: of the weights.
        whole_rows: weights that have one scale a row in int8, see `save_quantized`.
    """
    folder.mkdir(parents=True, exist_ok=True)
    state = {name: t.detach().cpu().contiguous() for name, t in model.state_dict().items()}
    if precision == "int8":
        save_quantized(state, folder / WEIGHTS_FILE, whole_rows)
    else:
        if precision == "float16":
            state = {name: t.half() for name, t in state.items()}
        save_file(state, folder / WEIGHTS_FILE, metadata={"format": "pt"})
    (folder / WEIGHTS_FILE).chmod(0o644)  # safetensors makes it readable to its owner alone
    save_settings(config, tokenizer, folder, description)


def save_settings(
    config: ParaformerConfig, tokenizer: Tokenizer, folder: Path, description: str = ""
) -> None:
    """Write what `read_settings` reads; the folder exists."""
    values = config.to_dict() | ({"description": description} if description else {})
    text = json.dumps(values, indent=2, ensure_ascii=False)
    (folder / CONFIG_FILE).write_text(text + "\n", encoding="utf-8")
    tokenizer.save(folder)


def _choices() -> str:
    names = ", ".join(model.name for model in box_models()) or "nothing"
    return (
        f"in the box: {names}; or give a folder with {CONFIG_FILE} and {WEIGHTS_FILE}, or a "
        "Hugging Face id"
    )
