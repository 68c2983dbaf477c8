"""The quantizer core: what it codes, what it gives back, and where gradients go."""

import pytest
import torch
from torch import Tensor

from echoic.codecs.quantize.config import QuantizerConfig
from echoic.codecs.quantize.quantizer import Quantizer, channel_masks

SHAPES = {
    "residual": {"num_layers": 3},
    "grouped": {"num_layers": 2, "num_groups": 2},
    "masked": {"num_layers": 4, "masked_layers": 3},
    "single": {},
    "projected": {"codebook_dim": 16},
    "narrowed": {"codebook_dim": 4, "num_layers": 2},
    "gradient": {"num_layers": 2, "learning": "gradient"},
}


def make(seed: int = 0, **changes: object) -> Quantizer:
    torch.manual_seed(seed)
    config = QuantizerConfig(8, **({"codebook_size": 16, "init": "uniform"} | changes))  # pyright: ignore
    quantizer = Quantizer(config)
    quantizer.codebooks.set_books(torch.randn(quantizer.codebooks.books.shape))
    return quantizer


def latents(batch: int = 2, frames: int = 5, seed: int = 1) -> Tensor:
    return torch.randn(batch, 8, frames, generator=torch.Generator().manual_seed(seed))


def by_hand(quantizer: Quantizer, x: Tensor) -> tuple[Tensor, Tensor]:
    """Quantize frame by frame in float64: codes (B, Q, T) and values (B, D, T)."""
    config, books = quantizer.config, quantizer.codebooks.books.detach().double()
    masks = quantizer.masks
    codes = torch.zeros(x.shape[0], config.num_codebooks, x.shape[2], dtype=torch.int64)
    values = torch.zeros_like(x, dtype=torch.float64)
    for b in range(x.shape[0]):
        for t in range(x.shape[2]):
            row = x[b, :, t].double()
            if quantizer.project_in is not None:
                p = quantizer.project_in
                row = p.weight.detach().double() @ row + p.bias.detach().double()
            total = torch.zeros_like(row)
            for layer in range(config.num_layers):
                masked = masks is not None and layer < config.masked_layers
                seen = row * masks[layer].double() if masked else row - total  # pyright: ignore
                parts = []
                for g, part in enumerate(seen.chunk(config.num_groups)):
                    distance = (books[layer, g] - part).square().sum(1)
                    best = int(distance.argmin())
                    codes[b, layer * config.num_groups + g, t] = best
                    parts.append(books[layer, g, best])
                total = total + torch.cat(parts)
            if quantizer.project_out is not None:
                p = quantizer.project_out
                total = p.weight.detach().double() @ total + p.bias.detach().double()
            values[b, :, t] = total
    return codes, values.float()


@pytest.mark.parametrize("shape", SHAPES)
def test_codes_and_values_are_those_of_brute_force(shape: str) -> None:
    quantizer, x = make(**SHAPES[shape]).eval(), latents()
    codes, values = by_hand(quantizer, x)
    torch.testing.assert_close(quantizer.encode(x), codes)
    torch.testing.assert_close(quantizer.decode(codes), values, rtol=1e-5, atol=1e-5)
    out = quantizer(x)
    torch.testing.assert_close(out.codes, codes)
    torch.testing.assert_close(out.values, values, rtol=1e-5, atol=1e-5)


@pytest.mark.parametrize("shape", SHAPES)
def test_fewer_codes_are_the_first_ones(shape: str) -> None:
    quantizer, x = make(**SHAPES[shape]).eval(), latents()
    whole, groups = quantizer.encode(x), quantizer.config.num_groups
    for n_q in range(groups, whole.shape[1] + 1, groups):
        torch.testing.assert_close(quantizer.encode(x, n_q), whole[:, :n_q])
        torch.testing.assert_close(quantizer(x, n_q=n_q).codes, whole[:, :n_q])
        torch.testing.assert_close(quantizer(x, n_q=n_q).values, quantizer.decode(whole[:, :n_q]))


def test_the_search_follows_books_that_change() -> None:
    quantizer, x = make(codebook_dim=16).eval(), latents()
    before = quantizer.encode(x)
    quantizer.codebooks.set_books(quantizer.codebooks.books.flip(2).clone())
    torch.testing.assert_close(quantizer.encode(x), 15 - before)


