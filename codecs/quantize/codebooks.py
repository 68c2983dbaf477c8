"""A stack of books and how they follow what they code."""

from typing import Any

import torch
from torch import Tensor, nn

from echoic.codecs.quantize import sync
from echoic.codecs.quantize.config import QuantizerConfig
from echoic.codecs.quantize.kmeans import kmeans
from echoic.cuda_ext.ops import codebook_statistics, nearest_code

# Draws of the first start of a book, of dead codes and of layers are streams of their own.
KMEANS_SEED, DEAD_SEED, DROPOUT_SEED = 1, 2, 3


def seeded(kind: int, step: int) -> torch.Generator:
    """Return random numbers of a step, the same on all processes and after a resumed run."""
    return torch.Generator().manual_seed(kind * 1_000_003 + step * 97)


class Codebooks(nn.Module):
    """Books (num_layers, num_groups, K, width / num_groups) that learn.

    Running means follow Razavi et al. 2019 (equations 3 and 4), summed over all processes; a dead
    code's count and sum are reset with it, so that it stays where it was put.

    Args:
        config: settings.
    """

    books: Tensor
    cluster_size: Tensor
    embed_sum: Tensor
    initialized: Tensor
    reservoir: Tensor
    steps: Tensor
    # What only training needs; exported models leave it out.
    TRAINING = ("cluster_size", "embed_sum", "initialized", "reservoir", "steps")

    def __init__(self, config: QuantizerConfig) -> None:
        super().__init__()
        self.config = config
        width = config.book_width // config.num_groups
        shape = (config.num_layers, config.num_groups, config.codebook_size, width)
        books = torch.empty(shape).uniform_(-1 / config.codebook_size, 1 / config.codebook_size)
        if config.learning == "gradient":
            self.books = nn.Parameter(books)
        else:
            self.register_buffer("books", books)
        # Counts of 1 make the running means right from the start.
        self.register_buffer("cluster_size", torch.ones(shape[:3]))
        self.register_buffer("embed_sum", books.clone())
        self.register_buffer("initialized", torch.tensor(config.init == "uniform"))
        self.register_buffer("reservoir", torch.zeros(0, config.book_width))
        self.register_buffer("steps", torch.zeros((), dtype=torch.int64))

    @property
    def is_initialized(self) -> bool:
        """Whether the books have values to quantize with."""
        return bool(self.initialized)

    @torch.no_grad()
    def set_books(self, books: Tensor) -> None:
        """Put books in place, as an importer does; what follows them starts anew."""
        self.books.copy_(books)
        self.embed_sum.copy_(books)
        self.cluster_size.fill_(1.0)
        self.initialized.fill_(True)
        self.reservoir = self.reservoir[:0]

    @torch.no_grad()
    def collect(self, rows: Tensor, masks: Tensor | None) -> None:
        """Keep latents (N, width) of all processes until there are enough to start the books."""
        gathered = sync.gather_rows(rows.detach())
        self.reservoir = torch.cat([self.reservoir, gathered])
        wanted = self.config.reservoir * self.config.codebook_size
        if self.reservoir.shape[0] >= wanted:
            self.start(self.reservoir, masks)

    @torch.no_grad()
    def start(self, rows: Tensor, masks: Tensor | None) -> None:
        """Set every book by k-means over what its layer sees of latents (N, width)."""
        generator = seeded(KMEANS_SEED, 0)
        books = torch.empty_like(self.books)
        counts = torch.ones_like(self.cluster_size)
        total = torch.zeros_like(rows)
        for layer in range(self.config.num_layers):
            seen = layer_input(rows, total, masks, layer)
            parts = []
            for group, part in enumerate(seen.chunk(self.config.num_groups, dim=1)):
                part = part.contiguous()
                centres = kmeans(
                    part,
                    self.config.codebook_size,
                    iterations=self.config.kmeans_iterations,
                    generator=generator,
                )
                codes = nearest_code(part, centres)
                books[layer, group] = centres
                counts[layer, group] = codebook_statistics(part, codes, self.config.codebook_size)[
                    0
                ]
                parts.append(centres[codes])
            total = total + torch.cat(parts, dim=1)
        sync.share(books)
        sync.share(counts)
        self.set_books(books)
        # As if the reservoir had come a batch at a time: the mean count is what a batch leaves.
        self.cluster_size.copy_(counts / counts.mean() + self.config.epsilon)
        self.embed_sum.copy_(books * self.cluster_size[..., None])

    @torch.no_grad()
    def follow(self, layer: int, seen: Tensor, codes: Tensor) -> None:
        """Let the books of a layer follow what they coded.

        Args:
            layer: which.
            seen: (N, width) input of the layer.
            codes: (N, G) what became of it.
        """
        config = self.config
        for group, part in enumerate(seen.detach().chunk(config.num_groups, dim=1)):
            counts, sums = codebook_statistics(
                part.contiguous(), codes[:, group].contiguous(), config.codebook_size
            )
            sync.add_up(counts, sums)
            size, total = self.cluster_size[layer, group], self.embed_sum[layer, group]
            size.lerp_(counts, 1 - config.decay)
            total.lerp_(sums, 1 - config.decay)
            if config.learning == "ema":
                whole = size.sum()
                smooth = (size + config.epsilon) / (whole + len(size) * config.epsilon) * whole
                self.books[layer, group] = total / smooth[:, None]

    @torch.no_grad()
    def revive(self, layer: int, seen: Tensor) -> Tensor:
        """Put the dead codes of a layer on random rows of its input (N, width).

        Returns:
            How many there were in each group, (G,) int64.
        """
        config = self.config
        generator = seeded(DEAD_SEED, int(self.steps) * config.num_layers + layer)
        rows = _some_rows(sync.gather_rows(seen.detach()), config.codebook_size, generator)
        numbers = torch.zeros(config.num_groups, dtype=torch.int64)
        for group, part in enumerate(rows.chunk(config.num_groups, dim=1)):
            size = self.cluster_size[layer, group]
            mean = size.mean()
            dead = size < config.dead_share * mean
            numbers[group] = dead.sum()
            chosen = torch.randint(len(part), (int(numbers[group]),), generator=generator)
            fresh = part[chosen.to(part.device)]
            self.books[layer, group, dead] = fresh
            size[dead] = mean
            self.embed_sum[layer, group, dead] = fresh * mean
        return numbers

    def _load_from_state_dict(  # pyright: ignore[reportIncompatibleMethodOverride]
        self, state_dict: dict[str, Tensor], prefix: str, *args: Any
    ) -> None:
        """Take a reservoir of any fill, and books without what only training needs."""
        books = state_dict.get(prefix + "books")
        if books is not None and prefix + "cluster_size" not in state_dict:
            state_dict |= {
                prefix + "cluster_size": torch.ones_like(self.cluster_size),
                prefix + "embed_sum": books.float(),
                prefix + "initialized": torch.tensor(True),
                prefix + "reservoir": torch.zeros(0, self.config.book_width),
                prefix + "steps": torch.zeros((), dtype=torch.int64),
            }
        reservoir = state_dict.get(prefix + "reservoir")
        if reservoir is not None:
            self.reservoir = self.reservoir.new_empty(reservoir.shape)
        super()._load_from_state_dict(state_dict, prefix, *args)


def layer_input(x: Tensor, total: Tensor, masks: Tensor | None, layer: int) -> Tensor:
    """Return what a layer quantizes: the masked input, or what the layers before left.

    Args:
        x: (N, D) the input of the quantizer.
        total: (N, D) sum of the earlier layers' codes; constant, so that every layer's commitment
            reaches the encoder.
        masks: (M, D) of the first M layers, or None.
        layer: which, from 0.
    """
    if masks is not None and layer < masks.shape[0]:
        return x * masks[layer]
    return x - total


def _some_rows(rows: Tensor, count: int, generator: torch.Generator) -> Tensor:
    """Return at most `count` random rows, so that reviving costs no more than a book."""
    if rows.shape[0] <= count:
        return rows
    return rows[torch.randperm(rows.shape[0], generator=generator)[:count].to(rows.device)]
