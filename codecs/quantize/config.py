"""Settings of the quantizer core, and the three published shapes of it."""

from dataclasses import dataclass
from typing import Literal, Self, get_args

Learning = Literal["ema", "gradient"]
Gradient = Literal["straight_through", "rotation"]
Init = Literal["kmeans", "uniform"]


@dataclass(frozen=True, slots=True)
class QuantizerConfig:
    """Settings of `Quantizer`; the defaults are one book of 1,024 codes.

    Attributes:
        dim: D, channels of the latents.
        codebook_size: K, codes in each book.
        num_layers: residual layers; each quantizes what the earlier ones left.
        num_groups: G, equal slices of the channels, each with books of its own (HiFi-Codec, Yang et
            al. 2023, section 3.1).
        masked_layers: the first M layers see one M-th of the input's channels each, the others
            zeroed, and no residual (MCRVQ of Language-Codec, Ji et al. 2024, section 3.2).
        codebook_dim: channels in which the books live, behind a learned projection; None for `dim`.
        learning: "ema": books are running means of what they code (van den Oord et al. 2017,
            appendix A.1). "gradient": they are parameters with a loss.
        gradient: how the decoder's gradient reaches the encoder: "straight_through", or turned and
            scaled as the latent was ("rotation", Fifty et al. 2024).
        init: "kmeans" over the first `reservoir` * K latents, of several batches where one has
            fewer (until then latents pass unquantized); "uniform" in +-1 / K.
        reservoir: latents per code that k-means waits for.
        kmeans_iterations: Lloyd's steps.
        warmup_steps: training steps in which latents pass unquantized before they are collected for
            k-means: those of an untrained encoder vary in few directions, and books that know no
            others keep it from learning them.
        decay: of the running means.
        epsilon: Laplace smoothing of the running counts.
        dead_share: a code used less than this share of the mean is put on a random latent; 0 never.
        dead_interval: steps between two such rounds.
        dropout: probability that a training step uses only its first layers, drawn uniformly from
            `min_layers` to all of them, the same on all processes (Zeghidour et al. 2021, 3.3).
        min_layers: fewest layers that dropout leaves.

    Raises:
        ValueError: sizes that do not fit each other.
    """

    dim: int
    codebook_size: int = 1024
    num_layers: int = 1
    num_groups: int = 1
    masked_layers: int = 0
    codebook_dim: int | None = None
    learning: Learning = "ema"
    gradient: Gradient = "straight_through"
    init: Init = "kmeans"
    reservoir: int = 16
    kmeans_iterations: int = 20
    warmup_steps: int = 0
    decay: float = 0.99
    epsilon: float = 1e-5
    dead_share: float = 0.05
    dead_interval: int = 10
    dropout: float = 0.0
    min_layers: int = 1

    def __post_init__(self) -> None:
        positive = ("dim", "codebook_size", "num_layers", "num_groups", "reservoir")
        for name in (*positive, "kmeans_iterations", "dead_interval"):
            if getattr(self, name) < 1:
                raise ValueError(f"{name} is {getattr(self, name)}, expected 1 or more")
        if self.book_width % self.num_groups:
            raise ValueError(
                f"{self.book_width} channels do not divide into {self.num_groups} groups: change "
                "num_groups or dim (codebook_dim)"
            )
        self._check_layers()
        self._check_shares()
        for name, kind in (("learning", Learning), ("gradient", Gradient), ("init", Init)):
            if getattr(self, name) not in get_args(kind):
                names = ", ".join(get_args(kind))
                raise ValueError(f"{name} is {getattr(self, name)!r}, expected one of {names}")

    @classmethod
    def grvq(cls, dim: int = 512, **changes: object) -> Self:
        """Return HiFi-Codec's: 2 groups of 2 residual layers, learned by gradient."""
        published = {"num_layers": 2, "num_groups": 2, "learning": "gradient", "init": "uniform"}
        return cls(dim, **(published | {"dead_share": 0.0} | changes))  # pyright: ignore

    @classmethod
    def mcrvq(cls, dim: int = 128, **changes: object) -> Self:
        """Return Language-Codec's: 8 layers, the first three on a third of the channels each."""
        published = {"num_layers": 8, "masked_layers": 3, "dropout": 1.0, "min_layers": 3}
        return cls(dim, **(published | changes))  # pyright: ignore

    @classmethod
    def single(cls, dim: int = 1024, **changes: object) -> Self:
        """Return DistilCodec's: one book of 32,768 codes of 3,584 channels."""
        published = {"codebook_size": 32_768, "codebook_dim": 3584, "decay": 0.8}
        return cls(dim, **(published | {"init": "uniform"} | changes))  # pyright: ignore

    @property
    def book_width(self) -> int:
        """Channels that are quantized: those behind the projection, if there is one."""
        return self.dim if self.codebook_dim is None else self.codebook_dim

    @property
    def num_codebooks(self) -> int:
        """Q, codes of one frame: layers times groups."""
        return self.num_layers * self.num_groups

    def layers_of(self, n_q: int | None) -> int:
        """Return how many layers `n_q` codes a frame are.

        Raises:
            ValueError: none, more than there are, or part of a layer.
        """
        n_q = self.num_codebooks if n_q is None else n_q
        if not 1 <= n_q <= self.num_codebooks or n_q % self.num_groups:
            step = f" in steps of {self.num_groups}" if self.num_groups > 1 else ""
            raise ValueError(
                f"n_q is {n_q}, expected {self.num_groups} to {self.num_codebooks}{step}"
            )
        return n_q // self.num_groups

    def _check_layers(self) -> None:
        if not 0 <= self.masked_layers <= self.num_layers:
            raise ValueError(
                f"masked_layers is {self.masked_layers}, expected 0 to num_layers "
                f"({self.num_layers})"
            )
        if self.masked_layers > self.book_width or (self.masked_layers and self.num_groups > 1):
            raise ValueError(
                f"{self.masked_layers} masked layers with {self.num_groups} groups of "
                f"{self.book_width} channels: masks are for one group, a channel each at least"
            )
        if not 1 <= self.min_layers <= self.num_layers:
            raise ValueError(
                f"min_layers is {self.min_layers}, expected 1 to num_layers ({self.num_layers})"
            )

    def _check_shares(self) -> None:
        if self.warmup_steps < 0:
            raise ValueError(f"warmup_steps is {self.warmup_steps}, expected 0 or more")
        for name in ("decay", "dead_share", "dropout"):
            value = getattr(self, name)
            if not 0.0 <= value <= 1.0:
                raise ValueError(f"{name} is {value}, expected 0 to 1")
        if self.epsilon <= 0.0:
            raise ValueError(f"epsilon is {self.epsilon}, expected more than 0")
