"""Documents in rows: they hear only themselves, and each is met once in a pass."""

import numpy as np
import pytest
import torch
from hypothesis import given, settings
from hypothesis import strategies as st
from small_unified import frames, unified

from echoic.tts.unified.sequences import NONE, Document, Segment
from echoic.tts.unified.training.loss import (
    LossConfig,
    document_log_probs,
    token_losses,
    weighted_mean,
)
from echoic.tts.unified.training.packing import (
    PackPlan,
    PackShape,
    groups_of,
    pack,
    rows_for,
)

MADE = unified()


def document(kind: str, length: int, seed: int) -> Document:
    text, sound = "abcdefghijkl"[:length], frames(length, seed)
    turns = {
        "text": [Segment(text, True)],
        "audio": [Segment(sound, True)],
        "speak": [Segment(text), Segment(sound, True)],
        "write": [Segment(sound), Segment(text, True)],
        "mixed": [Segment(text), Segment(sound), Segment(text, True), Segment(sound, True)],
    }
    return MADE.sequencer.document(turns[kind])


documents = st.builds(
    document,
    st.sampled_from(["text", "audio", "speak", "write", "mixed"]),
    st.integers(1, 6),
    st.integers(0, 9),
)


@settings(max_examples=20, deadline=None)
@given(st.lists(documents, min_size=1, max_size=6), st.booleans())
def test_packed_they_have_the_losses_that_they_have_alone(
    many: list[Document], by_answer: bool
) -> None:
    config = LossConfig(given=0.5, by_answer=by_answer)
    shape = PackShape(3, max(70, max(len(d.ids) for d in many)))
    weights = [config.weights(d) for d in many]
    with torch.no_grad():
        together = token_losses(MADE.model, pack(many, weights, shape), piece=7)
        for number, (one, own) in enumerate(zip(many, weights, strict=True)):
            alone = token_losses(MADE.model, pack([one], [own], rows_for([one])))
            mine = together.documents == number
            torch.testing.assert_close(together.losses[mine], alone.losses, atol=1e-4, rtol=1e-4)
            assert torch.equal(together.weights[mine], alone.weights)
            assert torch.equal(together.audio[mine], alone.audio)
            assert len(alone.losses) == len(one.ids) - 1


def test_without_the_mask_they_would_not() -> None:
    many = [document("speak", 5, 0), document("write", 4, 1)]
    made = pack(many, [LossConfig().weights(d) for d in many], PackShape(1, 60))
    heard = torch.where(made.documents == NONE, NONE, 0)
    with torch.no_grad():
        right = token_losses(MADE.model, made)
        wrong = token_losses(MADE.model, made._replace(documents=heard))
    second = right.documents == 1
    assert float((wrong.losses - right.losses)[second].abs().max()) > 0.01
    torch.testing.assert_close(wrong.losses[~second], right.losses[~second])


def test_rows_as_long_as_the_longest_and_none_is_empty() -> None:
    many = [document("text", n, 0) for n in (5, 2, 1, 4)]  # and an id behind each
    assert rows_for(many) == PackShape(3, 6)
    made = pack(many, [torch.ones(len(d.ids)) for d in many], rows_for(many))
    assert bool((made.documents != NONE).any(dim=1).all())
    assert rows_for(many[:1]) == PackShape(1, 6)


def test_a_pack() -> None:
    one, two = document("text", 3, 0), document("text", 1, 0)
    made = pack([one, two, two], [torch.ones(4), torch.ones(2), torch.ones(2)], PackShape(2, 7), 9)
    end = MADE.model.vocabulary.end
    assert made.number == 9
    assert made.ids.tolist() == [[97, 98, 99, end, 97, end, 0], [97, end, 0, 0, 0, 0, 0]]
    assert made.positions.tolist() == [[0, 1, 2, 3, 0, 1, 0], [0, 1, 0, 0, 0, 0, 0]]
    assert made.documents.tolist() == [[0, 0, 0, 0, 1, 1, NONE], [2, 2, *[NONE] * 5]]
    assert made.targets[0, :6].tolist() == [98, 99, end, 0, end, 0]
    assert made.weights.tolist() == [[1, 1, 1, 0, 1, 0, 0], [1, 0, 0, 0, 0, 0, 0]]
    mask = made.mask()[:, 0]
    assert mask[0, 5].tolist() == [False] * 4 + [True, True, False]
    assert mask[0, 2].tolist() == [True] * 3 + [False] * 4
    assert bool(mask.diagonal(dim1=1, dim2=2).all())  # else there is nothing to take a mean of
    with pytest.raises(ValueError, match="3 documents do not fit into 1 rows of 7"):
        pack([one, two, two], [torch.ones(4), torch.ones(2), torch.ones(2)], PackShape(1, 7))


