"""The same words in every arithmetic."""

import copy
import functools

import pytest
import torch
from listening_paraformer import listener
from live_signals import speech
from small_paraformer import CUTS, paraformer
from torch import nn

from echoic.asr import arithmetic as shared
from echoic.asr.arithmetic import (
    BYTE_KINDS,
    CANDIDATES,
    EXACT_CANDIDATES,
    CastLinear,
    Int8Linear,
    Int16x8Linear,
    Kind,
    able,
)
from echoic.asr.paraformer import arithmetic
from echoic.asr.paraformer.arithmetic import ByteFeedForward, PackedLinear, ShortFeedForward
from echoic.asr.paraformer.config import Activation
from echoic.asr.paraformer.model import Paraformer
from echoic.asr.paraformer.sanm import FeedForward
from echoic.asr.paraformer.streaming.recognizer import LiveConfig, ParaformerRecognizer

CPU = torch.device("cpu")
KINDS = [*dict.fromkeys(able() + able(BYTE_KINDS))]
each_kind = pytest.mark.parametrize("kind", [kind for kind in KINDS if kind != "float32"])


@functools.cache
def talk() -> torch.Tensor:
    return speech(2, 32_000, torch.Generator().manual_seed(1))


def turned(kind: str) -> Paraformer:
    return paraformer().to_inference(device=CPU, dtype=kind)


def logits(model: Paraformer, wav: torch.Tensor) -> torch.Tensor:
    with torch.inference_mode():
        features, lengths = model.frontend(wav, None)
        hidden = model.encode(features, lengths)
        return model.decode(model.predictor(hidden, lengths), hidden, lengths)


@each_kind
def test_scores_are_near_those_of_float32(kind: Kind):
    exact, short = logits(paraformer(), talk()), logits(turned(kind), talk())
    # A token more or less at the end would be another matter than rounding.
    assert exact.shape == short.shape
    error = (exact - short).std() / exact.std()
    assert 0 < error < 0.05


@each_kind
def test_an_utterance_does_not_know_its_neighbours(kind: Kind):
    model = turned(kind)
    together = model.recognize(talk(), torch.tensor([32_000, 20_000]))
    alone = [model.recognize(talk()[:1])[0], model.recognize(talk()[1:, :20_000])[0]]
    assert alone[0].text != alone[1].text
    for one, other in zip(together, alone, strict=True):
        assert one.tokens == other.tokens
        assert one.probabilities == pytest.approx(other.probabilities, abs=1e-4)


@each_kind
def test_it_streams_in_every_kind(kind: Kind):
    recognizer = ParaformerRecognizer(turned(kind), LiveConfig(CUTS["back"]))

    def listen(piece: int) -> str:
        state, said = recognizer.initial_state(), []
        for part in talk()[:1].split(piece, dim=1):
            state, events = recognizer.step(state, part)
            said += events
        said += recognizer.finish(state)[1]
        return " ".join(event.text for event in said if event.type == "final")

    assert listen(32_000) == listen(1_234) != ""


def test_layers_are_what_they_are_called():
    kinds = {
        "float32": (nn.Linear, PackedLinear),
        "bfloat16": (CastLinear, PackedLinear),
        "int16x8": (Int16x8Linear,),
        "int8": (Int8Linear,),
    }
    for kind in KINDS:
        model = turned(kind)
        assert model.arithmetic == kind
        blocks = [*model.encoder.blocks, *model.decoder.blocks, model.decoder.last]
        layers = [m for b in blocks for m in b.modules() if "Linear" in type(m).__name__]
        assert layers
        (found,) = {type(layer) for layer in layers}
        assert found in kinds[kind]
        assert type(model.decoder.output) is nn.Linear


@pytest.mark.skipif(not torch.backends.mkldnn.is_available(), reason="no such library")
@pytest.mark.parametrize("bias", [True, False])
@pytest.mark.parametrize("kind", ["float32", "bfloat16"])
def test_the_order_of_weights_changes_nothing(kind: Kind, bias: bool):
    if kind not in able():
        pytest.skip(f"no instructions for {kind}")
    dtype, rtol = (torch.float32, 1e-5) if kind == "float32" else (torch.bfloat16, 0.01)
    layer = nn.Linear(64, 32, bias=bias)
    plain = CastLinear(layer.weight, layer.bias, dtype)
    packed = PackedLinear(layer.weight, layer.bias, dtype)
    for size in (0, 1, 7, 400):
        x = torch.randn(2, size, 64, generator=torch.Generator().manual_seed(size))
        y = packed(x)
        torch.testing.assert_close(y, plain(x), rtol=rtol, atol=1e-5)
        assert torch.equal(packed(x[1:]), y[1:])
        apart = torch.stack([x, -x], dim=2)[:, :, 0]
        assert not size or not apart.is_contiguous()
        assert torch.equal(packed(apart), y)


