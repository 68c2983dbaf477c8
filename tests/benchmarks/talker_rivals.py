"""Talkers of random weights beside models of transformers with the very same weights.

What both say when they take the likeliest code must be the same, or other work would be measured.
Text is left out on either side: it is read once, and what counts is each frame after it.
"""

from collections.abc import Callable
from typing import Any, NamedTuple, Protocol

import torch
from torch import Tensor
from transformers import (
    AutoConfig,
    AutoModelForCausalLM,
    CsmConfig,
    CsmForConditionalGeneration,
)
from transformers.generation.streamers import BaseStreamer

from echoic.tts.lm import RopeConfig, SamplingConfig, SpeechLM, SpeechLMConfig, TransformerConfig
from echoic.tts.lm.generation import Generation
from echoic.tts.lm.guard import Bounds
from echoic.tts.lm.packed import fitting_arithmetic, pack
from echoic.tts.lm.utterance import Request
from echoic.tts.tokens import FrameFormat

CODES = 1024
# Weights of this deviation score codes far apart: roundings change no choice.
DEVIATION = 0.05
LIKELIEST = SamplingConfig(0.0, window=0)
#: What talkers usually do, without looking back on repetitions, which transformers does not know.
DRAWN = SamplingConfig(0.8, 50, 0.95, window=0)

Stamp = Callable[[], None]
"""Is called when a frame of all rows is there."""


class Speak(Protocol):
    """Says frames: (rows, frames, Q)."""

    def __call__(
        self, rows: int, frames: int, sampling: SamplingConfig, stamp: Stamp = lambda: None
    ) -> Tensor: ...


class Pair(NamedTuple):
    """A talker of ours and a rival with its weights.

    Attributes:
        ours: says frames, in float32.
        usual: as talkers do, in the arithmetic that suits the processor.
        theirs: does the same as ours.
        rival: what it is.
        parameters: of ours, without its text.
    """

    ours: Speak
    usual: Speak
    theirs: Speak
    rival: str
    parameters: int


def one_book(backbone: TransformerConfig) -> Pair:
    """Return a language model of one code a frame, and it in transformers."""
    model = _talker(FrameFormat(1, CODES, 1.0), backbone)
    fields = backbone.to_hf() | {
        "vocab_size": CODES + 1,
        "tie_word_embeddings": False,
        "bos_token_id": None,
        "eos_token_id": None,
    }
    rival: Any = AutoModelForCausalLM.from_config(
        AutoConfig.for_model(fields.pop("model_type"), **fields)
    ).eval()
    state = {f"model.{name}": value for name, value in model.backbone.state_dict().items()}
    state["model.embed_tokens.weight"] = model.code_embedding.weight
    state["lm_head.weight"] = model.heads[0]
    rival.load_state_dict(state)

    def speak(
        rows: int, frames: int, sampling: SamplingConfig, stamp: Stamp = lambda: None
    ) -> Tensor:
        # The row behind the codes stands for no code before the first, and for the end of all.
        begin = torch.full((rows, 1), CODES)
        return rival.generate(
            begin,
            attention_mask=torch.ones_like(begin),
            max_new_tokens=frames,
            suppress_tokens=[CODES],
            streamer=_Stamper(stamp),
            **_drawing(sampling),
        )[:, 1:, None]

    return _pair(model, speak, rival)


def in_depth(backbone: TransformerConfig, depth: TransformerConfig, books: int) -> Pair:
    """Return a talker that draws the codes of a frame in turn, and it as Sesame's CSM.

    CSM is transformers' talker of this shape: a Llama over frames, a second one over their codes,
    and a `generate` of the second in each step of the first's.
    """
    model = _talker(FrameFormat(books, CODES, 1.0), backbone, depth)
    assert model.depth is not None
    rival = CsmForConditionalGeneration(_csm_config(backbone, depth, books)).eval()
    names = set(rival.state_dict())
    state: dict[str, Tensor] = {
        name: value for name, value in rival.state_dict().items() if name.startswith("codec_model.")
    }
    state |= {f"backbone_model.{k}": v for k, v in model.backbone.state_dict().items()}
    state["backbone_model.embed_tokens.embed_audio_tokens.weight"] = model.code_embedding.weight
    state["lm_head.weight"] = model.heads[0]
    state["embed_text_tokens.weight"] = rival.embed_text_tokens.weight
    own = model.depth
    state |= {f"depth_decoder.model.{k}": v for k, v in own.transformer.state_dict().items()}
    # Its embeddings are as wide as the backbone and go through the entry; at equal widths an
    # entry of ones changes nothing but that it is computed.
    state["depth_decoder.model.inputs_embeds_projector.weight"] = own.entry.weight
    tables = own.embedding.weight.unflatten(0, (books - 1, CODES))
    tables = torch.nn.functional.pad(tables, (0, 0, 0, 1, 0, 1))
    state["depth_decoder.model.embed_tokens.weight"] = tables.flatten(0, 1)
    heads = torch.nn.functional.pad(own.heads, (0, 0, 0, 1))
    state["depth_decoder.codebooks_head.weight"] = heads.transpose(1, 2)
    assert set(state) == names, set(state) ^ names
    rival.load_state_dict(state)

    def speak(
        rows: int, frames: int, sampling: SamplingConfig, stamp: Stamp = lambda: None
    ) -> Tensor:
        begin = torch.full((rows, 1, books), CODES)
        options = {"suppress_tokens": [CODES], **_drawing(sampling)}
        said = rival.generate(
            begin,
            attention_mask=torch.ones(rows, 1, dtype=torch.int64),
            max_new_tokens=frames,
            streamer=_Stamper(stamp),
            **options,
            **{f"depth_decoder_{name}": value for name, value in options.items()},
        )
        assert isinstance(said, Tensor)
        return said[:, 1:]

    return _pair(model, speak, rival)


