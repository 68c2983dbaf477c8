"""FunASR's Paraformer as it lies on disk: the names of its tensors and the fields of its YAML."""

import re
from collections.abc import Mapping
from typing import Any

from echoic.asr.errors import CheckpointError
from echoic.asr.paraformer.config import (
    DecoderConfig,
    EncoderConfig,
    FrontendConfig,
    ObjectiveConfig,
    ParaformerConfig,
    PredictorConfig,
)

MODELS = {
    "Paraformer": (),
    "ParaformerStreaming": ("settings of streaming",),
    "BiCifParaformer": (),
    "ContextualParaformer": (),
    "SeacoParaformer": (),
}
"""Classes that can be imported, and what is left out of each whatever its tensors are."""

_ENCODERS = ("SANMEncoder", "SANMEncoderChunkOpt")
_DECODERS = ("ParaformerSANMDecoder", "ContextualParaformerDecoder")
# The conv of each predictor, and the tail that its class has unless the file says.
_PREDICTORS: dict[str, tuple[Any, float]] = {
    "CifPredictor": ("depthwise", 0.45),
    "CifPredictorV2": ("full", 0.0),
    "CifPredictorV3": ("full", 0.0),
}
# Values that our model computes with, and no others.
_FIXED: dict[str, dict[str, tuple[Any, ...]]] = {
    "encoder_conf": {
        "input_layer": ("pe", "pe_online"),
        "normalize_before": (True,),
        "selfattention_layer_type": ("sanm",),
        "interctc_layer_idx": ([],),
    },
    "decoder_conf": {"normalize_before": (True,), "wo_input_layer": (False,)},
    "predictor_conf": {"threshold": (1, 1.0)},
    "frontend_conf": {"upsacle_samples": (True,), "snip_edges": (True,)},
    "model_conf": {"sos": (1,), "eos": (2,), "blank_id": (0,)},
}

LEFT_OUT = (
    (re.compile(r"predictor\.(upsample_cnn|blstm|cif_output2)\."), "the head for times"),
    (
        re.compile(
            r"(bias_encoder|bias_embed|seaco_decoder|hotword_output_layer|"
            r"decoder\.bias_decoder|decoder\.bias_output)\."
        ),
        "hot words",
    ),
    (re.compile(r"ctc\."), "the CTC head, whose weight is 0"),
)
"""Tensors that our model has no place for, and what they are."""

_PARTS = (
    (r"^encoder\.blocks\.0\.", "encoder.encoders0.0."),
    (r"^(encoder|decoder)\.norm\.", r"\1.after_norm."),
    (r"^decoder\.embed\.", "decoder.embed.0."),
    (r"^decoder\.output\.", "decoder.output_layer."),
    (r"^decoder\.last\.norm\.", "decoder.decoders3.0.norm1."),
    (r"^decoder\.last\.", "decoder.decoders3.0."),
    (r"\.(?:attention\.)?memory\.conv\.", ".self_attn.fsmn_block."),
    (r"\.attention\.qkv\.", ".self_attn.linear_q_k_v."),
    (r"\.attention\.out\.", ".self_attn.linear_out."),
    (r"\.cross\.q\.", ".src_attn.linear_q."),
    (r"\.cross\.kv\.", ".src_attn.linear_k_v."),
    (r"\.cross\.out\.", ".src_attn.linear_out."),
    (r"\.feed_forward\.inner\.", ".feed_forward.w_1."),
    (r"\.feed_forward\.outer\.", ".feed_forward.w_2."),
    (r"^predictor\.weights\.conv\.", "predictor.cif_conv1d."),
    (r"^predictor\.weights\.output\.", "predictor.cif_output."),
    (r"^ctc\.output\.", "ctc.ctc_lo."),
)


def upstream_name(name: str, cross_layers: int) -> str:
    """Return FunASR's name of one of our tensors.

    Args:
        name: ours.
        cross_layers: blocks of the decoder that look at the encoder; those behind have a list of
            their own.
    """
    for ours, theirs in _PARTS:
        name = re.sub(ours, theirs, name)
    found = re.fullmatch(r"(encoder|decoder)\.blocks\.(\d+)\.(.*)", name)
    if found is None:
        return name
    side, number, rest = found[1], int(found[2]), found[3]
    if side == "encoder":
        return f"encoder.encoders.{number - 1}.{rest}"
    if number < cross_layers:
        return f"decoder.decoders.{number}.{rest}"
    return f"decoder.decoders2.{number - cross_layers}.{rest}"


