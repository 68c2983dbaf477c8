"""What a flow learns from: nothing of padding, nothing of what is known, and enough to speak."""

from dataclasses import replace
from typing import Any

import pytest
import torch
from small_flow import codes, flow_config, flow_model

from echoic.audio.augment import generator_for
from echoic.tts.flow import FlowModel, SolverConfig
from echoic.tts.flow.coder import Coded
from echoic.tts.flow.model import Conditions
from echoic.tts.flow.solver import generate
from echoic.tts.flow.training.loss import FlowLoss, FlowLossConfig, flow_loss
from echoic.tts.lm.config import TransformerConfig


def utterances(*lengths: int, seed: int = 0) -> Coded:
    frames = max(lengths)
    generator = torch.Generator().manual_seed(seed)
    mels = torch.randn(len(lengths), 2 * frames, 6, generator=generator)
    return Coded(codes(frames, rows=len(lengths), seed=seed), mels, torch.tensor(lengths))


def loss(model: FlowModel, coded: Coded, seed: int = 0, **changes: Any) -> FlowLoss:
    return flow_loss(model, coded, None, FlowLossConfig(**changes), generator_for(seed, "test"))


@pytest.mark.parametrize("seed", range(6))  # whole utterances and chunks among them
def test_padding_teaches_nothing(seed: int) -> None:
    model, coded = flow_model(), utterances(9, 5)
    expected = loss(model, coded, seed)
    assert not expected.weighed[1, 10:].any()
    mels, own = coded.mels.clone(), coded.codes.clone()
    mels[1, 10:] += 3
    own[1, :, 5:] = 0
    found = loss(model, coded._replace(mels=mels, codes=own), seed)
    assert torch.equal(found.weighed, expected.weighed)
    torch.testing.assert_close(found.total, expected.total, atol=1e-6, rtol=1e-6)
    mels[1, 9] += 3
    assert loss(model, coded._replace(mels=mels), seed).total > expected.total * 1.01


def alone() -> FlowModel:
    """A model whose frames do not see each other."""
    torch.manual_seed(0)
    return FlowModel(flow_config(lookahead=0, look_back=0, chunks=(1,), whole=0.0)).eval()


def test_what_is_known_teaches_nothing() -> None:
    model, coded, met = alone(), utterances(20), 0
    for seed in range(12):
        found = loss(model, coded, seed, prompted=1.0, dropout=0.0)
        known = int((~found.weighed).sum())
        assert known <= 0.3 * 40
        assert torch.equal(~found.weighed[0], torch.arange(40) < known), "it is the beginning"
        if known == 0 or known % 2:  # the two spectra of a frame see each other
            continue
        met += 1
        changed = coded.mels.clone()
        changed[:, :known] += 3
        again = loss(model, coded._replace(mels=changed), seed, prompted=1.0, dropout=0.0)
        torch.testing.assert_close(again.total, found.total, atol=1e-6, rtol=1e-6)
        changed[:, known] += 3
        other = loss(model, coded._replace(mels=changed), seed, prompted=1.0, dropout=0.0)
        assert other.total > found.total * 1.01
    assert met > 2
    assert bool(loss(model, coded, prompted=0.0).weighed.all())


def test_a_share_has_no_conditions_and_half_have_a_prompt() -> None:
    seen: list[Conditions] = []
    model, coded = alone(), utterances(*[10] * 40)
    hook = model.register_forward_pre_hook(lambda _, args: seen.append(args[2]))
    for seed in range(5):
        loss(model, coded, seed)
    hook.remove()
    without = torch.cat([~given.codes.flatten(1).any(1) for given in seen]).float().mean()
    prompted = torch.cat([given.prompt.flatten(1).any(1) for given in seen]).float().mean()
    assert 0.1 < float(without) < 0.3
    assert 0.25 < float(prompted) < 0.5


def test_both_kinds_of_masks_are_met() -> None:
    model, coded = flow_model(), utterances(9, 5)
    met = {loss(model, coded, seed).chunk for seed in range(30)}
    assert met == {None, 3, 5}


def test_the_loss_is_what_its_definition_says() -> None:
    """Without noise in what is drawn: a network that says 0 has the target's own square."""
    model, coded = alone(), utterances(200)
    with torch.no_grad():
        model.leave.weight.zero_()
        model.leave.bias.zero_()
        found = float(loss(model, coded, prompted=0.0).total)
    # Target and noise are independent, of variance 1 each.
    assert found == pytest.approx(2.0, rel=0.1)


def test_shares_that_are_none() -> None:
    with pytest.raises(ValueError, match=r"dropout is 1\.5, expected 0 to 1"):
        FlowLossConfig(dropout=1.5)


@pytest.fixture(scope="module")
def learned() -> tuple[FlowModel, Coded]:
    """A model that knows two utterances by heart."""
    torch.manual_seed(0)
    wide = TransformerConfig(32, 64, 2, 4, 2, qkv_bias=True, qk_norm=False)
    config = replace(flow_config(look_back=None), backbone=wide, condition_dim=16)
    model = FlowModel(config)
    time, band = torch.arange(40)[:, None] / 5, torch.arange(6)
    mels = torch.stack([(time + band).sin(), (1.7 * time - band).cos()])
    coded = Coded(codes(20, rows=2), mels, torch.tensor([20, 20]))
    many = Coded(*(part.repeat(4, *[1] * (part.dim() - 1)) for part in coded))
    optimizer = torch.optim.AdamW(model.parameters(), lr=5e-3, weight_decay=0.0)
    schedule = torch.optim.lr_scheduler.CosineAnnealingLR(optimizer, 300)
    for step in range(300):
        optimizer.zero_grad()
        loss(model, many, step).total.backward()
        optimizer.step()
        schedule.step()
    return model.eval(), coded


@pytest.mark.parametrize("chunk", [None, 3, 5])
@pytest.mark.parametrize("solver", [SolverConfig(1, 0.0), SolverConfig(2, 0.0), SolverConfig(5)])
def test_what_was_learned_comes_out_of_noise(
    learned: tuple[FlowModel, Coded], chunk: int | None, solver: SolverConfig
) -> None:
    model, coded = learned
    found = generate(model, coded.codes, solver, chunk=chunk)
    power = coded.mels.square().mean()
    assert float((found - coded.mels).square().mean() / power) < 0.1
    other = coded.mels.flip(0)
    assert float((found - other).square().mean() / power) > 0.5, "it is the codes that say so"