def _pair(model: SpeechLM, theirs: Speak, rival: object) -> Pair:
    ours, usual = pack(model, "float32"), pack(model, fitting_arithmetic())
    name = f"{type(rival).__name__}.generate"
    return Pair(_speaker(ours), _speaker(usual), theirs, name, _size(model))


def _talker(
    frames: FrameFormat, backbone: TransformerConfig, depth: TransformerConfig | None = None
) -> SpeechLM:
    layout = "flatten" if depth is None else "depth"
    config = SpeechLMConfig(
        frames, 1, layout=layout, text="beside", backbone=backbone, depth=depth or backbone
    )
    with torch.random.fork_rng(devices=[]):
        torch.manual_seed(0)
        model = SpeechLM(config).eval()
        with torch.no_grad():
            for weight in model.parameters():
                if weight.dim() >= 2:
                    weight.normal_(std=DEVIATION)
            model.text_embedding.weight.zero_()
            if model.depth is not None:
                torch.nn.init.eye_(model.depth.entry.weight)
    return model


def _speaker(model: SpeechLM) -> Speak:
    def speak(
        rows: int, frames: int, sampling: SamplingConfig, stamp: Stamp = lambda: None
    ) -> Tensor:
        # As many frames as are asked for, and no end before.
        bounds = Bounds(frames, frames, frames, loop_seconds=1e6)
        text = torch.zeros(1, dtype=torch.int64)
        requests = [
            Request(text, sampling=sampling, rest=sampling, bounds=bounds, seed=row)
            for row in range(rows)
        ]
        generation = Generation(model, requests)
        steps: list[list[Tensor]] = []
        for _ in range(frames):
            steps.append(generation.step())
            stamp()
        return torch.stack([torch.cat([step[row] for step in steps]) for row in range(rows)])

    return speak


class _Stamper(BaseStreamer):
    """What `generate` hands each frame to, after the prompt."""

    def __init__(self, stamp: Stamp) -> None:
        self._stamp = stamp
        self._is_prompt = True

    def put(self, value: Tensor) -> None:
        if not self._is_prompt:
            self._stamp()
        self._is_prompt = False

    def end(self) -> None:
        """Nothing is held back."""


def _drawing(sampling: SamplingConfig) -> dict[str, Any]:
    if sampling.temperature == 0:
        # Its settings keep what an earlier call has said.
        return {"do_sample": False, "temperature": None, "top_k": None, "top_p": None}
    return {
        "do_sample": True,
        "temperature": sampling.temperature,
        "top_k": sampling.top_k,
        "top_p": sampling.top_p,
    }


def _csm_config(backbone: TransformerConfig, depth: TransformerConfig, books: int) -> CsmConfig:
    assert backbone.dim == depth.dim
    ids = {
        "vocab_size": CODES + 1,
        "num_codebooks": books,
        "bos_token_id": None,
        "eos_token_id": None,
        "pad_token_id": None,
    }
    inner = _fields(depth) | ids | {"backbone_hidden_size": backbone.dim}
    return CsmConfig(
        **_fields(backbone),
        **ids,
        text_vocab_size=2,
        audio_token_id=0,
        audio_eos_token_id=0,
        codebook_pad_token_id=CODES,
        codebook_eos_token_id=CODES,
        tie_codebooks_embeddings=False,
        depth_decoder_config=inner | {"max_position_embeddings": books + 1},
        codec_config=_SMALL_CODEC,  # nobody listens
    )


def _fields(config: TransformerConfig) -> dict[str, Any]:
    fields = config.to_hf()
    assert fields.pop("model_type") == "llama"
    return fields


_SMALL_CODEC = {
    "model_type": "mimi",
    "hidden_size": 16,
    "num_filters": 2,
    "num_hidden_layers": 1,
    "intermediate_size": 16,
    "num_attention_heads": 2,
    "num_key_value_heads": 2,
    "head_dim": 8,
    "codebook_dim": 8,
    "codebook_size": 8,
    "vector_quantization_hidden_dimension": 8,
    "num_quantizers": 2,
    "upsample_groups": 16,
}


def _size(model: SpeechLM) -> int:
    return sum(v.numel() for k, v in model.named_parameters() if not k.startswith("text"))


def backbone(dim: int, ffn_dim: int, layers: int, *, llama: bool = False) -> TransformerConfig:
    """Return a shape with heads of 64 channels, Qwen3's or Llama's."""
    heads = dim // 64
    rope = RopeConfig(500_000.0 if llama else 1_000_000.0)
    return TransformerConfig(
        dim, ffn_dim, layers, heads, heads, norm_eps=1e-5, qk_norm=not llama, rope=rope
    )
