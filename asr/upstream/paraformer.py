"""FunASR's Paraformer models, from their folders: weights, settings, statistics, vocabulary.

A folder holds `model.pt`, `config.yaml`, `am.mvn` and `tokens.json`, and with some vocabularies
`seg_dict` or a sentencepiece model. The import is from their names and shapes alone.
"""

import zipfile
from collections.abc import Mapping
from dataclasses import dataclass
from pathlib import Path
from typing import Any

import torch
from torch import Tensor

from echoic.asr.errors import CheckpointError
from echoic.asr.paraformer.config import ParaformerConfig
from echoic.asr.paraformer.model import Paraformer
from echoic.asr.paraformer.tokenizer import SEG_DICT_FILE, Tokenizer, read_seg_dict, read_tokens
from echoic.asr.upstream.paraformer_layout import (
    LEFT_OUT,
    MODELS,
    paraformer_config,
    upstream_name,
)
from echoic.asr.upstream.torch_file import attributes, read_torch_file
from echoic.audio.features import Cmvn

_WEIGHTS = ("model.pt", "model.pb")
_NESTS = ("state_dict", "model_state_dict", "model")


@dataclass(frozen=True, slots=True)
class ImportedParaformer:
    """What an import wrote.

    Attributes:
        folder: the model's folder.
        model: the model.
        left_out: what of the source our model has no place for.
    """

    folder: Path
    model: Paraformer
    left_out: tuple[str, ...]

    @property
    def num_parameters(self) -> int:
        """Numbers that the model learned."""
        return sum(p.numel() for p in self.model.parameters())


def import_paraformer(source: str | Path, folder: str | Path) -> ImportedParaformer:
    """Turn FunASR's folder into ours; no code from it is run.

    Args:
        source: FunASR's folder.
        folder: to write, new or empty.

    Raises:
        CheckpointError: no such model, a file is missing or damaged, or files that do not fit each
            other.
        FileExistsError: there is something in the folder.
        FileNotFoundError: no such source.
    """
    source, folder = Path(source), Path(folder)
    if not source.exists():
        raise FileNotFoundError(f"{source}: no such folder; give the folder of a FunASR model")
    if not source.is_dir():
        raise CheckpointError(f"{source} is a file, expected the folder that holds it")
    if folder.exists() and (not folder.is_dir() or any(folder.iterdir())):
        raise FileExistsError(f"{folder} is not empty: give a new folder")
    model, left_out = load_upstream(source)
    model.save_pretrained(folder, description=f"Paraformer {source.resolve().name}, from FunASR")
    return ImportedParaformer(folder, model, left_out)


def load_upstream(source: Path) -> tuple[Paraformer, tuple[str, ...]]:
    """Load FunASR's folder as our model, ready to recognise; also tell what was left out.

    Raises:
        CheckpointError: see `import_paraformer`.
    """
    values = _read_yaml(source / "config.yaml")
    tokenizer = _tokenizer(source, values)
    try:
        config = paraformer_config(values, len(tokenizer))
    except CheckpointError as error:
        raise CheckpointError(f"{source}: {error}") from error
    cmvn = _cmvn(source, config)
    state, path = _read_state(source)
    model = Paraformer(config, tokenizer)
    left_out = [*MODELS[values["model"]], *_fill(model, state, path)]
    model.frontend.cmvn.shift.copy_(cmvn.shift)
    model.frontend.cmvn.scale.copy_(cmvn.scale)
    return model.eval(), tuple(dict.fromkeys(left_out))


def _fill(model: Paraformer, state: dict[str, Tensor], path: Path) -> list[str]:
    """Put a file's tensors into the model; return what is left out."""
    config = model.config
    left_out = _fold_last_block(state, config, path)
    if "decoder.output_layer.weight" in state:
        state.setdefault("decoder.embed.0.weight", state["decoder.output_layer.weight"])
        tokens = len(state["decoder.output_layer.weight"])
        if tokens != config.vocab_size:
            raise CheckpointError(
                f"{path} has {tokens} tokens, the vocabulary {config.vocab_size}; they do not "
                "belong together"
            )
    ready: dict[str, Tensor] = {}
    for name, tensor in model.state_dict().items():
        if name.startswith("frontend."):
            ready[name] = tensor
            continue
        theirs = upstream_name(name, config.decoder.cross_layers)
        found = state.pop(theirs, None)
        if found is None:
            raise CheckpointError(f"{path} lacks {theirs}, unlike config.yaml; fetch both again")
        if found.shape != tensor.shape:
            raise CheckpointError(
                f"{path}: {theirs} has shape {tuple(found.shape)}, expected "
                f"{tuple(tensor.shape)} by config.yaml; they do not belong together"
            )
        if not bool(torch.isfinite(found).all()):
            raise CheckpointError(f"{path}: {theirs} has NaN or infinity; fetch the file again")
        ready[name] = found.float()
    for name in state:
        what = next((what for names, what in LEFT_OUT if names.match(name)), None)
        if what is None:
            raise CheckpointError(f"{path} has {name}, unlike config.yaml; fetch both again")
        left_out.append(what)
    model.load_state_dict(ready)
    return left_out


