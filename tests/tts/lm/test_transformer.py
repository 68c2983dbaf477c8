"""Our transformer is Llama, Qwen2 and Qwen3; in pieces and in batches it is what it is in one."""

from typing import Any

import pytest
import torch
from torch import Tensor
from transformers import AutoConfig, AutoModel

from echoic.tts.lm import RopeConfig, TransformerConfig
from echoic.tts.lm.cache import JoinedCache
from echoic.tts.lm.transformer import Transformer

SIZES: dict[str, Any] = {
    "hidden_size": 24,
    "intermediate_size": 40,
    "num_hidden_layers": 2,
    "num_attention_heads": 4,
    "num_key_value_heads": 2,
    "head_dim": 8,
    "vocab_size": 30,
    "max_position_embeddings": 512,
}
LLAMA3 = {
    "rope_type": "llama3",
    "rope_theta": 500_000.0,
    "factor": 8.0,
    "low_freq_factor": 1.0,
    "high_freq_factor": 4.0,
    "original_max_position_embeddings": 64,
}
SHAPES = {
    "llama": {"model_type": "llama"},
    "llama3": {"model_type": "llama", "rope_parameters": LLAMA3},
    "qwen2": {"model_type": "qwen2", "head_dim": 6},
    "qwen3": {"model_type": "qwen3", "num_key_value_heads": 4},
    "qwen3-long": {
        "model_type": "qwen3",
        "rope_parameters": {"rope_type": "linear", "rope_theta": 1e6, "factor": 4.0},
    },
}


def theirs(name: str) -> Any:
    fields = SIZES | SHAPES[name]
    torch.manual_seed(0)
    config = AutoConfig.for_model(fields["model_type"], **{k: v for k, v in fields.items()
                                                           if k != "model_type"})  # fmt: skip
    model = AutoModel.from_config(config, attn_implementation="eager").eval()
    with torch.no_grad():
        for weight in model.parameters():
            weight.add_(0.2 * torch.randn_like(weight))
    return model


def ours(model: Any) -> Transformer:
    made = Transformer(TransformerConfig.from_hf(model.config.to_dict())).eval()
    state = {k: v for k, v in model.state_dict().items() if not k.startswith("embed_tokens")}
    assert set(state) == set(made.state_dict())
    made.load_state_dict(state)
    return made


def vectors(rows: int, count: int, seed: int = 0) -> Tensor:
    return torch.randn(rows, count, 24, generator=torch.Generator().manual_seed(seed))


@pytest.mark.parametrize("name", list(SHAPES))
@torch.no_grad()
def test_it_is_theirs(name: str) -> None:
    model = theirs(name)
    x = vectors(2, 90)
    expected = model(inputs_embeds=x).last_hidden_state
    torch.testing.assert_close(ours(model)(x), expected, atol=2e-5, rtol=1e-4)


@pytest.mark.parametrize("name", list(SHAPES))
def test_settings_there_and_back(name: str) -> None:
    config = TransformerConfig.from_hf(theirs(name).config.to_dict())
    assert TransformerConfig.from_hf(config.to_hf()) == config


def transformer() -> Transformer:
    torch.manual_seed(1)
    made = Transformer(TransformerConfig(24, 40, 2, 4, 2)).eval()
    with torch.no_grad():
        for weight in made.parameters():
            weight.add_(0.3 * torch.randn_like(weight))
    return made


@pytest.mark.parametrize("cuts", [[1] * 30, [7, 1, 1, 21], [29, 1]])
@torch.no_grad()
def test_in_pieces_with_a_cache(cuts: list[int]) -> None:
    made, x = transformer(), vectors(2, 30)
    cache, found, start = made.new_cache(2), [], 0
    for size in cuts:
        found.append(made(x[:, start : start + size], cache=cache))
        start += size
    torch.testing.assert_close(torch.cat(found, 1), made(x), atol=1e-5, rtol=1e-4)


@torch.no_grad()
def test_a_cache_grows_beyond_its_first_room() -> None:
    made, x = transformer(), vectors(1, 600)
    cache = made.new_cache(1)
    found = [made(part, cache=cache) for part in x.split(150, dim=1)]
    torch.testing.assert_close(torch.cat(found, 1), made(x), atol=1e-5, rtol=1e-4)


@torch.no_grad()
def test_rows_of_different_lengths_do_not_know_each_other() -> None:
    made, x, lengths = transformer(), vectors(3, 12), [12, 3, 7]
    more = vectors(3, 4, seed=1)
    caches = [made.new_cache(1, room=4) for _ in lengths]
    first = torch.cat([x[row, :length] for row, length in enumerate(lengths)])
    read = made(first[None], cache=JoinedCache(caches, lengths))[0].split(lengths)
    together = [made(more[None, :, i], cache=JoinedCache(caches, [1, 1, 1]))[0] for i in range(4)]
    for row, length in enumerate(lengths):
        alone = made(torch.cat([x[row, :length], more[row]])[None])[0]
        found = torch.cat([read[row], *(states[row : row + 1] for states in together)])
        torch.testing.assert_close(found, alone, atol=1e-5, rtol=1e-4)


@torch.no_grad()
def test_a_mask_may_look_ahead_and_positions_may_start_anew() -> None:
    made, x = transformer(), vectors(1, 10)
    whole = torch.ones(1, 1, 10, 10, dtype=torch.bool)
    changed = x.clone()
    changed[:, -1] += 1
    assert not torch.allclose(made(x, mask=whole)[:, 0], made(changed, mask=whole)[:, 0])
    assert torch.equal(made(x)[:, :-1], made(changed)[:, :-1])
    moved = torch.arange(10)[None] + 1000
    torch.testing.assert_close(made(x, positions=moved), made(x), atol=1e-4, rtol=1e-4)
    again = torch.cat([torch.arange(5), torch.arange(5)])[None]
    assert not torch.allclose(made(x, positions=again), made(x), atol=1e-3)


def test_half_precision_norms_in_full() -> None:
    made = transformer()
    x = vectors(1, 20)
    short = made.bfloat16()(x.bfloat16())
    assert short.dtype == torch.bfloat16
    torch.testing.assert_close(short.float(), transformer()(x), atol=0.2, rtol=0.1)


@pytest.mark.parametrize(
    ("fields", "message"),
    [
        ({"model_type": "gpt2"}, "type 'gpt2' has another shape: expected llama, qwen2, qwen3"),
        ({"hidden_act": "gelu"}, "another feed-forward layer"),
        ({"use_sliding_window": True}, "sliding windows"),
        ({"rope_parameters": {"rope_type": "yarn"}}, "positions of kind 'yarn'"),
        ({"num_key_value_heads": 3}, "4 heads cannot share 3 keys evenly"),
    ],
)
def test_models_of_another_shape(fields: dict[str, Any], message: str) -> None:
    with pytest.raises(ValueError, match=message):
        TransformerConfig.from_hf(SIZES | {"model_type": "llama"} | fields)


def test_sizes_that_do_not_fit() -> None:
    with pytest.raises(ValueError, match="sizes must be positive"):
        TransformerConfig(dim=0)
    with pytest.raises(ValueError, match="does not divide by 7 heads"):
        TransformerConfig(24, heads=7, kv_heads=7)
    with pytest.raises(ValueError, match="no pairs to turn"):
        TransformerConfig(24, heads=8, kv_heads=8)
    with pytest.raises(ValueError, match="no family has both"):
        TransformerConfig(24, heads=4, kv_heads=4, qkv_bias=True).to_hf()
    assert TransformerConfig().rope == RopeConfig()
