"""EchoCodec: its published sizes, its spectra there and back, its delays, and that it learns."""

import pytest
import torch
from tiny_codec import tiny_codec

from echoic.codecs.echocodec.blocks import CompressedSpectrum
from echoic.codecs.echocodec.config import EchoCodecConfig
from echoic.codecs.echocodec.decoder import ExpandedSpectrum, overlap_add
from echoic.codecs.echocodec.model import EchoCodec
from echoic.codecs.quantize.config import QuantizerConfig


def millions(codec: EchoCodec) -> float:
    return sum(p.numel() for p in codec.parameters()) / 1e6


def test_the_published_sizes() -> None:
    tiny, base = EchoCodec(EchoCodecConfig.tiny_16k()), EchoCodec(EchoCodecConfig.base_24k())
    assert 5 < millions(tiny) < 9
    assert 30 < millions(base) < 50
    assert (tiny.frame_rate, tiny.num_codebooks, tiny.bits_per_second()) == (50.0, 22, 11000.0)
    assert (base.frame_rate, base.num_codebooks, base.bits_per_second()) == (75.0, 8, 6000.0)
    assert tiny.bits_per_second(2) == 1000.0


def test_a_frame_is_coded_at_once_and_heard_after_the_overlap() -> None:
    codec = EchoCodec(EchoCodecConfig.tiny_16k())
    encoder, decoder = codec.streaming_encoder(), codec.streaming_decoder()
    assert (encoder.lookahead, encoder.latency_ms) == (0, 20.0)
    assert (decoder.lookahead, decoder.latency_ms) == (2, 60.0)


def test_spectra_pass_there_and_back() -> None:
    """What the encoder sees is, expanded and added up, what it heard."""
    n_fft, hop = 64, 16
    head = ExpandedSpectrum(n_fft)
    wav = 0.3 * torch.randn(2, 40 * hop, generator=torch.Generator().manual_seed(0))
    back = overlap_add(n_fft, hop)(head(CompressedSpectrum(n_fft, hop)(wav)))
    assert back.shape == wav.shape
    heard = slice(0, wav.shape[1] - (n_fft - hop))
    # Floors against silence change the softest bins a little.
    error = (back - wav)[:, heard].square().mean() / wav.square().mean()
    assert error < 1e-4


def test_the_end_fades_out() -> None:
    wav = overlap_add(64, 16)(torch.ones(1, 30, 64))
    assert wav.shape == (1, 480)
    ends = wav[0, -48:].unfold(0, 16, 16).mean(1)
    assert ends[0] > ends[1] > ends[2] > 0
    assert float(wav.max()) < 1.5 * float(wav[0, 100:400].mean())


@pytest.mark.parametrize(
    ("changes", "message"),
    [
        ({"hop_length": 321}, "hop_length is 321, expected a multiple of frame_split"),
        ({"n_fft": 300}, "n_fft is 300, expected 320 or more"),
        ({"width": 0}, "width is 0"),
    ],
)
def test_sizes_that_do_not_fit_are_refused(changes: dict[str, int], message: str) -> None:
    with pytest.raises(ValueError, match=message):
        EchoCodecConfig(**changes)  # pyright: ignore[reportArgumentType]


@pytest.mark.parametrize(
    "quantizer",
    [
        QuantizerConfig(8, 32, 2, 2, init="uniform"),
        QuantizerConfig(8, 32, 4, masked_layers=3, init="uniform"),
        QuantizerConfig(8, 64, codebook_dim=16, init="uniform", learning="gradient"),
    ],
    ids=["grouped", "masked", "single"],
)
def test_any_quantizer_fits(quantizer: QuantizerConfig) -> None:
    codec = EchoCodec(
        EchoCodecConfig(
            width=16,
            encoder_outer=1,
            encoder_inner=1,
            decoder_inner=1,
            decoder_outer=1,
            quantizer=quantizer,
        )
    )
    made = codec(0.1 * torch.randn(2, 1000))
    assert made.wav.shape == (2, 1000)
    (made.wav.square().mean() + made.quantized.commitment).backward()
    for name, weight in codec.named_parameters():
        if "books" not in name:
            assert weight.grad is not None, name
            assert bool(torch.isfinite(weight.grad).all()), name


def test_it_learns_a_sound() -> None:
    """Free-running: what is decoded from codes comes closer to what was encoded."""
    torch.manual_seed(0)
    time = torch.arange(3200) / 16_000
    wav = 0.3 * torch.sin(2 * torch.pi * torch.tensor([[220.0], [350.0]]) * time)
    codec = EchoCodec(tiny_codec().config).train()
    codec.quantizer.codebooks.config = QuantizerConfig(8, 32, 3, init="uniform", dead_interval=5)
    optimizer = torch.optim.AdamW(codec.parameters(), lr=5e-3)

    def distance() -> float:
        codec.eval()
        back = codec.decode(codec.encode(wav))
        codec.train()
        return float((back - wav)[:, :-480].square().mean() / wav.square().mean())

    before = distance()
    for _ in range(60):
        made = codec(wav)
        loss = (made.wav - wav)[:, :-480].abs().mean() + 0.1 * made.quantized.commitment
        optimizer.zero_grad()
        loss.backward()
        optimizer.step()
    assert distance() < 0.5 * before
