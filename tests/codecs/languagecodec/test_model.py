"""Language-Codec's sizes, its rows and its streams."""

from dataclasses import replace
from typing import Any, cast

import pytest
import torch
from torch import Tensor, nn

from echoic.codecs.languagecodec.config import PRESETS, LanguageCodecConfig
from echoic.codecs.languagecodec.model import LanguageCodec
from echoic.streaming.module import run_streamed


def count(module: nn.Module) -> int:
    return sum(parameter.numel() for parameter in module.parameters())


@pytest.mark.parametrize(
    ("preset", "encoder", "backbone", "bits"),
    [("24k", 7_425_792, 11_061_888, 6000), ("24k-v1", 7_425_792, 7_490_688, 6600)],
)
def test_published_sizes(preset: str, encoder: int, backbone: int, bits: int) -> None:
    codec = LanguageCodec(LanguageCodecConfig.preset(preset))
    head = count(codec.decoder.get_submodule("head"))
    assert (count(codec.encoder), count(codec.decoder) - head, head) == (encoder, backbone, 493_570)
    assert codec.bits_per_second() == bits
    assert (codec.sample_rate, codec.hop_length, codec.num_codebooks) == (24_000, 320, 8)
    assert codec.streaming_encoder().lookahead == 1195
    assert codec.streaming_encoder().latency_ms == pytest.approx(63.1, abs=0.1)
    # Embedding and blocks hear 3 frames ahead each, the overlap 2.
    assert codec.streaming_decoder().lookahead == 3 * (1 + codec.config.blocks) + 2


def test_the_tiny_preset_is_for_a_cpu() -> None:
    assert "tiny" in PRESETS
    codec = LanguageCodec(LanguageCodecConfig.preset("tiny"))
    assert count(codec) < 1_000_000
    assert codec.bits_per_second() == 6000


@pytest.mark.parametrize(
    ("changes", "message"),
    [
        ({"width": 0}, "width is 0"),
        ({"encoder_channels": 3}, "encoder_channels is 3, expected an even"),
        ({"ratios": ()}, r"ratios are \(\)"),
        ({"condition": 4}, r"condition is 4, expected 0 to 3"),
        ({"pad_mode": "mirror"}, "pad_mode is 'mirror'"),
        ({"n_fft": 600}, "n_fft is 600, expected an even number of 640"),
    ],
)
def test_settings_that_do_not_fit(changes: dict, message: str) -> None:
    with pytest.raises(ValueError, match=message):
        LanguageCodecConfig(**changes)
    with pytest.raises(ValueError, match="preset is 'v2', expected one of 24k"):
        LanguageCodecConfig.preset("v2")


def test_rows_are_reflected_at_their_own_ends(codec: LanguageCodec, wav: Tensor) -> None:
    lengths = torch.tensor([5001, 1700])
    encoded = codec.encode(wav, lengths)
    decoded = codec.decode(encoded)
    for row, length in enumerate(lengths.tolist()):
        alone = codec.encode(wav[row : row + 1, :length])
        frames = alone.codes.shape[2]
        assert torch.equal(encoded.codes[row, :, :frames], alone.codes[0])
        torch.testing.assert_close(decoded[row, :length], codec.decode(alone)[0])
        assert decoded[row, length:].eq(0).all()


def test_the_first_books_hold_a_third_of_the_channels_each(
    codec: LanguageCodec, wav: Tensor
) -> None:
    codes = codec.encode(wav).codes
    silent = [codec.quantizer.decode(codes[:, :n_q]).abs().amax((0, 2)) == 0 for n_q in (1, 2, 3)]
    assert [int(channels.sum()) for channels in silent] == [10, 5, 0]


def test_a_stream_ends_on_part_of_a_frame(codec: LanguageCodec, wav: Tensor) -> None:
    encoder = codec.streaming_encoder(n_q=4)
    for length in (1, 2, 319, 641, 5001):
        expected = codec.encode(wav[:, :length], n_q=4).codes
        assert expected.shape[2] == -(-length // 320)
        assert torch.equal(run_streamed(encoder, wav[:, :length], [0, 1, 318, 7, 1000]), expected)


def test_causal_convolutions_hear_nothing_ahead(wav: Tensor) -> None:
    published = LanguageCodecConfig(encoder_channels=2, width=8, hidden=8, blocks=2)
    codec = LanguageCodec(replace(published, causal=True, pad_mode="zeros"))
    assert (codec.encoder.lookahead, codec.decoder.lookahead) == (0, 2)
    encoder = cast(Any, codec.encoder)
    torch.testing.assert_close(run_streamed(encoder, wav, [3, 700, 1]), encoder(wav))


def test_training_reaches_every_weight_that_is_used(wav: Tensor) -> None:
    config = LanguageCodecConfig(encoder_channels=2, width=8, hidden=8, blocks=1, conditions=1)
    codec = LanguageCodec(config)
    codec.quantizer.codebooks.set_books(0.1 * torch.randn(codec.quantizer.codebooks.books.shape))
    made = codec(wav)
    assert made.wav.shape == wav.shape
    (made.wav.square().mean() + made.quantized.commitment).backward()
    assert [n for n, p in codec.named_parameters() if p.grad is None or not p.grad.any()] == []
