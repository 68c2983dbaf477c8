"""HiFi-Codec: sizes, lengths, batches, streams, files and what training reaches."""

from pathlib import Path

import pytest
import torch
from small_hifigan import small_hificodec, small_hificodec_config

from echoic.codecs.codec import NotStreamable
from echoic.codecs.hificodec.config import PRESETS, HiFiCodecConfig
from echoic.codecs.hificodec.encoder import HiFiEncoder
from echoic.codecs.hificodec.model import HiFiCodec
from echoic.codecs.hifigan import Generator, GeneratorConfig, generator_layers
from echoic.codecs.quantize.config import QuantizerConfig
from echoic.streaming.module import run_streamed

HOP = 6


def waveform(*shape: int, seed: int = 0) -> torch.Tensor:
    return 0.1 * torch.randn(*shape, generator=torch.Generator().manual_seed(seed))


def numbers(module: torch.nn.Module) -> int:
    return sum(tensor.numel() for tensor in module.state_dict().values())


def test_published_sizes_have_the_published_numbers_of_weights():
    config = HiFiCodecConfig.preset("24k-320d")
    with torch.device("meta"):
        encoder = HiFiEncoder(config)
        generator = Generator(generator_layers(512, config.generator, weight_norm=True))
    assert numbers(encoder) == 47_228_960
    assert numbers(generator) == 15_353_346


@pytest.mark.parametrize(
    ("name", "rate", "hop", "bits"),
    [
        ("16k-320d", 16_000, 320, 2000),
        ("24k-320d", 24_000, 320, 3000),
        ("24k-240d", 24_000, 240, 4000),
    ],
)
def test_published_rates(name: str, rate: int, hop: int, bits: int):
    with torch.device("meta"):
        codec = HiFiCodec(HiFiCodecConfig.preset(name))
    assert (codec.sample_rate, codec.hop_length) == (rate, hop)
    assert codec.bits_per_second() == bits
    assert (codec.num_codebooks, codec.num_groups, codec.codebook_size) == (4, 2, 1024)
    decoder = codec.streaming_decoder()
    assert decoder.lookahead == 14
    assert decoder.latency_ms == 1000 * 15 * hop / rate


