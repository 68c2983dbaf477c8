"""An encoder that begins as a Whisper's: the same layers, convolutions and features."""

import dataclasses
from pathlib import Path

import pytest
import torch
import yaml
from listening_paraformer import PERIOD, listener, teacher
from paraformer_runs import MODEL, write_vocabulary
from speech_data import novel
from torch.nn import functional

from echoic.asr.errors import CheckpointError
from echoic.asr.paraformer.config import EncoderConfig, FrontendConfig, ParaformerConfig
from echoic.asr.paraformer.model import Paraformer
from echoic.asr.paraformer.stem import Stem
from echoic.asr.paraformer.streaming.chunks import Chunks
from echoic.asr.paraformer.training.from_whisper import copy_encoder, encoder_of
from echoic.asr.paraformer.training.task import ParaformerTask
from echoic.asr.whisper.checkpoint import load_checkpoint
from echoic.asr.whisper.model import WhisperModel

RECIPE = Path(__file__).parents[4] / "recipes" / "paraformer" / "paraformer-tiny-en.yaml"
SETTINGS = yaml.safe_load(RECIPE.read_text(encoding="utf-8"))["model"]["init_args"]["model"]


@pytest.fixture(scope="module")
def vocabulary(tmp_path_factory: pytest.TempPathFactory) -> Path:
    return write_vocabulary(tmp_path_factory.mktemp("vocabulary"))


def test_every_layer_does_what_whispers_does():
    x = torch.randn(2, 20, 16, generator=torch.Generator().manual_seed(0))
    mask = torch.ones(2, 20, dtype=torch.bool)
    pairs = zip(teacher().encoder.blocks(), listener().encoder.blocks, strict=True)
    for layer, block in pairs:
        torch.testing.assert_close(block(x, mask), layer(x, None), rtol=2e-3, atol=2e-3)


def test_a_stack_is_the_mean_of_what_whisper_hears_around_it():
    encoder, model = teacher().encoder, listener()
    stem = model.encoder.stem
    assert stem is not None
    wav = novel()[0].wav[None, :32_000]
    frames = model.frontend.bands(wav)
    found = stem(model.frontend(wav)[0])
    # Stack i is centred on frame 4 i: Whisper's convolutions around frames 4 i - 1 and 4 i + 1.
    for i in (5, 20, 48):
        near = frames[:, 4 * i - 3 : 4 * i + 4].transpose(1, 2)
        x = functional.gelu(functional.conv1d(near, encoder.conv1.weight, encoder.conv1.bias))
        x = functional.gelu(
            functional.conv1d(x, encoder.conv2.weight, encoder.conv2.bias, stride=2)
        )
        assert x.shape[2] == 2
        torch.testing.assert_close(found[:, i], x.mean(2), rtol=1e-4, atol=1e-4)


def test_places_are_counted_as_whisper_does_and_anew_after_a_period():
    encoder = listener().encoder
    features = torch.zeros(1, 40, 560)
    assert encoder.stem is not None
    heard = encoder.stem(features)
    code = encoder.embed(features) - heard
    once = teacher().encoder.embed_positions.weight[0 : 2 * PERIOD : 2]
    expected = torch.cat([once, once])
    torch.testing.assert_close(code[0], expected[:40], rtol=1e-4, atol=1e-4)
    for before in (7, 27, 27 + 10 * PERIOD):
        later = encoder.embed(features[:, :5], torch.tensor([before])) - heard[:, :5]
        at = before % PERIOD
        torch.testing.assert_close(later[0], expected[at : at + 5], rtol=1e-4, atol=1e-4)


def test_streams_of_training_begin_anywhere(vocabulary: Path):
    def places(training: bool, chunks: Chunks | None) -> set[int]:
        model = ParaformerTask(small, str(vocabulary), str(vocabulary / "cmvn.json")).model
        seen: set[int] = set()
        embed = model.encoder.embed

        def watch(features: torch.Tensor, before: torch.Tensor | None = None) -> torch.Tensor:
            seen.update([0] if before is None else before.tolist())
            return embed(features, before)

        model.encoder.embed = watch
        model.train(training).teach(
            torch.zeros(16, 8, 560), torch.full((16,), 8), labels, torch.full((16,), 2),
            torch.Generator().manual_seed(0), chunks=chunks,
        )  # fmt: skip
        return seen

    small = MODEL | {"encoder": MODEL["encoder"] | {"period": 20}}
    small |= {"decoder": MODEL["decoder"] | {"shift": 1}}
    labels = torch.full((16, 2), 3)
    assert places(True, None) == places(False, Chunks()) == {0}
    drawn = places(True, Chunks())
    assert len(drawn) > 5
    assert drawn <= set(range(20))


