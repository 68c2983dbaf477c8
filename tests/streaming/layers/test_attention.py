"""Streaming attention beside plain attention with a dense mask."""

import pytest
import torch
from torch import Tensor, nn
from torch.nn.attention import SDPBackend, sdpa_kernel
from torch.utils.flop_counter import FlopCounterMode

from echoic.streaming import state as states
from echoic.streaming.layers.attention import StreamingAttention
from echoic.streaming.layers.masks import block_causal_mask
from echoic.streaming.layers.rotary import rotate
from echoic.streaming.module import run_streamed


def signal(frames: int, seed: int = 0, batch: int = 2) -> Tensor:
    return torch.randn(batch, frames, 16, generator=torch.Generator().manual_seed(seed))


@pytest.mark.parametrize("block", [1, 3, 8])
@pytest.mark.parametrize("left", [None, 0, 1, 5, 200])
def test_equals_plain_attention_with_a_mask(left: int | None, block: int) -> None:
    plain = nn.MultiheadAttention(16, 4, batch_first=True)
    nn.init.normal_(plain.in_proj_bias)
    layer = StreamingAttention.from_plain(plain, left_context=left, block_size=block)
    for frames in (1, 10, 300):  # more than a tile
        x = signal(frames)
        mask = block_causal_mask(frames, block, left_context=left)
        expected, _ = plain(x, x, x, attn_mask=~mask, need_weights=False)
        torch.testing.assert_close(layer(x), expected, rtol=0, atol=1e-6)
        streamed = run_streamed(layer, x, [1, 0, 2, block, 50])
        torch.testing.assert_close(streamed, expected, rtol=0, atol=1e-6)


def test_equals_mimis_attention() -> None:
    pytest.importorskip("transformers")
    from transformers import MimiConfig
    from transformers.models.mimi.modeling_mimi import MimiAttention, MimiRotaryEmbedding

    config = MimiConfig(
        hidden_size=16, num_attention_heads=4, num_key_value_heads=4, head_dim=4, sliding_window=6
    )
    config._attn_implementation = "eager"
    theirs = MimiAttention(config, 0)
    ours = StreamingAttention(16, 4, left_context=5, rotary_base=10_000.0, bias=False)
    weights = theirs.state_dict()
    weights["out_proj.weight"] = weights.pop("o_proj.weight")
    ours.load_state_dict(weights)
    x = signal(40)
    positions = MimiRotaryEmbedding(config)(x, torch.arange(40)[None])
    hidden = ~block_causal_mask(40, 1, left_context=5)
    mask = torch.zeros(40, 40).masked_fill(hidden, -torch.inf)[None, None]
    expected, _ = theirs(x, attention_mask=mask, position_embeddings=positions)
    torch.testing.assert_close(ours(x), expected, rtol=0, atol=1e-6)
    torch.testing.assert_close(run_streamed(ours, x, [3] * 14), expected, rtol=0, atol=1e-6)


def test_rotated_products_depend_on_distances_after_hours_too() -> None:
    generator = torch.Generator().manual_seed(0)
    q, k = torch.randn(2, 1, 2, 1, 8, generator=generator)

    def score(query: int, key: int) -> Tensor:
        turned = [rotate(t, torch.tensor([[p]]), 1e4) for t, p in ((q, query), (k, key))]
        return (turned[0] * turned[1]).sum()

    assert not torch.isclose(score(7, 0), score(3, 0))
    for hours in (1, 100):
        late = hours * 3600 * 50
        torch.testing.assert_close(score(late + 7, late), score(7, 0), rtol=0, atol=1e-5)


def test_streams_of_any_age_share_a_batch() -> None:
    layer = StreamingAttention(16, 4, left_context=7, block_size=2, rotary_base=100.0)
    ages, x = (0, 2, 30), signal(10, seed=9, batch=3)
    rows, expected = [], []
    for row, age in enumerate(ages):
        past = signal(age, seed=age, batch=1)
        rows.append(layer.step(layer.initial_state(1), past)[0])
        expected.append(layer(torch.cat([past, x[row : row + 1]], dim=1))[:, age:])
    together = states.stack(rows)
    assert together.position.tolist() == list(ages)
    together, first = layer.step(together, x[:, :5])
    _, second = layer.step(together, x[:, 5:])
    torch.testing.assert_close(torch.cat([first, second], dim=1), torch.cat(expected))


def test_rows_are_reset_beside_others() -> None:
    layer = StreamingAttention(16, 4, left_context=7, block_size=2)
    running, _ = layer.step(layer.initial_state(2), signal(20))
    mixed = states.where(torch.tensor([True, False]), layer.initial_state(2), running)
    x = signal(6, seed=1)
    _, y = layer.step(mixed, x)
    torch.testing.assert_close(y[:1], layer(x)[:1])
    torch.testing.assert_close(y[1:], layer.step(running, x)[1][1:])


def flops(layer: StreamingAttention, x: Tensor) -> int:
    with sdpa_kernel(SDPBackend.MATH), FlopCounterMode(display=False) as counter:
        layer.step(layer.initial_state(2), x)
    return counter.get_total_flops()


def test_the_cost_of_a_step_grows_with_its_frames_and_not_their_square() -> None:
    bounded = StreamingAttention(16, 4, left_context=50, block_size=4)
    assert flops(bounded, signal(1000)) <= 2.05 * flops(bounded, signal(500))
    unbounded = StreamingAttention(16, 4, block_size=4)
    assert flops(unbounded, signal(1000)) > 3 * flops(unbounded, signal(500))


def test_an_unbounded_past_keeps_every_frame_and_no_more() -> None:
    layer = StreamingAttention(16, 4, block_size=4)
    state, _ = layer.step(layer.initial_state(2), signal(30))
    assert state.past.length == 28
    assert states.num_bytes(state) == 4 * 2 * 16 * (2 * 28 + 2) + 2 * 8


def test_training_on_chunks_gives_the_gradients_of_the_whole() -> None:
    layer = StreamingAttention(16, 4, left_context=6, block_size=3, rotary_base=100.0)
    x = signal(40)
    whole = torch.autograd.grad(layer(x).square().sum(), list(layer.parameters()))
    streamed = run_streamed(layer, x, [4, 5, 1, 20]).square().sum()
    found = torch.autograd.grad(streamed, list(layer.parameters()))
    for a, b in zip(found, whole, strict=True):
        torch.testing.assert_close(a, b, rtol=1e-4, atol=1e-4)


@pytest.mark.parametrize(
    ("options", "message"),
    [
        ({"num_heads": 3}, "3 heads of a width of 16"),
        ({"num_heads": 16, "rotary_base": 10.0}, "an even one for rotary"),
        ({"num_heads": 4, "block_size": 0}, "block_size is 0"),
        ({"num_heads": 4, "left_context": -1}, "left_context -1"),
    ],
)
def test_sizes_that_do_not_fit_are_refused(options: dict, message: str) -> None:
    with pytest.raises(ValueError, match=message):
        StreamingAttention(16, **options)


def test_other_kinds_of_attention_are_refused() -> None:
    with pytest.raises(ValueError, match="expected plain self-attention"):
        StreamingAttention.from_plain(nn.MultiheadAttention(16, 4, kdim=8))
    with pytest.raises(ValueError, match="expected plain self-attention"):
        StreamingAttention.from_plain(nn.MultiheadAttention(16, 4, add_bias_kv=True))
    with pytest.raises(ValueError, match=r"expected \(batch, frames, 16\)"):
        StreamingAttention(16, 4)(torch.zeros(2, 16, 9))
