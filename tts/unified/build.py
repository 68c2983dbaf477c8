"""A unified model out of what a recipe says: always the same, for the same seed."""

from typing import Any

import torch

from echoic.codecs.errors import CodecError
from echoic.codecs.registry import load_codec
from echoic.codecs.weights import weights_hash
from echoic.tts.errors import TtsError
from echoic.tts.tokens import FrameFormat
from echoic.tts.unified.config import MODEL_TYPES, UnifiedSettings
from echoic.tts.unified.files import (
    Unified,
    check_config,
    is_unified,
    load_backbone,
    load_unified,
    read_settings,
)
from echoic.tts.unified.lora import add_lora
from echoic.tts.unified.model import UnifiedLM
from echoic.tts.unified.rows import books_of, start_rows
from echoic.tts.unified.text_ids import TextIds, text_ids
from echoic.tts.unified.vocabulary import UnifiedVocabulary


def build(
    settings: UnifiedSettings, form: FrameFormat, codec_hash: str, *, seed: int = 0
) -> Unified:
    """Make a model in training mode, on the processor: on any device the same is drawn.

    Args:
        settings: of the recipe.
        form: of the frames that it is to know.
        codec_hash: of the codec that made them.
        seed: of what is drawn.

    Raises:
        TtsError: no such base, or one for other frames.
        ValueError: settings that do not fit.
    """
    with torch.device("cpu"), torch.random.fork_rng(devices=[]):
        torch.manual_seed(seed)
        if settings.base is not None and is_unified(settings.base):
            made = _earlier(settings, form, codec_hash)
        else:
            made = _fresh(settings, form, codec_hash, seed)
        backbone = made.model.backbone
        if settings.lora is not None:
            add_lora(backbone, settings.lora)
    if settings.gradient_checkpointing:
        backbone.gradient_checkpointing_enable({"use_reentrant": False})
    made.model.train()
    return made


def _earlier(settings: UnifiedSettings, form: FrameFormat, codec_hash: str) -> Unified:
    base = str(settings.base)
    known = read_settings(base)
    if (known.format, known.codec_hash) != (form, codec_hash):
        raise TtsError(
            f"{base} knows {known.format} of {known.codec_hash}, the data are {form} of "
            f"{codec_hash}: code the speech by its codec"
        )
    if settings.text is not None or settings.tied not in (None, known.tied):
        raise TtsError(f"{base} has a text and tables of its own: leave out `text` and `tied`")
    return load_unified(base)


def _fresh(settings: UnifiedSettings, form: FrameFormat, codec_hash: str, seed: int) -> Unified:
    text = text_ids(settings.text or str(settings.base))
    backbone = (
        _from_nothing(settings, text) if settings.base is None else load_backbone(settings.base)
    )
    words = len(backbone.get_input_embeddings().weight)
    if text.size > words:
        raise ValueError(f"a text of {text.size} ids for an LLM of {words}: take its own tokenizer")
    tied = backbone.config.tie_word_embeddings if settings.tied is None else settings.tied
    model = UnifiedLM(backbone, UnifiedVocabulary(words, form), tied=bool(tied))
    books = None
    if settings.codebooks:
        try:
            codec = load_codec(form.codec)
        except CodecError as e:
            raise ValueError(
                f"codebooks: the rows of speech begin as the codec's books: {e}"
            ) from e
        if weights_hash(codec) != codec_hash:
            raise ValueError(
                f"codec {form.codec} has the weights {weights_hash(codec)}, the data are of "
                f"{codec_hash}: get that one, or say codebooks: false"
            )
        books = books_of(codec, form)
    start_rows(model, books, seed)
    return Unified(model, text, codec_hash)


def _from_nothing(settings: UnifiedSettings, text: TextIds) -> Any:
    from transformers import AutoConfig, AutoModelForCausalLM

    values = {"vocab_size": text.size, **(settings.architecture or {})}
    kind = values.pop("model_type", None)
    if kind not in MODEL_TYPES:
        raise TtsError(f"architecture: model_type {kind!r}, expected one of {MODEL_TYPES}")
    unknown = sorted(set(values) - set(AutoConfig.for_model(kind).to_dict()))
    if unknown:
        raise ValueError(f"architecture: {kind} has no {unknown[0]!r}")
    # The ids that some kinds have for ends and padding are those of another text.
    unset = {"pad_token_id": None, "bos_token_id": None, "eos_token_id": None}
    config = AutoConfig.for_model(kind, **(unset | values))
    check_config(config)
    return AutoModelForCausalLM.from_config(
        config, dtype=torch.float32, attn_implementation="sdpa", trust_remote_code=False
    )
