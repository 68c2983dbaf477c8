"""The model as a whole: batches, bad input, long input, disk."""

import dataclasses
import json
from pathlib import Path

import pytest
import torch
from paraformer_files import ours, random_features, tokens_of
from paraformer_oracle import Sizes
from torch import Tensor
from torch.nn.utils.rnn import pad_sequence

from echoic.asr.errors import CheckpointError
from echoic.asr.paraformer.config import ParaformerConfig, PredictorConfig
from echoic.asr.paraformer.model import Paraformer
from echoic.asr.paraformer.presets import preset
from echoic.asr.paraformer.tokenizer import END, Tokenizer

FRAMES = (40, 1, 23, 7)


@pytest.fixture
def model(tmp_path: Path) -> Paraformer:
    return ours(tmp_path / "upstream")


def small(kind: str, *, seed: int = 0) -> Paraformer:
    """A model with another predictor, of the tiny preset's shape."""
    torch.manual_seed(seed)
    config = preset("tiny", 12)
    config = dataclasses.replace(
        config,
        encoder=dataclasses.replace(config.encoder, dim=16, layers=2, ffn_dim=24),
        decoder=dataclasses.replace(config.decoder, layers=2, cross_layers=2, ffn_dim=24),
        predictor=PredictorConfig(kind=kind),  # pyright: ignore[reportArgumentType]
        end_token=kind != "ctc",
    )
    return Paraformer(config, Tokenizer(tokens_of(12))).eval()


def batch(features: list[Tensor]) -> tuple[Tensor, Tensor]:
    # Padding that must not be heard.
    return pad_sequence(features, batch_first=True, padding_value=3.0), torch.tensor(FRAMES)


@pytest.mark.parametrize("kind", ["cif", "pif", "ctc"])
def test_an_utterance_is_the_same_alone_and_in_a_batch(kind: str):
    model = small(kind)
    features = random_features(*FRAMES)
    together = model.recognize(*batch(features))
    assert len(together[0].tokens) > 2
    for x, found in zip(features, together, strict=True):
        (alone,) = model.recognize(x[None])
        assert found.tokens == alone.tokens
        assert found.probabilities == pytest.approx(alone.probabilities, abs=1e-5)
        assert found.quantity == pytest.approx(alone.quantity, abs=1e-5)
        for a, b in zip(found.token_times, alone.token_times, strict=True):
            assert a == pytest.approx(b, abs=1e-5)


def test_compat_leaks_as_upstream_does(model: Paraformer):
    x, lengths = batch(random_features(*FRAMES))
    model.config = dataclasses.replace(model.config, compat=True)
    with torch.no_grad():
        hidden = model.encode(x, lengths)
        leaking = model.predictor(hidden, lengths).weights
        model.config = dataclasses.replace(model.config, compat=False)
        blanked = model.encode(x, lengths)
        clean = model.predictor(blanked, lengths).weights
    assert hidden[2, 23:].abs().min() > 0
    assert not blanked[2, 23:].any()
    assert torch.equal(leaking[0], clean[0]), "the longest has no padding"
    assert (leaking[2, 22] - clean[2, 22]).abs() > 1e-4
    assert torch.allclose(leaking[2, :22], clean[2, :22], atol=1e-6)


def test_sound_and_its_features_are_one(model: Paraformer):
    generator = torch.Generator().manual_seed(0)
    wav = 0.1 * torch.randn(2, 48_000, generator=generator)
    lengths = torch.tensor([48_000, 20_123])
    heard = model.recognize(wav, lengths)
    features, frames = model.frontend(wav, lengths)
    assert model.recognize(features, frames) == heard
    (alone,) = model.recognize(wav[1:, :20_123])
    assert alone.tokens == heard[1].tokens
    assert len(alone.tokens) > 0
    end = heard[1].token_times[-1][1]
    assert 0 < end <= 20_123 / 16_000 + 0.06


@pytest.mark.parametrize("dtype", [torch.float16, torch.float64])
def test_features_of_any_precision(model: Paraformer, dtype: torch.dtype):
    (x,) = random_features(40)
    assert model.recognize(x.to(dtype)[None]) == model.recognize(x.to(dtype).float()[None])


@pytest.mark.parametrize("samples", [0, 1, 399])
def test_less_than_a_frame_is_nothing(model: Paraformer, samples: int):
    (found,) = model.recognize(torch.zeros(1, samples))
    assert (found.tokens, found.text, found.words) == ((), "", ())


def test_less_than_a_stack_is_one_frame(model: Paraformer):
    features, lengths = model.frontend(torch.zeros(1, 400))
    assert (features.shape, lengths.tolist()) == ((1, 1, 560), [1])
    assert len(model.recognize(torch.zeros(1, 400))) == 1


