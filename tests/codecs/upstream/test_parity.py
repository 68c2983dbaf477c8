"""EnCodec, DAC and Mimi have the codes and waveforms of transformers, which wrote their folders."""

from pathlib import Path
from typing import Any

import pytest
import torch
import torch.nn.functional as F
from small_upstream import library_folder
from torch import Tensor, nn

from echoic.codecs.codec import Codec
from echoic.codecs.registry import load_codec
from echoic.codecs.upstream.dac import Dac, DacConfig
from echoic.codecs.upstream.encodec import Encodec, EncodecConfig
from echoic.codecs.upstream.mimi import Mimi, MimiConfig
from echoic.codecs.weights import training_names

pytest.importorskip("transformers")

# The kind, and what differs from the settings of `small_upstream`.
VARIANTS: dict[str, tuple[str, dict[str, Any]]] = {
    "encodec": ("encodec", {}),
    "encodec_of_32k": ("encodec", {"use_causal_conv": False, "use_conv_shortcut": False}),
    "encodec_of_other_layers": (
        "encodec",
        {
            "num_residual_layers": 2,
            "residual_kernel_size": 5,
            "compress": 4,
            "num_lstm_layers": 1,
            "trim_right_ratio": 0.5,
            "last_kernel_size": 5,
        },
    ),
    "encodec_in_silence": ("encodec", {"pad_mode": "constant"}),
    "encodec_without_end": ("encodec", {"pad_mode": "replicate", "use_causal_conv": False}),
    "dac": ("dac", {}),
    "dac_of_44k": ("dac", {"downsampling_ratios": [2, 4], "sampling_rate": 44_100}),
    "dac_of_odd_strides": ("dac", {"downsampling_ratios": [3, 5, 2]}),
    "mimi": ("mimi", {}),
    "mimi_of_2_semantic_codes": ("mimi", {"num_semantic_quantizers": 2, "use_conv_shortcut": True}),
    "mimi_without_projections": (
        "mimi",
        {"codebook_dim": 16, "vector_quantization_hidden_dimension": 16, "sliding_window": 2},
    ),
}
LENGTHS = (1, 5, 12, 61, 240, 1201)


@pytest.fixture(scope="module", params=VARIANTS)
def pair(request: pytest.FixtureRequest, tmp_path_factory: pytest.TempPathFactory):
    """A codec of ours, and the library's."""
    kind, changes = VARIANTS[request.param]
    folder = tmp_path_factory.mktemp(request.param)
    theirs = library_folder(kind, folder, **changes)
    codec = load_codec(folder).requires_grad_(False)
    assert codec.kind == kind
    return codec, theirs


def noise(*shape: int) -> Tensor:
    return 0.5 * torch.randn(*shape, generator=torch.Generator().manual_seed(len(shape)))


def their_codes(codec: Codec, theirs: Any, wav: Tensor, n_q: int | None = None) -> Tensor:
    n_q = codec.num_codebooks if n_q is None else n_q
    if codec.kind == "encodec":
        return theirs.encode(wav[:, None], bandwidth=1.6 * n_q).audio_codes[0]
    if codec.kind == "mimi":
        return theirs.encode(wav[:, None], num_quantizers=n_q).audio_codes
    # The library leaves it to its feature extractor to fill the last frame with zeros.
    whole = F.pad(wav, (0, -wav.shape[1] % codec.hop_length))
    return theirs.encode(whole[:, None], n_quantizers=n_q).audio_codes


def their_wav(codec: Codec, theirs: Any, codes: Tensor) -> Tensor:
    if codec.kind == "encodec":
        return theirs.decode(codes[None], [None]).audio_values[:, 0]
    if codec.kind == "mimi":
        return theirs.decode(codes).audio_values[:, 0]
    return theirs.decode(audio_codes=codes).audio_values


def test_codes_and_waveforms_of_any_length(pair) -> None:
    codec, theirs = pair
    for samples in LENGTHS:
        wav = noise(2, samples)
        encoded = codec.encode(wav)
        assert torch.equal(encoded.codes, their_codes(codec, theirs, wav))
        made = codec.decode(encoded)
        assert made.shape == wav.shape
        expected = their_wav(codec, theirs, encoded.codes)
        kept = min(samples, expected.shape[1])
        # Mimi's random weights make sound far beyond +-1.
        scale = max(1.0, float(expected.abs().max()))
        torch.testing.assert_close(made[:, :kept], expected[:, :kept], rtol=0, atol=1e-5 * scale)
        # Only DAC lacks samples, and only those that no code has.
        missing = codec.config.missing_end if codec.kind == "dac" else 0
        assert expected.shape[1] == encoded.codes.shape[2] * codec.hop_length - missing
        assert not made[:, kept:].any()


