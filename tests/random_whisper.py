"""Whisper models in memory with random weights: fast, and sensitive to all they hear."""

import functools
from dataclasses import replace

import torch
from whisper_factory import SMALL, random_state

from echoic.asr.whisper.box import BOX
from echoic.asr.whisper.config import GenerationConfig
from echoic.asr.whisper.model import WhisperModel
from echoic.asr.whisper.tokenizer import WhisperTokenizer


@functools.cache
def random_whisper(*, multilingual: bool = False, dtype: str = "float32") -> WhisperModel:
    """Return a model for inference on the CPU; whoever takes it leaves it as it is.

    It rarely ends a text by itself: few positions keep its answers short.
    """
    with torch.inference_mode(False):  # those who come later may want gradients
        model = fresh_whisper(multilingual=multilingual)
        return model.to_inference(device=torch.device("cpu"), dtype=dtype)


@functools.cache
def _tokenizer() -> WhisperTokenizer:
    return WhisperTokenizer.from_folder(BOX / "tiny.en")


def fresh_whisper(*, multilingual: bool = False) -> WhisperModel:
    """Return a model of its own, before it is turned to inference."""
    config = replace(SMALL, max_target_positions=160)
    if multilingual:
        config = replace(config, vocab_size=51_865)
    tokenizer = _tokenizer()
    generation = GenerationConfig.from_dict({}, config, tokenizer)
    model = WhisperModel(config, generation, tokenizer)
    state = {k.removeprefix("model."): v for k, v in random_state(config).items()}
    missing = model.load_state_dict(state, strict=False).missing_keys
    assert all(name.startswith("log_mel.") for name in missing), missing
    return model