@pytest.mark.parametrize("kind", ["cif", "pif", "ctc"])
def test_no_frames_beside_some(kind: str):
    model = small(kind)
    (x,) = random_features(40)
    both = model.recognize(torch.stack([x, x]), torch.tensor([40, 0]))
    assert both[1].tokens == ()
    assert both[0].tokens == model.recognize(x[None])[0].tokens
    assert model.recognize(torch.empty(2, 0, 560)) == [both[1]] * 2
    assert model.recognize(torch.empty(0, 5, 560)) == []


@torch.no_grad()
def test_weights_that_never_fire(model: Paraformer):
    model.predictor.get_parameter("weights.output.weight").zero_()
    model.predictor.get_parameter("weights.output.bias").fill_(-30.0)
    x, lengths = batch(random_features(*FRAMES))
    for found in model.recognize(x, lengths):
        assert (found.tokens, found.text) == ((), "")
        assert found.quantity == pytest.approx(0, abs=1e-6)
    # Training goes on from there, without NaN.
    with torch.enable_grad():
        losses = model(x[:1], lengths[:1], torch.tensor([[3, 4]]), torch.tensor([2]))
        losses.total.backward()
    assert all(p.grad is None or bool(torch.isfinite(p.grad).all()) for p in model.parameters())


def test_half_an_hour_is_refused_before_it_costs_memory(model: Paraformer):
    with pytest.raises(ValueError, match="1800 s, expected at most 300 s: cut the recording"):
        model.recognize(torch.zeros(1, 1, 560).expand(1, 30_000, 560))


@pytest.mark.parametrize("shape", [(16_000,), (1, 10, 80), (1, 1, 1, 1)])
def test_shapes_that_are_no_sound(model: Paraformer, shape: tuple[int, ...]):
    with pytest.raises(ValueError, match="expected waveforms"):
        model.recognize(torch.zeros(shape))


@pytest.mark.parametrize("lengths", [[41], [-1], [3, 3], [], [0.5]])
def test_lengths_that_do_not_fit(model: Paraformer, lengths: list[float]):
    with pytest.raises(ValueError, match="lengths are"):
        model.recognize(random_features(40)[0][None], torch.tensor(lengths))
    with pytest.raises(ValueError, match="lengths are"):
        model.recognize(torch.zeros(1, 40), torch.tensor(lengths))


def test_sound_that_is_not_finite(model: Paraformer):
    wav = torch.zeros(1, 16_000)
    wav[0, 5000] = float("nan")
    with pytest.raises(ValueError, match="NaN or infinity"):
        model.recognize(wav)


def test_recognition_leaves_training_mode_alone(model: Paraformer):
    model.train()
    first = model.recognize(random_features(40)[0][None])
    assert model.training
    assert first == model.recognize(random_features(40)[0][None]), "no dropout"


@pytest.mark.parametrize("kind", ["cif", "pif", "ctc"])
def test_every_predictor_trains(kind: str):
    model = small(kind).train()
    x, lengths = batch(random_features(*FRAMES))
    labels = torch.tensor([[3, 4, 4, 5], [6, -1, -1, -1], [7, 8, -1, -1], [9, 3, -1, -1]])
    losses = model(x, lengths, labels, torch.tensor([4, 1, 2, 2]))
    losses.total.backward()
    assert torch.isfinite(losses.total)
    still = [
        name
        for name, p in model.named_parameters()
        if p.grad is None or not bool(torch.isfinite(p.grad).all()) or not p.grad.any()
    ]
    # A mean of guesses that were all right draws no label; here all are mixed in or none matters.
    assert [name for name in still if name != "decoder.embed.weight"] == []


@pytest.mark.parametrize("kind", ["cif", "pif", "ctc"])
def test_half_precision_by_autocast(kind: str):
    model = small(kind)
    x, lengths = batch(random_features(*FRAMES))
    exact = model.recognize(x, lengths)
    with torch.autocast("cpu", torch.bfloat16):
        near = model.recognize(x, lengths)
        labels = torch.tensor([[3, 4], [5, -1], [6, 7], [8, -1]])
        losses = model(x, lengths, labels, torch.tensor([2, 1, 2, 1]))
    losses.total.backward()
    assert [f.quantity for f in near] == pytest.approx([f.quantity for f in exact], rel=0.2, abs=1)
    assert all(bool(torch.isfinite(p.grad).all()) for p in model.parameters() if p.grad is not None)


def test_there_and_back(model: Paraformer, tmp_path: Path):
    model.save_pretrained(tmp_path / "ours", description="a small one")
    again = Paraformer.from_pretrained(tmp_path / "ours")
    assert again.config == model.config
    (x,) = random_features(40)
    wav = torch.linspace(-0.5, 0.5, 16_000)[None].sin()
    assert again.recognize(x[None]) == model.recognize(x[None])
    assert again.recognize(wav) == model.recognize(wav)
    assert not again.training
    assert not any(p.is_meta for p in [*again.parameters(), *again.buffers()])
    values = json.loads((tmp_path / "ours" / "config.json").read_text())
    assert values["description"] == "a small one"