def test_the_codes_tell_something(pair) -> None:
    codec, theirs = pair
    codes = their_codes(codec, theirs, noise(2, 2400))
    assert all(len(book.unique()) > 3 for book in codes.transpose(0, 1))
    wav = their_wav(codec, theirs, codes)
    assert float(wav.std(dim=1).min()) > 1e-3
    assert len(wav[0].unique()) > 50


def test_the_first_codes_alone(pair) -> None:
    codec, theirs = pair
    wav = noise(2, 333)
    for n_q in (2, 4):
        codes = codec.encode(wav, n_q=n_q).codes
        assert torch.equal(codes, their_codes(codec, theirs, wav, n_q))
        expected = their_wav(codec, theirs, codes)
        made = codec.decode(codes)[:, : expected.shape[1]]
        scale = max(1.0, float(expected.abs().max()))
        torch.testing.assert_close(made, expected, rtol=0, atol=1e-5 * scale)


def test_rows_with_lengths_of_their_own(pair) -> None:
    codec, theirs = pair
    wav, lengths = noise(3, 400), torch.tensor([400, 77, 13])
    together = codec.encode(wav, lengths)
    made = codec.decode(together)
    for row, n in enumerate(lengths.tolist()):
        alone = their_codes(codec, theirs, wav[row : row + 1, :n])
        assert torch.equal(together.codes[row, :, : alone.shape[2]], alone[0])
        expected = their_wav(codec, theirs, alone)[0, :n]
        scale = max(1.0, float(expected.abs().max()))
        torch.testing.assert_close(made[row, : len(expected)], expected, rtol=0, atol=1e-5 * scale)
        assert not made[row, n:].any()


def test_a_copy_of_ours_has_the_same_codes(pair, tmp_path: Path) -> None:
    codec, _ = pair
    codec.save_pretrained(tmp_path)
    loaded = type(codec).from_pretrained(tmp_path)
    assert loaded.config == codec.config
    wav = noise(1, 500)
    assert torch.equal(loaded.encode(wav).codes, codec.encode(wav).codes)
    assert torch.equal(loaded.decode(loaded.encode(wav)), codec.decode(codec.encode(wav)))


def numbers(module: nn.Module) -> int:
    """Return how many numbers a model has, without those that only training needs."""
    aside = (".original0", ".cluster_size", ".embed_avg", ".cluster_usage", "inited", "initialized")
    left_out = training_names(module)
    state = module.state_dict().items()
    return sum(t.numel() for n, t in state if n not in left_out and not n.endswith(aside))


def test_the_published_sizes() -> None:
    import transformers

    with torch.device("meta"):
        for ours, theirs in (
            (Encodec(EncodecConfig()), transformers.EncodecModel(transformers.EncodecConfig())),
            (Dac(DacConfig()), transformers.DacModel(transformers.DacConfig())),
        ):
            assert numbers(ours) == numbers(theirs)
        mimi = Mimi(MimiConfig())
        theirs = transformers.MimiModel(transformers.MimiConfig())
    # The library's projections to and from the books have no biases.
    assert numbers(mimi) == numbers(theirs) + 2 * (256 + 512)


@pytest.mark.parametrize(
    ("codec", "rate", "bits", "hop", "books"),
    [
        (EncodecConfig(), 75, 24_000, 320, 32),
        (DacConfig(), 44_100 / 512, 9 * 10 * 44_100 / 512, 512, 9),
        (MimiConfig(), 12.5, 32 * 11 * 12.5, 1920, 32),
    ],
)
def test_the_published_rates(codec: Any, rate: float, bits: float, hop: int, books: int) -> None:
    made = {EncodecConfig: Encodec, DacConfig: Dac, MimiConfig: Mimi}[type(codec)]
    with torch.device("meta"):
        found: Codec = made(codec)
    assert (found.frame_rate, found.hop_length, found.num_codebooks) == (rate, hop, books)
    assert found.bits_per_second() == pytest.approx(bits)
