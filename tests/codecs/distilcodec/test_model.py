"""DistilCodec: sizes, lengths, batches, streams, files, and the two stages of its training."""

from pathlib import Path

import pytest
import torch
from small_hifigan import small_distilcodec, small_distilcodec_config
from torch import nn

from echoic.codecs.distilcodec.config import DistilCodecConfig
from echoic.codecs.distilcodec.model import DistilCodec, inherit
from echoic.codecs.distilcodec.network import make_decoder, trunk_layers
from echoic.codecs.hifigan import generator_layers
from echoic.codecs.quantize.quantizer import Quantizer
from echoic.streaming.layers.sequential import StreamingSequential
from echoic.streaming.module import run_streamed

HOP = 16


def waveform(*shape: int, seed: int = 0) -> torch.Tensor:
    return 0.1 * torch.randn(*shape, generator=torch.Generator().manual_seed(seed))


def numbers(module: nn.Module) -> int:
    return sum(tensor.numel() for tensor in module.state_dict().values())


def test_the_published_size_has_the_published_numbers_of_weights():
    config = DistilCodecConfig()
    with torch.device("meta"):
        trunk = StreamingSequential(trunk_layers(config))
        generator = nn.Sequential(generator_layers(1024, config.generator, weight_norm=True))
        decoder, quantizer = make_decoder(config), Quantizer(config.quantizer)
    assert numbers(trunk) == 77_242_368
    assert numbers(generator) == 67_803_330
    # A mixing and a block on each side of the quantizer count as the quantizer's there; of its
    # buffers ours has one number more, the steps.
    around = 2 * (numbers(decoder) - numbers(generator))
    assert numbers(quantizer) - 1 + around == 261_167_617
    assert (trunk.lookahead, decoder.lookahead) == (57, 21)


