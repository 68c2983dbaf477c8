from dataclasses import replace

import pytest
import torch
from torch import Tensor

from echoic.asr.whisper.cache import DecoderCache


def cache(windows: int = 3, group: int = 1, length: int = 4, *, bias: bool = True) -> DecoderCache:
    """Every number is its own; what was not written yet is NaN."""
    rows = windows * group
    own = torch.arange(2.0 * rows * 2 * 6 * 3).view(2, rows, 2, 6, 3)
    own[:, :, :, length:] = torch.nan
    sound = torch.arange(2.0 * windows * 2 * 5 * 3).view(2, windows, 2, 5, 3)
    counts = torch.arange(5.0 * windows).view(windows, 1, 1, 5) if bias else None
    return DecoderCache(own, own + 0.5, sound, sound + 0.5, counts, length)


def past(tensor: Tensor, length: int = 4) -> Tensor:
    return tensor[:, :, :, :length]


@pytest.mark.parametrize("group", [1, 2])
@pytest.mark.parametrize("bias", [True, False])
def test_keep_windows(group: int, bias: bool):
    old = cache(3, group, bias=bias)
    new = old.keep_windows(torch.tensor([2, 0]))
    rows = [2, 0] if group == 1 else [4, 5, 0, 1]
    assert (new.num_windows, new.group_size, new.length) == (2, group, 4)
    assert new.self_keys.shape == (2, 2 * group, 2, 6, 3)  # room to go on is kept
    assert torch.equal(past(new.self_keys), past(old.self_keys)[:, rows])
    assert torch.equal(past(new.self_values), past(old.self_values)[:, rows])
    assert torch.equal(new.cross_keys, old.cross_keys[:, [2, 0]])
    assert torch.equal(new.cross_values, old.cross_values[:, [2, 0]])
    if bias:
        assert new.cross_bias is not None
        assert old.cross_bias is not None
        assert torch.equal(new.cross_bias, old.cross_bias[[2, 0]])
    else:
        assert new.cross_bias is None


def test_the_kept_cache_shares_nothing_that_is_written():
    old = cache()
    before = old.self_keys.clone()
    new = old.keep_windows(torch.tensor([0, 1, 2]))
    new.self_keys.zero_()
    assert torch.equal(past(old.self_keys), past(before))


def test_reorder_rows():
    old = cache(2, 3)
    keys, values = past(old.self_keys).clone(), past(old.self_values).clone()
    rows = [1, 1, 0, 5, 3, 3]
    sound = old.cross_keys
    old.reorder_rows(torch.tensor(rows))
    assert torch.equal(past(old.self_keys), keys[:, rows])
    assert torch.equal(past(old.self_values), values[:, rows])
    assert old.cross_keys is sound


def test_repeat_windows():
    old = cache(2)
    new = old.repeat_windows(3)
    assert (new.num_windows, new.group_size, new.length) == (2, 3, 4)
    assert torch.equal(past(new.self_keys), past(old.self_keys)[:, [0, 0, 0, 1, 1, 1]])
    assert torch.equal(past(new.self_values), past(old.self_values)[:, [0, 0, 0, 1, 1, 1]])
    assert torch.equal(new.cross_keys, old.cross_keys)
    with pytest.raises(ValueError, match="the windows have 3 rows each already, expected 1"):
        new.repeat_windows(2)


def test_an_empty_past_can_be_repeated():
    new = replace(cache(), length=0).repeat_windows(2)
    assert (new.group_size, new.length) == (2, 0)