def _fold_last_block(state: dict[str, Tensor], config: ParaformerConfig, path: Path) -> list[str]:
    """Make the last block of a contextual decoder, which also hears hot words, one like others.

    There a projection mixes what it hears of the sound and of the hot words; without these, half of
    that projection remains, and goes into the one before it.
    """
    marks = "decoder.last_decoder."
    found = {name: state.pop(name) for name in list(state) if name.startswith(marks)}
    if not found:
        return []
    block = f"decoder.decoders.{config.decoder.cross_layers - 1}."
    state |= {block + name.removeprefix(marks): tensor for name, tensor in found.items()}
    mix, dim = state.get("decoder.bias_output.weight"), config.encoder.dim
    out = [f"{block}src_attn.linear_out.{end}" for end in ("weight", "bias")]
    if mix is None:
        return []
    lacking = next((name for name in out if name not in state), None)
    if lacking is not None:
        raise CheckpointError(f"{path} lacks {lacking}, unlike config.yaml; fetch both again")
    if mix.shape != (dim, 2 * dim, 1) or any(state[name].shape[0] != dim for name in out):
        raise CheckpointError(
            f"{path}: decoder.bias_output.weight has shape {tuple(mix.shape)}, expected "
            f"{(dim, 2 * dim, 1)} by config.yaml; they do not belong together"
        )
    for name in out:
        state[name] = mix[:, :dim, 0].float() @ state[name].float()
    return ["what hot words add to the last block: even without any, results are not FunASR's"]


def _cmvn(source: Path, config: ParaformerConfig) -> Cmvn:
    path = source / "am.mvn"
    if not path.is_file():
        raise CheckpointError(
            f"{source} has no am.mvn, the statistics that the features are normalised with; fetch "
            "it from where the model is from"
        )
    try:
        cmvn = Cmvn.from_kaldi(path)
    except (ValueError, OSError) as error:
        raise CheckpointError(f"{path}: not readable: {error}") from error
    if len(cmvn.shift) != config.frontend.num_features:
        raise CheckpointError(
            f"{path} has {len(cmvn.shift)} values, expected {config.frontend.num_features} by "
            "config.yaml; they do not belong together"
        )
    if not bool(torch.isfinite(cmvn.shift).all() and torch.isfinite(cmvn.scale).all()):
        raise CheckpointError(f"{path} has NaN or infinity; fetch the file again")
    return cmvn


def _tokenizer(source: Path, values: Mapping[str, Any]) -> Tokenizer:
    path = next((source / n for n in ("tokens.json", "tokens.txt") if (source / n).is_file()), None)
    if path is None:
        raise CheckpointError(f"{source} has no tokens.json; fetch it from where the model is from")
    models = sorted(source.glob("*.model"))
    pieces = (
        models[0].read_bytes() if models and "entence" in str(values.get("tokenizer")) else None
    )
    try:
        return Tokenizer(read_tokens(path), read_seg_dict(source / SEG_DICT_FILE), pieces)
    except CheckpointError as error:
        raise CheckpointError(
            str(error) if str(source) in str(error) else f"{path}: {error}"
        ) from error


def _read_yaml(path: Path) -> Mapping[str, Any]:
    import yaml

    if not path.is_file():
        raise CheckpointError(f"{path.parent} is no FunASR model: it has no {path.name}")
    try:
        values = yaml.safe_load(path.read_text(encoding="utf-8"))
    except (OSError, UnicodeDecodeError, yaml.YAMLError) as error:
        reason = " ".join(str(error).split())
        raise CheckpointError(f"{path} is not readable YAML: {reason}") from error
    if not isinstance(values, Mapping):
        raise CheckpointError(f"{path} holds no settings; fetch it again")
    return values


def _read_state(source: Path) -> tuple[dict[str, Tensor], Path]:
    path = next((source / name for name in _WEIGHTS if (source / name).is_file()), None)
    if path is None:
        raise CheckpointError(f"{source} has no model.pt; fetch it from where the model is from")
    values: Any = read_torch_file(path) if zipfile.is_zipfile(path) else _read_old(path)
    found = attributes(values) or {}
    for nest in _NESTS:
        inner = attributes(found.get(nest))
        if inner and any(isinstance(value, Tensor) for value in inner.values()):
            found = inner
            break
    state = {
        name.removeprefix("module."): value
        for name, value in found.items()
        if isinstance(value, Tensor)
    }
    if not state:
        raise CheckpointError(f"{path} holds no tensors by name; expected FunASR's weights")
    return state, path


def _read_old(path: Path) -> Any:
    """A file from before `torch.save` wrote archives."""
    try:
        return torch.load(path, map_location="cpu", weights_only=True)
    except Exception as error:  # the loader raises pickle, OS, EOF and runtime errors alike
        raise CheckpointError(
            f"{path} is damaged or no PyTorch file of tensors ({type(error).__name__}); fetch it "
            "again"
        ) from error
