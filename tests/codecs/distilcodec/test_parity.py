"""DistilCodec imported from a checkpoint computes what the formulas of the checkpoint say."""

from pathlib import Path

import hifigan_oracle as oracle
import pytest
import torch

from echoic.audio.features.codec_mel import Mel, MelConfig
from echoic.codecs.distilcodec.importer import LicenceWarning, import_files, recognise
from echoic.codecs.distilcodec.model import DistilCodec
from echoic.codecs.errors import CodecError
from echoic.codecs.hificodec.importer import recognise as recognise_hificodec

BOOK = "grvq.rvqs.0.layers.0._codebook.embed"


def recording() -> torch.Tensor:
    generator = torch.Generator().manual_seed(3)
    loudness = torch.linspace(-4, 0, 30 * 256).exp()
    return loudness * torch.randn(2, 30 * 256, generator=generator).clamp(-1, 1)


def bands(wav: torch.Tensor) -> torch.Tensor:
    return Mel(MelConfig.distilcodec())(wav).transpose(1, 2)


@pytest.fixture(scope="module")
def checkpoint(tmp_path_factory: pytest.TempPathFactory):
    folder = tmp_path_factory.mktemp("distilcodec")
    parts = oracle.distilcodec_parts()
    # A book among the latents, so that many of its codes occur.
    inside = oracle.distilcodec_encode(parts, bands(recording())).transpose(1, 2).flatten(0, 1)
    noise = torch.randn(64, 20, generator=torch.Generator().manual_seed(5))
    parts["quantizer"][BOOK] = (inside[torch.arange(64) % len(inside)] + 0.1 * noise)[None]
    torch.save(parts, folder / "g_00204000")
    return folder, parts


@pytest.fixture(scope="module")
def codec(checkpoint) -> DistilCodec:
    folder, _ = checkpoint
    with pytest.warns(LicenceWarning, match="CC BY-NC-ND"):
        import_files(folder, folder / "ours")
    return DistilCodec.from_pretrained(folder / "ours")


def test_sizes_come_from_the_tensors(codec: DistilCodec):
    config = codec.config
    assert (config.widths, config.depths, config.kernel_size) == ((6, 8), (1, 2), 7)
    assert (config.quantizer.codebook_size, config.quantizer.codebook_dim) == (64, 20)
    assert (codec.sample_rate, codec.hop_length, codec.num_codebooks) == (24_000, 256, 1)
    assert config.generator.kernels == oracle.KERNELS


@torch.no_grad()
def test_codes(codec: DistilCodec, checkpoint):
    _, parts = checkpoint
    inside = oracle.distilcodec_encode(parts, bands(recording()))
    latents = codec.encoder(recording()).transpose(1, 2)
    project = codec.quantizer.project_in
    assert project is not None
    torch.testing.assert_close(project(latents).transpose(1, 2), inside, rtol=0, atol=1e-4)
    book = parts["quantizer"][BOOK][0]
    expected = oracle.nearest(inside.transpose(1, 2).flatten(0, 1), book).view(2, 1, 30)
    assert len(expected.unique()) > 20
    assert torch.equal(codec.encode(recording()).codes, expected)


@torch.no_grad()
def test_waveforms(codec: DistilCodec, checkpoint):
    codes = torch.randint(0, 64, (2, 1, 20), generator=torch.Generator().manual_seed(4))
    expected = oracle.distilcodec_decode(checkpoint[1], codes[:, 0])
    assert expected.std() > 0.01
    found = codec.decode(codes)
    torch.testing.assert_close(found, expected, rtol=0, atol=2e-5 * float(expected.abs().max()))


def test_is_told_from_hificodec(checkpoint, tmp_path: Path):
    folder, _ = checkpoint
    assert recognise(folder)
    assert recognise(folder / "g_00204000")
    assert not recognise_hificodec(folder)
    torch.save(oracle.hificodec_parts(), tmp_path / "HiFi-Codec-24k-320d")
    assert recognise_hificodec(tmp_path)
    assert not recognise(tmp_path)
    with pytest.raises(CodecError, match="no checkpoint of DistilCodec"):
        import_files(tmp_path, tmp_path / "ours")


def _several_books(parts: dict) -> None:
    quantizer = parts["quantizer"]
    quantizer[BOOK.replace("layers.0", "layers.1")] = quantizer[BOOK]


@pytest.mark.filterwarnings("ignore::echoic.codecs.distilcodec.importer.LicenceWarning")
@pytest.mark.parametrize(
    ("change", "message"),
    [
        (_several_books, "expected one group of one book"),
        (lambda p: p["quantizer"].pop(BOOK), "has no .*embed"),
        (lambda p: p["encoder"].pop("stages.0.0.gamma"), "has no 'encoder.stages.0.0.gamma'"),
        (lambda p: p["generator"].pop("conv_post.bias"), "has no 'generator.conv_post.bias'"),
        (lambda p: p["encoder"].update(extra=torch.ones(1)), "has 'encoder.extra', which"),
        (
            lambda p: p["encoder"].update({"norm.bias": torch.ones(3)}),
            r"norm.bias has shape \(3,\)",
        ),
        (lambda p: p["encoder"]["norm.bias"].fill_(torch.nan), "norm.bias has NaN"),
    ],
)
def test_a_checkpoint_of_another_configuration(change, message: str, tmp_path: Path):
    parts = oracle.distilcodec_parts()
    change(parts)
    torch.save(parts, tmp_path / "g_00000001")
    with pytest.raises(CodecError, match=message) as error:
        import_files(tmp_path, tmp_path / "ours")
    assert "\n" not in str(error.value)
    assert not (tmp_path / "ours").exists()
