"""More books behind those that have learned: the first codes stay, and what is left shrinks."""

from dataclasses import replace

import pytest
import torch

from echoic.codecs.quantize.config import QuantizerConfig
from echoic.codecs.quantize.extend import extend_quantizer, shorten_quantizer
from echoic.codecs.quantize.quantizer import Quantizer

CONFIGS = {
    "residual": QuantizerConfig(8, 16, num_layers=2),
    "grouped": QuantizerConfig(8, 16, num_layers=2, num_groups=2),
    "masked": QuantizerConfig(8, 16, num_layers=3, masked_layers=2),
    "projected": QuantizerConfig(8, 16, num_layers=2, codebook_dim=4),
}


def latents(seed: int, count: int = 2000) -> torch.Tensor:
    return torch.randn(count, 8, generator=torch.Generator().manual_seed(seed))


def learned(config: QuantizerConfig) -> Quantizer:
    torch.manual_seed(1)
    quantizer = Quantizer(config)
    with torch.no_grad():
        rows = latents(0)
        inside = rows if quantizer.project_in is None else quantizer.project_in(rows)
        quantizer.codebooks.start(inside, quantizer.masks)
    return quantizer.eval()


@pytest.mark.parametrize("name", CONFIGS)
def test_the_first_codes_stay_and_the_others_halve_what_is_left(name: str):
    quantizer = learned(CONFIGS[name])
    longer = extend_quantizer(quantizer, latents(0), 5)
    assert longer.config == replace(quantizer.config, num_layers=5)
    x = latents(7).T[None]
    codes, before = longer.encode(x), quantizer.encode(x)
    assert torch.equal(codes[:, : before.shape[1]], before)
    assert torch.equal(longer.decode(before), quantizer.decode(before))
    inside = x if quantizer.project_in is None else None
    if inside is not None:  # behind a projection some of the latent never comes back
        left = [float((x - q.decode(q.encode(x))).square().mean()) for q in (quantizer, longer)]
        assert left[1] < 0.5 * left[0]


@pytest.mark.parametrize("name", CONFIGS)
def test_the_first_books_are_a_quantizer(name: str):
    quantizer = learned(CONFIGS[name])
    layers = max(1, CONFIGS[name].masked_layers)
    shorter = shorten_quantizer(quantizer, layers)
    x = latents(7).T[None]
    codes = shorter.encode(x)
    assert torch.equal(codes, quantizer.encode(x)[:, : codes.shape[1]])
    assert torch.equal(shorter.decode(codes), quantizer.decode(codes))
    with pytest.raises(ValueError, match="layers, expected"):
        shorten_quantizer(quantizer, 9)


def test_what_cannot_be_extended_is_refused():
    with pytest.raises(ValueError, match="2 layers, expected more than the 2 there"):
        extend_quantizer(learned(CONFIGS["residual"]), latents(0), 2)
    with pytest.raises(ValueError, match="not begun to learn"):
        extend_quantizer(Quantizer(CONFIGS["residual"]), latents(0), 3)