@pytest.mark.parametrize("gradient", ["straight_through", "rotation"])
def test_every_layer_commits_the_encoder(gradient: str) -> None:
    quantizer, x = make(num_layers=2, gradient=gradient), latents().requires_grad_()
    books = quantizer.codebooks.books.detach().clone()
    out = quantizer(x)
    (pull,) = torch.autograd.grad(out.commitment, x)
    rows = x.detach().transpose(1, 2).reshape(-1, 8)
    first = books[0, 0][out.codes[:, 0].flatten()]
    second = books[1, 0][out.codes[:, 1].flatten()]
    # d/dx of the mean of |x - e1|^2 and |x - e1 - e2|^2, each a mean over all elements.
    expected = (2 * (rows - first) + 2 * (rows - first - second)) / 2 / rows.numel()
    torch.testing.assert_close(pull.transpose(1, 2).reshape(-1, 8), expected)


def test_the_gradient_of_the_values_passes_straight() -> None:
    quantizer, x = make(num_layers=2), latents().requires_grad_()
    weight = torch.randn(x.shape)
    (gradient,) = torch.autograd.grad((quantizer(x).values * weight).sum(), x)
    torch.testing.assert_close(gradient, weight)


def test_books_learn_by_gradient_and_nothing_else_moves_them() -> None:
    quantizer, x = make(num_layers=2, learning="gradient", dead_share=0.0), latents()
    books = quantizer.codebooks.books
    before = books.detach().clone()
    out = quantizer(x)
    torch.testing.assert_close(books.detach(), before)
    out.codebook_loss.backward()
    used = torch.zeros(2, 16, dtype=torch.bool)
    for layer in range(2):
        used[layer, out.codes[:, layer].flatten()] = True
    assert books.grad is not None
    moved = books.grad[:, 0].abs().sum(-1) > 0
    assert torch.equal(moved, used)
    with torch.no_grad():
        books -= 0.5 * books.grad
    assert quantizer(x).codebook_loss < out.codebook_loss


def test_what_is_masked_out_neither_counts_nor_teaches() -> None:
    x = latents(2, 6)
    mask = torch.tensor([[True] * 6, [True] * 2 + [False] * 4])
    loud = torch.where(mask[:, None], x, 1e3)
    a, b = make(num_layers=2), make(num_layers=2)
    out, clean = a(loud, mask=mask), b(x, mask=mask)
    torch.testing.assert_close(out.commitment, clean.commitment)
    torch.testing.assert_close(out.codes, clean.codes)
    torch.testing.assert_close(a.codebooks.books, b.codebooks.books)
    assert bool((out.values[1, :, 2:] == 0).all())
    assert bool((out.codes[1, :, 2:] == 0).all())


def test_evaluation_teaches_nothing() -> None:
    quantizer = make(num_layers=2).eval()
    before = {k: v.clone() for k, v in quantizer.state_dict().items()}
    quantizer(latents())
    for name, value in quantizer.state_dict().items():
        assert torch.equal(value, before[name]), name


def test_thirds_of_the_channels() -> None:
    masks = channel_masks(128, 3)
    assert masks is not None
    assert masks.sum(1).tolist() == [42, 43, 43]
    assert bool((masks.sum(0) == 1).all())
    assert masks[0, 41] == masks[1, 42] == masks[2, 85] == 1


@pytest.mark.parametrize(
    ("codes", "message"),
    [
        (torch.zeros(2, 3), "expected integers"),
        (torch.zeros(2, 3, dtype=torch.int64), r"expected integers \(batch, n_q, frames\)"),
        (torch.zeros(1, 9, 2, dtype=torch.int64), "n_q is 9, expected 1 to 3"),
        (torch.full((1, 3, 2), 16), "codes go from 16 to 16, expected 0 to 15"),
        (torch.full((1, 3, 2), -1), "codes go from -1"),
    ],
)
def test_codes_of_something_else_are_refused(codes: Tensor, message: str) -> None:
    with pytest.raises(ValueError, match=message):
        make(num_layers=3).decode(codes)


@pytest.mark.parametrize("bad", [float("nan"), float("inf")])
def test_latents_that_are_not_finite_are_refused(bad: float) -> None:
    x = latents()
    x[0, 0, 0] = bad
    with pytest.raises(ValueError, match="NaN or Inf"):
        make().eval().encode(x)


def test_another_number_of_channels_is_refused() -> None:
    with pytest.raises(ValueError, match=r"expected \(batch, 8, frames\)"):
        make().encode(torch.zeros(1, 7, 3))
