import pytest
import torch
from speech_data import CPU, novel, tiny_en, tiny_en_checkpoint
from whisper_factory import SMALL

from echoic.asr.arithmetic import BYTE_KINDS, CANDIDATES, check
from echoic.asr.options import TranscribeOptions
from echoic.asr.whisper import arithmetic
from echoic.asr.whisper.arithmetic import Arithmetic
from echoic.asr.whisper.config import WhisperConfig
from echoic.asr.whisper.decoding import WindowDecoder

NEEDS_INT8 = pytest.mark.skipif(
    "x86" not in torch.backends.quantized.supported_engines, reason="no 8-bit kernels here"
)


@pytest.mark.parametrize("config", [SMALL, tiny_en_checkpoint().config], ids=["small", "tiny"])
def test_the_choice_is_one_that_works(config: WhisperConfig):
    chosen = arithmetic.choose(CPU, config)
    for kind in (chosen.encoder, chosen.decoder):
        assert kind in CANDIDATES
        check(kind, CPU)
    assert arithmetic.choose(torch.device("cuda"), config) == Arithmetic("float16", "float16")


def test_names():
    assert str(arithmetic.named("bfloat16")) == "bfloat16"
    assert str(arithmetic.named("int8")).startswith("int8")
    assert str(Arithmetic("bfloat16", "int8")) == "bfloat16/int8"
    with pytest.raises(ValueError, match="unknown arithmetic 'auto16'"):
        arithmetic.named("auto16")


TEXTS = (
    "leisure to consider how much there might be prudently in his power",
    "young man",
    "and rather selfish is to be ill-disposed.",
    "Had he married a more amiable woman, he might have been made still more",
    "He might even have been made amiable himself.",
)


@pytest.mark.parametrize(
    "kind",
    ["float32", "bfloat16", *(pytest.param(kind, marks=NEEDS_INT8) for kind in BYTE_KINDS)],
)
@torch.inference_mode()
def test_every_kind_hears_the_same_words(kind: str):
    decoder = WindowDecoder(tiny_en(kind), TranscribeOptions())
    encoded = decoder.encode([u.wav for u in novel()])
    found = decoder.decode(encoded, [None] * 5, [0] * 5)
    for decoded, words in zip(found, TEXTS, strict=True):
        assert words in decoded.text


def test_choosing_leaves_the_random_numbers_alone() -> None:
    config = WhisperConfig(100, 80, 64, 1, 2, 128, 1, 2, 128)
    torch.manual_seed(0)
    expected = torch.rand(3)
    torch.manual_seed(0)
    arithmetic.choose(torch.device("cpu"), config)
    assert torch.equal(torch.rand(3), expected)