@pytest.mark.parametrize("activation", ["relu", "gelu"])
def test_a_short_layer_does_what_its_parts_do(activation: Activation):
    whole = FeedForward(16, 64, 0.1, activation=activation).eval()
    whole.inner, whole.outer = (  # pyright: ignore[reportAttributeAccessIssue]
        CastLinear(part.weight, part.bias, torch.bfloat16) for part in (whole.inner, whole.outer)
    )
    x = torch.randn(2, 9, 16, generator=torch.Generator().manual_seed(0))
    torch.testing.assert_close(
        ShortFeedForward(whole, torch.bfloat16)(x), whole(x), rtol=0.02, atol=0.01
    )


@each_kind
def test_an_encoder_like_whispers_is_near_itself(kind: Kind):
    model = copy.deepcopy(listener()).to_inference(device=CPU, dtype=kind)
    features = torch.randn(1, 40, 560, generator=torch.Generator().manual_seed(0))
    exact, short = (m.encode(features, torch.tensor([40])) for m in (listener(), model))
    error = (exact - short).std() / exact.std()
    assert 0 < error < 0.05


@pytest.mark.skipif("int8" not in able(), reason="no 8-bit products")
def test_bytes_stay_inside_of_a_layer():
    whole = FeedForward(16, 64, 0.1).eval()
    exact = whole(torch.ones(1, 1, 16))
    whole.inner, whole.outer = (  # pyright: ignore[reportAttributeAccessIssue]
        Int8Linear(part.weight, part.bias) for part in (whole.inner, whole.outer)
    )
    x = torch.randn(2, 9, 16, generator=torch.Generator().manual_seed(0))
    x[0, 0] = 1.0
    found = ByteFeedForward(whole)(x)
    assert (found - whole(x)).std() < 0.02 * found.std()
    torch.testing.assert_close(found[0, :1], exact[0], rtol=0.05, atol=0.05)
    assert torch.equal(ByteFeedForward(whole)(x[:1, :1]), found[:1, :1])


@pytest.fixture(scope="module")
def in_bytes(tmp_path_factory: pytest.TempPathFactory) -> Paraformer:
    """A model whose large layers are bytes, as it was stored."""
    folder = tmp_path_factory.mktemp("bytes")
    paraformer().save_pretrained(folder, precision="int8")
    return Paraformer.from_pretrained(folder)


@pytest.mark.skipif("int16x8" not in able(BYTE_KINDS), reason="no 8-bit products")
def test_of_bytes_the_finer_kind_loses_next_to_nothing(in_bytes: Paraformer):
    exact = logits(in_bytes, talk())
    error = {}
    for kind in BYTE_KINDS:
        model = copy.deepcopy(in_bytes).to_inference(device=CPU, dtype=kind)
        error[kind] = float((logits(model, talk()) - exact).std() / exact.std())
    assert error["int16x8"] < 2e-4
    assert error["int8"] > 20 * error["int16x8"]


def choose(model: Paraformer, monkeypatch: pytest.MonkeyPatch, seconds: dict[str, float]) -> Kind:
    """The choice of a machine that takes so long for each kind."""
    monkeypatch.setattr(arithmetic, "_trial", lambda kind, config: lambda: kind)
    monkeypatch.setattr(shared, "_seconds", lambda trial: seconds[trial()])
    return arithmetic.choose(model.encoder, model.decoder, CPU, model.config)


@pytest.mark.skipif("int8" not in able(), reason="no 8-bit products")
def test_a_model_of_bytes_keeps_its_text(in_bytes: Paraformer, monkeypatch: pytest.MonkeyPatch):
    fast = {"float32": 1.0, "bfloat16": 0.9, "int16x8": 0.5, "int8": 0.2}
    assert choose(paraformer(), monkeypatch, fast) == "int8"
    assert choose(in_bytes, monkeypatch, fast) == "int16x8"
    assert choose(in_bytes, monkeypatch, fast | {"int16x8": 0.9}) == "float32"


def test_the_choice_is_one_that_works():
    model = paraformer()
    kind = arithmetic.choose(model.encoder, model.decoder, CPU, model.config)
    assert kind in CANDIDATES
    assert turned("auto").recognize(talk())[0].text
    cuda = torch.device("cuda")
    assert arithmetic.choose(model.encoder, model.decoder, cuda, model.config) == "float16"


def test_the_choice_for_bytes_is_one_that_works(in_bytes: Paraformer):
    model = copy.deepcopy(in_bytes).to_inference(device=CPU)
    assert model.arithmetic in EXACT_CANDIDATES
    assert model.recognize(talk())[0].text == in_bytes.recognize(talk())[0].text
