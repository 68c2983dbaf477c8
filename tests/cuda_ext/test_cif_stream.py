"""Integrate-and-fire of a stream, chunk by chunk."""

import pytest
import torch
from cif_by_definition import draw
from hypothesis import HealthCheck, given, settings
from hypothesis import strategies as st
from torch import Tensor

from echoic.cuda_ext.cif import Cif, cif, cif_step


def step_through(
    hidden: Tensor, alphas: Tensor, chunks: list[Tensor]
) -> tuple[list[Tensor], list[Tensor], Tensor, Tensor]:
    """Step through rows; of each chunk (B,) valid frames. Return each row's tokens and fires."""
    batch, _, width = hidden.shape
    weight, carry = torch.zeros(batch, dtype=torch.float64), torch.zeros(batch, width)
    seen = torch.zeros(batch, dtype=torch.int64)
    tokens: list[list[Tensor]] = [[] for _ in range(batch)]
    fires: list[list[Tensor]] = [[] for _ in range(batch)]
    for valid in chunks:
        longest = int(valid.max())
        some = torch.full((batch, longest, width), torch.nan)
        steps = torch.full((batch, longest), torch.nan)
        for row in range(batch):
            own = slice(int(seen[row]), int(seen[row] + valid[row]))
            some[row, : valid[row]] = hidden[row, own]
            steps[row, : valid[row]] = alphas[row, own]
        result, weight, carry = cif_step(weight, carry, some, steps, valid)
        for row, count in enumerate(result.counts):
            tokens[row].append(result.tokens[row, :count])
            fires[row].append(result.fires[row, :count] + seen[row])
        seen += valid
    return [torch.cat(t) for t in tokens], [torch.cat(f) for f in fires], weight, carry


@pytest.mark.parametrize("scale", [0.5, 2.6])
@settings(
    max_examples=40, deadline=None, suppress_health_check=[HealthCheck.function_scoped_fixture]
)
@given(data=st.data())
def test_steps_over_any_chunks_equal_one_call(cif_way: str, scale: float, data: st.DataObject):
    """Rows need not keep pace: each has frames of its own in each chunk, or none."""
    sizes = data.draw(
        st.lists(st.tuples(st.integers(0, 9), st.integers(0, 9)), min_size=1, max_size=12)
    )
    chunks = [torch.tensor(pair) for pair in sizes]
    lengths = torch.stack(chunks).sum(0)
    hidden, alphas = draw(2, int(lengths.max()), 5, scale, seed=data.draw(st.integers(0, 99)))
    tokens, fires, weight, carry = step_through(hidden, alphas, chunks)
    whole = cif(hidden, alphas, lengths)
    # A row with its sum's next whole number wanted ends in what is left over.
    rest = cif(hidden, alphas, lengths, whole.counts + 1)
    exact = {"rtol": 0, "atol": 0 if cif_way == "compiled" else 1e-5}
    for row, count in enumerate(whole.counts):
        assert len(tokens[row]) == count
        torch.testing.assert_close(tokens[row], whole.tokens[row, :count], **exact)
        torch.testing.assert_close(fires[row], whole.fires[row, :count], rtol=0, atol=1e-9)
        torch.testing.assert_close(carry[row], rest.tokens[row, count], **exact)
        total = float(alphas[row, : lengths[row]].double().sum())
        assert float(weight[row]) == pytest.approx(total - int(count), abs=1e-9)


@pytest.mark.usefixtures("cif_way")
def test_a_step_changes_nothing_that_it_was_given():
    hidden, alphas = draw(2, 20, 4, 0.8)
    weight, carry = torch.tensor([0.25, 0.5]).double(), torch.ones(2, 4)
    given_ = [weight, carry, hidden, alphas]
    copies = [tensor.clone() for tensor in given_]
    first = cif_step(weight, carry, hidden, alphas)
    for tensor, copy in zip(given_, copies, strict=True):
        assert torch.equal(tensor, copy)
    again = cif_step(weight, carry, hidden, alphas)
    assert torch.equal(first[0].tokens, again[0].tokens)
    assert torch.equal(first[2], again[2])


@pytest.mark.usefixtures("cif_way")
def test_an_empty_chunk_hands_on_what_it_got():
    weight, carry = torch.tensor([0.25]).double(), torch.ones(1, 4)
    result, left, rest = cif_step(weight, carry, torch.ones(1, 0, 4), torch.ones(1, 0))
    assert result.tokens.shape == (1, 0, 4)
    assert torch.equal(left, weight)
    assert torch.equal(rest, carry)
    assert rest.data_ptr() != carry.data_ptr()


@pytest.mark.usefixtures("cif_way")
def test_a_stream_of_half_precision_carries_float32():
    hidden, alphas = draw(1, 40, 4, 0.3)
    weight, carry = torch.zeros(1, dtype=torch.float64), torch.zeros(1, 4)
    parts: list[Cif] = []
    for some, steps in zip(hidden.bfloat16().split(7, 1), alphas.split(7, 1), strict=True):
        result, weight, carry = cif_step(weight, carry, some, steps)
        assert carry.dtype == torch.float32
        parts.append(result)
    tokens = torch.cat([part.tokens for part in parts], 1)
    assert tokens.dtype == torch.bfloat16
    whole = cif(hidden.bfloat16(), alphas).tokens
    torch.testing.assert_close(tokens, whole, rtol=1e-2, atol=1e-6)


@pytest.mark.usefixtures("cif_way")
def test_a_stream_leaves_no_gradient():
    hidden, alphas = draw(1, 9, 4, 0.8)
    weight, carry = torch.zeros(1, dtype=torch.float64), torch.zeros(1, 4, requires_grad=True)
    result, _, rest = cif_step(weight, carry, hidden.requires_grad_(), alphas.requires_grad_())
    assert not result.tokens.requires_grad
    assert not rest.requires_grad


@pytest.mark.parametrize("weight", [-0.1, 1.0, torch.nan])
@pytest.mark.usefixtures("cif_way")
def test_weights_that_no_step_returns_are_told(weight: float):
    hidden, alphas = draw(1, 3, 4, 0.8)
    with pytest.raises(ValueError, match="a carried weight lies outside 0 <= weight < 1"):
        cif_step(torch.tensor([weight]).double(), torch.zeros(1, 4), hidden, alphas)
    with pytest.raises(ValueError, match=r"must be \(1,\) and carry \(1, 4\).*\(1, 5\)"):
        cif_step(torch.zeros(1), torch.zeros(1, 5), hidden, alphas)