@settings(max_examples=60, deadline=None)
@given(st.lists(st.integers(2, 30), max_size=120), st.integers(1, 3))
def test_groups_hold_each_document_once_and_fit(lengths: list[int], rows: int) -> None:
    shape = PackShape(rows, 30)
    groups = groups_of(lengths, shape)
    assert sorted(i for group in groups for i in group) == list(range(len(lengths)))
    for group in groups:
        many = [Document(torch.zeros(lengths[i]).long(), torch.zeros(lengths[i])) for i in group]
        pack(many, [torch.ones(lengths[i]) for i in group], shape)  # raises where they do not fit


def test_a_plan_is_a_function_of_seed_and_number_and_fills_rows(
    caplog: pytest.LogCaptureFixture,
) -> None:
    generator = np.random.default_rng(0)
    lengths = [generator.integers(5, 60, 300), generator.integers(5, 200, 50)]
    shape = PackShape(2, 100)
    plan = PackPlan(lengths, [1.0, 1.0], shape, seed=3)
    later = PackPlan(lengths, [1.0, 1.0], shape, seed=3)
    assert later(40) == plan(40)
    assert [plan(n) for n in range(5)] == [later(n) for n in range(5)]
    assert PackPlan(lengths, [1.0, 1.0], shape, seed=4)(0) != plan(0)
    whole = plan.batches(0)
    sizes = [sum(int(lengths[c][u]) for c, u in batch) for batch in whole]
    assert sum(sizes) / (len(sizes) * 200) > 0.85
    shares = [sum(int(lengths[c][u]) for b in whole for c, u in b if c == s) for s in (0, 1)]
    assert 0.7 < shares[0] / shares[1] < 1.4
    assert all(lengths[c][u] <= 100 for batch in whole for c, u in batch)
    long = int((lengths[1] > 100).sum())
    assert f"{long} of 350 documents have more than 100 ids and are left out" in caplog.text
    with pytest.raises(ValueError, match="no utterances"):
        PackPlan([np.array([101])], [1.0], shape)


def test_each_answer_weighs_the_same() -> None:
    made = MADE.sequencer.document(
        [Segment("ab"), Segment("c", True), Segment("d"), Segment(frames(9), True)]
    )
    weights = LossConfig(given=0.0, by_answer=True).weights(made)
    assert [float(weights[made.answers == n].sum()) for n in (0, 1)] == pytest.approx([1, 1])
    assert float(weights[made.answers == NONE].sum()) == 0
    plain = LossConfig(given=0.0).weights(made)
    assert float(plain.sum()) == int((made.answers != NONE).sum())
    alone = MADE.sequencer.document([Segment("abc", True)])  # its first id is no target
    assert float(LossConfig(0.0, True).weights(alone)[1:].sum()) == pytest.approx(1)
    batch = pack([made], [weights], rows_for([made]))
    found = token_losses(MADE.model, batch)
    text = found.losses[: len("c") + 1].mean()
    audio = found.losses[len("c") + 1 :].mean()
    torch.testing.assert_close(weighted_mean(found), (text + audio) / 2)


def test_sums_and_means_of_documents() -> None:
    many = [document("speak", 2, 0), document("speak", 5, 1)]
    weights = [LossConfig(given=0.0).weights(d) for d in many]
    found = token_losses(MADE.model, pack(many, weights, PackShape(1, 60)))
    sums, means = (document_log_probs(found, 2, average=a) for a in (False, True))
    counts = torch.tensor([2 * 2 + 3, 5 * 2 + 3])  # codes, their edges and the end of the answer
    torch.testing.assert_close(sums / counts, means)
    assert bool((sums < 0).all())
