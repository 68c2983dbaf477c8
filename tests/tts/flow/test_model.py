"""The flow's network is Qwen2 with another mask, and hears what it is told, no more."""

from typing import Any

import pytest
import torch
from small_flow import BACKBONE, FORM, codes, flow_config, flow_model
from transformers import AutoConfig, AutoModel

from echoic.tts.flow import FlowModel
from echoic.tts.flow.model import Conditions
from echoic.tts.flow.solver import moments, noise, warp


def given(rows: int, count: int, seed: int = 0, speaker_dim: int = 0) -> Conditions:
    generator = torch.Generator().manual_seed(seed)
    sizes = ((rows, count, 8), (rows, count, 6), (rows, speaker_dim))
    return Conditions(*(torch.randn(size, generator=generator) for size in sizes))


@torch.no_grad()
def test_the_backbone_is_qwen2_that_sees_all() -> None:
    fields: dict[str, Any] = BACKBONE.to_hf() | {"vocab_size": 4}
    kind = fields.pop("model_type")
    assert kind == "qwen2"
    torch.manual_seed(0)
    config = AutoConfig.for_model(kind, **fields)
    theirs = AutoModel.from_config(config, attn_implementation="eager").eval()
    ours = FlowModel(flow_config()).eval().backbone
    state = {k: v for k, v in theirs.state_dict().items() if not k.startswith("embed_tokens")}
    ours.load_state_dict(state)
    x = torch.randn(2, 40, BACKBONE.dim)
    # Theirs adds a mask of four dimensions to the scores as it is.
    expected = theirs(inputs_embeds=x, attention_mask=torch.zeros(2, 1, 40, 40))
    found = ours(x, mask=torch.ones(2, 1, 40, 40, dtype=torch.bool))
    torch.testing.assert_close(found, expected.last_hidden_state, atol=2e-5, rtol=1e-4)


@torch.no_grad()
def test_velocities_depend_on_everything() -> None:
    model = flow_model(speaker_dim=3)
    base = given(1, 5, speaker_dim=3)
    other = given(1, 5, seed=1, speaker_dim=3)
    x, time = torch.randn(1, 5, 6), torch.tensor([0.3])
    mask = torch.ones(1, 1, 5, 5, dtype=torch.bool)
    expected = model(x, time, base, mask=mask)
    for name in Conditions._fields:
        changed = base._replace(**{name: getattr(other, name)})
        assert not torch.allclose(model(x, time, changed, mask=mask), expected, atol=1e-3), name
    assert not torch.allclose(model(x, time + 0.4, base, mask=mask), expected, atol=1e-3)
    assert not torch.allclose(model(x + 1, time, base, mask=mask), expected, atol=1e-3)


@torch.no_grad()
def test_codes_are_heard_so_far_ahead() -> None:
    model, own = flow_model(lookahead=2), codes(9)
    expected = model.codes(own)
    assert expected.shape == (1, 18, 8)
    assert not torch.equal(expected[:, 0], expected[:, 1])  # which of a frame's spectra it is
    other = own.clone()
    other[0, 1, 6] = (other[0, 1, 6] + 1) % FORM.codebook_size
    changed = (model.codes(other) != expected).any(-1)[0]
    assert changed.nonzero()[:, 0].tolist() == list(range(8, 18))
    more = torch.cat([own, codes(9, seed=1)], dim=1)
    assert torch.equal(model.codes(more), expected), "books beyond the model's are passed over"
    keep = torch.arange(9)[None] < 7
    torch.testing.assert_close(model.codes(own, keep)[:, :14], model.codes(own[..., :7]))


def test_rows_without_conditions() -> None:
    both = given(2, 4, speaker_dim=3)
    kept = both.where(torch.tensor([True, False]))
    for ours, theirs in zip(kept, both, strict=True):
        assert torch.equal(ours[0], theirs[0])
        assert not ours[1].any()
    doubled = both.with_none()
    for ours, theirs in zip(doubled, both, strict=True):
        assert torch.equal(ours[::2], theirs)
        assert not ours[1::2].any()


def test_codes_that_no_book_has() -> None:
    model = flow_model()
    with pytest.raises(ValueError, match="codes from 12 to 12, expected 0 to 11"):
        model.codes(torch.full((1, 2, 1), 12))
    with pytest.raises(ValueError, match="codes from -12 to"):
        model.codes(codes(3) - 12)
    with pytest.raises(ValueError, match=r"shape \(1, 1, 3\), expected \(B, 2, F\)"):
        model.codes(codes(3)[:, :1])


def test_noise_is_a_function_of_seed_and_number() -> None:
    whole = noise(3, 0, 300, 6)
    for start, count in ((0, 1), (63, 2), (64, 64), (100, 200), (299, 1)):
        assert torch.equal(noise(3, start, count, 6), whole[start : start + count])
    assert not torch.equal(noise(4, 0, 300, 6), whole)
    assert noise(3, 7, 0, 6).shape == (0, 6)
    assert abs(float(whole.mean())) < 0.1
    assert abs(float(whole.std()) - 1) < 0.1
    assert len({tuple(row.tolist()) for row in whole}) == 300


def test_moments_lie_closer_together_near_the_noise() -> None:
    found = torch.tensor(moments(5))
    assert found[0] == 0
    torch.testing.assert_close(found[-1], torch.tensor(1.0))
    steps = found.diff()
    assert bool((steps.diff() > 0).all())
    torch.testing.assert_close(warp(torch.tensor([0.5])), torch.tensor([1 - 0.5**0.5]))