def paraformer_config(values: Mapping[str, Any], vocab_size: int) -> ParaformerConfig:
    """Read a `config.yaml`.

    Args:
        values: of the file.
        vocab_size: tokens of the vocabulary.

    Raises:
        CheckpointError: a class or a setting that our model does not have.
    """
    _check_class("model", values.get("model"), tuple(MODELS))
    _check_class("encoder", values.get("encoder"), _ENCODERS)
    _check_class("decoder", values.get("decoder"), _DECODERS)
    _check_class("predictor", values.get("predictor"), tuple(_PREDICTORS))
    for section, fixed in _FIXED.items():
        for name, allowed in fixed.items():
            found = _conf(values, section).get(name, allowed[0])
            if found not in allowed:
                raise CheckpointError(
                    f"config.yaml: {section}.{name} is {found!r}; only {allowed[0]!r} is supported"
                )
    try:
        return _config(values, vocab_size)
    except CheckpointError as error:
        raise CheckpointError(f"config.yaml: {error}") from error
    except (TypeError, ValueError, OverflowError) as error:
        raise CheckpointError(f"config.yaml holds a value of a wrong kind: {error}") from error


def _config(values: Mapping[str, Any], vocab_size: int) -> ParaformerConfig:
    model, front = _conf(values, "model_conf"), _conf(values, "frontend_conf")
    encoder, decoder = _conf(values, "encoder_conf"), _conf(values, "decoder_conf")
    predictor = _conf(values, "predictor_conf")
    conv, tail = _PREDICTORS[values["predictor"]]
    rate = int(front.get("fs", 16_000))
    layers = int(decoder.get("num_blocks", 6))
    cross_layers = min(int(decoder.get("att_layer_num", 6)), layers)
    shift = int(decoder.get("sanm_shfit", 0))
    if shift and cross_layers < layers:  # FunASR shifts the memory of those with cross-attention
        raise CheckpointError(
            f"decoder_conf: sanm_shfit {shift} with {layers - cross_layers} blocks that do not "
            "look at the encoder is not supported"
        )
    return ParaformerConfig(
        vocab_size=vocab_size,
        frontend=FrontendConfig(
            sample_rate=rate,
            num_mels=int(front.get("n_mels", 80)),
            frame_length=round(rate * front.get("frame_length", 25) / 1000),
            hop_length=round(rate * front.get("frame_shift", 10) / 1000),
            window=front.get("window", "hamming"),
            lfr_m=int(front.get("lfr_m", 1)),
            lfr_n=int(front.get("lfr_n", 1)),
        ),
        encoder=EncoderConfig(
            dim=int(encoder.get("output_size", 256)),
            layers=int(encoder.get("num_blocks", 6)),
            heads=int(encoder.get("attention_heads", 4)),
            ffn_dim=int(encoder.get("linear_units", 2048)),
            kernel_size=int(encoder.get("kernel_size", 11)),
            shift=int(encoder.get("sanm_shfit", 0)),
            dropout=float(encoder.get("dropout_rate", 0.1)),
        ),
        predictor=PredictorConfig(
            kind="cif",
            conv=conv,
            left=int(predictor.get("l_order", 1)),
            right=int(predictor.get("r_order", 1)),
            tail=float(predictor.get("tail_threshold", tail)),
            smooth_factor=float(predictor.get("smooth_factor", 1.0)),
            noise_threshold=float(predictor.get("noise_threshold", 0.0)),
            dropout=float(predictor.get("dropout", 0.1)),
        ),
        decoder=DecoderConfig(
            layers=layers,
            cross_layers=cross_layers,
            heads=int(decoder.get("attention_heads", 4)),
            ffn_dim=int(decoder.get("linear_units", 2048)),
            kernel_size=int(decoder.get("kernel_size", 21)),
            shift=shift,
            dropout=float(decoder.get("dropout_rate", 0.1)),
        ),
        objective=ObjectiveConfig(
            label_smoothing=float(model.get("lsm_weight", 0.0)),
            per_token=bool(model.get("length_normalized_loss", False)),
            quantity=float(model.get("predictor_weight", 0.0)),
            ctc=float(model.get("ctc_weight", 0.5)),
            sampling=float(model.get("sampling_ratio", 0.2)),
        ),
        end_token=bool(model.get("predictor_bias", 0)),
    )


def _conf(values: Mapping[str, Any], section: str) -> Mapping[str, Any]:
    found = values.get(section) or {}
    if not isinstance(found, Mapping):
        raise CheckpointError(
            f"config.yaml: {section} is a {type(found).__name__}, expected settings by name"
        )
    return found


def _check_class(part: str, name: Any, known: tuple[str, ...]) -> None:
    if name not in known:
        raise CheckpointError(
            f"config.yaml: {part} is {name!r}; can be imported: {', '.join(known)}"
        )
