"""Language-Codec gives what the published code gives from the same tensors."""

import math
from dataclasses import replace

import pytest
import torch
from languagecodec_oracle import decode, latents, quantize
from torch import Tensor

from echoic.audio import torchaudio_guard
from echoic.codecs.languagecodec.config import LanguageCodecConfig
from echoic.codecs.languagecodec.model import LanguageCodec
from echoic.codecs.quantize.config import QuantizerConfig

# Shorter than the reflected padding of one or more layers, part of a frame, and whole frames.
LENGTHS = [1, 2, 3, 5, 17, 319, 320, 321, 959, 960, 961, 5001]


def assert_near(found: Tensor, expected: Tensor, tolerance: float = 1e-5) -> None:
    assert found.shape == expected.shape
    scale = float(expected.abs().max())
    torch.testing.assert_close(found, expected, rtol=0, atol=tolerance * scale)


@pytest.mark.parametrize("length", LENGTHS)
def test_latents(codec: LanguageCodec, state: dict[str, Tensor], wav: Tensor, length: int) -> None:
    assert_near(codec.encoder(wav[:, :length]), latents(state, wav[:, :length]))


@pytest.mark.parametrize("n_q", [1, 2, 3, 4, 8])
def test_codes(codec: LanguageCodec, state: dict[str, Tensor], wav: Tensor, n_q: int) -> None:
    expected, values = quantize(state, latents(state, wav), n_q)
    codes = codec.encode(wav, n_q=n_q).codes
    assert torch.equal(codes, expected)
    assert_near(codec.quantizer.decode(codes), values)


def test_waveforms(codec: LanguageCodec, state: dict[str, Tensor], wav: Tensor) -> None:
    _, values = quantize(state, latents(state, wav), 8)
    assert_near(codec.decode(codec.encode(wav)), decode(state, values)[:, :5001])


def test_loud_bins_are_clipped(codec: LanguageCodec, state: dict[str, Tensor]) -> None:
    loud = state | {"head.out.bias": state["head.out.bias"].clone()}
    loud["head.out.bias"][:641] += 6.0  # exp(6) is 400, the limit 100
    values = torch.randn(1, 14, 9, generator=torch.Generator().manual_seed(2))
    expected = decode(loud, values)
    assert not torch.allclose(expected, math.exp(6) * decode(state, values), rtol=0.1)
    louder = LanguageCodec(codec.config).eval()
    louder.load_state_dict(codec.state_dict())
    with torch.no_grad():
        louder.decoder.get_parameter("head.module.out.bias").copy_(loud["head.out.bias"])
        assert_near(louder.decoder(values), expected)


def test_each_condition_has_its_own_norms(codec: LanguageCodec, state: dict[str, Tensor]) -> None:
    values = torch.randn(1, 14, 9, generator=torch.Generator().manual_seed(3))
    outputs = []
    for condition in (0, 3):
        config = replace(codec.config, condition=condition)
        other = LanguageCodec(config).requires_grad_(False)
        other.load_state_dict(codec.state_dict())
        outputs.append(other.decoder(values))
        assert_near(outputs[-1], decode(state, values, condition))
    assert not torch.allclose(*outputs, rtol=1e-2)


@pytest.mark.parametrize("causal", [False, True])
@pytest.mark.parametrize("length", LENGTHS)
def test_latents_are_encodecs(wav: Tensor, causal: bool, length: int) -> None:
    encodec = pytest.importorskip("encodec.modules.seanet")
    torch.manual_seed(0)
    theirs = encodec.SEANetEncoder(
        dimension=14, n_filters=4, ratios=[8, 5, 4, 2], causal=causal
    ).requires_grad_(False)
    config = LanguageCodecConfig(
        encoder_channels=4,
        width=8,
        hidden=8,
        blocks=1,
        causal=causal,
        quantizer=QuantizerConfig.mcrvq(14, codebook_size=8),
    )
    ours = LanguageCodec(config).encoder.requires_grad_(False)
    ours.load_state_dict({_ours(name): value for name, value in theirs.state_dict().items()})
    assert_near(ours(wav[:, :length]), theirs(wav[:, None, :length]), 1e-6)


def _ours(name: str) -> str:
    for theirs, ours in {
        "model.": "",
        ".conv.conv": "",
        ".block.": ".branch.",
        ".lstm.": ".",
        "weight_g": "parametrizations.weight.original0",
        "weight_v": "parametrizations.weight.original1",
    }.items():
        name = name.replace(theirs, ours)
    return name


def test_waveforms_are_vocos(codec: LanguageCodec, state: dict[str, Tensor]) -> None:
    torchaudio_guard.install()
    heads = pytest.importorskip("vocos.heads")
    models = pytest.importorskip("vocos.models")
    backbone = models.VocosBackbone(14, 24, 40, 3, adanorm_num_embeddings=4).requires_grad_(False)
    head = heads.ISTFTHead(24, 1280, 320).requires_grad_(False)
    for module, prefix in ((backbone, "backbone."), (head, "head.")):
        own = {k.removeprefix(prefix): v for k, v in state.items() if k.startswith(prefix)}
        module.load_state_dict(own)
    values = torch.randn(2, 14, 30, generator=torch.Generator().manual_seed(4))
    expected = head(backbone(values, bandwidth_id=torch.tensor([0])))
    assert_near(codec.decoder(values), expected)
