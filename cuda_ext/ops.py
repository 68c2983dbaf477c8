"""Vector quantization: search, lookup and statistics of codebooks, fused.

The score of a code e for a vector x is x·e − |e|²/2: the channels are added up in their order, in
float32, whatever stands beside the vector, and the lowest index wins ties. So a vector has the same
code alone and among a million. Vectors and books are float32 (others are converted), codes int64.
"""

from dataclasses import dataclass
from typing import Literal, NamedTuple, get_args

import torch
from torch import Tensor

from echoic.cuda_ext import library, registry
from echoic.cuda_ext.reference import NOT_FINITE, NOT_IN_BOOK, check_codes, check_finite

Mode = Literal["exact", "screened"]


class ResidualCodes(NamedTuple):
    """Codes (N, Q, G), their sum (N, D), and energies (N, Q): |input of layer q - its code|²."""

    codes: Tensor
    quantized: Tensor
    energies: Tensor


@dataclass(frozen=True, slots=True)
class PackedCodebooks:
    """Books as the kernels want them; made by `pack_codebooks`, worth keeping while books rest.

    Attributes:
        codebooks: (Q, G, K, d), not copied.
        offsets: (Q, G, K), what is taken off each code's x·e; |e|²/2 unless given.
        panels: the books once more, channels before codes; None where no kernel wants it.
        screen: the books in bfloat16 for the mode "screened", or None.
        bounds: what the screen may be wrong by, or None.
    """

    codebooks: Tensor
    offsets: Tensor
    panels: Tensor | None
    screen: Tensor | None = None
    bounds: Tensor | None = None


def pack_codebooks(
    codebooks: Tensor, offsets: Tensor | None = None, *, mode: Mode = "exact"
) -> PackedCodebooks:
    """Prepare books for many searches.

    Args:
        codebooks: (Q, G, K, d), or one book (K, d). Later changes of it are not seen.
        offsets: (Q, G, K) or (K,) instead of |e|²/2, as folded projections need.
        mode: "screened" prepares for that mode too.

    Raises:
        ValueError: a wrong shape, an unknown mode, NaN or Inf, or |e|² beyond float32.
    """
    _check_mode(mode)
    books = codebooks.detach().float()
    books = (books[None, None] if books.dim() == 2 else books).contiguous()
    if books.dim() != 4 or 0 in books.shape:
        raise ValueError(
            "codebooks must be (Q, G, K, d) or (K, d) without an empty axis: "
            f"got {tuple(codebooks.shape)}"
        )
    library.load(books)
    if books.is_cpu:
        norms, panels = registry.pack_codebooks(books)
    else:
        norms, panels = registry.reference.half_norms(books), None
    if not torch.compiler.is_compiling() and not torch.isfinite(norms).all():
        raise ValueError("codebooks hold NaN, Inf or values above 1e19: expected finite codes")
    if offsets is not None:
        norms = _own_offsets(offsets, norms)
    if mode == "screened" and panels is not None and library.screens():
        return PackedCodebooks(books, norms, panels, *registry.pack_screen(books, norms))
    return PackedCodebooks(books, norms, panels)


def _own_offsets(offsets: Tensor, norms: Tensor) -> Tensor:
    if offsets.numel() != norms.numel() or offsets.shape[-1] != norms.shape[-1]:
        raise ValueError(f"offsets must be {tuple(norms.shape)}: got {tuple(offsets.shape)}")
    own = offsets.detach().float().reshape(norms.shape).contiguous()
    if not torch.compiler.is_compiling() and not torch.isfinite(own).all():
        raise ValueError("offsets hold NaN or Inf: expected finite values")
    return own


def residual_quantize(
    x: Tensor,
    codebooks: Tensor | PackedCodebooks,
    masks: Tensor | None = None,
    *,
    mode: Mode = "exact",
) -> ResidualCodes:
    """Quantize vectors by all layers and groups of a residual quantizer in one pass.

    Layer q < M reads `x * masks[q]`; every other layer reads x less all earlier layers' codes.
    Groups are contiguous slices of the channels. Nothing is differentiable; see `lookup_sum`.

    Args:
        x: (N, D).
        codebooks: (Q, G, K, D / G), or packed ones.
        masks: (M, D), bool or float, for the first M layers.
        mode: "screened" scores in bfloat16 first where the processor can, and scores again what
            could be wrong: the same codes, faster for wide vectors.

    Raises:
        ValueError: NaN or Inf in `x`, shapes that do not fit, an unknown mode.
    """
    packed = _packed(codebooks, mode)
    books = packed.codebooks
    x = _vectors(x, books.shape[1] * books.shape[3], books)
    if masks is not None:
        masks = _masks(masks, books.shape[0], x)
    try:
        outputs = registry.residual_quantize(
            x,
            books,
            packed.offsets,
            packed.panels,
            packed.screen,
            packed.bounds,
            masks,
            mode == "screened",
        )
    except RuntimeError as error:
        raise _named(error) from error
    return ResidualCodes(*outputs)


