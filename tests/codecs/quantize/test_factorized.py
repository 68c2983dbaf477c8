import copy
from typing import NamedTuple

import pytest
import torch
import torch.nn.functional as F
from torch import Tensor, nn

from echoic.codecs.quantize.factorized import FactorizedSearch


class Layer(NamedTuple):
    project_in: nn.Linear
    project_out: nn.Linear
    book: Tensor


def random_layers(count: int = 4) -> list[Layer]:
    torch.manual_seed(5)
    sizes = [(nn.Linear(30, 6), nn.Linear(6, 30), 3 * torch.randn(50, 6)) for _ in range(count)]
    return [Layer(*parts) for parts in sizes]


@torch.no_grad()
def one_by_one(x: Tensor, layers: list[Layer]) -> Tensor:
    """The definition, in float64: project, choose by direction, project back, take off."""
    rest, codes = x.double(), []
    for layer in layers:
        inside = F.linear(rest, layer.project_in.weight.double(), layer.project_in.bias.double())
        likeness = F.normalize(inside) @ F.normalize(layer.book.double()).T
        codes.append(likeness.argmax(1))
        values = layer.book.double()[codes[-1]]
        rest = rest - F.linear(
            values, layer.project_out.weight.double(), layer.project_out.bias.double()
        )
    return torch.stack(codes, 1)


@pytest.mark.parametrize("used", [1, 3, 4])
@pytest.mark.parametrize("rows", [0, 1, 200])
def test_finds_the_codes_of_layers_run_one_by_one(rows: int, used: int):
    layers = random_layers()
    x = torch.randn(rows, 30, generator=torch.Generator().manual_seed(6))
    codes = FactorizedSearch(layers).codes(x, used)
    assert codes.shape == (rows, used)
    assert torch.equal(codes, one_by_one(x, layers[:used]))
    assert rows < 2 or int(codes.unique().numel()) > 30


@pytest.mark.parametrize("part", ["book", "project_in", "project_out"])
def test_follows_every_part_of_a_layer(part: str):
    layers, x = random_layers(), torch.randn(50, 30)
    search = FactorizedSearch(layers)
    before = search.codes(x, 4)
    changed = getattr(layers[0], part)
    tensor = changed if isinstance(changed, Tensor) else changed.weight
    with torch.no_grad():
        tensor.add_(torch.randn_like(tensor))
    after = search.codes(x, 4)
    assert torch.equal(after, one_by_one(x, layers))
    assert not torch.equal(after, before)


def test_a_latent_is_left_as_it_was_and_a_copy_prepares_its_own():
    layers, x = random_layers(), torch.randn(9, 30)
    before, search = x.clone(), FactorizedSearch(layers)
    codes = search.codes(x, 4)
    assert torch.equal(x, before)
    twin = copy.deepcopy(search)
    assert twin._prepared is None
    assert torch.equal(twin.codes(x, 4), codes)


def test_latents_that_are_not_finite_are_refused():
    x = torch.zeros(3, 30)
    x[1, 4] = torch.nan
    with pytest.raises(ValueError, match="x holds NaN or Inf"):
        FactorizedSearch(random_layers()).codes(x, 4)