@pytest.mark.parametrize("samples", [1, HOP - 1, HOP, 5 * HOP + 1])
def test_decodes_to_the_length_of_the_input(samples: int):
    codec = small_hificodec()
    encoded = codec.encode(waveform(2, samples))
    assert encoded.codes.shape == (2, 4, -(-samples // HOP))
    assert codec.decode(encoded).shape == (2, samples)


def test_a_row_of_a_batch_has_the_codes_that_it_has_alone():
    codec, wav = small_hificodec(), waveform(3, 40 * HOP)
    lengths = torch.tensor([40 * HOP, 17 * HOP + 5, 3])
    together = codec.encode(wav, lengths)
    sound = codec.decode(together)
    for row, length in enumerate(lengths.tolist()):
        alone = codec.encode(wav[row : row + 1, :length])
        frames = alone.codes.shape[2]
        assert torch.equal(together.codes[row : row + 1, :, :frames], alone.codes)
        torch.testing.assert_close(sound[row : row + 1, :length], codec.decode(alone))
        assert not sound[row, length:].any()


def test_latents_depend_on_the_length_of_the_recording():
    """Why rows are encoded one by one, and streams not at all."""
    codec, wav = small_hificodec(), waveform(1, 40 * HOP)
    whole = codec.encoder(wav)[:, :, :5]
    part = codec.encoder(wav[:, : 20 * HOP])[:, :, :5]
    assert (whole - part).abs().max() > 0.01 * whole.abs().max()


def test_the_encoder_does_not_stream():
    with pytest.raises(NotStreamable, match=r"hificodec cannot encode a stream.*group norms"):
        small_hificodec().streaming_encoder()


def test_the_decoder_streams():
    codec = small_hificodec()
    codes = torch.randint(0, 16, (2, 4, 50), generator=torch.Generator().manual_seed(1))
    streamed = run_streamed(codec.streaming_decoder(), codes, [1, 0, 7, 3, 20, 1])
    torch.testing.assert_close(streamed, codec.decode(codes))


def test_trains_normalised_weights_and_saves_plain_ones(tmp_path: Path):
    torch.manual_seed(0)
    codec = HiFiCodec(small_hificodec_config())
    names = set(codec.state_dict())
    assert "encoder.down.0.parametrizations.weight.original0" in names
    # As published: of the encoder's last convolution the weight itself is trained.
    assert "encoder.conv_post.weight" in names
    wav = waveform(1, 20 * HOP)
    optimizer = torch.optim.SGD(codec.parameters(), 1e-3)
    codec(wav).wav.square().mean().backward()
    optimizer.step()
    codec.eval()
    codec.save_pretrained(tmp_path)
    loaded = HiFiCodec.from_pretrained(tmp_path)
    assert not any("parametrizations" in name for name in loaded.state_dict())
    assert loaded.config == small_hificodec_config(weight_norm=False)
    codes = codec.encode(wav).codes
    assert torch.equal(loaded.encode(wav).codes, codes)
    torch.testing.assert_close(loaded.decode(codes), codec.decode(codes))
    assert set(loaded.unfolded().state_dict()) == names
    torch.testing.assert_close(loaded.unfolded().decode(codes), codec.decode(codes))


def test_saving_draws_no_random_numbers(tmp_path: Path):
    codec = HiFiCodec(small_hificodec_config())
    state = torch.get_rng_state()
    codec.save_pretrained(tmp_path)
    assert torch.equal(torch.get_rng_state(), state)


def test_gradients_reach_every_weight_and_all_books():
    torch.manual_seed(0)
    codec = HiFiCodec(small_hificodec_config())
    wav = waveform(1, 30 * HOP)
    made = codec(wav)
    loss = (made.wav - wav).square().mean()
    (loss + made.quantized.commitment + made.quantized.codebook_loss).backward()
    still = [n for n, p in codec.named_parameters() if p.grad is None or not p.grad.any()]
    assert still == []
    assert codec.quantizer.codebooks.books.grad is not None
    assert codec.quantizer.codebooks.books.grad.flatten(2).any(2).all()


@pytest.mark.parametrize(
    ("changes", "message"),
    [
        ({"quantizer": QuantizerConfig.grvq(64)}, "dim is 64, expected 32"),
        ({"norm_channels": 5}, "first stage has 16 channels, expected a multiple"),
        ({"sample_rate": 0}, "sample_rate is 0"),
    ],
)
def test_settings_that_do_not_fit(changes: dict, message: str):
    with pytest.raises(ValueError, match=message):
        small_hificodec_config(**changes)


def test_unknown_preset():
    with pytest.raises(ValueError, match=f"preset is '48k', expected one of {', '.join(PRESETS)}"):
        HiFiCodecConfig.preset("48k")


@pytest.mark.parametrize(
    ("changes", "message"),
    [
        ({"rates": (8, 5)}, "2 rates and 4 kernels"),
        ({"kernels": (16, 10, 8, 4)}, "kernel of 10 at a rate of 5, expected 5, 7"),
        ({"channels": 24}, "multiple of 16"),
        ({"block_kernels": (3, 7)}, "2 block_kernels and 3 block_dilations"),
        ({"outer_kernel": 6}, "expected an odd number"),
        ({"block_dilations": ((1,), (0,), (1,))}, "expected 1 or more"),
        ({"activation": "elu"}, "expected one of leaky_relu, silu"),
    ],
)
def test_generator_settings_that_do_not_fit(changes: dict, message: str):
    with pytest.raises(ValueError, match=message):
        GeneratorConfig(**changes)
