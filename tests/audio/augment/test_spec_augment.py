import pytest
import torch

from echoic.audio.augment import SpecAugment, generator_for


def features(batch: int = 3, frames: int = 200, channels: int = 80) -> torch.Tensor:
    generator = torch.Generator().manual_seed(0)
    return torch.randn(batch, frames, channels, generator=generator) + 5


def hidden(before: torch.Tensor, after: torch.Tensor) -> torch.Tensor:
    return before != after


def test_strips_are_whole_and_within_their_widths() -> None:
    config = SpecAugment(freq_masks=1, freq_width=10, time_masks=1, time_width=30, time_share=1)
    widths = []
    for seed in range(40):
        x = features(1)
        changed = hidden(x, config(x, generator_for(seed, "spec")))[0]
        times, channels = changed.all(dim=1), changed.all(dim=0)
        assert torch.equal(changed, times[:, None] | channels[None, :])
        for strip, most in ((times, 30), (channels, 10)):
            at = strip.nonzero()[:, 0]
            assert len(at) <= most
            assert len(at) == 0 or int(at[-1] - at[0]) + 1 == len(at)
        widths.append((int(times.sum()), int(channels.sum())))
    assert max(w for w, _ in widths) > 20
    assert max(w for _, w in widths) > 7


def test_hidden_values_are_the_mean_of_the_row() -> None:
    x, lengths = features(), torch.tensor([200, 120, 60])
    y = SpecAugment(time_width=50, time_share=0.5)(x, generator_for(2, "spec"), lengths)
    for row, length in enumerate(lengths.tolist()):
        changed = hidden(x[row], y[row])
        assert bool(changed[:length].any())
        assert not bool(changed[length:].any()), "padding must stay as it is"
        mean = x[row, :length].mean()
        torch.testing.assert_close(y[row][changed], mean.expand(int(changed.sum())))


def test_rows_do_not_share_their_strips_and_the_seed_decides() -> None:
    x = features(1).expand(4, -1, -1)
    y = SpecAugment()(x, generator_for(0, "spec"))
    assert all(not torch.equal(y[0], y[row]) for row in (1, 2, 3))
    assert torch.equal(y, SpecAugment()(x, generator_for(0, "spec")))
    assert not torch.equal(y, SpecAugment()(x, generator_for(1, "spec")))


def test_short_utterances_lose_a_share_only() -> None:
    config = SpecAugment(freq_masks=0, time_masks=1, time_width=100, time_share=0.1)
    x = features(64, 50)
    lost = hidden(x, config(x, generator_for(0, "spec"))).any(dim=2).sum(dim=1)
    assert int(lost.max()) == 5


def test_probability_and_zero_widths() -> None:
    x = features(400, 30, 8)
    y = SpecAugment(freq_width=8, probability=0.25)(x, generator_for(0, "spec"))
    touched = int(hidden(x, y).flatten(1).any(dim=1).sum())
    assert 40 < touched < 130
    none = SpecAugment(freq_masks=0, time_masks=0)(x, generator_for(0, "spec"))
    assert torch.equal(none, x)


def test_half_precision_stays() -> None:
    x = features().to(torch.bfloat16)
    y = SpecAugment()(x, generator_for(0, "spec"))
    assert (y.dtype, y.shape) == (torch.bfloat16, x.shape)
    with pytest.raises(ValueError, match="time_share is 2"):
        SpecAugment(time_share=2)


def test_strips_of_frequency_are_in_every_stacked_frame() -> None:
    config = SpecAugment(freq_masks=1, freq_width=20, time_masks=0, stacked=7)
    widths = set()
    for seed in range(20):
        x = features(2, 30, 560)
        changed = hidden(x, config(x, generator_for(seed, "spec"), torch.tensor([30, 10])))
        assert not changed[1, 10:].any()
        bands = changed[:, 0].view(2, 7, 80)
        assert torch.equal(bands, bands[:, :1].expand(-1, 7, -1))
        widths |= set(bands[:, 0].sum(1).tolist())
    assert max(widths) > 12
    with pytest.raises(ValueError, match="560 channels are no 3 stacked frames"):
        SpecAugment(stacked=3)(features(1, 5, 560), generator_for(0, "spec"))
    with pytest.raises(ValueError, match="stacked is 0"):
        SpecAugment(stacked=0)
