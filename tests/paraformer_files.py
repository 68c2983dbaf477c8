"""Folders of small Paraformers as FunASR publishes them, and the same models made ours."""

import copy
import json
from collections.abc import Mapping
from pathlib import Path
from typing import Any

import torch
import yaml
from paraformer_oracle import Sizes, State, draw

from echoic.asr.paraformer.model import Paraformer
from echoic.asr.upstream.paraformer import load_upstream

SIZES = Sizes()


def tokens_of(count: int) -> list[str]:
    """A vocabulary: special tokens, characters, pieces of words."""
    some = ["<blank>", "<s>", "</s>", "你", "好", "hel@@", "lo", "world", "a", "b"]
    return [*some, *(f"w{i}" for i in range(count - len(some) - 1)), "<unk>"]


def settings(sizes: Sizes = SIZES) -> dict[str, Any]:
    """The object of a `config.yaml`."""
    return {
        "model": "Paraformer",
        "model_conf": {
            "ctc_weight": 0.3 if sizes.ctc else 0.0,
            "lsm_weight": 0.1,
            "length_normalized_loss": True,
            "predictor_weight": 1.0,
            "predictor_bias": 1,
            "sampling_ratio": 0.75,
        },
        "encoder": "SANMEncoder",
        "encoder_conf": {
            "output_size": sizes.dim,
            "attention_heads": sizes.heads,
            "linear_units": sizes.ffn,
            "num_blocks": sizes.layers,
            "dropout_rate": 0.1,
            "input_layer": "pe",
            "normalize_before": True,
            "kernel_size": sizes.kernel,
            "sanm_shfit": 0,
            "selfattention_layer_type": "sanm",
        },
        "decoder": "ParaformerSANMDecoder",
        "decoder_conf": {
            "attention_heads": sizes.heads,
            "linear_units": sizes.ffn,
            "num_blocks": sizes.cross + sizes.plain,
            "att_layer_num": sizes.cross,
            "dropout_rate": 0.1,
            "kernel_size": sizes.kernel,
            "sanm_shfit": 0,
        },
        "predictor": "CifPredictor" if sizes.depthwise else "CifPredictorV2",
        "predictor_conf": {
            "idim": sizes.dim,
            "threshold": 1.0,
            "l_order": 1,
            "r_order": 1,
            "tail_threshold": 0.45,
        },
        "frontend": "WavFrontend",
        "frontend_conf": {
            "fs": 16000,
            "window": "hamming",
            "n_mels": 80,
            "frame_length": 25,
            "frame_shift": 10,
            "dither": 0.0,
            "lfr_m": 7,
            "lfr_n": 6,
        },
        "tokenizer": "CharTokenizer",
        "tokenizer_conf": {"unk_symbol": "<unk>", "split_with_space": True},
    }


def statistics() -> tuple[torch.Tensor, torch.Tensor]:
    """Shift and scale of the features."""
    generator = torch.Generator().manual_seed(5)
    shift = -10 - torch.rand(560, generator=generator)
    return shift, 0.2 + 0.1 * torch.rand(560, generator=generator)


def mvn_text() -> str:
    """The text of an `am.mvn`."""
    shift, scale = (" ".join(str(v) for v in x.tolist()) for x in statistics())
    return (
        "<Nnet>\n<Splice> 560 560\n[ 0 ]\n"
        f"<AddShift> 560 560\n<LearnRateCoef> 0 [ {shift} ]\n"
        f"<Rescale> 560 560\n<LearnRateCoef> 0 [ {scale} ]\n</Nnet>\n"
    )


def write_folder(
    folder: Path,
    sizes: Sizes = SIZES,
    *,
    changes: Mapping[str, Any] | None = None,
    state: State | Any = None,
) -> Path:
    """Write what FunASR publishes; `changes` are merged into the settings."""
    folder.mkdir(parents=True, exist_ok=True)
    values = copy.deepcopy(settings(sizes))
    for name, change in (changes or {}).items():
        values[name] = values[name] | change if isinstance(change, dict) else change
    (folder / "config.yaml").write_text(yaml.safe_dump(values), encoding="utf-8")
    torch.save(draw(sizes) if state is None else state, folder / "model.pt")
    (folder / "am.mvn").write_text(mvn_text())
    (folder / "tokens.json").write_text(json.dumps(tokens_of(sizes.vocab)), encoding="utf-8")
    return folder


def ours(folder: Path, sizes: Sizes = SIZES, **named: Any) -> Paraformer:
    """The model of such a folder."""
    return load_upstream(write_folder(folder, sizes, **named))[0]


def random_features(*frames: int, seed: int = 1) -> list[torch.Tensor]:
    """Features (T, 560), normalised, of several lengths."""
    generator = torch.Generator().manual_seed(seed)
    return [torch.randn(n, 560, generator=generator) for n in frames]