@pytest.mark.parametrize("samples", [1, HOP - 1, HOP, 5 * HOP + 1])
def test_decodes_to_the_length_of_the_input(samples: int):
    codec = small_distilcodec()
    encoded = codec.encode(waveform(2, samples))
    assert encoded.codes.shape == (2, 1, -(-samples // HOP))
    assert codec.decode(encoded).shape == (2, samples)


def test_a_row_of_a_batch_has_the_codes_that_it_has_alone():
    codec, wav = small_distilcodec(), waveform(3, 40 * HOP)
    lengths = torch.tensor([40 * HOP, 17 * HOP + 5, 3])
    together = codec.encode(wav, lengths)
    sound = codec.decode(together)
    for row, length in enumerate(lengths.tolist()):
        alone = codec.encode(wav[row : row + 1, :length])
        frames = alone.codes.shape[2]
        assert torch.equal(together.codes[row : row + 1, :, :frames], alone.codes)
        torch.testing.assert_close(sound[row : row + 1, :length], codec.decode(alone))


def test_streams_both_ways_behind_a_fixed_look_ahead():
    codec, wav = small_distilcodec(), waveform(2, 80 * HOP + 5)
    encoder, decoder = codec.streaming_encoder(), codec.streaming_decoder()
    codes = run_streamed(encoder, wav, [1, 0, 100, 33, 7])
    assert torch.equal(codes, codec.encode(wav).codes)
    assert len(codes.unique()) > 10
    sound = run_streamed(decoder, codes, [1, 30, 0, 2])
    torch.testing.assert_close(sound, codec.decode(codes))
    # 2 frames for each of the 5 convolutions of 5 taps, and the window's overhang of 24 samples.
    assert encoder.lookahead == 5 * 2 * HOP + 24
    assert encoder.latency_ms == 1000 * (HOP + encoder.lookahead) / 16_000
    assert decoder.latency_ms == 1000 * HOP * (1 + decoder.lookahead) / 16_000


def test_searches_in_front_of_the_projection():
    codec, wav = small_distilcodec(), waveform(1, 60 * HOP)
    latents = codec.encoder(wav).transpose(1, 2)[0]
    assert codec.quantizer.project_in is not None
    inside = codec.quantizer.project_in(latents)
    nearest = torch.cdist(inside.double(), codec.quantizer.codebooks.books[0, 0].double()).argmin(1)
    assert torch.equal(codec.encode(wav).codes[0, 0], nearest)


def test_files_hold_plain_weights(tmp_path: Path):
    torch.manual_seed(0)
    codec, wav = DistilCodec(small_distilcodec_config()).eval(), waveform(1, 20 * HOP)
    codec.save_pretrained(tmp_path)
    loaded = DistilCodec.from_pretrained(tmp_path)
    assert loaded.config == small_distilcodec_config(weight_norm=False)
    codes = codec.encode(wav).codes
    assert torch.equal(loaded.encode(wav).codes, codes)
    torch.testing.assert_close(loaded.decode(codes), codec.decode(codes))


def test_a_student_inherits_encoder_and_decoder_and_keeps_its_book():
    torch.manual_seed(0)
    config = small_distilcodec_config()
    teacher = DistilCodec(config.as_teacher(num_layers=3, num_groups=2, codebook_size=16))
    student = DistilCodec(config)
    book = student.quantizer.codebooks.books.clone()
    latents, wav = torch.randn(1, 8, 10), waveform(1, 20 * HOP)
    assert not torch.allclose(student.encoder(wav), teacher.encoder(wav))
    for origin in (teacher, teacher.folded()):
        inherit(student, origin)
        torch.testing.assert_close(student.encoder(wav), teacher.encoder(wav))
        torch.testing.assert_close(student.decoder(latents), teacher.decoder(latents))
    assert torch.equal(student.quantizer.codebooks.books, book)
    assert (teacher.num_codebooks, student.num_codebooks) == (6, 1)
    # Copies, not the same weights: the student goes its own way.
    shared = {p.data_ptr() for p in teacher.parameters()} & {
        p.data_ptr() for p in student.parameters()
    }
    assert shared == set()


@pytest.mark.parametrize(
    ("changes", "message"),
    [
        ({"depths": (1, 1)}, "encoder does not fit the student: .* is missing"),
        ({"widths": (4, 8)}, r"encoder does not fit the student: .* has shape \(4,"),
    ],
)
def test_a_teacher_of_another_shape(changes: dict, message: str):
    student = DistilCodec(small_distilcodec_config())
    with pytest.raises(ValueError, match=message):
        inherit(student, DistilCodec(small_distilcodec_config(**changes)))


def test_a_teacher_of_another_rate():
    student, teacher = (DistilCodec(DistilCodecConfig.tiny(rate)) for rate in (16_000, 24_000))
    with pytest.raises(ValueError, match=r"student has 16000 Hz .* the teacher 24000 Hz"):
        inherit(student, teacher)


def test_the_tiny_size_trains():
    torch.manual_seed(0)
    config = DistilCodecConfig.tiny()
    codec = DistilCodec(config)
    assert sum(p.numel() for p in codec.parameters()) < 5e6
    assert codec.frame_rate == 62.5
    assert codec.bits_per_second() == 750
    wav = waveform(1, 8 * 256)
    made = codec(wav)
    ((made.wav - wav).square().mean() + made.quantized.commitment).backward()
    still = [n for n, p in codec.named_parameters() if p.grad is None or not p.grad.any()]
    assert still == []


def test_blocks_are_passed_by_in_training_only():
    torch.manual_seed(0)
    codec = DistilCodec(small_distilcodec_config(drop_path=0.9)).eval()
    wav = waveform(64, 4 * HOP)
    settled = codec.encoder(wav)
    assert torch.equal(codec.encoder(wav), settled)
    passed = codec.train().encoder(wav)
    same = [torch.allclose(a, b) for a, b in zip(codec.encoder(wav), passed, strict=True)]
    # Of 64 rows most have the last block passed by twice, and some not.
    assert 20 < sum(same) < 64


@pytest.mark.parametrize(
    ("changes", "message"),
    [
        ({"depths": (1,)}, "2 widths and 1 depths"),
        ({"depths": (1, 0)}, "expected 1 or more"),
        ({"kernel_size": 4}, "kernel_size is 4, expected an odd number"),
        ({"drop_path": 1.0}, "drop_path is 1.0"),
        ({"widths": (6, 10)}, "dim is 8, expected 10"),
        ({"generator": DistilCodecConfig().generator}, "16 samples, one of the generator 256"),
    ],
)
def test_settings_that_do_not_fit(changes: dict, message: str):
    with pytest.raises(ValueError, match=message):
        small_distilcodec_config(**changes)