def refusal(folder: Path) -> str:
    with pytest.raises(CheckpointError) as error:
        Paraformer.from_pretrained(folder)
    text = str(error.value)
    assert "\n" not in text
    assert str(folder) in text
    return text


def test_folders_that_do_not_fit(model: Paraformer, tmp_path: Path):
    folder = tmp_path / "ours"
    model.save_pretrained(folder)
    config, tokens = folder / "config.json", folder / "tokens.json"
    weights = folder / "model.safetensors"
    whole = {path: path.read_bytes() for path in (config, tokens, weights)}

    tokens.write_text(json.dumps(tokens_of(13)), encoding="utf-8")
    assert "tokens.json has 13 tokens, config.json says 12" in refusal(folder)
    tokens.unlink()
    assert "has no tokens.json" in refusal(folder)
    tokens.write_bytes(whole[tokens])

    values = json.loads(config.read_text())
    for change, words in (
        ({"strange": 1}, "config.json has 'strange'"),
        ({"encoder": {"dims": 3}}, "encoder of config.json has 'dims'"),
        ({"model_type": "whisper"}, "expected 'paraformer'"),
        (
            {"encoder": {**values["encoder"], "ffn_dim": 25}},
            "bias has shape (24,), expected (25,)",
        ),
        ({"encoder": {**values["encoder"], "layers": 4}}, "lacks encoder.blocks.3"),
        ({"vocab_size": 3}, "vocab_size is 3"),
        ({"frontend": {"window": "x"}}, "window is 'x', expected one of hamming, povey, hann"),
        ({"encoder": {"dropout": 1.5}}, "dropout is 1.5, expected 0 to below 1"),
        ({"encoder": {"dropout": "x"}}, "encoder of config.json: '<=' not supported"),
        ({"encoder": {"shift": 1.5}}, "shift is 1.5, expected a whole number from 0 on"),
        ({"predictor": {"left": True}}, "left is True, expected a whole number from 0 on"),
        ({"predictor": {"smooth_factor": 0}}, "smooth_factor is 0 and noise_threshold 0.0"),
        ({"predictor": {"noise_threshold": None}}, "predictor of config.json: '>=' not supported"),
    ):
        config.write_text(json.dumps(values | change))
        assert words in refusal(folder)
    config.write_text("[")
    assert "not readable JSON" in refusal(folder)
    config.write_bytes(whole[config])

    weights.write_bytes(whole[weights][:1000])
    assert "damaged or no safetensors file" in refusal(folder)
    weights.unlink()
    assert "has no model.safetensors" in refusal(folder)
    assert "has no config.json" in refusal(tmp_path / "upstream")
    assert "echoic import paraformer" in refusal(tmp_path / "upstream")
    with pytest.raises(CheckpointError, match="no Paraformer nothing"):
        Paraformer.from_pretrained("nothing")


def test_a_vocabulary_of_another_size():
    with pytest.raises(CheckpointError, match="the vocabulary has 12 tokens, the model 13"):
        Paraformer(ParaformerConfig(13), Tokenizer(tokens_of(12)))


@pytest.mark.parametrize(
    ("name", "vocab", "millions"),
    [("tiny", 544, 6.75), ("small", 8358, 68.58), ("large", 8404, 220.08)],
)
def test_sizes(name: str, vocab: int, millions: float):
    with torch.device("meta"):
        model = Paraformer(preset(name, vocab), Tokenizer([str(i) for i in range(vocab)]))
    assert sum(p.numel() for p in model.parameters()) / 1e6 == pytest.approx(millions, abs=0.005)


def test_ctc_head_only_where_it_is_trained(tmp_path: Path):
    with_head = ours(tmp_path / "a", Sizes(ctc=True))
    hidden = torch.zeros(1, 3, 16)
    logits = with_head.ctc_logits(hidden)
    assert logits is not None
    assert logits.shape == (1, 3, 12)
    assert ours(tmp_path / "b").ctc_logits(hidden) is None


def test_utterances_without_text_teach_their_end():
    """A batch of silence, say: no label is there to be as long as."""
    model = small("cif")
    x, lengths = batch(random_features(*FRAMES))
    nothing = torch.zeros(len(x), dtype=torch.int64)
    done = model.teach(x, lengths, nothing.new_empty(len(x), 0), nothing)
    assert done.labels.tolist() == [[END]] * len(x)
    assert done.logits.shape == (len(x), 1, 12)
