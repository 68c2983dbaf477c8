"""Settings of the quantizer: the published shapes, and what is refused."""

from typing import Any

import pytest

from echoic.codecs.quantize.config import QuantizerConfig


def test_the_published_shapes() -> None:
    grvq, mcrvq = QuantizerConfig.grvq(), QuantizerConfig.mcrvq()
    single = QuantizerConfig.single()
    assert (grvq.dim, grvq.num_codebooks, grvq.num_groups, grvq.learning) == (512, 4, 2, "gradient")
    assert (mcrvq.dim, mcrvq.num_codebooks, mcrvq.masked_layers) == (128, 8, 3)
    assert (single.codebook_size, single.book_width, single.num_codebooks) == (32_768, 3584, 1)


@pytest.mark.parametrize(("n_q", "layers"), [(None, 3), (2, 1), (4, 2), (6, 3)])
def test_codes_of_a_frame_are_layers_times_groups(n_q: int | None, layers: int) -> None:
    assert QuantizerConfig(8, num_layers=3, num_groups=2).layers_of(n_q) == layers


@pytest.mark.parametrize("n_q", [-1, 0, 1, 3, 7, 8])
def test_parts_of_layers_and_more_than_there_are_are_refused(n_q: int) -> None:
    with pytest.raises(ValueError, match=rf"n_q is {n_q}, expected 2 to 6 in steps of 2"):
        QuantizerConfig(8, num_layers=3, num_groups=2).layers_of(n_q)


@pytest.mark.parametrize(
    ("changes", "message"),
    [
        ({"dim": 0}, "dim is 0"),
        ({"num_groups": 3}, "8 channels do not divide into 3 groups"),
        ({"codebook_dim": 9, "num_groups": 2}, "9 channels do not divide into 2"),
        ({"masked_layers": 2}, "masked_layers is 2, expected 0 to num_layers"),
        ({"masked_layers": 2, "num_layers": 2, "num_groups": 2}, "masks are for one group"),
        ({"min_layers": 2}, "min_layers is 2"),
        ({"decay": 1.5}, "decay is 1.5, expected 0 to 1"),
        ({"dropout": -0.1}, "dropout is -0.1"),
        ({"epsilon": 0.0}, "epsilon is 0.0"),
        ({"learning": "adam"}, "learning is 'adam', expected one of ema, gradient"),
        ({"gradient": "none"}, "gradient is 'none'"),
        ({"init": "zeros"}, "init is 'zeros', expected one of kmeans, uniform"),
    ],
)
def test_settings_that_do_not_fit_are_refused(changes: dict[str, Any], message: str) -> None:
    with pytest.raises(ValueError, match=message):
        QuantizerConfig(**{"dim": 8, **changes})
