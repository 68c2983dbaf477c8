"""The model that a recipe asks for, and what it starts from: statistics, or an earlier model."""

import dataclasses
import json
import logging
from collections.abc import Mapping
from pathlib import Path
from typing import Any, NamedTuple

import torch
from torch import Tensor

from echoic.asr.errors import CheckpointError
from echoic.asr.paraformer.config import MODEL_TYPE, FrontendConfig, ParaformerConfig
from echoic.asr.paraformer.frontend import Frontend
from echoic.asr.paraformer.model import Paraformer
from echoic.asr.paraformer.presets import preset
from echoic.asr.paraformer.streaming.chunks import Chunks
from echoic.asr.paraformer.tokenizer import Tokenizer

log = logging.getLogger(__name__)

_FRAMES = ("features", "sample_rate", "num_mels", "lfr_m", "lfr_n")
# Tensors with a row for each token: they start anew under another vocabulary.
_OF_TOKENS = (
    "decoder.embed.",
    "decoder.output.",
    "ctc.",
    "predictor.head.",
    "predictor.weights.head.",
    "predictor.embed.",
)


class Statistics(NamedTuple):
    """Mean and deviation of each stacked feature over a corpus.

    Attributes:
        mean: (F,).
        std: (F,).
    """

    mean: Tensor
    std: Tensor


def model_config(settings: Mapping[str, Any], vocab_size: int) -> ParaformerConfig:
    """Return the config of a model.

    Args:
        settings: optionally `preset`, a named size such as "tiny", and fields that differ from it
            or from the defaults; sections such as `encoder` are changed field by field.
        vocab_size: tokens.

    Raises:
        CheckpointError, ValueError: unknown or unfit settings.
    """
    changes = dict(settings)
    name = changes.pop("preset", None)
    base = ParaformerConfig(vocab_size) if name is None else preset(str(name), vocab_size)
    values = _merged(base.to_dict(), changes)
    if values["vocab_size"] != vocab_size:
        raise CheckpointError(
            f"vocab_size is {values['vocab_size']} in the recipe and the vocabulary has "
            f"{vocab_size} tokens: leave it out, the vocabulary tells it"
        )
    return ParaformerConfig.from_dict({**values, "model_type": MODEL_TYPE})


def write_statistics(path: str | Path, found: Statistics, frontend: FrontendConfig) -> None:
    """Write a file that `read_statistics` reads."""
    values: dict[str, Any] = {name: getattr(frontend, name) for name in _FRAMES}
    values |= {
        "mean": [round(v, 5) for v in found.mean.tolist()],
        "std": [round(v, 5) for v in found.std.tolist()],
    }
    Path(path).write_text(json.dumps(values) + "\n", encoding="utf-8")


def read_statistics(path: str | Path, frontend: FrontendConfig) -> Statistics:
    """Read what `python -m echoic.recipes.prepare.cmvn` wrote.

    Raises:
        CheckpointError: no such file, or one of other features.
    """
    mend = "make it with `python -m echoic.recipes.prepare.cmvn`"
    try:
        values = {"features": "fbank"} | json.loads(Path(path).read_text(encoding="utf-8"))
        found = Statistics(torch.tensor(values["mean"]), torch.tensor(values["std"]))
        given = [(name, values[name]) for name in _FRAMES]
    except (OSError, ValueError, KeyError, TypeError) as e:
        raise CheckpointError(f"{path} holds no feature statistics ({e}); {mend}") from e
    for name, value in given:
        if value != getattr(frontend, name):
            raise CheckpointError(
                f"{path} has {name} {value}, the model {getattr(frontend, name)}; {mend}"
            )
    for statistic in found:
        if statistic.shape != (frontend.num_features,) or not bool(statistic.isfinite().all()):
            raise CheckpointError(
                f"{path} has {tuple(statistic.shape)} values or NaN among them, expected "
                f"{frontend.num_features} numbers; {mend}"
            )
    return found


def set_statistics(model: Paraformer, found: Statistics) -> None:
    """Make features of the corpus have mean 0 and deviation 1."""
    model.frontend = Frontend(model.config.frontend, -found.mean, 1 / found.std.clamp(min=1e-3))


def start_from(model: Paraformer, source: Paraformer, name: str) -> None:
    """Give a model the weights of another.

    Under another vocabulary, what has a row for each token starts anew, and so does a CTC head that
    the other has not.

    Raises:
        CheckpointError: other sizes.
    """
    same = model.tokenizer.tokens == source.tokenizer.tokens
    own, given = model.state_dict(), source.state_dict()
    taken: dict[str, Tensor] = {}
    anew: list[str] = []
    for key, value in own.items():
        free = key.startswith(_OF_TOKENS)
        if key in given and given[key].shape == value.shape and (same or not free):
            taken[key] = given[key]
        elif free and (not same or key not in given):
            anew.append(key)
        else:
            was = tuple(given[key].shape) if key in given else "missing"
            raise CheckpointError(
                f"{name} does not fit the model to train: {key} is {was}, expected "
                f"{tuple(value.shape)}; take its sizes, or leave `model` out"
            )
    model.load_state_dict(taken, strict=False)
    if anew:
        log.info("not from %s, as it has other tokens: %s", name, ", ".join(anew))


def build(
    settings: Mapping[str, Any] | None,
    vocabulary: str | None,
    statistics: str | None,
    start: Paraformer | None,
    start_name: str | None,
    chunks: Chunks | None = None,
) -> Paraformer:
    """Return the model to train.

    Args:
        settings: see `model_config`; None for those of `start`.
        vocabulary: folder of the tokens; None for those of `start`.
        statistics: see `read_statistics`; None for those of `start`, or for log-mel frames, which
            need none.
        start: an earlier model; None to begin with random weights.
        start_name: where it comes from.
        chunks: the cut of its streams; None for what `settings` say.

    Raises:
        CheckpointError, ValueError: something is missing or does not fit.
    """
    if start is None and vocabulary is None:
        raise _missing("vocabulary")
    tokenizer = start.tokenizer if vocabulary is None and start else None
    if tokenizer is None:
        tokenizer = Tokenizer.from_folder(str(vocabulary))
    if settings is None and start is not None:
        settings = {k: v for k, v in start.config.to_dict().items() if k != "vocab_size"}
    config = model_config(settings or {}, len(tokenizer))
    if chunks is not None:
        config = dataclasses.replace(config, chunks=chunks)
    # Whisper's log-mel frames have one scale for all corpora.
    if start is None and statistics is None and config.frontend.features == "fbank":
        raise _missing("cmvn")
    model = Paraformer(config, tokenizer)
    if start is not None:
        start_from(model, start, str(start_name))
    if statistics is not None:
        set_statistics(model, read_statistics(statistics, model.config.frontend))
    return model


def _missing(what: str) -> ValueError:
    return ValueError(
        f"no {what}: name one made by `python -m echoic.recipes.prepare.{what}`, or a model to "
        "start from in init_from"
    )


def _merged(base: Mapping[str, Any], changes: Mapping[str, Any]) -> dict[str, Any]:
    result = dict(base)
    for name, value in changes.items():
        old = result.get(name)
        if isinstance(old, Mapping) and isinstance(value, Mapping):
            result[name] = _merged(old, value)
        else:
            result[name] = _typed(value, old)
    return result


def _typed(value: Any, old: Any) -> Any:
    """Return what a text means that stands for a number: a command line has only texts."""
    if not isinstance(value, str) or isinstance(old, str):
        return value
    try:
        return json.loads(value)
    except ValueError:
        return value
