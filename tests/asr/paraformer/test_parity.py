"""Our model against the formulas, on the same weights; one utterance at a time, no dither."""

from pathlib import Path

import paraformer_oracle as oracle
import pytest
import torch
from paraformer_files import ours, random_features
from paraformer_oracle import Sizes
from torch import Tensor

from echoic.asr.paraformer.model import Paraformer

VARIANTS = [
    Sizes(),
    Sizes(plain=0, depthwise=True),
    Sizes(layers=1, cross=1, plain=2, heads=4, kernel=11),
]


@pytest.fixture(params=VARIANTS, ids=["full", "depthwise", "one-layer"])
def pair(request: pytest.FixtureRequest, tmp_path: Path) -> tuple[Paraformer, oracle.State, Sizes]:
    return ours(tmp_path, request.param), oracle.draw(request.param), request.param


def length(x: Tensor) -> Tensor:
    return torch.tensor([len(x)])


@torch.no_grad()
@pytest.mark.parametrize("frames", [1, 2, 40])
def test_every_stage_is_that_of_the_formulas(
    pair: tuple[Paraformer, oracle.State, Sizes], frames: int
):
    model, state, sizes = pair
    (x,) = random_features(frames)
    hidden = model.encode(x[None], length(x))
    expected = oracle.encode(state, x, sizes)
    assert torch.allclose(hidden[0], expected, atol=1e-5)
    weights, log_probs = oracle.recognise(state, x, sizes)
    found = model.predictor(hidden, length(x))
    assert torch.allclose(found.weights[0], weights, atol=1e-6)
    assert found.tokens.shape[1] == int(weights.double().sum() + 0.45)
    tokens = oracle.integrate(*oracle.with_tail(expected, weights))
    assert torch.allclose(found.tokens[0], tokens, atol=1e-4)
    logits = model.decode(found, hidden, length(x))
    assert torch.allclose(logits.log_softmax(-1)[0], log_probs, atol=1e-4)
    heard = [i for i in log_probs.argmax(1).tolist() if i > 2]
    assert model.recognize(x[None])[0].tokens == tuple(heard)
    assert frames < 40 or len(log_probs) > 3, "enough tokens to mean something"


@torch.no_grad()
def test_causal_memory_of_the_decoder(tmp_path: Path):
    sizes = Sizes(plain=0)
    model = ours(tmp_path, sizes, changes={"decoder_conf": {"sanm_shfit": 2}})
    state, (x,) = oracle.draw(sizes), random_features(30)
    hidden = model.encode(x[None], length(x))
    found = model.predictor(hidden, length(x))
    expected = oracle.decode(state, found.tokens[0], hidden[0], sizes, shift=2)
    logits = model.decode(found, hidden, length(x))
    assert torch.allclose(logits.log_softmax(-1)[0], expected, atol=1e-4)


def test_loss_of_a_batch(tmp_path: Path):
    sizes = Sizes()
    model = ours(
        tmp_path,
        sizes,
        changes={
            "model_conf": {"sampling_ratio": 0.0},
            "encoder_conf": {"dropout_rate": 0.0},
            "decoder_conf": {"dropout_rate": 0.0},
        },
    ).train()
    state = {k: v.requires_grad_() for k, v in oracle.draw(sizes).items()}
    xs, ys = random_features(40, 25), [[3, 4, 5, 3], [7, 9]]
    expected = oracle.loss(state, xs, ys, sizes, smoothing=0.1)
    expected.backward()
    x = torch.nn.utils.rnn.pad_sequence(xs, batch_first=True)
    labels = torch.tensor([ys[0], [*ys[1], -1, -1]])
    losses = model(x, torch.tensor([40, 25]), labels, torch.tensor([4, 2]))
    assert losses.total.item() == pytest.approx(expected.item(), rel=1e-5)
    losses.total.backward()
    for name, parameter in (
        ("predictor.cif_conv1d.weight", model.predictor.get_parameter("weights.conv.weight")),
        ("encoder.encoders0.0.self_attn.linear_q_k_v.weight", None),
    ):
        mine = parameter
        if mine is None:
            mine = model.encoder.get_parameter("blocks.0.attention.qkv.weight")
        theirs = state[name].grad
        assert theirs is not None
        assert mine.grad is not None
        assert torch.allclose(mine.grad, theirs, atol=1e-5 * float(theirs.abs().max()))