def nearest_code(
    x: Tensor,
    codebook: Tensor | PackedCodebooks,
    offsets: Tensor | None = None,
    *,
    mode: Mode = "exact",
) -> Tensor:
    """Return for each vector the code that scores best, as (N,) int64.

    Args:
        x: (N, D).
        codebook: (K, D), or one packed book (pack big ones once, it takes as long as a search).
        offsets: (K,), what is taken off x·e; |e|²/2, and so the nearest code, where None.
        mode: as in `residual_quantize`.

    Raises:
        ValueError: NaN or Inf in `x`, shapes that do not fit, an unknown mode, `offsets` beside a
            packed book.
    """
    if isinstance(codebook, PackedCodebooks) and offsets is not None:
        raise ValueError("offsets given beside a packed book: give them to pack_codebooks")
    packed = _packed(codebook, mode, offsets)
    books = packed.codebooks
    if books.shape[:2] != (1, 1):
        raise ValueError(f"nearest_code takes one book: got {tuple(books.shape[:2])} of them")
    x = _vectors(x, books.shape[3], books)
    try:
        return registry.nearest_code(
            x,
            books.flatten(0, 2),
            packed.offsets.flatten(),
            packed.panels,
            packed.screen,
            packed.bounds,
            mode == "screened",
        )
    except RuntimeError as error:
        raise _named(error) from error


def lookup_sum(codes: Tensor, codebooks: Tensor) -> Tensor:
    """Return the sum of the codes (N, Q, G) of books (Q, G, K, d) as (N, G * d).

    Differentiable in `codebooks`, by sums in a fixed order. Fewer layers of codes than of books
    are fine: the first layers' books are used.

    Raises:
        ValueError: shapes that do not fit, or a code outside its book.
    """
    if codes.dim() != 3 or codebooks.dim() != 4 or codes.shape[1] > codebooks.shape[0]:
        raise ValueError(
            "codes must be (N, Q, G) and codebooks (Q, G, K, d) with as many layers: "
            f"got {tuple(codes.shape)} and {tuple(codebooks.shape)}"
        )
    if codes.shape[2] != codebooks.shape[1]:
        raise ValueError(f"{codes.shape[2]} groups of codes, {codebooks.shape[1]} of codebooks")
    _check_codes_of_gpu(codes, codebooks.shape[2])
    library.load(codebooks)
    try:
        return registry.lookup_sum(codes, codebooks[: codes.shape[1]])
    except RuntimeError as error:
        raise _named(error) from error


def codebook_statistics(x: Tensor, codes: Tensor, size: int) -> tuple[Tensor, Tensor]:
    """Return how many vectors have each code (K,) float32, and their sums (K, D).

    Added up in the order of the rows, without atomics: the same result each time.

    Args:
        x: (N, D).
        codes: (N,), each below `size`.
        size: K.

    Raises:
        ValueError: shapes that do not fit, or a code outside the book.
    """
    if x.dim() != 2 or codes.shape != x.shape[:1] or size < 1:
        raise ValueError(
            f"x must be (N, D), codes (N,) and size positive: got {tuple(x.shape)}, "
            f"{tuple(codes.shape)} and {size}"
        )
    _check_codes_of_gpu(codes, size)
    library.load(x)
    try:
        return registry.codebook_statistics(x.detach().float(), codes, size)
    except RuntimeError as error:
        raise _named(error) from error


def _packed(
    codebooks: Tensor | PackedCodebooks, mode: Mode, offsets: Tensor | None = None
) -> PackedCodebooks:
    if isinstance(codebooks, PackedCodebooks):
        _check_mode(mode)
        return codebooks
    return pack_codebooks(codebooks, offsets, mode=mode)


def _vectors(x: Tensor, width: int, books: Tensor) -> Tensor:
    if x.dim() != 2 or x.shape[1] != width:
        raise ValueError(f"x must be (N, {width}) for these codebooks: got {tuple(x.shape)}")
    if x.device != books.device:
        raise ValueError(f"x is on {x.device}, the codebooks on {books.device}: move one of them")
    # A kernel of the GPU cannot raise without stopping all others.
    if not x.is_cpu and not torch.compiler.is_compiling():
        check_finite(x)
    return x.detach().float().contiguous()


def _check_codes_of_gpu(codes: Tensor, size: int) -> None:
    if not codes.is_cpu and not torch.compiler.is_compiling():
        check_codes(codes, size)


def _masks(masks: Tensor, layers: int, x: Tensor) -> Tensor:
    if masks.dim() != 2 or masks.shape[1] != x.shape[1] or masks.shape[0] > layers:
        raise ValueError(
            f"masks must be (M, {x.shape[1]}) for at most {layers} layers: got {tuple(masks.shape)}"
        )
    return masks.detach().to(x).contiguous()


def _check_mode(mode: str) -> None:
    if mode not in get_args(Mode):
        raise ValueError(f"mode must be exact or screened: got {mode!r}")


def _named(error: RuntimeError) -> Exception:
    """Turn what a kernel found in its input into the error that the reference raises."""
    text = str(error)
    for words in (NOT_FINITE, NOT_IN_BOOK):
        if words in text:
            return ValueError(text[text.index(words) :].splitlines()[0])
    return error
