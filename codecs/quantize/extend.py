"""More residual layers, or fewer, for a quantizer that has learned."""

from dataclasses import replace

import torch
from torch import Tensor

from echoic.codecs.quantize.codebooks import KMEANS_SEED, seeded
from echoic.codecs.quantize.kmeans import kmeans
from echoic.codecs.quantize.quantizer import Quantizer
from echoic.cuda_ext.ops import lookup_sum, nearest_code, residual_quantize


@torch.no_grad()
def shorten_quantizer(quantizer: Quantizer, num_layers: int) -> Quantizer:
    """Return a quantizer of the first books: the same first codes, a lower highest rate.

    Args:
        quantizer: whose books have learned.
        num_layers: of the result, no more than it has and no fewer than it masks.

    Raises:
        ValueError: a number of layers that is out of range.
    """
    config = quantizer.config
    least = max(1, config.masked_layers, config.min_layers)
    if not least <= num_layers <= config.num_layers:
        raise ValueError(f"{num_layers} layers, expected {least} to {config.num_layers}")
    shorter = Quantizer(replace(config, num_layers=num_layers)).to(quantizer.codebooks.books.device)
    _copy_projections(quantizer, shorter)
    shorter.codebooks.set_books(quantizer.codebooks.books[:num_layers])
    return shorter.train(quantizer.training)


@torch.no_grad()
def extend_quantizer(quantizer: Quantizer, latents: Tensor, num_layers: int) -> Quantizer:
    """Return a quantizer with the same first books and k-means over what they leave behind them.

    The first codes of every latent stay what they are, so what was coded with them is still read.

    Args:
        quantizer: whose books have learned.
        latents: (N, dim) what it codes; some forty for each code make good books.
        num_layers: of the result, more than it has.

    Raises:
        ValueError: no more layers than there are, or books that have not begun to learn.
    """
    config, old = quantizer.config, quantizer.codebooks
    if num_layers <= config.num_layers:
        raise ValueError(f"{num_layers} layers, expected more than the {config.num_layers} there")
    if not old.is_initialized:
        raise ValueError("the books have not begun to learn: train the codec first")
    longer = Quantizer(replace(config, num_layers=num_layers)).to(old.books.device)
    inside = latents.float()
    if quantizer.project_in is not None:
        inside = quantizer.project_in(inside)
    _copy_projections(quantizer, longer)
    books = torch.empty_like(longer.codebooks.books)
    books[: config.num_layers] = old.books
    rest = inside - residual_quantize(inside, old.books, quantizer.masks).quantized
    generator = seeded(KMEANS_SEED, config.num_layers)
    for layer in range(config.num_layers, num_layers):
        codes = []
        for group, part in enumerate(rest.chunk(config.num_groups, dim=1)):
            books[layer, group] = kmeans(
                part.contiguous(),
                config.codebook_size,
                iterations=config.kmeans_iterations,
                generator=generator,
            )
            codes.append(nearest_code(part.contiguous(), books[layer, group]))
        rest = rest - lookup_sum(torch.stack(codes, dim=1)[:, None], books[layer : layer + 1])
    longer.codebooks.set_books(books)
    return longer.train(quantizer.training)


def _copy_projections(source: Quantizer, target: Quantizer) -> None:
    pairs = ((source.project_in, target.project_in), (source.project_out, target.project_out))
    for ours, theirs in pairs:
        if ours is not None and theirs is not None:
            theirs.load_state_dict(ours.state_dict())
