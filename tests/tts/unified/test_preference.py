"""Preferring answers: only their ids count, and the losses are those of the papers."""

import math
from dataclasses import replace

import pytest
import torch
from small_unified import frames, unified

from echoic.tts.unified.config import LoraSettings
from echoic.tts.unified.files import Unified
from echoic.tts.unified.sequences import NONE, Segment
from echoic.tts.unified.training.example_file import Pair
from echoic.tts.unified.training.loss import document_log_probs, token_losses
from echoic.tts.unified.training.preference import (
    LogProbs,
    PreferenceConfig,
    preference_losses,
)
from echoic.tts.unified.training.preference_data import PreferenceBatch, collate_pairs
from echoic.tts.unified.training.reference import Reference


def said(count: int, seed: int) -> list[Segment]:
    return [Segment(frames(count, seed), True)]


PAIRS = [
    Pair([Segment("one")], said(3, 0), said(7, 1)),
    Pair([Segment("a longer text"), Segment("so", True), Segment("on")], said(5, 2), said(2, 3)),
]


def by_loop(made: Unified, pair: Pair, *, wrong: bool = False, mean: bool = False) -> list[float]:
    """Log-probabilities of both answers, id by id; `wrong` takes all ids but theirs."""
    found = []
    for answer in (pair.chosen, pair.rejected):
        document = made.sequencer.document([*pair.given, *answer])
        last = int(document.answers.max())
        with torch.no_grad():
            scores = made.model.scores(made.model.states(document.ids[None]))[0]
        terms = []
        for place in range(1, len(document.ids)):
            counts = int(document.answers[place]) == last
            if counts != wrong:
                row = scores[place - 1].double()
                terms.append(float(row[document.ids[place]] - row.logsumexp(0)))
        found.append(sum(terms) / (len(terms) if mean else 1))
    return found


def log_probs(made: Unified, batch: PreferenceBatch, *, mean: bool = False) -> LogProbs:
    found = token_losses(made.model, batch.pack)
    both = document_log_probs(found, 2 * batch.pairs, average=mean)
    return LogProbs(both[0::2], both[1::2])


@pytest.mark.parametrize("mean", [False, True])
def test_only_the_ids_of_the_answers_count(mean: bool) -> None:
    made = unified()
    batch = collate_pairs(PAIRS, made.sequencer)
    with torch.no_grad():
        found = log_probs(made, batch, mean=mean)
    for number, pair in enumerate(PAIRS):
        chosen, rejected = by_loop(made, pair, mean=mean)
        assert float(found.chosen[number]) == pytest.approx(chosen, rel=1e-4)
        assert float(found.rejected[number]) == pytest.approx(rejected, rel=1e-4)
        inverted = by_loop(made, pair, wrong=True, mean=mean)
        assert abs(inverted[0] - chosen) > 0.1
    # Neither does what fills the rows: alone the first pair is the same.
    alone = log_probs(made, collate_pairs(PAIRS[:1], made.sequencer), mean=mean)
    torch.testing.assert_close(alone.chosen[0], found.chosen[0], atol=1e-4, rtol=1e-4)
    # A mask turned round would go unseen in a loss of two numbers, but not here.
    counts = batch.pack.weights > 0
    inside = (batch.pack.documents != NONE) & ~counts
    turned = batch._replace(pack=batch.pack._replace(weights=inside.float()))
    assert float((log_probs(made, turned, mean=mean).chosen - found.chosen).abs().min()) > 0.1


def test_the_gradient_moves_the_answers_apart() -> None:
    made, start = unified(), unified()
    batch = collate_pairs(PAIRS, made.sequencer)
    with torch.no_grad():
        known = log_probs(start, batch)
    losses = preference_losses(log_probs(made, batch), known, PreferenceConfig())
    assert float(losses.total) == pytest.approx(math.log(2), rel=1e-5)
    assert float(losses.margin) == pytest.approx(0, abs=1e-3)
    losses.total.backward()
    with torch.no_grad():
        for weight in made.model.parameters():
            if weight.grad is not None:
                weight -= 1e-4 * weight.grad
        after = preference_losses(log_probs(made, batch), known, PreferenceConfig())
    assert float(after.margin) > 0
    assert float(after.accuracy) == 1
    assert float(after.chosen) > float(after.rejected)


