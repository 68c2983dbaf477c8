"""Integrate-and-fire as sums and products, against its definition and the predictor itself."""

from collections.abc import Callable

import pytest
import torch
from cif_by_definition import draw, integrate
from exported_paraformer import hasty, plain

from echoic.asr.paraformer.cif_predictor import CifPredictor
from echoic.asr.paraformer.model import Paraformer
from echoic.asr.paraformer.onnx.cif import find_tokens, reached, risen, running_sum
from echoic.asr.paraformer.predictor import crossings


@pytest.mark.parametrize("scale", [0.6, 1.0, 4.0])
def test_shares_are_those_of_the_definition(scale: float):
    hidden, alphas = draw(3, 30, 5, scale)
    before, after = running_sum(alphas)
    assert before.dtype == torch.float64
    size = int(after[:, -1].max())
    tokens = risen(before, after, torch.arange(size, dtype=torch.float64)) @ hidden.double()
    for row in range(3):
        (expected, _) = integrate(hidden[row], alphas[row])
        assert len(expected) > 3
        assert torch.allclose(tokens[row, : len(expected)], expected, atol=1e-12)


def test_each_frame_gives_all_that_it_has():
    before, after = running_sum(torch.tensor([[0.5, 0.0, 3.25, 0.25]]))
    shares = risen(before, after, torch.arange(4, dtype=torch.float64))
    assert shares.tolist() == [[[0.5, 0, 0.5, 0], [0, 0, 1, 0], [0, 0, 1, 0], [0, 0, 0.75, 0.25]]]


@pytest.mark.parametrize("scale", [0.3, 4.0])
def test_levels_are_reached_when_a_search_finds_them(scale: float):
    _, alphas = draw(3, 30, 1, scale)
    levels = torch.linspace(0, float(alphas.sum(1).max()) + 1, 37, dtype=torch.float64)
    found = reached(*running_sum(alphas), levels)
    expected = crossings(alphas, levels.expand(3, -1))
    assert torch.allclose(found, expected, atol=1e-12)
    assert bool((found[:, -1] == 30).all())


@pytest.mark.parametrize("make", [plain, hasty])
@torch.no_grad()
def test_tokens_and_times_are_the_predictors(make: Callable[[], Paraformer]):
    model = make()
    assert isinstance(model.predictor, CifPredictor)
    generator = torch.Generator().manual_seed(2)
    hidden = torch.randn(4, 25, 16, generator=generator)
    lengths = torch.tensor([25, 0, 1, 17])
    expected = model.predictor(hidden, lengths)
    found = find_tokens(model.predictor, hidden, lengths)
    assert (float(expected.weights.max()) > 1) == (make is hasty)
    assert torch.equal(found.counts, expected.counts)
    assert torch.equal(found.quantity, expected.quantity)
    assert torch.allclose(found.tokens, expected.tokens, atol=1e-5)
    for row, count in enumerate(expected.counts.tolist()):
        for times, wanted in ((found.starts, expected.starts), (found.ends, expected.ends)):
            assert torch.allclose(times[row, :count], wanted[row, :count], atol=1e-9)
