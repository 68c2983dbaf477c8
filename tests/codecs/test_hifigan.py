"""The generator that HiFi-Codec and DistilCodec share."""

import pytest
import torch
from small_hifigan import BLOCKS

from echoic.codecs.hifigan import Generator, GeneratorConfig, generator_layers

CONFIGS = [
    GeneratorConfig((4, 3, 2), (8, 7, 4), 16, **BLOCKS),
    GeneratorConfig((2, 2), (4, 4), 8, outer_kernel=13, activation="silu"),
    GeneratorConfig((8, 5, 4, 2), (16, 11, 8, 4), 16),
]


@pytest.mark.parametrize("config", CONFIGS, ids=lambda c: str(c.rates))
def test_declares_the_look_ahead_that_it_has(config: GeneratorConfig):
    """Counted by the gradient: the first frame's samples see as far ahead as declared."""
    torch.manual_seed(0)
    generator = Generator(generator_layers(6, config, weight_norm=False))
    x = torch.randn(1, 6, 90, requires_grad=True)
    wav = generator(x)
    assert wav.shape == (1, 90 * config.hop_length)
    first = wav[:, 20 * config.hop_length : 21 * config.hop_length]
    (gradient,) = torch.autograd.grad(first.sum(), x)
    seen = gradient.abs().sum((0, 1)).nonzero().flatten()
    assert int(seen.max()) == 20 + generator.lookahead


def test_the_rates_of_a_chain_would_say_more():
    generator = Generator(generator_layers(6, CONFIGS[2], weight_norm=False))
    assert generator.lookahead == 14
    assert generator.frame_size == 1
    assert generator.output_size == 320
