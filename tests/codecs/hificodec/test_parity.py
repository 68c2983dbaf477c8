"""HiFi-Codec imported from a checkpoint computes what the formulas of the checkpoint say."""

import json
from pathlib import Path

import hifigan_oracle as oracle
import pytest
import torch

from echoic.codecs.hificodec.importer import import_files
from echoic.codecs.hificodec.model import HiFiCodec

SIZES = {
    "16k_320d": (16_000, (8, 5, 4, 2), (16, 11, 8, 4)),
    "24k_240d": (24_000, (8, 5, 3, 2), (16, 11, 7, 4)),
}


def write(folder: Path, parts: dict, size: str, **changes: object) -> Path:
    """Write a checkpoint and its JSON, with the fields of the published ones that matter."""
    sample_rate, rates, kernels = SIZES[size]
    values = {
        "resblock": "1",
        "upsample_rates": rates,
        "upsample_kernel_sizes": kernels,
        "upsample_initial_channel": 64,
        "resblock_kernel_sizes": [3, 7, 11],
        "resblock_dilation_sizes": [[1, 3, 5]] * 3,
        "n_code_groups": 2,
        "sampling_rate": sample_rate,
    }
    torch.save(parts, folder / "g_00000010")
    (folder / f"config_{size}.json").write_text(json.dumps(values | changes))
    return folder


@pytest.fixture(scope="module", params=sorted(SIZES))
def imported(request: pytest.FixtureRequest, tmp_path_factory: pytest.TempPathFactory):
    """A codec, the checkpoint that it comes from, and its rates."""
    folder = tmp_path_factory.mktemp(request.param)
    sample_rate, rates, kernels = SIZES[request.param]
    parts = oracle.hificodec_parts(kernels)
    import_files(write(folder, parts, request.param), folder / "ours")
    codec = HiFiCodec.from_pretrained(folder / "ours")
    assert codec.sample_rate == sample_rate
    return codec, parts, rates


def recording(codec: HiFiCodec, frames: int = 30) -> torch.Tensor:
    generator = torch.Generator().manual_seed(3)
    return 0.1 * torch.randn(2, frames * codec.hop_length, generator=generator)


@torch.no_grad()
def test_latents(imported):
    codec, parts, rates = imported
    wav = recording(codec)
    expected = oracle.hificodec_encode(parts["encoder"], wav, rates)
    found = codec.encoder(wav)
    assert found.shape == (2, 128, 30)
    assert expected.std() > 0.1
    torch.testing.assert_close(found, expected, rtol=0, atol=2e-5 * float(expected.abs().max()))


@torch.no_grad()
def test_codes_and_what_they_stand_for(imported):
    codec, parts, rates = imported
    wav = recording(codec)
    latents = oracle.hificodec_encode(parts["encoder"], wav, rates)
    codes, quantized = oracle.grvq(parts["quantizer"], latents)
    found = codec.encode(wav).codes
    assert torch.equal(found, codes)
    assert all(len(book.unique()) >= 3 for book in codes.transpose(0, 1))
    torch.testing.assert_close(codec.quantizer.decode(found), quantized)


@torch.no_grad()
def test_waveforms(imported):
    codec, parts, rates = imported
    codes = codec.encode(recording(codec)).codes
    expected = oracle.hificodec_decode(parts["generator"], codec.quantizer.decode(codes), rates)
    found = codec.decode(codes)
    assert found.shape == (2, 30 * codec.hop_length)
    assert expected.abs().max() > 0.05
    torch.testing.assert_close(found, expected, rtol=0, atol=2e-5 * float(expected.abs().max()))


def test_a_prefix_of_the_codes_is_the_first_layer(imported):
    codec, parts, _ = imported
    codes = codec.encode(recording(codec), n_q=2).codes
    books = [parts["quantizer"][f"quantizer_modules.{g}.embedding.weight"] for g in range(2)]
    expected = torch.cat([book[codes[:, g]] for g, book in enumerate(books)], 2)
    torch.testing.assert_close(codec.quantizer.decode(codes), expected.transpose(1, 2))