POLICY = LogProbs(torch.tensor([-10.0, -30.0]), torch.tensor([-12.0, -20.0]))
BEFORE = LogProbs(torch.tensor([-11.0, -25.0]), torch.tensor([-10.0, -21.0]))


def test_the_losses_by_their_formulas() -> None:
    def of(config: PreferenceConfig) -> float:
        return float(preference_losses(POLICY, BEFORE, config).total)

    def minus_log_sigmoid(x: float) -> float:
        return math.log1p(math.exp(-x))

    # r_w = 1, -5; r_l = -2, 1
    plain = PreferenceConfig("dpo", 0.2)
    assert of(plain) == pytest.approx((minus_log_sigmoid(0.6) + minus_log_sigmoid(-1.2)) / 2)
    hinge = replace(plain, positive=2.0)  # 10 for the second pair
    assert of(hinge) == pytest.approx((minus_log_sigmoid(0.6) + minus_log_sigmoid(-3.2)) / 2)
    ipo = PreferenceConfig("ipo", 0.25)
    assert of(ipo) == pytest.approx(((3 - 2) ** 2 + (-6 - 2) ** 2) / 2)
    assert of(replace(ipo, positive=2.0)) == pytest.approx((1 + 64 + 10) / 2)
    told = preference_losses(POLICY, BEFORE, plain)
    assert [float(x) for x in told[1:]] == pytest.approx([-1.5, 0.5, -2.0, -0.5])


def test_the_hinge_turns_when_the_chosen_answer_falls() -> None:
    def slope(chosen: float, config: PreferenceConfig) -> float:
        policy = torch.tensor([chosen], requires_grad=True)
        zero = torch.zeros(1)
        loss = preference_losses(
            LogProbs(policy, torch.full((1,), -40.0)), LogProbs(zero, zero), config
        ).total
        loss.backward()
        assert policy.grad is not None
        return float(policy.grad)

    for objective in ("dpo", "ipo"):
        plain = PreferenceConfig(objective, 0.1)  # pyright: ignore[reportArgumentType]
        hinge = replace(plain, positive=5.0)
        assert slope(-1.0, hinge) < slope(-1.0, plain)  # pulled up more
        assert slope(1.0, hinge) == slope(1.0, plain)


@pytest.mark.parametrize("lora", [LoraSettings(2), None])
def test_the_reference_stays_what_the_model_was(lora: LoraSettings | None) -> None:
    made = unified(lora=lora, tied=False)
    if lora is not None:  # fresh adapters change nothing
        with torch.no_grad():
            for name, weight in made.model.named_parameters():
                if "lora_B" in name:
                    weight.zero_()
    batch = collate_pairs(PAIRS, made.sequencer)
    before = log_probs(made, batch)
    reference = Reference(made.model)
    learns = {n: p for n, p in made.model.named_parameters() if p.requires_grad}
    with torch.no_grad():
        for weight in learns.values():
            weight += 0.1 * torch.randn(weight.shape, generator=torch.Generator().manual_seed(1))
    after = log_probs(made, batch)
    assert float((after.chosen - before.chosen).abs().max()) > 0.1
    made.model.train()
    with torch.no_grad(), reference.of(made.model) as model:
        known = log_probs(made._replace(model=model), batch)
    torch.testing.assert_close(known.chosen, before.chosen, atol=1e-4, rtol=1e-4)
    torch.testing.assert_close(known.rejected, before.rejected, atol=1e-4, rtol=1e-4)
    assert made.model.training
    assert {n for n, p in made.model.named_parameters() if p.requires_grad} == set(learns)
    torch.testing.assert_close(log_probs(made, batch).chosen, after.chosen)
    assert not any(p.requires_grad for p in reference.parameters())


def test_what_cannot_be_compared() -> None:
    made = unified()
    with pytest.raises(ValueError, match="objective is 'ppo'"):
        PreferenceConfig("ppo")  # pyright: ignore[reportArgumentType]
    with pytest.raises(ValueError, match=r"beta 0, positive 0\.0"):
        PreferenceConfig(beta=0)
    ends = Pair([Segment("a"), Segment("b", True)], said(2, 0), said(2, 1))
    with pytest.raises(ValueError, match="ends with an answer"):
        collate_pairs([ends], made.sequencer)