def test_a_stem_of_other_stacks_hears_all_of_them():
    stem = Stem(FrontendConfig(features="log_mel", num_mels=8, lfr_m=9, lfr_n=6), 12)
    x = torch.randn(1, 3, 72, requires_grad=True)
    stem(x)[0, 1].sum().backward()
    assert x.grad is not None
    assert bool((x.grad[0, 1] != 0).all())
    assert not x.grad[0, [0, 2]].any()
    assert stem.step == 3


def test_sizes_that_do_not_go_together():
    with pytest.raises(CheckpointError, match="a stem needs 5 or more, every even number"):
        ParaformerConfig(40, FrontendConfig(lfr_m=7, lfr_n=5), EncoderConfig(stem=True))
    with pytest.raises(CheckpointError, match="log_mel has frames of 400 samples every 160"):
        FrontendConfig(features="log_mel", hop_length=200)
    with pytest.raises(CheckpointError, match="period is -1, expected a whole number from 0 on"):
        EncoderConfig(period=-1)
    with pytest.raises(CheckpointError, match="activation is 'swish', expected one of relu, gelu"):
        EncoderConfig(activation="swish")  # pyright: ignore[reportArgumentType]


@pytest.mark.parametrize("shift", [0, 2])
def test_a_memory_that_returns_nothing(shift: int):
    sizes = dataclasses.replace(encoder_of(teacher().encoder, 7, shift, 0.1), period=PERIOD)
    config = dataclasses.replace(listener().config, encoder=sizes)
    model = Paraformer(config, listener().tokenizer).eval()
    copy_encoder(teacher().encoder, model)
    features = torch.randn(2, 30, 560, generator=torch.Generator().manual_seed(0))
    lengths = torch.tensor([30, 17])
    torch.testing.assert_close(
        model.encode(features, lengths), listener().encode(features, lengths), rtol=1e-3, atol=1e-3
    )


def test_a_model_of_other_sizes_is_told_which(vocabulary: Path):
    for changes, message in (
        ({"encoder": {"layers": 3}}, "encoder.layers is 3, the encoder of tiny.en needs 4"),
        ({"encoder": {"activation": "relu"}}, "encoder.activation is 'relu', the encoder of tiny"),
        ({"frontend": {"lfr_n": 6}}, "frontend.lfr_n is 6, the encoder of tiny.en needs 4"),
    ):
        settings = SETTINGS | {name: SETTINGS[name] | part for name, part in changes.items()}
        with pytest.raises(CheckpointError, match=message):
            ParaformerTask(settings, str(vocabulary), encoder_from="tiny.en")
    with pytest.raises(CheckpointError, match="huge"):
        ParaformerTask(SETTINGS, str(vocabulary), encoder_from="huge.en")
    with pytest.raises(ValueError, match="init_from and encoder_from both say"):
        ParaformerTask(
            SETTINGS, str(vocabulary), encoder_from="tiny.en", init_from="paraformer-tiny-en"
        )


def test_a_training_begins_with_it(vocabulary: Path):
    model = ParaformerTask(SETTINGS, str(vocabulary), encoder_from="tiny.en").model
    stem = model.encoder.stem
    assert stem is not None
    conv = WhisperModel.from_checkpoint(load_checkpoint("tiny.en")).encoder.conv1
    assert torch.equal(stem.first.weight[:, :80], conv.weight[:, :, 0])
    assert torch.equal(stem.first.weight[:, 160:], conv.weight[:, :, 2])
    assert all(p.requires_grad for p in model.parameters())
    plain = ParaformerTask(SETTINGS, str(vocabulary)).model.encoder.stem
    assert plain is not None
    assert not torch.equal(plain.first.weight, stem.first.weight)
