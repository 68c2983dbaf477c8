"""Packed models say what the models say that they were made of."""

import pytest
import torch
from small_speech import FORM, TEXT_SIZE, frames, speech_lm, text

from echoic.tts.lm import SamplingConfig, SpeechLM, SpeechLMConfig, TransformerConfig
from echoic.tts.lm.generation import Generation
from echoic.tts.lm.guard import Bounds
from echoic.tts.lm.packed import ARITHMETICS, PackedTransformer, fitting_arithmetic, pack
from echoic.tts.lm.transformer import Transformer
from echoic.tts.lm.utterance import Request

SHAPES = {
    "llama": TransformerConfig(32, 48, 2, 4, 4, qk_norm=False),
    "qwen2": TransformerConfig(32, 80, 2, 4, 2, qk_norm=False, qkv_bias=True),
    "qwen3": TransformerConfig(48, 64, 2, 4, 2, head_dim=16),
    "odd": TransformerConfig(24, 36, 2, 4, 2),
}


def speak(model: SpeechLM, lengths: tuple[int, ...]) -> list[torch.Tensor]:
    sampling = SamplingConfig(1.0, 0, 1.0, window=0)
    bounds = Bounds(0.04, 0.12, 0.0)
    generation = Generation(
        model,
        [
            Request(text(n, n), sampling=sampling, bounds=bounds, seed=n, prompt=frames(n % 3, n))
            for n in lengths
        ],
    )
    said: list[list[torch.Tensor]] = [[] for _ in lengths]
    while not generation.done:
        for kept, new in zip(said, generation.step(), strict=True):
            kept.append(new)
    return [torch.cat(kept) for kept in said]


@pytest.mark.parametrize("layout", ["depth", "delay", "flatten"])
def test_it_speaks_as_before(layout: str) -> None:
    model = speech_lm(layout)
    packed = pack(model, "float32")
    for one, other in zip(speak(model, (5, 8, 3)), speak(packed, (5, 8, 3)), strict=True):
        assert torch.equal(one, other)


@pytest.mark.parametrize("shape", list(SHAPES))
@torch.no_grad()
def test_all_families_in_all_arithmetics(shape: str) -> None:
    torch.manual_seed(0)
    source = Transformer(SHAPES[shape]).eval()
    for weight in source.parameters():
        weight.normal_(std=0.2) if weight.dim() > 1 else weight.uniform_(0.5, 1.5)
    x = torch.randn(2, 7, SHAPES[shape].dim)
    expected = source(x)
    config = SpeechLMConfig(FORM, TEXT_SIZE, backbone=SHAPES[shape])
    for arithmetic, off in (("float32", 1e-5), ("bfloat16", 0.05), ("int8", 0.05)):
        packed = PackedTransformer(source, arithmetic)  # pyright: ignore[reportArgumentType]
        assert float((packed(x) - expected).abs().max()) < off * float(expected.abs().max())
        cache = packed.new_cache(2, room=4)
        parts = [packed(x[:, a:b], cache=cache) for a, b in ((0, 3), (3, 4), (4, 7))]
        again = torch.cat(parts, dim=1)
        assert float((again - expected).abs().max()) < off * float(expected.abs().max())
    assert pack(SpeechLM(config).eval(), "int8").backbone.config == SHAPES[shape]


def test_the_model_itself_stays_as_it_is() -> None:
    model = speech_lm()
    before = {name: value.clone() for name, value in model.state_dict().items()}
    packed = pack(model, "int8")
    assert not any(p.requires_grad for p in packed.parameters())
    assert all(p.requires_grad for p in model.parameters())
    assert isinstance(packed.backbone, PackedTransformer)
    assert not isinstance(model.backbone, PackedTransformer)
    for name, value in model.state_dict().items():
        assert torch.equal(value, before[name])
    assert fitting_arithmetic() in ARITHMETICS
    assert fitting_arithmetic("meta") == "float32"
    with pytest.raises(ValueError, match="not for meta: take bfloat16 there"):
        pack(speech_lm().to("meta"), "int8")
    with pytest.raises(ValueError, match="arithmetic is 'int4'"):
        pack(model, "int4")  # pyright: ignore[reportArgumentType]
