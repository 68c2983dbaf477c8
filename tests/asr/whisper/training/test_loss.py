"""The loss of a step against sums done by hand."""

import math

import pytest
import torch
from torch import Tensor
from torch.nn import functional

from echoic.asr.whisper.training.loss import StepLoss, step_loss
from echoic.asr.whisper.training.plan import IGNORED, PlanBatch

END, VOCABULARY = 4, 5
# Two windows; the second one has a place less.
TARGETS = torch.tensor([[IGNORED, 1, 2, END], [0, END, IGNORED, IGNORED]])
LABELS = torch.tensor([[-1, 0, 1, -1], [0, -1, -1, -1]])
TEACHER_IDS = torch.tensor([[[1, 3], [0, 2]], [[2, 3], [0, 0]]])
TEACHER_PROBS = torch.tensor([[[0.5, 0.25], [0.4, 0.4]], [[0.0, 0.0], [0.0, 0.0]]])


def logits(seed: int = 0) -> Tensor:
    """Scores of the five places that are asked."""
    return torch.randn(5, VOCABULARY, generator=torch.Generator().manual_seed(seed))


def loss_of(scores: Tensor, distillation: float) -> StepLoss:
    unused = torch.zeros_like(TARGETS)
    plan = PlanBatch(unused, unused, unused, TARGETS, LABELS, unused[:, :, None].bool())
    return step_loss(scores, plan, TEACHER_IDS, TEACHER_PROBS, end=END, distillation=distillation)


def test_without_distillation_it_is_plain_cross_entropy() -> None:
    scores = logits()
    expected = functional.cross_entropy(scores, torch.tensor([1, 2, END, 0, END]))
    found = loss_of(scores, 0.0)
    torch.testing.assert_close(found.total, expected)
    torch.testing.assert_close(found.text * 3 / 5 + found.wait * 2 / 5, expected)


def test_a_share_of_the_target_is_the_teachers() -> None:
    logprobs = logits().log_softmax(-1).tolist()
    # The third text token has no word of a teacher, and "wait" never has.
    soft = [
        -(0.5 * logprobs[0][1] + 0.25 * logprobs[0][3]) / 0.75,
        -(0.4 * logprobs[1][0] + 0.4 * logprobs[1][2]) / 0.8,
    ]
    hard = [-logprobs[0][1], -logprobs[1][2], -logprobs[2][END], -logprobs[3][0], -logprobs[4][END]]
    text = [0.7 * hard[0] + 0.3 * soft[0], 0.7 * hard[1] + 0.3 * soft[1]]
    expected = sum([*text, *hard[2:]]) / 5
    assert float(loss_of(logits(), 0.3).total) == pytest.approx(expected, rel=1e-5)


def test_what_is_logged_beside_the_loss() -> None:
    scores = torch.full((5, VOCABULARY), -10.0)
    # Right, then waits too early, waits, says a word in the place of another, and fails to wait.
    for place, said in enumerate((1, END, END, 3, 2)):
        scores[place, said] = 10.0
    found = loss_of(scores, 0.5)
    assert float(found.text_accuracy) == pytest.approx(1 / 3)
    assert float(found.wait_recall) == pytest.approx(1 / 2)
    assert float(found.wait_precision) == pytest.approx(1 / 2)


def test_the_gradient_is_that_of_the_total_alone() -> None:
    scores = logits().requires_grad_()
    found = loss_of(scores, 0.3)
    found.total.backward()
    assert scores.grad is not None
    assert float(scores.grad.abs().sum()) > 0
    rest = (found.text, found.wait, found.text_accuracy, found.wait_recall, found.wait_precision)
    assert not any(value.requires_grad for value in rest)


def test_what_is_certain_and_right_costs_nothing() -> None:
    scores = torch.full((5, VOCABULARY), -200.0)
    for place, target in enumerate((1, 2, END, 0, END)):
        scores[place, target] = 200.0
    assert float(loss_of(scores, 0.0).total) == pytest.approx(0.0, abs=1e-6)
    assert math.isfinite(float(loss_of(scores, 1.0).total))
