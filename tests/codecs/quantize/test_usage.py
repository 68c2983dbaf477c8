"""Usage and perplexity of books."""

import pytest
import torch

from echoic.codecs.quantize.usage import count_codes, usage


def test_of_known_counts() -> None:
    codes = torch.tensor([[[0, 1, 2, 3], [1, 1, 1, 1]], [[0, 1, 2, 3], [1, 1, 1, 1]]])
    counts = count_codes(codes, 8)
    assert counts.tolist() == [[2, 2, 2, 2, 0, 0, 0, 0], [0, 8, 0, 0, 0, 0, 0, 0]]
    result = usage(counts)
    assert result.share.tolist() == [0.5, 0.125]
    assert result.perplexity.tolist() == pytest.approx([4.0, 1.0])


def test_of_nothing() -> None:
    result = usage(torch.zeros(2, 4))
    assert result.perplexity.tolist() == [0.0, 0.0]
