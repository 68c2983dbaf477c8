"""How books start, follow what they code, and come back from the dead."""

import pytest
import torch
from torch import Tensor

from echoic.codecs.quantize.config import QuantizerConfig
from echoic.codecs.quantize.quantizer import Quantizer


def make(**changes: object) -> Quantizer:
    settings = {"codebook_size": 8, "dead_share": 0.0} | changes
    return Quantizer(QuantizerConfig(4, **settings))  # pyright: ignore


def clusters(frames: int, seed: int = 0, centres: int = 8, spread: float = 0.01) -> Tensor:
    """Return latents (1, 4, frames) in clusters around fixed centres."""
    middle = 3.0 * torch.randn(centres, 4, generator=torch.Generator().manual_seed(99))
    generator = torch.Generator().manual_seed(seed)
    chosen = torch.randint(centres, (frames,), generator=generator)
    noise = spread * torch.randn(frames, 4, generator=generator)
    return (middle[chosen] + noise).T[None]


def error(quantizer: Quantizer, x: Tensor) -> float:
    return float((quantizer.decode(quantizer.encode(x)) - x).square().mean())


def test_latents_pass_until_there_are_enough_to_start_the_books() -> None:
    quantizer = make(reservoir=16)
    for step in range(3):
        x = clusters(40, step)
        out = quantizer(x)
        assert torch.equal(out.values, x)
        assert out.commitment == 0
        assert not quantizer.codebooks.is_initialized
    out = quantizer(clusters(40, 3))
    assert quantizer.codebooks.is_initialized
    assert quantizer.codebooks.reservoir.shape[0] == 0
    assert out.commitment > 0


def test_books_start_on_latents_after_the_warmup() -> None:
    quantizer = make(reservoir=4, warmup_steps=3)
    for step in range(3):
        quantizer(1e6 * clusters(40, step))
        assert not quantizer.codebooks.is_initialized
    quantizer(clusters(40, 3))
    assert quantizer.codebooks.is_initialized
    assert float(quantizer.codebooks.books.abs().max()) < 100


def test_kmeans_finds_clusters_that_came_in_several_batches() -> None:
    quantizer = make(reservoir=64, kmeans_iterations=30)
    for step in range(8):
        quantizer(clusters(64, step))
    x = clusters(500, 77)
    assert error(quantizer.eval(), x) < 0.25 * float(x.var())


def test_residual_layers_start_on_what_is_left() -> None:
    torch.manual_seed(0)
    quantizer = make(num_layers=3, num_groups=2, reservoir=64)
    x = torch.randn(1, 4, 600)
    quantizer(x)
    quantizer.eval()
    errors = [
        float((quantizer.decode(quantizer.encode(x, n_q)) - x).square().mean()) for n_q in (2, 4, 6)
    ]
    assert errors[0] > 1.5 * errors[1] > 2.2 * errors[2]


def test_running_means_are_those_of_the_formula() -> None:
    quantizer = make(init="uniform", decay=0.9)
    books = torch.randn(1, 1, 8, 4, generator=torch.Generator().manual_seed(3))
    quantizer.codebooks.set_books(books)
    x = torch.randn(2, 4, 9, generator=torch.Generator().manual_seed(4))
    codes = quantizer(x).codes.flatten()
    rows = x.transpose(1, 2).reshape(-1, 4)
    counts = torch.bincount(codes, minlength=8).float()
    sums = torch.zeros(8, 4).index_add(0, codes, rows)
    size = 0.9 + 0.1 * counts
    total = 0.9 * books[0, 0] + 0.1 * sums
    smooth = (size + 1e-5) / (size.sum() + 8e-5) * size.sum()
    torch.testing.assert_close(quantizer.codebooks.books[0, 0], total / smooth[:, None])
    torch.testing.assert_close(quantizer.codebooks.cluster_size[0, 0], size)


def test_books_follow_latents_that_move() -> None:
    quantizer = make(init="uniform", decay=0.8)
    quantizer.codebooks.set_books(torch.randn(1, 1, 8, 4) * 0.1)
    x = clusters(400, 1, centres=1)
    before = error(quantizer, x)
    for _ in range(40):
        quantizer(x)
    assert error(quantizer, x) < 0.01 * before


def test_a_dead_code_comes_back_and_stays() -> None:
    quantizer = make(init="uniform", dead_share=0.2, dead_interval=5, decay=0.9)
    books = torch.full((1, 1, 8, 4), 1e4) + torch.arange(8.0)[None, None, :, None]
    books[0, 0, 0] = 0.0  # the only code near anything
    quantizer.codebooks.set_books(books)
    codes = [quantizer(clusters(200, step)).codes for step in range(60)][-1]
    assert len(codes.unique()) >= 7
    assert float(quantizer.codebooks.books.abs().max()) < 100
    # The counts and sums went with them: what the running means say is what the books are.
    ratio = quantizer.codebooks.embed_sum / quantizer.codebooks.cluster_size[..., None]
    torch.testing.assert_close(ratio, quantizer.codebooks.books, rtol=1e-3, atol=1e-3)


def test_without_reviving_the_same_books_stay_dead() -> None:
    quantizer = make(init="uniform", dead_share=0.0, decay=0.9)
    books = torch.full((1, 1, 8, 4), 1e4) + torch.arange(8.0)[None, None, :, None]
    books[0, 0, 0] = 0.0
    quantizer.codebooks.set_books(books)
    codes = [quantizer(clusters(200, step)).codes for step in range(60)][-1]
    assert len(codes.unique()) == 1


def test_dead_codes_of_gradient_books_come_back_too() -> None:
    quantizer = make(init="uniform", learning="gradient", dead_share=0.2, dead_interval=5)
    quantizer.codebooks.cluster_size.fill_(0.1)
    codes = torch.zeros(0)
    for step in range(100):
        out = quantizer(clusters(200, step))
        out.codebook_loss.backward()
        codes = out.codes
    assert len(codes.unique()) >= 7


def test_dropout_draws_layers_anew_and_alike_everywhere() -> None:
    first, second = (make(num_layers=4, init="uniform", dropout=1.0, min_layers=2) for _ in "ab")
    drawn = []
    for step in range(30):
        x = clusters(10, step)
        torch.manual_seed(step)
        a = first(x).codes.shape[1]
        torch.manual_seed(1000 + step)  # another process draws other numbers, but not here
        b = second(x).codes.shape[1]
        assert a == b
        drawn.append(a)
    assert set(drawn) == {2, 3, 4}
    assert first.eval()(clusters(10)).codes.shape[1] == 4


def test_a_state_goes_on_as_if_nothing_had_happened() -> None:
    settings = {"num_layers": 2, "reservoir": 16, "dead_share": 0.2, "dead_interval": 2}
    whole = make(**settings)
    batches = [clusters(50, step) for step in range(12)]
    losses = [float(whole(x).commitment) for x in batches]
    for stop in (1, 2, 5):
        torch.manual_seed(0)
        before = make(**settings)
        for x in batches[:stop]:
            before(x)
        torch.manual_seed(1)
        after = make(**settings)
        after.load_state_dict(before.state_dict())
        assert [float(after(x).commitment) for x in batches[stop:]] == losses[stop:]


@pytest.mark.parametrize("frames", [1, 5])
def test_fewer_latents_than_codes_give_codes_that_differ(frames: int) -> None:
    quantizer = make(reservoir=1)
    quantizer.codebooks.start(clusters(frames)[0].T, None)
    books = quantizer.codebooks.books[0, 0]
    assert len(books.unique(dim=0)) == 8
