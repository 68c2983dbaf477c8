"""Sampler, losses, CTC alignments, PIF and MWER, each against something simple."""

import itertools
import math

import pytest
import torch
from torch import Tensor

from echoic.asr.paraformer.config import PredictorConfig
from echoic.asr.paraformer.ctc import aligned_runs, greedy_runs
from echoic.asr.paraformer.ctc_predictor import CtcPredictor
from echoic.asr.paraformer.losses import ctc_loss, placing_loss, quantity_loss, token_loss
from echoic.asr.paraformer.mwer import edit_distances, mwer_loss, sample_candidates
from echoic.asr.paraformer.pif_predictor import PifPredictor
from echoic.asr.paraformer.predictor import crossings
from echoic.asr.paraformer.sampler import glance


def seeded(seed: int) -> torch.Generator:
    return torch.Generator().manual_seed(seed)


def test_sampler_takes_its_share_evenly():
    labels = torch.arange(40).view(2, 20)
    guesses = labels.clone()
    guesses[0, :9] = -5
    guesses[1] = -5
    lengths = torch.tensor([20, 10])
    totals = torch.zeros(2, 20)
    for seed in range(400):
        chosen = glance(guesses, labels, lengths, 0.75, seeded(seed))
        assert chosen.sum(1).tolist() == [6, 7], "floor(9 * 0.75) and floor(10 * 0.75)"
        totals += chosen
    assert not totals[1, 10:].any()
    shares = torch.cat([totals[0] / (400 * 6 / 20), totals[1, :10] / (400 * 7 / 10)])
    assert shares.min() > 0.7, "also where the guess was right"
    assert shares.max() < 1.3
    assert not glance(labels, labels, lengths, 1.0).any()
    assert not glance(guesses, labels, lengths, 0.0).any()


@pytest.mark.parametrize("smoothing", [0.0, 0.1])
@pytest.mark.parametrize("per_token", [True, False])
def test_token_loss_is_a_divergence(smoothing: float, per_token: bool):
    logits = torch.randn(2, 4, 6, generator=seeded(0))
    labels, lengths = torch.tensor([[1, 2, 3, 4], [5, 3, -1, -1]]), torch.tensor([4, 2])
    total = 0.0
    for row, n in enumerate(lengths.tolist()):
        for at in range(n):
            target = torch.full((6,), smoothing / 5)
            target[labels[row, at]] = 1 - smoothing
            log_probs = logits[row, at].log_softmax(0)
            total += float(torch.nn.functional.kl_div(log_probs, target, reduction="sum"))
    found = token_loss(logits, labels, lengths, smoothing, per_token=per_token)
    assert float(found) == pytest.approx(total / (6 if per_token else 2), rel=1e-5)


def placed(weights: list[float], runs: list[int], tokens: int) -> float:
    """The errors of one utterance, by definition."""
    cuts = [0]
    for token in range(tokens - 1):
        before = [t + 1 for t, run in enumerate(runs) if 0 <= run <= token]
        after = [t for t, run in enumerate(runs) if run > token]
        cuts.append((max(before, default=0) + min(after, default=len(runs))) // 2)
    pieces = itertools.pairwise([*cuts, len(runs)])
    return sum(abs(sum(weights[a:b]) - 1) for a, b in pieces)


@pytest.mark.parametrize("end", [0, 1])
@pytest.mark.parametrize("per_token", [True, False])
def test_placing_loss_by_definition(end: int, per_token: bool):
    # Labels side by side, apart, without a frame in the middle and at the end, and none at all.
    runs = [[-1, 0, 0, -1, -1, 1, 2, -1, -1], [0, -1, -1, 2, 2, -1], [-1, -1, -1]]
    counts = [3 + end, 4 + end, end]
    weights = torch.rand(3, 9, generator=seeded(0))
    lengths = torch.tensor([len(row) for row in runs])
    weights = (weights * (torch.arange(9) < lengths[:, None])).requires_grad_()
    padded = torch.tensor([row + [-1] * (9 - len(row)) for row in runs])
    found = placing_loss(weights, padded, lengths, torch.tensor(counts), per_token=per_token)
    rows = zip(weights.tolist(), runs, counts, strict=True)
    total = sum(placed(row, run, count) for row, run, count in rows if count)
    assert float(found) == pytest.approx(total / (sum(counts) if per_token else 3), rel=1e-5)
    found.backward()
    assert weights.grad is not None
    assert bool(weights.grad[0].any())


def test_tokens_in_their_places_cost_nothing():
    runs = torch.tensor([[-1, 0, 0, -1, 1, -1, 2, 2]])
    weights = torch.tensor([[0.0, 0.5, 0.5, 0.0, 1.0, 0.0, 0.0, 1.0]])
    lengths, counts = torch.tensor([8]), torch.tensor([3])
    assert float(placing_loss(weights, runs, lengths, counts, per_token=True)) == 0
    early = torch.tensor([[0.0, 0.5, 1.5, 0.0, 0.0, 0.0, 0.0, 1.0]])
    # The sum is right and the second token is in the first one's place: two pieces are off by 1.
    assert float(placing_loss(early, runs, lengths, counts, per_token=False)) == 2
    assert float(quantity_loss(early.sum(1), counts, per_token=False)) == 0


def test_quantity_loss():
    found, right = torch.tensor([3.5, 7.0]), torch.tensor([4, 4])
    assert float(quantity_loss(found, right, per_token=True)) == pytest.approx(3.5 / 8)
    assert float(quantity_loss(found, right, per_token=False)) == pytest.approx(3.5 / 2)


def test_ctc_loss_passes_over_what_cannot_be():
    logits = torch.randn(2, 5, 6, generator=seeded(0), requires_grad=True)
    labels = torch.tensor([[1, 2, -1], [3, 3, 3]])
    found = ctc_loss(logits, torch.tensor([5, 4]), labels, torch.tensor([2, 3]))
    alone = ctc_loss(logits[:1], torch.tensor([5]), labels[:1], torch.tensor([2]))
    assert found.item() == pytest.approx(alone.item() / 2)
    found.backward()
    assert logits.grad is not None
    assert bool(torch.isfinite(logits.grad).all())


def test_greedy_runs():
    best = torch.tensor([[0, 3, 3, 0, 3, 4, 4, 0], [5, 5, 6, 5, 0, 0, 7, 7]])
    runs = greedy_runs(best, torch.tensor([8, 6]))
    assert runs.tolist() == [[-1, 0, 0, -1, 1, 2, 2, -1], [0, 0, 1, 2, -1, -1, -1, -1]]


@pytest.mark.parametrize("labels", [[2], [1, 2], [1, 1], [2, 1, 2]])
@pytest.mark.parametrize("frames", [3, 5])
def test_alignment_is_the_best_of_all_paths(labels: list[int], frames: int):
    scores = torch.randn(1, 6, 3, generator=seeded(len(labels) + frames)).log_softmax(-1)

    def written(path: tuple[int, ...]) -> list[int]:
        return [token for token, _ in itertools.groupby(path) if token]

    def score(path: tuple[int, ...]) -> float:
        return sum(float(scores[0, t, token]) for t, token in enumerate(path))

    paths = [p for p in itertools.product(range(3), repeat=frames) if written(p) == labels]
    best = torch.tensor([[*max(paths, key=score), 0, 0, 0]])[:, :6]
    expected = greedy_runs(best, torch.tensor([frames]))
    padded = torch.tensor([[*labels, -1]])
    found = aligned_runs(scores, torch.tensor([frames]), padded, torch.tensor([len(labels)]))
    assert found.tolist() == expected.tolist()


def test_ctc_predictor_averages_the_posteriors_of_runs():
    predictor = CtcPredictor(4, 5)
    hidden, lengths = torch.randn(1, 12, 4, generator=seeded(2)) * 3, torch.tensor([12])
    with torch.no_grad():
        found = predictor(hidden, lengths)
        probs = predictor.head(hidden).softmax(-1)[0]
    runs = greedy_runs(probs.argmax(-1)[None], lengths)[0]
    assert found.counts.tolist() == [int(runs.max()) + 1]
    for k in range(int(found.counts)):
        frames = (runs == k).nonzero()[:, 0]
        expected = predictor.embed(probs[frames].mean(0))
        assert torch.allclose(found.tokens[0, k], expected, atol=1e-5)
        assert found.starts[0, k] == frames[0]
        assert found.ends[0, k] == frames[-1] + 1


@torch.no_grad()
def test_pif_is_attention_to_the_running_sum():
    predictor = PifPredictor(8, PredictorConfig(kind="pif", heads=2))
    predictor.width.copy_(torch.tensor([0.5, 2.0]))
    predictor.centre.copy_(torch.tensor([0.0, 0.3]))
    hidden, lengths = torch.randn(1, 9, 8, generator=seeded(4)), torch.tensor([9])
    found = predictor(hidden, lengths)
    count = round(float(found.quantity))
    assert found.tokens.shape[1] == count > 1
    sums = (found.weights[0] * count / found.quantity).cumsum(0)
    for k, head in itertools.product(range(count), range(2)):
        distance = predictor.width[head] * (k + 0.5 - sums) + predictor.centre[head]
        part = hidden[0, :, 4 * head : 4 * head + 4]
        expected = (-(distance**2)).softmax(0) @ part
        assert torch.allclose(found.tokens[0, k, 4 * head : 4 * head + 4], expected, atol=1e-5)


def test_crossings_inside_frames():
    weights = torch.tensor([[0.5, 0.0, 1.0, 2.0, 0.0]])
    levels = torch.tensor([[0.25, 0.5, 1.0, 3.5, 4.0]])
    found = crossings(weights, levels)
    assert found[0].tolist() == pytest.approx([0.5, 1.0, 2.5, 4.0, 5.0])


def plain_distance(a: list[int], b: list[int]) -> int:
    row = list(range(len(b) + 1))
    for i, x in enumerate(a, 1):
        row = list(
            itertools.accumulate(
                range(len(b)),
                lambda left, j, row=row, x=x: min(left + 1, row[j + 1] + 1, row[j] + (x != b[j])),
                initial=i,
            )
        )
    return row[-1]


def test_edit_distances():
    texts = torch.randint(0, 4, (200, 7), generator=seeded(1))
    references = torch.randint(0, 4, (200, 5), generator=seeded(2))
    n = torch.randint(0, 8, (200,), generator=seeded(3))
    m = torch.randint(0, 6, (200,), generator=seeded(4))
    found = edit_distances(texts, n, references, m)
    for row in range(200):
        a, b = texts[row, : n[row]].tolist(), references[row, : m[row]].tolist()
        assert found[row] == plain_distance(a, b)


def test_candidates_are_the_best_and_others_near_it():
    logits = torch.randn(2, 6, 9, generator=seeded(1))
    counts = torch.tensor([6, 3])
    texts = sample_candidates(logits, counts, 50, 0.3, seeded(2))
    best = logits.argmax(-1)
    assert torch.equal(texts[0, 0], best[0])
    assert not texts[1, :, 3:].any()
    changed = (texts[0, 1:] != best[0]).float().mean()
    assert 0.2 < float(changed) < 0.4
    assert sample_candidates(logits, counts, 3, 0.0).eq(texts[:, :1]).all()


def mwer_of(logits: Tensor, labels: Tensor, **named: object) -> Tensor:
    counts = torch.full((len(logits),), logits.shape[1])
    return mwer_loss(logits, counts, labels, counts, **named)  # pyright: ignore[reportArgumentType]


def test_mwer_moves_probability_to_texts_with_fewer_errors():
    labels = torch.tensor([[1, 2, 3]])
    logits = torch.zeros(1, 3, 5)
    logits[0, [0, 1, 2], [1, 2, 4]] = 2.0  # the last one is heard wrongly
    logits.requires_grad_()
    loss = mwer_of(logits, labels, samples=64, rate=0.3, generator=seeded(0))
    loss.backward()
    assert logits.grad is not None
    step = -logits.grad[0]
    assert step[2, 3] > 0 > step[2, 4]
    assert step[0, 1] > 0
    assert step[1, 2] > 0


def test_mwer_of_equally_wrong_texts_is_nothing():
    logits = torch.randn(2, 3, 5, generator=seeded(0))
    labels = logits.argmax(-1)
    assert float(mwer_of(logits, labels, rate=0.0)) == pytest.approx(0.0, abs=1e-6)
    assert math.isfinite(float(mwer_of(logits, labels, rate=1.0)))
    with pytest.raises(ValueError, match="samples is 1"):
        mwer_of(logits, labels, samples=1)
